//! Pooling of planes (height, width): the maximum over windows, and the mean over the whole plane.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::fresh::{filled, zeroed};
use super::lanes::{Lanes, Loop, run_at, vectorize};
use super::level::Level;
use super::scratch;

/// Windows of side `side`, `stride` apart, over planes with `padding` beyond each edge.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Rows and columns of a window, at most 15.
    pub side: usize,
    /// Steps between neighbouring windows.
    pub stride: usize,
    /// What lies beyond each edge and never wins; less than `side`.
    pub padding: usize,
    /// Rows of a plane.
    pub height: usize,
    /// Columns of a plane.
    pub width: usize,
}

impl Window {
    /// Rows of the result.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.side) / self.stride + 1
    }

    /// Columns of the result.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.side) / self.stride + 1
    }

    /// The places within a window that lie within the plane, along one axis.
    fn inside(&self, at: usize, size: usize) -> Range<usize> {
        let start = at * self.stride;
        self.padding.saturating_sub(start)..self.side.min(size + self.padding - start)
    }

    /// The columns of the result whose windows have their column `x` within the plane, and the column of the plane
    /// that it is for the first of them.
    fn columns(&self, x: usize) -> (Range<usize>, usize) {
        let first = self.padding.saturating_sub(x).div_ceil(self.stride);
        let end = (self.width + self.padding).saturating_sub(x).div_ceil(self.stride).min(self.out_width());
        (first.min(end)..end, (first * self.stride + x).saturating_sub(self.padding))
    }

    /// One row of the result: the largest values, and where in their windows they stand. The columns of the plane come sorted
    /// by their remainder by the stride, so that those of neighbouring windows are neighbours.
    #[inline(always)]
    fn largest(&self, sorted: &[f32], row: usize, y: &mut [f32], winners: &mut [f32]) {
        let remainder = self.width.div_ceil(self.stride);
        winners.fill(NOBODY);
        for window_row in self.inside(row, self.height) {
            let source = row * self.stride + window_row - self.padding;
            let source = &sorted[source * remainder * self.stride..][..remainder * self.stride];
            for window_column in 0..self.side {
                let (columns, first) = self.columns(window_column);
                if columns.is_empty() {
                    continue;
                }
                let challenger = (window_row * self.side + window_column) as f32;
                let values = &source[first % self.stride * remainder + first / self.stride..];
                challenge(&mut y[columns.clone()], &mut winners[columns], challenger, values);
            }
        }
    }

    /// Sorts the columns of a plane, row by row.
    #[inline(always)]
    fn sort(&self, plane: &[f32], sorted: &mut [f32]) {
        let remainder = self.width.div_ceil(self.stride);
        let rows = plane.chunks_exact(self.width).zip(sorted.chunks_exact_mut(remainder * self.stride));
        for (row, sorted) in rows {
            if self.stride == 2 {
                let (even, odd) = sorted.split_at_mut(remainder);
                let (pairs, last) = row.as_chunks::<2>();
                for ((pair, even), odd) in pairs.iter().zip(&mut *even).zip(odd) {
                    *even = pair[0];
                    *odd = pair[1];
                }
                even[pairs.len()..].copy_from_slice(last);
            } else {
                for (first, sorted) in sorted.chunks_exact_mut(remainder).enumerate().take(self.width) {
                    let values = row[first..].iter().step_by(self.stride);
                    sorted.iter_mut().zip(values).for_each(|(sorted, value)| *sorted = *value);
                }
            }
        }
    }
}

impl Window {
    /// The largest value of each column in the rows of a row of windows.
    #[inline(always)]
    fn down(&self, plane: &[f32], row: usize, columns: &mut [f32]) {
        let first = (row * self.stride).saturating_sub(self.padding);
        let count = self.inside(row, self.height).len();
        let mut rows = plane[first * self.width..][..count * self.width].chunks_exact(self.width);
        columns.copy_from_slice(rows.next().expect("a window has a row in the plane"));
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                *column = larger(*column, *value);
            }
        }
    }

    /// The largest value of each window in the largest ones of its columns.
    #[inline(always)]
    fn along(&self, columns: &[f32], y: &mut [f32]) {
        for place in 0..self.side {
            let take = |y: &mut f32, value: f32| {
                *y = if place == 0 { value } else { larger(*y, value) };
            };
            if self.stride == 2 {
                let pairs = &columns.as_chunks::<2>().0[place / 2..];
                y.iter_mut().zip(pairs).for_each(|(y, pair)| take(y, pair[place % 2]));
            } else {
                let values = columns[place..].iter().step_by(self.stride);
                y.iter_mut().zip(values).for_each(|(y, value)| take(y, *value));
            }
        }
    }
}

/// The larger of two values. NaN is larger than any number.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if (b > a) | b.is_nan() { b } else { a }
}

/// A place in no window: their sides are at most 15.
const NOBODY: f32 = 255.0;

/// Takes the challenger's values where they are larger, or the first ones. NaN is larger than any number.
#[inline(always)]
fn challenge(y: &mut [f32], winners: &mut [f32], challenger: f32, values: &[f32]) {
    let values = &values[..y.len()];
    let winners = &mut winners[..y.len()];
    for i in 0..y.len() {
        let wins = (winners[i] == NOBODY) | (values[i] > y[i]) | values[i].is_nan();
        y[i] = if wins { values[i] } else { y[i] };
        winners[i] = if wins { challenger } else { winners[i] };
    }
}

/// The largest values of the windows of a plane, and where in their windows they stand.
struct Largest<'a> {
    window: &'a Window,
    x: &'a [f32],
    sorted: &'a mut [f32],
    /// Places as f32, so that the compiler can keep values and places in lanes of one width.
    places: &'a mut [f32],
    y: &'a mut [f32],
    winners: &'a mut [u8],
}

impl Loop for Largest<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Largest { window, x, sorted, places, y, winners } = self;
        let width = places.len();
        window.sort(x, sorted);
        let rows = y.chunks_exact_mut(width).zip(winners.chunks_exact_mut(width));
        for (row, (y, winners)) in rows.enumerate() {
            window.largest(sorted, row, y, places);
            for i in 0..width {
                winners[i] = places[i] as i32 as u8;
            }
        }
    }
}

/// The largest value of each window, down the columns first and then along the rows.
pub fn maxima(window: &Window, x: &[f32]) -> Vec<f32> {
    let (plane, out_width) = (window.height * window.width, window.out_width());
    let out_plane = window.out_height() * out_width;
    let mut y = vec![0.0; x.len() / plane * out_plane];
    y.par_chunks_mut(out_plane).zip(x.par_chunks(plane)).for_each(|(y, x)| {
        // An even number of values, so that all of them come in pairs.
        let width = (window.width + 2 * window.padding).next_multiple_of(2);
        scratch::with(width, |columns| {
            columns.fill(f32::NEG_INFINITY);
            vectorize(|| {
                for (row, y) in y.chunks_exact_mut(out_width).enumerate() {
                    window.down(x, row, &mut columns[window.padding..][..window.width]);
                    window.along(columns, y);
                }
            });
        });
    });
    y
}

/// The largest value of each window, and where in its window each stands (row-major, the first of equal ones).
pub fn forward(window: &Window, x: &[f32]) -> (Vec<f32>, Vec<u8>) {
    let (plane, out_width) = (window.height * window.width, window.out_width());
    let out_plane = window.out_height() * out_width;
    let planes = x.len() / plane;
    let (mut y, mut winners) = (vec![0.0; planes * out_plane], vec![0; planes * out_plane]);
    y.par_chunks_mut(out_plane).zip(winners.par_chunks_mut(out_plane)).zip(x.par_chunks(plane)).for_each(
        |((y, winners), x)| {
            let sorted = window.height * window.width.next_multiple_of(window.stride);
            scratch::with(sorted + out_width, |buffer| {
                let (sorted, places) = buffer.split_at_mut(sorted);
                run_at(Level::in_use(), Largest { window, x, sorted, places, y, winners });
            });
        },
    );
    (y, winners)
}

/// The gradient of the input: the sum of dy at each winner.
pub fn input_gradient(window: &Window, winners: &[u8], dy: &[f32]) -> Vec<f32> {
    let (plane, out_width) = (window.height * window.width, window.out_width());
    let out_plane = window.out_height() * out_width;
    let places: Vec<usize> = (0..window.side * window.side)
        .map(|place| place / window.side * window.width + place % window.side)
        .collect();
    let fill = |dx: &mut [MaybeUninit<f32>]| {
        let planes = dx.par_chunks_mut(plane).zip(dy.par_chunks(out_plane));
        planes.zip(winners.par_chunks(out_plane)).for_each(|((dx, dy), winners)| {
            let dx = zeroed(dx);
            let rows = dy.chunks_exact(out_width).zip(winners.chunks_exact(out_width));
            for (row, (dy, winners)) in rows.enumerate() {
                for (column, (dy, &winner)) in dy.iter().zip(winners).enumerate() {
                    // The places of a window, in the padded plane; a winner never lies in the padding.
                    let place = (row * window.width + column) * window.stride + places[usize::from(winner)];
                    dx[place - window.padding * (window.width + 1)] += dy;
                }
            }
        });
    };
    // SAFETY: every plane is filled with zeros at first.
    unsafe { filled(dy.len() / out_plane * plane, fill) }
}

/// The mean of each plane of `space` values.
pub fn means(x: &[f32], space: usize) -> Vec<f32> {
    x.par_chunks(space).map(|plane| (super::sums::sum(plane) / space as f64) as f32).collect()
}

/// The gradient of z, where x = act(z) are planes with means: dy / space all over each plane, before the activation.
pub fn means_gradient(dy: &[f32], x: &[f32], negative_slope: f32) -> Vec<f32> {
    let space = x.len() / dy.len();
    let fill = |dx: &mut [MaybeUninit<f32>]| {
        dx.par_chunks_mut(space).zip(x.par_chunks(space)).zip(dy).for_each(|((dx, x), dy)| {
            let gradients = [dy / space as f32, dy / space as f32 * negative_slope];
            for (dx, x) in dx.iter_mut().zip(x) {
                dx.write(if *x > 0.0 { gradients[0] } else { gradients[1] });
            }
        });
    };
    // SAFETY: there is a dy for every plane of x.
    unsafe { filled(x.len(), fill) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_values_takes_the_gradient() {
        let window = Window { side: 2, stride: 2, padding: 0, height: 2, width: 4 };
        let (y, winners) = forward(&window, &[5.0, 5.0, 1.0, 2.0, 5.0, 0.0, 3.0, 3.0]);
        assert_eq!((y, &winners), (vec![5.0, 3.0], &vec![0, 2]));
        let dx = input_gradient(&window, &winners, &[1.0, 2.0]);
        assert_eq!(dx, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]);
    }

    #[test]
    fn maxima_are_the_largest_values_of_the_windows() {
        let mut stream = crate::dataset::random::Stream::new(1, crate::dataset::random::Purpose::Init, 0, 0);
        for (side, stride, padding) in [(1, 1, 0), (2, 2, 0), (3, 2, 1), (2, 1, 1), (3, 3, 2), (4, 2, 3)] {
            for (height, width) in [(4, 4), (5, 7), (8, 33)] {
                let window = Window { side, stride, padding, height, width };
                let x: Vec<f32> = (0..3 * height * width).map(|_| stream.normal() as f32).collect();
                assert_eq!(maxima(&window, &x), forward(&window, &x).0, "{window:?}");
            }
        }
    }

    #[test]
    fn padding_never_wins() {
        let window = Window { side: 3, stride: 2, padding: 1, height: 3, width: 3 };
        let plane: Vec<f32> = (1..=9u8).map(|i| -f32::from(i)).collect();
        assert_eq!(forward(&window, &plane).0, [-1.0, -2.0, -4.0, -5.0]);
        assert_eq!(maxima(&window, &plane), [-1.0, -2.0, -4.0, -5.0]);
    }

    #[test]
    fn nan_is_the_largest_value() {
        let window = Window { side: 2, stride: 2, padding: 0, height: 2, width: 2 };
        let plane = [1.0, f32::NAN, 3.0, 2.0];
        assert!(forward(&window, &plane).0[0].is_nan() && maxima(&window, &plane)[0].is_nan());
    }
}
