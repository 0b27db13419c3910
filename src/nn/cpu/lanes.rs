//! Sixteen numbers at a time, in a form that compilers turn into vector instructions, and the way to give a
//! loop the widest ones this machine has. Lanes never mix, so every width gives the same bits.

use std::ops::{Add, Mul, Sub};

/// How many numbers go together.
pub const LANES: usize = 16;

/// Sixteen numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lanes(pub [f32; LANES]);

impl Lanes {
    /// Sixteen zeros.
    pub const ZERO: Lanes = Lanes([0.0; LANES]);
}

// Plain loops, because the compiler does not look through closures here.

impl Add for Lanes {
    type Output = Lanes;

    #[inline(always)]
    fn add(mut self, other: Lanes) -> Lanes {
        for l in 0..LANES {
            self.0[l] += other.0[l];
        }
        self
    }
}

impl Sub for Lanes {
    type Output = Lanes;

    #[inline(always)]
    fn sub(mut self, other: Lanes) -> Lanes {
        for l in 0..LANES {
            self.0[l] -= other.0[l];
        }
        self
    }
}

impl Mul<f32> for Lanes {
    type Output = Lanes;

    #[inline(always)]
    fn mul(mut self, factor: f32) -> Lanes {
        for l in 0..LANES {
            self.0[l] *= factor;
        }
        self
    }
}

/// Runs a loop whose parts are all `#[inline(always)]`, compiled for the vector instructions of this machine.
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

    #[test]
    fn wide_instructions_give_the_same_bits() {
        let x = Lanes(std::array::from_fn(|l| 0.1 * l as f32));
        let work = || (x * 3.7 + x - x * 0.3) * 1.1;
        assert_eq!(vectorize(work), work());
    }
}
