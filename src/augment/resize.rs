//! Resizes a window of a picture, bilinear with antialiasing, in Pillow's fixed-point arithmetic (`Resample.c`):
//! a triangle filter as wide as the scale, its weights rounded to 22 bits, first along rows, then along columns,
//! with rounding to bytes in between.

use super::Picture;

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
pub(super) fn resize(picture: &mut Picture, window: Window, height: usize, width: usize) {
    let (full_height, full_width) = (picture.height(), picture.width());
    let along_rows = Filter::new(window.width, width);
    let along_columns = Filter::new(window.height, height);
    let mut narrowed = vec![0; window.height * width];
    picture.redraw(height, width, |from, to| {
        let planes = from.chunks_exact(full_height * full_width).zip(to.chunks_exact_mut(height * width));
        for (plane, out) in planes {
            let rows = plane.chunks_exact(full_width).skip(window.top).take(window.height);
            for (row, out) in rows.zip(narrowed.chunks_exact_mut(width)) {
                along_rows.filter_row(&row[window.left..][..window.width], out);
            }
            for (out, taps) in out.chunks_exact_mut(width).zip(&along_columns.taps) {
                filter_columns(taps, &narrowed, out);
            }
        }
    });
}

/// Weights are multiples of 2^-22; a weighted sum of bytes then fits 32 bits.
const PRECISION_BITS: u32 = 32 - 8 - 2;

/// Half of one byte step, so that cutting off rounds to nearest.
const HALF: i32 = 1 << (PRECISION_BITS - 1);

/// For every output position the input positions that it averages.
struct Filter {
    taps: Vec<Taps>,
}

struct Taps {
    start: usize,
    weights: Vec<i32>,
}

impl Filter {
    fn new(input: usize, output: usize) -> Filter {
        let scale = input as f64 / output as f64;
        let support = scale.max(1.0);
        let taps = (0..output).map(|position| {
            let center = (position as f64 + 0.5) * scale;
            let start = (center - support + 0.5).max(0.0) as usize;
            let end = ((center + support + 0.5) as usize).min(input);
            let triangle = |i| (1.0 - ((i as f64 - center + 0.5) * (1.0 / support)).abs()).max(0.0);
            let weights: Vec<f64> = (start..end).map(triangle).collect();
            let sum: f64 = weights.iter().sum();
            Taps { start, weights: weights.iter().map(|weight| fixed(weight / sum)).collect() }
        });
        Filter { taps: taps.collect() }
    }

    fn filter_row(&self, row: &[u8], out: &mut [u8]) {
        for (out, taps) in out.iter_mut().zip(&self.taps) {
            let pixels = &row[taps.start..][..taps.weights.len()];
            let products = pixels.iter().zip(&taps.weights).map(|(pixel, weight)| i32::from(*pixel) * weight);
            *out = to_byte(products.sum::<i32>() + HALF);
        }
    }
}

/// One row of the result as the weighted sum of rows of the input, which is as wide.
fn filter_columns(taps: &Taps, rows: &[u8], out: &mut [u8]) {
    let width = out.len();
    let mut sums = vec![HALF; width];
    for (row, weight) in rows.chunks_exact(width).skip(taps.start).zip(&taps.weights) {
        for (sum, pixel) in sums.iter_mut().zip(row) {
            *sum += i32::from(*pixel) * weight;
        }
    }
    for (out, sum) in out.iter_mut().zip(&sums) {
        *out = to_byte(*sum);
    }
}

/// The nearest multiple of 2^-22, as a count of them; weights of a triangle are never negative.
fn fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << PRECISION_BITS) + 0.5) as i32
}

fn to_byte(sum: i32) -> u8 {
    (sum >> PRECISION_BITS).clamp(0, 255) as u8
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
            for taps in Filter::new(input, output).taps {
                let sum: i32 = taps.weights.iter().sum();
                assert!((sum - (1 << PRECISION_BITS)).abs() <= taps.weights.len() as i32);
            }
        }
    }
}
