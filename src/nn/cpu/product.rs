//! Products of packed filters with rows of numbers, on the calling thread: the loop in which training spends its time.
//!
//! out[r, c] = sum over i of a[r, i] b[i, c]. A tile of four rows and two or three vectors of columns stays in registers
//! while i runs (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 2008, section 4).
//! The rows of b may begin anywhere, so that a convolution's are its shifted input and need not be unfolded.
//!
//! Each sum runs over i in order, whatever the tile, so that only the kind of instructions decides about its bits.

use std::ops::Range;

use super::finish::Finish;
use super::level::{LINE, Level, prefetch};
use super::matrix::Matrix;
use super::microkernel::{COLUMNS, Places, ROWS, Source, Target, plain};
#[cfg(target_arch = "x86_64")]
use super::microkernel::{avx2_three, avx2_two, avx512};
use super::scratch;

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
#[derive(Debug, Clone)]
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
            for (place, row) in (panel * ROWS..rows.min((panel + 1) * ROWS)).enumerate() {
                for (value, a) in values[place..].iter_mut().step_by(ROWS).zip(a.row(row)) {
                    *value = a;
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

impl Rows<'_> {
    /// Whether they follow each other, and are so short that the cache has a place for each.
    fn are_one_stripe(&self) -> bool {
        self.width <= COLUMNS && self.starts.windows(2).all(|rows| rows[1] == rows[0] + self.width)
    }
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
    /// Stores the product in tiles of two and of three vectors of `LANES` values. A tile sums the products of a panel with rows
    /// of b, some of them at a time.
    #[inline(always)]
    fn run<const LANES: usize>(
        mut self,
        two: impl Fn(&[f32], Source<'_>, usize, Target<'_>),
        three: impl Fn(&[f32], Source<'_>, usize, Target<'_>),
    ) {
        let (depth, b) = (self.a.depth, self.b);
        let panels = self.a.rows.div_ceil(ROWS);
        let lie_well = self.a.rows <= FEW_ROWS || b.are_one_stripe();
        let tile = |columns: usize, panel: &[f32], b: Source<'_>, block: usize, to: Target<'_>| {
            if columns == 2 * LANES { two(panel, b, block, to) } else { three(panel, b, block, to) }
        };
        let mut done = 0;
        while done < b.width {
            // Four vectors are two tiles of two.
            let vectors = match (b.width - done).div_ceil(LANES) {
                1 | 2 | 4 => 2,
                _ => 3,
            };
            let columns = vectors * LANES;
            // The last tile begins early enough to be whole, and leaves what is stored already.
            let at = done.min(b.width.saturating_sub(columns));
            let count = columns.min(b.width - at);
            let place = (at, done, count, columns);
            let values = &b.values[at..];
            if count == columns && lie_well {
                let source = Source { values, starts: b.starts, copies: None };
                self.stripe(place, 0..panels, source, &tile);
            } else {
                scratch::with(depth * columns, |copies| {
                    let copied = if count == columns {
                        // The first tile has time for it.
                        let source = Source { values, starts: b.starts, copies: Some(copies) };
                        self.stripe(place, 0..1, source, &tile);
                        1
                    } else {
                        for (to, start) in copies.chunks_exact_mut(columns).zip(b.starts) {
                            to[..count].copy_from_slice(&values[*start..][..count]);
                            to[count..].fill(0.0);
                        }
                        0
                    };
                    let starts: Vec<usize> = (0..depth).map(|i| i * columns).collect();
                    let source = Source { values: copies, starts: &starts, copies: None };
                    self.stripe(place, copied..panels, source, &tile);
                });
            }
            done = at + count;
        }
    }

    /// Stores the tiles of some panels of a with `count` columns at `at`, from column `done` on; they have `columns`. Only one
    /// of them may make copies.
    #[inline(always)]
    fn stripe(
        &mut self,
        (at, done, count, columns): (usize, usize, usize, usize),
        panels: Range<usize>,
        mut b: Source<'_>,
        tile: &impl Fn(usize, &[f32], Source<'_>, usize, Target<'_>),
    ) {
        let Packed { values, rows, depth, .. } = self.a;
        let step = self.step;
        let mut sums = [[0.0; COLUMNS]; ROWS];
        for panel in panels {
            let values = &values[panel * ROWS * depth..][..ROWS * depth];
            let b = Source { copies: b.copies.take(), ..b };
            let rows = panel * ROWS..(*rows).min((panel + 1) * ROWS);
            let out = &mut self.out[rows.start * step..];
            for row in 0..rows.len() {
                (at..at + count).step_by(LINE).for_each(|column| prefetch(out, row * step + column));
            }
            let is_whole = rows.len() == ROWS && count == columns;
            let places = is_whole.then(|| self.finish.places(self.first + rows.start, &mut out[at..]));
            match places.flatten() {
                // Nothing is added twice.
                Some(places) if done == at || !matches!(places, Places::Add(_)) => {
                    tile(columns, values, b, self.block, Target { places, step });
                }
                _ => {
                    let places = Places::over(sums.as_flattened_mut());
                    tile(columns, values, b, self.block, Target { places, step: COLUMNS });
                    for (row, values) in rows.zip(&sums) {
                        let store = self.finish.of(self.first + row);
                        let values = &values[done - at..count];
                        let out = &mut self.out[row * step + done..][..values.len()];
                        for (out, value) in out.iter_mut().zip(values) {
                            store(out, *value);
                        }
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
            |panel, b, block, to| unsafe { avx512::<2>(panel, b, block, to) },
            |panel, b, block, to| unsafe { avx512::<3>(panel, b, block, to) },
        );
    }

    /// # Safety
    /// The machine has the instructions, and `width` values lie at every start.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(self) {
        // SAFETY: a tile's columns lie within the width.
        self.run::<8>(
            |panel, b, block, to| unsafe { avx2_two::<2>(panel, b, block, to) },
            |panel, b, block, to| unsafe { avx2_three(panel, b, block, to) },
        );
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::super::elementwise::activate;
    use super::super::finish::{Activated, Added, Output, Stored};
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
                let numbers = |places: Vec<MaybeUninit<f32>>| -> Vec<f32> {
                    // SAFETY: all of them had values before.
                    places.iter().map(|value| unsafe { value.assume_init() }).collect()
                };
                let activated = numbers(activated);
                let finish = Activated { bias: &bias, negative_slope: 0.5 };
                let mut in_fewer_steps = vec![MaybeUninit::new(9.0); rows * step];
                multiply(&packed, b, rounding, &mut in_fewer_steps, step, (2, &finish));
                assert_eq!(numbers(in_fewer_steps), activated, "{level:?} {width}");
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
    fn a_tile_activates_like_a_single_value() {
        let bias = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, -1.5];
        let b = Rows { values: &numbers(48, 1), starts: &[0], width: 48 };
        for (level, negative_slope) in Level::here().flat_map(|level| [(level, 0.0), (level, 0.1)]) {
            let packed = Packed::new(Matrix::new(&[1.0; 4], 4, 1), level);
            let mut out = [MaybeUninit::new(9.0f32); 4 * 48];
            let finish = Activated { bias: &bias, negative_slope };
            multiply(&packed, b, Rounding::Plain, &mut out, 48, (0, &finish));
            for (i, out) in out.iter().enumerate() {
                let expected = activate(b.values[i % 48] + bias[i / 48], negative_slope);
                // SAFETY: it had a value before.
                let out = unsafe { out.assume_init() };
                assert!(
                    out.to_bits() == expected.to_bits() || out.is_nan() && expected.is_nan(),
                    "{level:?} {i}"
                );
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
