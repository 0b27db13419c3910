//! Dot products of rows with rows, on the calling thread: the loop of the gradients of filters, whose sums run over the
//! positions of the maps, along which both factors lie in memory.
//!
//! out[r, c] += sum over segments s and positions p of a[s, r, p] b[s, c, p]. A tile of a few sums stays in registers, each
//! as a vector of partial sums, and its rows are read where they lie: nothing is packed, and nothing is unfolded, since
//! the taps of a convolution are shifted rows. With AVX2 a tile takes 7 loads for 12 vectors of products, with
//! AVX-512 10 for 24.
//!
//! Each sum runs over the positions in a fixed order, so that only the kind of instructions decides about its bits.

use std::ops::Range;

use super::level::{LINE, Level, prefetch};

/// A multiple of the rows of every tile: blocks of so many waste nothing.
pub const TILE_ROWS: usize = 6;

/// Columns of a tile, whose sums are folded together and stored side by side.
const TILE_COLUMNS: usize = 4;

/// How many positions of a row are read for all tiles before the next ones, so that they stay in the nearest cache.
const TOGETHER: usize = 1152;

/// How many rows of b are read for all rows of a before the next ones, so that they stay in the cache after that.
const COLUMNS: usize = 96;

/// With so many tiles to a row of a, it pays to ask for the next rows before they are needed.
const MANY_TILES: usize = 8;

/// Rows of numbers, once for each segment.
#[derive(Debug, Clone, Copy)]
pub struct Strips<'a> {
    /// Where all of them lie.
    pub values: &'a [f32],
    /// Where each row of the first segment begins.
    pub starts: &'a [usize],
    /// From a row of one segment to the same row of the next.
    pub step: usize,
}

impl Strips<'_> {
    /// Whether rows of this width lie within the values, in every segment.
    fn hold(&self, segments: usize, width: usize) -> bool {
        let last = self.starts.iter().max().map_or(0, |start| start + (segments - 1) * self.step + width);
        last <= self.values.len()
    }
}

/// out[r, c] += the dot products of the rows of a and b, over some segments of rows of `width` values; `out` is row-major.
pub fn add_dots(
    a: Strips<'_>,
    b: Strips<'_>,
    (segments, width): (usize, usize),
    out: &mut [f32],
    level: Level,
) {
    assert!(level.is_here(), "this machine has no {level:?}");
    assert_eq!(out.len(), a.starts.len() * b.starts.len(), "outer dimensions");
    assert!(segments > 0 && a.hold(segments, width) && b.hold(segments, width), "rows of {width} values");
    for (segments, columns) in blocks(segments, width) {
        let sweep = Sweep { a, b, segments, columns, out };
        match level {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the machine has the instructions, and the rows were checked above.
            Level::Avx512 => unsafe { sweep.avx512() },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx2 => unsafe { sweep.avx2() },
            _ => sweep.run(plain),
        }
    }
}

/// How many segments of this width are read together.
pub fn segments_together(width: usize) -> usize {
    (TOGETHER / width.max(1)).max(1)
}

/// Segments and columns that are read together, in order: several short segments, or parts of a long one.
fn blocks(segments: usize, width: usize) -> impl Iterator<Item = (Range<usize>, Range<usize>)> {
    let (some, part) = (segments_together(width), width.min(TOGETHER));
    (0..segments).step_by(some).flat_map(move |first| {
        let segments = first..(first + some).min(segments);
        (0..width).step_by(part.max(1)).map(move |at| (segments.clone(), at..(at + part).min(width)))
    })
}

struct Sweep<'a> {
    a: Strips<'a>,
    b: Strips<'a>,
    segments: Range<usize>,
    columns: Range<usize>,
    out: &'a mut [f32],
}

impl Sweep<'_> {
    #[inline(always)]
    fn run<const R: usize>(
        self,
        tile: impl Fn(Strips<'_>, [usize; R], Strips<'_>, [usize; TILE_COLUMNS], Range<usize>, usize) -> Tile<R>,
    ) {
        let Sweep { a, b, segments, columns, out } = self;
        let width = b.starts.len();
        // Beyond the last row comes the last row again, and what it gives is left out.
        let row =
            |strips: Strips<'_>, i: usize| strips.starts[i.min(strips.starts.len() - 1)] + columns.start;
        for first in (0..width).step_by(COLUMNS) {
            for r in (0..a.starts.len()).step_by(R) {
                let a_rows: [usize; R] = std::array::from_fn(|i| row(a, r + i));
                let tiles = (first..width.min(first + COLUMNS)).step_by(TILE_COLUMNS);
                // While the tiles of these rows go on, the next rows come, a share with each tile.
                let next: [usize; R] = std::array::from_fn(|i| row(a, r + R + i));
                let (pieces, count) = (R * segments.len(), tiles.len());
                for (number, c) in tiles.enumerate() {
                    if count >= MANY_TILES {
                        let (piece, part) = (number * pieces / count, number * pieces % count);
                        let at = next[piece % R] + (segments.start + piece / R) * a.step;
                        let share = columns.len() * part / count..columns.len() * (part + pieces) / count;
                        share.step_by(LINE).for_each(|column| prefetch(a.values, at + column));
                    }
                    let b_rows: [usize; TILE_COLUMNS] = std::array::from_fn(|i| row(b, c + i));
                    let sums = tile(a, a_rows, b, b_rows, segments.clone(), columns.len());
                    let count = TILE_COLUMNS.min(width - c);
                    for (out, sums) in out[r * width..].chunks_exact_mut(width).zip(&sums) {
                        for (out, sum) in out[c..][..count].iter_mut().zip(sums) {
                            *out += sum;
                        }
                    }
                }
            }
        }
    }

    /// # Safety
    /// The machine has the instructions, and the rows lie within the values.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn avx512(self) {
        // SAFETY: the rows of a tile are some of them.
        self.run(|a, a_rows, b, b_rows, segments, width| unsafe {
            avx512(a, a_rows, b, b_rows, segments, width)
        });
    }

    /// # Safety
    /// The machine has the instructions, and the rows lie within the values.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2(self) {
        // SAFETY: the rows of a tile are some of them.
        self.run(|a, a_rows, b, b_rows, segments, width| unsafe {
            avx2(a, a_rows, b, b_rows, segments, width)
        });
    }
}

/// The sums of a tile, row by row.
type Tile<const R: usize> = [[f32; TILE_COLUMNS]; R];

/// One tile with vectors of the architecture; `some` loads the first few values of a vector, and zeros.
#[cfg(target_arch = "x86_64")]
macro_rules! tile {
    ($name:ident, $features:literal, $width:literal lanes, $rows:literal rows,
     $zero:ident, $load:ident, $some:ident, $fma:ident, $fold:ident) => {
        /// # Safety
        /// From every start, in every segment, `width` values lie in the strips.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $name(
            a: Strips<'_>,
            a_rows: [usize; $rows],
            b: Strips<'_>,
            b_rows: [usize; TILE_COLUMNS],
            segments: Range<usize>,
            width: usize,
        ) -> Tile<$rows> {
            use std::arch::x86_64::*;
            let mut sums = [[$zero(); TILE_COLUMNS]; $rows];
            for segment in segments {
                // SAFETY: the rows begin within the strips.
                let a_rows = a_rows.map(|row| unsafe { a.values.as_ptr().add(segment * a.step + row) });
                // SAFETY: as above.
                let b_rows = b_rows.map(|row| unsafe { b.values.as_ptr().add(segment * b.step + row) });
                let whole = width - width % $width;
                for at in (0..whole).step_by($width) {
                    // SAFETY: a whole vector lies there.
                    let left: [_; $rows] = std::array::from_fn(|r| unsafe { $load(a_rows[r].add(at)) });
                    for c in 0..TILE_COLUMNS {
                        // SAFETY: as above.
                        let right = unsafe { $load(b_rows[c].add(at)) };
                        for r in 0..$rows {
                            sums[r][c] = $fma(left[r], right, sums[r][c]);
                        }
                    }
                }
                if whole < width {
                    let rest = width - whole;
                    let left: [_; $rows] = std::array::from_fn(|r| {
                        // SAFETY: so many values lie there.
                        unsafe { $some(a_rows[r].add(whole), rest) }
                    });
                    for c in 0..TILE_COLUMNS {
                        // SAFETY: as above.
                        let right = unsafe { $some(b_rows[c].add(whole), rest) };
                        for r in 0..$rows {
                            sums[r][c] = $fma(left[r], right, sums[r][c]);
                        }
                    }
                }
            }
            let mut out = [[0.0; TILE_COLUMNS]; $rows];
            for r in 0..$rows {
                out[r] = $fold(sums[r]);
            }
            out
        }
    };
}

#[cfg(target_arch = "x86_64")]
tile!(
    avx2, "avx2,fma", 8 lanes, 3 rows, _mm256_setzero_ps, _mm256_loadu_ps, some_of_8, _mm256_fmadd_ps, sums_of_8
);
#[cfg(target_arch = "x86_64")]
tile!(
    avx512, "avx512f", 16 lanes, 6 rows, _mm512_setzero_ps, _mm512_loadu_ps, some_of_16, _mm512_fmadd_ps,
    sums_of_16
);

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512};

/// The first `count` values, and zeros.
///
/// # Safety
/// They lie there.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn some_of_8(from: *const f32, count: usize) -> __m256 {
    use std::arch::x86_64::*;
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes);
    // SAFETY: the mask lets only those be read.
    unsafe { _mm256_maskload_ps(from, mask) }
}

/// The first `count` values, and zeros.
///
/// # Safety
/// They lie there.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn some_of_16(from: *const f32, count: usize) -> __m512 {
    // SAFETY: the mask lets only those be read.
    unsafe { std::arch::x86_64::_mm512_maskz_loadu_ps((1u16 << count) - 1, from) }
}

/// The sums of the lanes of four vectors.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2,fma")]
fn sums_of_8([a, b, c, d]: [__m256; 4]) -> [f32; 4] {
    use std::arch::x86_64::*;
    let sums = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    let sums = _mm_add_ps(_mm256_castps256_ps128(sums), _mm256_extractf128_ps::<1>(sums));
    let mut out = [0.0; 4];
    // SAFETY: four values fit.
    unsafe { _mm_storeu_ps(out.as_mut_ptr(), sums) };
    out
}

/// The sums of the lanes of four vectors.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn sums_of_16([a, b, c, d]: [__m512; 4]) -> [f32; 4] {
    use std::arch::x86_64::*;
    let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    let quarters =
        _mm512_add_ps(_mm512_shuffle_ps::<0b01_00_01_00>(ab, cd), _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd));
    let halves = _mm256_add_ps(
        _mm512_castps512_ps256(quarters),
        _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(quarters))),
    );
    let sums = _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps::<1>(halves));
    let mut out = [0.0; 4];
    // SAFETY: four values fit.
    unsafe { _mm_storeu_ps(out.as_mut_ptr(), sums) };
    out
}

/// One tile in plain loops, with as many partial sums.
#[inline(always)]
fn plain(
    a: Strips<'_>,
    a_rows: [usize; 3],
    b: Strips<'_>,
    b_rows: [usize; TILE_COLUMNS],
    segments: Range<usize>,
    width: usize,
) -> Tile<3> {
    const LANES: usize = 8;
    let mut sums = [[[0.0f32; LANES]; TILE_COLUMNS]; 3];
    for segment in segments {
        let rows = |strips: Strips<'_>, row: usize| segment * strips.step + row;
        let a_rows = a_rows.map(|row| &a.values[rows(a, row)..][..width]);
        let b_rows = b_rows.map(|row| &b.values[rows(b, row)..][..width]);
        for at in (0..width).step_by(LANES) {
            let count = LANES.min(width - at);
            for r in 0..3 {
                for c in 0..TILE_COLUMNS {
                    let (left, right) = (&a_rows[r][at..][..count], &b_rows[c][at..][..count]);
                    for ((sum, left), right) in sums[r][c].iter_mut().zip(left).zip(right) {
                        *sum = if cfg!(target_arch = "aarch64") {
                            left.mul_add(*right, *sum)
                        } else {
                            left * right + *sum
                        };
                    }
                }
            }
        }
    }
    sums.map(|sums| sums.map(|lanes| lanes.iter().sum()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::random::{Purpose, Stream};

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut stream = Stream::new(seed, Purpose::Init, 0, 0);
        (0..count).map(|_| stream.normal() as f32).collect()
    }

    #[test]
    fn every_level_agrees_with_the_definition() {
        let (a, b) = (numbers(40_000, 1), numbers(40_000, 2));
        for (segments, width, rows, columns) in [
            (1, 1, 1, 1),
            (3, 36, 5, 7),
            (4, 7, 4, 6),
            (2, 800, 2, 4),
            (1, 2000, 9, 13),
            (40, 50, 3, 2),
            (5, 16, 8, 12),
        ] {
            // The rows of b overlap and are in no order.
            let a_starts: Vec<usize> = (0..rows).map(|r| r * width).collect();
            let b_starts: Vec<usize> = (0..columns).map(|c| c * 31 % 71).collect();
            let a = Strips { values: &a, starts: &a_starts, step: rows * width };
            let b = Strips { values: &b, starts: &b_starts, step: 79 };
            let exact = |r: usize, c: usize| -> f64 {
                let places = (0..segments).flat_map(|s| (0..width).map(move |p| (s, p)));
                places
                    .map(|(s, p)| {
                        let (a, b) =
                            (a.values[s * a.step + a_starts[r] + p], b.values[s * b.step + b_starts[c] + p]);
                        f64::from(a) * f64::from(b)
                    })
                    .sum()
            };
            for level in Level::here() {
                let mut out = vec![5.0; rows * columns];
                add_dots(a, b, (segments, width), &mut out, level);
                for (i, out) in out.iter().enumerate() {
                    let off = f64::from(*out) - 5.0 - exact(i / columns, i % columns);
                    assert!(
                        off.abs() < 2e-4,
                        "{level:?}, {segments} of {width}, {rows} x {columns}: {off:e}"
                    );
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "rows of 16 values")]
    fn a_row_that_ends_outside_is_refused() {
        let a = Strips { values: &[0.0; 40], starts: &[0], step: 16 };
        let b = Strips { values: &[0.0; 40], starts: &[9], step: 16 };
        add_dots(a, b, (2, 16), &mut [0.0], Level::Plain);
    }
}
