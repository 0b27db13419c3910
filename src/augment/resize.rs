//! Resizes a window of a picture, bilinear with antialiasing, in Pillow's fixed-point arithmetic (`Resample.c`):
//! a triangle filter as wide as the scale, its weights rounded to 22 bits, first along rows, then along columns,
//! with rounding to bytes in between.

use std::ops::Range;

use pulp::Arch;

use super::Picture;
use crate::dataset::transpose::transpose;

/// A rectangle inside a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) top: usize,
    pub(super) left: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

impl Window {
    /// The whole picture.
    pub(super) fn whole(picture: &Picture) -> Window {
        Window { top: 0, left: 0, height: picture.height(), width: picture.width() }
    }
}

/// Cuts the window out and scales it to the given size.
///
/// Both passes filter whole rows, for which the first one works on the transposed picture. Like Pillow up to
/// version 12, rows are always scaled before columns; version 13 takes the cheaper order, which may differ by 1 level.
pub(super) fn resize(picture: &mut Picture, window: Window, height: usize, width: usize) {
    let (full_height, full_width) = (picture.height(), picture.width());
    let along_rows = Filter::new(window.width, width);
    let along_columns = Filter::new(window.height, height);
    let mut columns = vec![0; window.width * window.height]; // (window width, window height)
    let mut narrowed_columns = vec![0; width * window.height]; // (width, window height)
    let mut narrowed = vec![0; window.height * width]; // (window height, width)
    picture.redraw(height, width, |from, to| {
        let planes = from.chunks_exact(full_height * full_width).zip(to.chunks_exact_mut(height * width));
        for (plane, out) in planes {
            let from_corner = &plane[window.top * full_width + window.left..];
            transpose(from_corner, full_width, window.height, window.width, &mut columns);
            along_rows.average_rows(&columns, window.height, &mut narrowed_columns);
            transpose(&narrowed_columns, window.height, width, window.height, &mut narrowed);
            along_columns.average_rows(&narrowed, width, out);
        }
    });
}

/// Weights are multiples of 2^-22; a weighted sum of bytes then fits 32 bits.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Half of one byte step, so that cutting off rounds to nearest.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// For every output position the input positions that it averages, and with which weights.
struct Filter {
    /// The input positions.
    taps: Vec<Range<usize>>,
    /// The weights of all taps, one after the other.
    weights: Vec<i32>,
}

impl Filter {
    fn new(input: usize, output: usize) -> Filter {
        let scale = input as f64 / output as f64;
        let support = scale.max(1.0);
        let mut filter = Filter { taps: Vec::with_capacity(output), weights: Vec::new() };
        let mut triangle = Vec::new();
        for position in 0..output {
            let center = (position as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(input);
            let weight = |i| (1.0 - ((i as f64 - center + 0.5) * (1.0 / support)).abs()).max(0.0);
            triangle.clear();
            triangle.extend((start..end).map(weight));
            let sum: f64 = triangle.iter().sum();
            filter.weights.extend(triangle.iter().map(|weight| fixed(weight / sum)));
            filter.taps.push(start..end);
        }
        filter
    }

    /// Writes each row of `out` as the weighted average of some rows of `rows`, all of the same width.
    fn average_rows(&self, rows: &[u8], width: usize, out: &mut [u8]) {
        let targets = self.taps.iter().zip(out.chunks_exact_mut(width));
        Arch::new().dispatch(
            // Consumes `targets`: a closure that could be called twice would not be compiled for wide vectors.
            #[inline(always)]
            || {
                let mut weights = self.weights.as_slice();
                for (taps, out) in targets {
                    let (now, later) = weights.split_at(taps.len());
                    weights = later;
                    let rows = &rows[taps.start * width..taps.end * width];
                    let (pieces, rest) = out.as_chunks_mut::<LANES>();
                    let whole = pieces.len() * LANES;
                    for (i, piece) in pieces.iter_mut().enumerate() {
                        *piece = average::<LANES>(rows, width, i * LANES, now);
                    }
                    for (i, pixel) in rest.iter_mut().enumerate() {
                        [*pixel] = average::<1>(rows, width, whole + i, now);
                    }
                }
            },
        );
    }
}

/// So many neighbouring pixels are averaged at a time.
const LANES: usize = 16;

/// The weighted average of rows, for `N` columns from `column` on.
#[inline(always)]
fn average<const N: usize>(rows: &[u8], width: usize, column: usize, weights: &[i32]) -> [u8; N] {
    let mut sums = [HALF; N];
    for (i, weight) in weights.iter().enumerate() {
        let row = &rows[i * width + column..];
        let pixels: &[u8; N] = row.first_chunk().expect("the columns are inside the row");
        for (sum, pixel) in sums.iter_mut().zip(pixels) {
            *sum += i32::from(*pixel) * weight;
        }
    }
    sums.map(|sum| (sum >> PRECISION_BITS).clamp(0, 255) as u8)
}

/// The nearest multiple of 2^-22, as a count of them; weights of a triangle are never negative.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << PRECISION_BITS) + 0.5) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_size_changes_nothing() {
        let pixels: Vec<u8> = (0..3 * 7 * 5).map(|i| (i * 37) as u8).collect();
        let mut picture = Picture::new(&pixels, 7, 5);
        resize(&mut picture, Window { top: 0, left: 0, height: 7, width: 5 }, 7, 5);
        assert_eq!(picture.pixels(), pixels);
    }

    #[test]
    fn weights_of_every_position_add_up_to_one() {
        for (input, output) in [(96, 80), (40, 96), (1, 5), (5, 1), (96, 7), (33, 120)] {
            let filter = Filter::new(input, output);
            let mut weights = filter.weights.iter();
            for taps in filter.taps {
                let sum: i32 = weights.by_ref().take(taps.len()).sum();
                assert!((sum - (1 << PRECISION_BITS)).abs() <= taps.len() as i32);
            }
        }
    }
}
