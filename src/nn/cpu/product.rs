//! Products of packed filters with rows of numbers, on the calling thread: the loop in which training spends its time.
//!
//! out[r, c] = sum over i of a[r, i] b[i, c]. A tile of four rows and two or three vectors of columns stays in registers
//! while i runs (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 2008, section 4).
//! The rows of b may begin anywhere, so that a convolution's are its shifted input and need not be unfolded.
//!
//! With AVX2 a tile takes 7 loads for 12 vectors of products, and so leaves both units for products busy.
//!
//! Each sum runs over i in order, whatever the tile, so that only the kind of instructions decides about its bits.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::finish::Finish;
use super::level::{LINE, Level, prefetch};
use super::matrix::Matrix;
use super::scratch;

/// Rows of a tile. The networks' numbers of channels are multiples of it, down to those of a group.
const ROWS: usize = 4;

/// Columns of the widest tile: three vectors of sixteen values.
const COLUMNS: usize = 48;

/// Sums that are under way, at the beginnings of its rows.
type Tile = [[f32; COLUMNS]; ROWS];

/// How many products are summed at a time where rounding matters; about the root of the longest sums.
const BLOCK: usize = 24;

/// Up to so many rows of a read the rows of b where they lie; more repay a copy, which keeps rows that lie far apart from
/// falling into the same few places of the cache.
const FEW_ROWS: usize = 16;

/// How much rounding a product may show.
///
/// In training, ReLU and max pooling ask on which side of a kink a value lies, and one other answer changes
/// every gradient before it by about a thousandth. In evaluation nothing asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Each sum in one go.
    Plain,
    /// Each sum in short parts, so that its error grows far less with its length.
    Careful,
}

/// The left factor, in the order in which tiles read it: panels of a few rows, column by column.
#[derive(Debug)]
pub struct Packed {
    values: Vec<f32>, // (panels, depth, rows of a panel)
    rows: usize,
    depth: usize,
    level: Level,
}

impl Packed {
    /// Packs a matrix for instructions that this machine has; the last panel is filled up with zeros.
    pub fn new(a: Matrix<'_>, level: Level) -> Packed {
        assert!(level.is_here(), "this machine has no {level:?}");
        let (rows, depth) = a.shape();
        let mut values = vec![0.0; rows.next_multiple_of(ROWS) * depth];
        for (panel, values) in values.chunks_exact_mut(ROWS * depth).enumerate() {
            let first = panel * ROWS;
            for (i, values) in values.chunks_exact_mut(ROWS).enumerate() {
                for (row, value) in (first..rows).zip(values) {
                    *value = a.at(row, i);
                }
            }
        }
        Packed { values, rows, depth, level }
    }
}

/// The right factor: `width` values from each start.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Where all of them lie.
    pub values: &'a [f32],
    /// Where each row begins.
    pub starts: &'a [usize],
    /// How long each is.
    pub width: usize,
}

/// Stores a b in rows of `out` that begin `step` values apart; `finish` takes the rows for channels from `first` on.
pub fn multiply<F: Finish>(
    a: &Packed,
    b: Rows<'_>,
    rounding: Rounding,
    out: &mut [F::Place],
    step: usize,
    (first, finish): (usize, &F),
) {
    assert_eq!(a.depth, b.starts.len(), "inner dimensions");
    assert!((a.rows - 1) * step + b.width <= out.len() && b.width <= step, "outer dimensions");
    let end = b.starts.iter().max().map_or(0, |start| start + b.width);
    assert!(end <= b.values.len(), "rows of {} values", b.width);
    let block = match rounding {
        Rounding::Plain => a.depth,
        Rounding::Careful => BLOCK,
    };
    let sweep = Sweep { a, b, block, out, step, first, finish };
    match a.level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a factor is packed for instructions that are there, and the starts were checked above.
        Level::Avx512 => unsafe { sweep.avx512() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => unsafe { sweep.avx2() },
        _ => sweep.run::<4>(plain::<2>, plain::<3>),
    }
}

/// Which of the blocks of a sum is added up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sums {
    /// The first, which replaces what was there.
    First,
    /// One that is added to those before.
    Further,
}

struct Sweep<'a, F: Finish> {
    a: &'a Packed,
    b: Rows<'a>,
    block: usize,
    out: &'a mut [F::Place],
    step: usize,
    first: usize,
    finish: &'a F,
}

impl<F: Finish> Sweep<'_, F> {
    /// Stores the product in tiles of two and of three vectors of `LANES` values. A tile adds to the sums, or replaces
    /// them, the products of a part of a panel with rows that begin in some values at some starts.
    #[inline(always)]
    fn run<const LANES: usize>(
        mut self,
        two: impl Fn(&[f32], &[f32], &[usize], Sums, &mut Tile),
        three: impl Fn(&[f32], &[f32], &[usize], Sums, &mut Tile),
    ) {
        let (depth, b) = (self.a.depth, self.b);
        let mut done = 0;
        while done < b.width {
            let vectors = if b.width - done <= 2 * LANES { 2 } else { 3 };
            let columns = vectors * LANES;
            // The last tile begins early enough to be whole, and leaves what is stored already.
            let at = done.min(b.width.saturating_sub(columns));
            let count = columns.min(b.width - at);
            if count == columns && self.a.rows <= FEW_ROWS {
                match vectors {
                    2 => self.stripe(at, done, count, &b.values[at..], b.starts, &two),
                    _ => self.stripe(at, done, count, &b.values[at..], b.starts, &three),
                }
            } else {
                scratch::with(depth * columns, |values| {
                    for (to, start) in values.chunks_exact_mut(columns).zip(b.starts) {
                        (0..columns).step_by(LINE).for_each(|l| prefetch(b.values, start + at + columns + l));
                        to[..count].copy_from_slice(&b.values[start + at..][..count]);
                        to[count..].fill(0.0);
                    }
                    let starts: Vec<usize> = (0..depth).map(|i| i * columns).collect();
                    match vectors {
                        2 => self.stripe(at, done, count, values, &starts, &two),
                        _ => self.stripe(at, done, count, values, &starts, &three),
                    }
                });
            }
            done = at + count;
        }
    }

    /// Stores the tiles of `count` columns at `at`, from column `done` on.
    #[inline(always)]
    fn stripe(
        &mut self,
        at: usize,
        done: usize,
        count: usize,
        b: &[f32],
        starts: &[usize],
        tile: &impl Fn(&[f32], &[f32], &[usize], Sums, &mut Tile),
    ) {
        let Packed { values, rows, depth, .. } = self.a;
        let mut sums = [[0.0; COLUMNS]; ROWS];
        for (panel, values) in values.chunks_exact(ROWS * depth).enumerate() {
            let mut which = Sums::First;
            for (values, starts) in values.chunks(ROWS * self.block).zip(starts.chunks(self.block)) {
                tile(values, b, starts, which, &mut sums);
                which = Sums::Further;
            }
            let rows = panel * ROWS..(*rows).min((panel + 1) * ROWS);
            for (row, values) in rows.zip(&sums) {
                let store = self.finish.of(self.first + row);
                let out = &mut self.out[row * self.step + at..][..count];
                if done == at {
                    for (out, value) in out.iter_mut().zip(values) {
                        store(out, *value);
                    }
                } else {
                    for (out, value) in out.iter_mut().zip(values).skip(done - at) {
                        store(out, *value);
                    }
                }
            }
        }
    }

    /// # Safety
    /// The machine has the instructions, and `width` values lie at every start.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn avx512(self) {
        // SAFETY: a tile's columns lie within the width.
        self.run::<16>(
            |panel, b, starts, sums, to| unsafe { avx512::<2>(panel, b, starts, sums, to) },
            |panel, b, starts, sums, to| unsafe { avx512::<3>(panel, b, starts, sums, to) },
        );
    }

    /// # Safety
    /// The machine has the instructions, and `width` values lie at every start.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(self) {
        // SAFETY: a tile's columns lie within the width.
        self.run::<8>(
            |panel, b, starts, sums, to| unsafe { avx2_two::<2>(panel, b, starts, sums, to) },
            |panel, b, starts, sums, to| unsafe { avx2_three(panel, b, starts, sums, to) },
        );
    }
}

/// A block of a tile with vectors of the architecture, and how its sums are kept.
#[cfg(target_arch = "x86_64")]
macro_rules! tile {
    ($name:ident, $keep:ident, $features:literal, $lanes:literal lanes of $vector:ident,
     $zero:ident, $load:ident, $splat:ident, $fma:ident, $add:ident, $store:ident) => {
        /// # Safety
        /// As many values as the tile has columns lie at every start.
        // Inlined, it would share its registers with the loop around it.
        #[inline(never)]
        #[target_feature(enable = $features)]
        unsafe fn $name<const VECTORS: usize>(
            panel: &[f32],
            b: &[f32],
            starts: &[usize],
            which: Sums,
            to: &mut Tile,
        ) {
            let mut sums = [[$zero(); VECTORS]; ROWS];
            for (factors, start) in panel.as_chunks::<ROWS>().0.iter().zip(starts) {
                let row: [_; VECTORS] = std::array::from_fn(|v| {
                    // SAFETY: these values lie there, as the caller promises.
                    unsafe { $load(b.as_ptr().add(start + v * $lanes)) }
                });
                for (sums, factor) in sums.iter_mut().zip(factors) {
                    let factor = $splat(*factor);
                    for v in 0..VECTORS {
                        sums[v] = $fma(factor, row[v], sums[v]);
                    }
                }
            }
            $keep(sums, which, to);
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn $keep<const VECTORS: usize>(sums: [[$vector; VECTORS]; ROWS], which: Sums, to: &mut Tile) {
            for (to, sums) in to.iter_mut().zip(sums) {
                for (to, sum) in to.as_chunks_mut::<$lanes>().0.iter_mut().zip(sums) {
                    let to = to.as_mut_ptr();
                    // SAFETY: a place is as wide as a vector.
                    unsafe { $store(to, if which == Sums::First { sum } else { $add($load(to), sum) }) };
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
tile!(
    avx512, keep_16, "avx512f", 16 lanes of __m512, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_set1_ps,
    _mm512_fmadd_ps, _mm512_add_ps, _mm512_storeu_ps
);
#[cfg(target_arch = "x86_64")]
tile!(
    avx2_two, keep_8, "avx2,fma", 8 lanes of __m256, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_set1_ps,
    _mm256_fmadd_ps, _mm256_add_ps, _mm256_storeu_ps
);

/// A block of a tile of three vectors. Its twelve sums, three vectors and one factor fill the sixteen registers just so;
/// the compiler would keep a sum in memory, which halves the speed.
///
/// # Safety
/// Twenty-four values lie at every start.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_three(panel: &[f32], b: &[f32], starts: &[usize], which: Sums, to: &mut Tile) {
    let mut sums = [[_mm256_setzero_ps(); 3]; ROWS];
    let [[a0, a1, a2], [b0, b1, b2], [c0, c1, c2], [d0, d1, d2]] = &mut sums;
    for (factors, start) in panel.as_chunks::<ROWS>().0.iter().zip(starts) {
        // SAFETY: 24 values lie at the start, as the caller promises, and four factors; nothing is written.
        unsafe {
            std::arch::asm!(
                "vmovups {x}, [{row}]",
                "vmovups {y}, [{row} + 32]",
                "vmovups {z}, [{row} + 64]",
                "vbroadcastss {f}, [{factors}]",
                "vfmadd231ps {a0}, {f}, {x}",
                "vfmadd231ps {a1}, {f}, {y}",
                "vfmadd231ps {a2}, {f}, {z}",
                "vbroadcastss {f}, [{factors} + 4]",
                "vfmadd231ps {b0}, {f}, {x}",
                "vfmadd231ps {b1}, {f}, {y}",
                "vfmadd231ps {b2}, {f}, {z}",
                "vbroadcastss {f}, [{factors} + 8]",
                "vfmadd231ps {c0}, {f}, {x}",
                "vfmadd231ps {c1}, {f}, {y}",
                "vfmadd231ps {c2}, {f}, {z}",
                "vbroadcastss {f}, [{factors} + 12]",
                "vfmadd231ps {d0}, {f}, {x}",
                "vfmadd231ps {d1}, {f}, {y}",
                "vfmadd231ps {d2}, {f}, {z}",
                row = in(reg) b.as_ptr().add(*start),
                factors = in(reg) factors.as_ptr(),
                a0 = inout(ymm_reg) *a0, a1 = inout(ymm_reg) *a1, a2 = inout(ymm_reg) *a2,
                b0 = inout(ymm_reg) *b0, b1 = inout(ymm_reg) *b1, b2 = inout(ymm_reg) *b2,
                c0 = inout(ymm_reg) *c0, c1 = inout(ymm_reg) *c1, c2 = inout(ymm_reg) *c2,
                d0 = inout(ymm_reg) *d0, d1 = inout(ymm_reg) *d1, d2 = inout(ymm_reg) *d2,
                x = out(ymm_reg) _, y = out(ymm_reg) _, z = out(ymm_reg) _, f = out(ymm_reg) _,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
    }
    keep_8(sums, which, to);
}

/// A block of a tile in plain loops.
#[inline(always)]
fn plain<const VECTORS: usize>(panel: &[f32], b: &[f32], starts: &[usize], which: Sums, to: &mut Tile) {
    let mut sums = [[[0.0f32; 4]; VECTORS]; ROWS];
    for (factors, start) in panel.as_chunks::<ROWS>().0.iter().zip(starts) {
        let row = b[*start..][..4 * VECTORS].as_chunks::<4>().0;
        for (sums, factor) in sums.iter_mut().zip(factors) {
            for (sums, row) in sums.iter_mut().zip(row) {
                for l in 0..4 {
                    sums[l] = if cfg!(target_arch = "aarch64") {
                        factor.mul_add(row[l], sums[l])
                    } else {
                        factor * row[l] + sums[l]
                    };
                }
            }
        }
    }
    for (to, sums) in to.iter_mut().zip(&sums) {
        for (to, sum) in to.iter_mut().zip(sums.as_flattened()) {
            *to = if which == Sums::First { *sum } else { *to + sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::super::finish::{Added, Output, Stored};
    use super::*;
    use crate::dataset::random::{Purpose, Stream};

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut stream = Stream::new(seed, Purpose::Init, 0, 0);
        (0..count).map(|_| stream.normal() as f32).collect()
    }

    #[test]
    fn every_level_agrees_with_the_definition_at_every_width() {
        let (rows, depth) = (13, 29);
        let (a, b, bias) = (numbers(rows * depth, 1), numbers(1000, 2), numbers(rows + 2, 3));
        // The rows of b overlap and are in no order.
        let starts: Vec<usize> = (0..depth).map(|i| i * 31 % 71).collect();
        for (level, width) in Level::here().flat_map(|level| (1..110).map(move |width| (level, width))) {
            let packed = Packed::new(Matrix::new(&a, rows, depth), level);
            let b = Rows { values: &b, starts: &starts, width };
            let step = width + 3;
            let exact = |r: usize, c: usize| -> f64 {
                let products = (0..depth).map(|i| (a[r * depth + i], b.values[starts[i] + c]));
                products.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
            };
            for rounding in [Rounding::Plain, Rounding::Careful] {
                let mut out = vec![9.0; rows * step];
                multiply(&packed, b, rounding, &mut out, step, (0, &Stored));
                let finish = Output { bias: Some(&bias), negative_slope: 0.5, map: None };
                let mut activated = vec![MaybeUninit::new(9.0); rows * step];
                multiply(&packed, b, rounding, &mut activated, step, (2, &finish));
                // SAFETY: all of them had values before.
                let activated: Vec<f32> =
                    activated.iter().map(|value| unsafe { value.assume_init() }).collect();
                let mut sums = vec![9.0; rows * step];
                multiply(&packed, b, rounding, &mut sums, step, (0, &Added));
                for (i, ((out, activated), sum)) in out.iter().zip(&activated).zip(&sums).enumerate() {
                    let (r, c) = (i / step, i % step);
                    if c >= width {
                        assert_eq!([*out, *activated, *sum], [9.0; 3], "between rows of {width}");
                        continue;
                    }
                    let product = exact(r, c);
                    let with_bias = product + f64::from(bias[r + 2]);
                    let off = [f64::from(*out) - product, f64::from(*sum) - product - 9.0];
                    let off_activated = f64::from(*activated) - with_bias.max(0.5 * with_bias);
                    assert!(
                        off.iter().chain([&off_activated]).all(|off| off.abs() < 1e-4),
                        "{level:?} {width}: {i}"
                    );
                }
            }
        }
    }

    #[test]
    fn careful_sums_are_nearer_to_the_exact_ones() {
        const ROWS: usize = 64;
        const WIDTH: usize = 16;
        let depth = 20 * BLOCK + 7;
        let (a, b) = (numbers(ROWS * depth, 1), numbers(depth * WIDTH, 2));
        let starts: Vec<usize> = (0..depth).map(|i| i * WIDTH).collect();
        let exact = |row: usize, column: usize| -> f64 {
            let products = (0..depth).map(|i| (a[row * depth + i], b[i * WIDTH + column]));
            products.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
        };
        for level in Level::here() {
            let packed = Packed::new(Matrix::new(&a, ROWS, depth), level);
            let [plain, careful] = [Rounding::Plain, Rounding::Careful].map(|rounding| {
                let mut out = [0.0; ROWS * WIDTH];
                let b = Rows { values: &b, starts: &starts, width: WIDTH };
                multiply(&packed, b, rounding, &mut out, WIDTH, (0, &Stored));
                let off = |i: usize| f64::from(out[i]) - exact(i / WIDTH, i % WIDTH);
                ((0..out.len()).map(|i| off(i).powi(2)).sum::<f64>() / out.len() as f64).sqrt()
            });
            assert!(careful < 0.7 * plain && plain < 1e-4, "{level:?}: {plain:e}, {careful:e}");
        }
    }

    #[test]
    #[should_panic(expected = "rows of 16 values")]
    fn a_row_that_ends_outside_is_refused() {
        let packed = Packed::new(Matrix::new(&[1.0, 2.0], 1, 2), Level::Plain);
        let b = Rows { values: &[0.0; 20], starts: &[0, 5], width: 16 };
        multiply(&packed, b, Rounding::Plain, &mut [0.0; 16], 16, (0, &Stored));
    }
}
