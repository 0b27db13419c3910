//! Sixteen numbers at a time, for each kind of instructions, and the ways to give a loop those of this machine. Lanes never
//! mix and nothing is fused, so every kind gives the same bits.

use std::ops::{Add, Mul, Sub};

use super::level::Level;
#[cfg(target_arch = "x86_64")]
use super::wide::{Avx2, Avx512};

/// How many numbers go together.
pub const LANES: usize = 16;

/// Numbers of a short row: four of them lie in a quarter of the widest vector.
pub const SHORT: usize = 4;

/// Sixteen numbers.
pub trait Lanes: Copy + Add<Output = Self> + Sub<Output = Self> + Mul<f32, Output = Self> {
    /// The same number in every lane.
    fn all(value: f32) -> Self;

    /// From memory.
    fn load(from: &[f32; LANES]) -> Self;

    /// To memory.
    fn store(self, to: &mut [f32; LANES]);

    /// Vector c holds the c-th of the numbers from each place on: short rows become columns.
    fn columns(values: &[f32], places: &[usize; LANES]) -> [Self; SHORT];

    /// The short rows of these columns.
    fn rows(columns: [Self; SHORT]) -> [[f32; SHORT]; LANES];
}

/// A loop that is compiled for each kind of instructions. Its parts are `#[inline(always)]`.
pub trait Loop {
    /// Runs it.
    fn run<L: Lanes>(self);
}

/// Runs a loop with these instructions, which this machine has.
pub fn run_at(level: Level, work: impl Loop) {
    assert!(level.is_here(), "this machine has no {level:?}");
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the machine has them.
        Level::Avx512 => unsafe { with_avx512(work) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the machine has them.
        Level::Avx2 => unsafe { loop_with_avx2(work) },
        _ => work.run::<Plain>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512(work: impl Loop) {
    work.run::<Avx512>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn loop_with_avx2(work: impl Loop) {
    work.run::<Avx2>();
}

/// Sixteen numbers as the compiler likes them.
#[derive(Clone, Copy)]
struct Plain([f32; LANES]);

// Plain loops, because the compiler does not look through closures here.

impl Add for Plain {
    type Output = Plain;

    #[inline(always)]
    fn add(mut self, other: Plain) -> Plain {
        for l in 0..LANES {
            self.0[l] += other.0[l];
        }
        self
    }
}

impl Sub for Plain {
    type Output = Plain;

    #[inline(always)]
    fn sub(mut self, other: Plain) -> Plain {
        for l in 0..LANES {
            self.0[l] -= other.0[l];
        }
        self
    }
}

impl Mul<f32> for Plain {
    type Output = Plain;

    #[inline(always)]
    fn mul(mut self, factor: f32) -> Plain {
        for l in 0..LANES {
            self.0[l] *= factor;
        }
        self
    }
}

impl Lanes for Plain {
    #[inline(always)]
    fn all(value: f32) -> Plain {
        Plain([value; LANES])
    }

    #[inline(always)]
    fn load(from: &[f32; LANES]) -> Plain {
        Plain(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut [f32; LANES]) {
        *to = self.0;
    }

    #[inline(always)]
    fn columns(values: &[f32], places: &[usize; LANES]) -> [Plain; SHORT] {
        let mut columns = [Plain([0.0; LANES]); SHORT];
        for l in 0..LANES {
            let row = &values[places[l]..][..SHORT];
            for c in 0..SHORT {
                columns[c].0[l] = row[c];
            }
        }
        columns
    }

    #[inline(always)]
    fn rows(columns: [Plain; SHORT]) -> [[f32; SHORT]; LANES] {
        let mut rows = [[0.0; SHORT]; LANES];
        for (l, row) in rows.iter_mut().enumerate() {
            for c in 0..SHORT {
                row[c] = columns[c].0[l];
            }
        }
        rows
    }
}

/// Runs a loop over plain numbers, whose parts are all `#[inline(always)]`, compiled for the vector instructions of this
/// machine.
#[inline(always)]
pub fn vectorize<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the machine has just been seen to have what the function needs.
        return unsafe { with_avx2(work) };
    }
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Check<'a> {
        values: &'a [f32],
        places: [usize; LANES],
    }

    impl Loop for Check<'_> {
        fn run<L: Lanes>(self) {
            let columns = L::columns(self.values, &self.places);
            for (row, place) in L::rows(columns).iter().zip(self.places) {
                assert_eq!(row, &self.values[place..place + SHORT], "rows, columns and rows again");
            }
            let [x, y, ..] = columns;
            let mut result = [0.0; LANES];
            ((x * 3.7 + y - x * 0.3) * 1.1 - L::all(0.7)).store(&mut result);
            for (result, place) in result.iter().zip(self.places) {
                let (x, y) = (self.values[place], self.values[place + 1]);
                assert_eq!(*result, (x * 3.7 + y - x * 0.3) * 1.1 - 0.7, "bit for bit");
            }
            let mut again = [0.0; LANES];
            L::load(&result).store(&mut again);
            assert_eq!(result, again);
        }
    }

    #[test]
    fn every_level_moves_and_computes_alike() {
        let values: Vec<f32> = (0..200u16).map(|i| 0.1 * f32::from(i)).collect();
        for level in Level::here() {
            run_at(level, Check { values: &values, places: std::array::from_fn(|l| l * 53 % 197) });
        }
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_row_that_ends_outside_is_refused() {
        run_at(Level::in_use(), Check { values: &[0.0; 8], places: [5; LANES] });
    }
}
