//! Products of packed filters with rows of numbers, on the calling thread: the loop in which training spends its time.
//!
//! out[r, c] = sum over i of a[r, i] b[i, c]. A tile of a few rows and sixteen columns stays in registers while i runs
//! (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 2008, section 4). The rows of b
//! may begin anywhere, so that a convolution's are its shifted input and need not be unfolded.
//!
//! Each sum runs over i in order, whatever the tile, so that only the kind of instructions decides about its bits.

use super::finish::Finish;
use super::level::Level;
use super::matrix::Matrix;
use super::scratch;

/// Columns of a tile.
const COLUMNS: usize = 16;

/// How many products are summed at a time where rounding matters; about the root of the longest sums.
const BLOCK: usize = 24;

/// Up to so many panels read the rows of b where they lie; more repay a copy, which keeps rows that lie far apart from
/// falling into the same few places of the cache.
const FEW_PANELS: usize = 3;

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
        let together = level.rows();
        let mut values = vec![0.0; rows.next_multiple_of(together) * depth];
        for (panel, values) in values.chunks_exact_mut(together * depth).enumerate() {
            let first = panel * together;
            for (i, values) in values.chunks_exact_mut(together).enumerate() {
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
    if b.width < COLUMNS {
        return scratch::with(a.depth * COLUMNS, |wide| {
            for (to, &start) in wide.chunks_exact_mut(COLUMNS).zip(b.starts) {
                to[..b.width].copy_from_slice(&b.values[start..][..b.width]);
                to[b.width..].fill(0.0);
            }
            let starts: Vec<usize> = (0..a.depth).map(|i| i * COLUMNS).collect();
            let mut tiles = vec![0.0; a.rows * COLUMNS];
            multiply(
                a,
                Rows { values: wide, starts: &starts, width: COLUMNS },
                rounding,
                &mut tiles,
                COLUMNS,
                (0, &super::finish::Stored),
            );
            for (row, (tile, out)) in tiles.chunks_exact(COLUMNS).zip(out.chunks_mut(step)).enumerate() {
                let store = finish.of(first + row);
                out.iter_mut().zip(&tile[..b.width]).for_each(|(out, value)| store(out, *value));
            }
        });
    }
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
        _ => sweep.run(plain),
    }
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
    #[inline(always)]
    fn run<const ROWS: usize>(
        mut self,
        tile: impl Fn(&[f32], &[f32], &[usize], usize) -> [[f32; COLUMNS]; ROWS],
    ) {
        let (depth, b) = (self.a.depth, self.b);
        // The last tile begins early enough to be whole, and leaves what is stored already.
        let columns = (0..b.width).step_by(COLUMNS).map(|column| (column.min(b.width - COLUMNS), column));
        if self.a.rows <= FEW_PANELS * ROWS {
            for (at, from) in columns {
                self.column(at, from, |panel, block| tile(panel, &b.values[at..], b.starts, block));
            }
            return;
        }
        let starts: Vec<usize> = (0..depth).map(|i| i * COLUMNS).collect();
        scratch::with(depth * COLUMNS, |values| {
            for (at, from) in columns {
                for (to, start) in values.chunks_exact_mut(COLUMNS).zip(b.starts) {
                    to.copy_from_slice(&b.values[start + at..][..COLUMNS]);
                }
                self.column(at, from, |panel, block| tile(panel, values, &starts, block));
            }
        });
    }

    /// Stores the tiles of the columns at `at` that are not before `from`.
    #[inline(always)]
    fn column<const ROWS: usize>(
        &mut self,
        at: usize,
        from: usize,
        tile: impl Fn(&[f32], usize) -> [[f32; COLUMNS]; ROWS],
    ) {
        let Packed { values, rows, depth, .. } = self.a;
        for (panel, values) in values.chunks_exact(ROWS * depth).enumerate() {
            let tile = tile(values, self.block);
            let rows = panel * ROWS..(*rows).min((panel + 1) * ROWS);
            for (row, values) in rows.zip(&tile) {
                let store = self.finish.of(self.first + row);
                let out = &mut self.out[row * self.step + at..][..COLUMNS];
                let out: &mut [F::Place; COLUMNS] = out.try_into().expect("as many");
                if at == from {
                    for l in 0..COLUMNS {
                        store(&mut out[l], values[l]);
                    }
                } else {
                    for l in from - at..COLUMNS {
                        store(&mut out[l], values[l]);
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
        self.run(|panel, values, starts, block| unsafe { avx512(panel, values, starts, block) });
    }

    /// # Safety
    /// The machine has the instructions, and `width` values lie at every start.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(self) {
        // SAFETY: a tile's columns lie within the width.
        self.run(|panel, values, starts, block| unsafe { avx2(panel, values, starts, block) });
    }
}

/// One tile with vectors of the architecture.
#[cfg(target_arch = "x86_64")]
macro_rules! tile {
    ($name:ident, $features:literal, $rows:literal rows of $vectors:literal, $zero:ident, $load:ident, $splat:ident, $fma:ident, $add:ident, $store:ident) => {
        /// # Safety
        /// Sixteen values lie at every start.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $name(panel: &[f32], b: &[f32], starts: &[usize], block: usize) -> [[f32; COLUMNS]; $rows] {
            use std::arch::x86_64::*;
            const WIDTH: usize = COLUMNS / $vectors;
            let mut total = [[0.0; COLUMNS]; $rows];
            for (panel, starts) in panel.chunks(block * $rows).zip(starts.chunks(block)) {
                let mut sums = [[$zero(); $vectors]; $rows];
                for (factors, start) in panel.chunks_exact($rows).zip(starts) {
                    let row: [_; $vectors] = std::array::from_fn(|v| {
                        // SAFETY: sixteen values lie there, as the caller promises.
                        unsafe { $load(b.as_ptr().add(start + v * WIDTH)) }
                    });
                    for (sums, factor) in sums.iter_mut().zip(factors) {
                        let factor = $splat(*factor);
                        for v in 0..$vectors {
                            sums[v] = $fma(factor, row[v], sums[v]);
                        }
                    }
                }
                for (total, sums) in total.iter_mut().zip(&sums) {
                    for (total, sum) in total.as_chunks_mut::<WIDTH>().0.iter_mut().zip(sums) {
                        let total = total.as_mut_ptr();
                        // SAFETY: a total is as wide as a vector.
                        unsafe { $store(total, $add($load(total), *sum)) };
                    }
                }
            }
            total
        }
    };
}

#[cfg(target_arch = "x86_64")]
tile!(
    avx512, "avx512f", 12 rows of 1, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_fmadd_ps,
    _mm512_add_ps, _mm512_storeu_ps
);
#[cfg(target_arch = "x86_64")]
tile!(
    avx2, "avx2,fma", 6 rows of 2, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_fmadd_ps,
    _mm256_add_ps, _mm256_storeu_ps
);

/// One tile in plain loops.
#[inline(always)]
fn plain(panel: &[f32], b: &[f32], starts: &[usize], block: usize) -> [[f32; COLUMNS]; 6] {
    let mut total = [[0.0; COLUMNS]; 6];
    for (panel, starts) in panel.chunks(block * 6).zip(starts.chunks(block)) {
        let mut sums = [[0.0f32; COLUMNS]; 6];
        for (factors, start) in panel.chunks_exact(6).zip(starts) {
            let row = &b[*start..][..COLUMNS];
            for (sums, factor) in sums.iter_mut().zip(factors) {
                for l in 0..COLUMNS {
                    sums[l] = if cfg!(target_arch = "aarch64") {
                        factor.mul_add(row[l], sums[l])
                    } else {
                        factor * row[l] + sums[l]
                    };
                }
            }
        }
        for (total, sums) in total.iter_mut().zip(&sums) {
            for l in 0..COLUMNS {
                total[l] += sums[l];
            }
        }
    }
    total
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
        for (level, width) in Level::here().flat_map(|level| (1..50).map(move |width| (level, width))) {
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
        let depth = 20 * BLOCK + 7;
        let (a, b) = (numbers(ROWS * depth, 1), numbers(depth * COLUMNS, 2));
        let starts: Vec<usize> = (0..depth).map(|i| i * COLUMNS).collect();
        let exact = |row: usize, column: usize| -> f64 {
            let products = (0..depth).map(|i| (a[row * depth + i], b[i * COLUMNS + column]));
            products.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
        };
        for level in Level::here() {
            let packed = Packed::new(Matrix::new(&a, ROWS, depth), level);
            let [plain, careful] = [Rounding::Plain, Rounding::Careful].map(|rounding| {
                let mut out = [0.0; ROWS * COLUMNS];
                let b = Rows { values: &b, starts: &starts, width: COLUMNS };
                multiply(&packed, b, rounding, &mut out, COLUMNS, (0, &Stored));
                let off = |i: usize| f64::from(out[i]) - exact(i / COLUMNS, i % COLUMNS);
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
