//! Pooling of planes (height, width): the maximum over windows, and the mean over the whole plane.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::fresh::{filled, zeroed};
use super::lanes::{LANES, Lanes, Loop, run_at, vectorize};
use super::level::Level;
use super::scratch;
use super::shifts::Shifts;

/// How many planes one task takes.
const TOGETHER: usize = 8;

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

    /// How the places of windows find their values in copies of the planes, in which what lies beyond the edges never wins.
    fn shifts(&self) -> Shifts {
        let (from, to) = ((self.height, self.width), (self.out_height(), self.out_width()));
        Shifts::new(self.side, self.stride, self.padding as isize, from, to).surrounded_by(f32::NEG_INFINITY)
    }

    /// The first place within the window at a row and column of the result that lies within the plane.
    fn first(&self, row: usize, column: usize) -> usize {
        let before = |at: usize| self.padding.saturating_sub(at * self.stride);
        before(row) * self.side + before(column)
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

/// The largest values of the windows of a plane, and where in their windows they stand: as runs that go on over the ends of rows
/// of the result.
struct Largest<'a> {
    /// The copies of the plane.
    copies: &'a [f32],
    /// Where the run of each place of the windows begins.
    starts: &'a [usize],
    /// The first place of each window within the plane. Places are f32, so that the compiler can keep values and places in
    /// lanes of one width.
    firsts: &'a [[f32; LANES]],
    values: &'a mut [[f32; LANES]],
    places: &'a mut [[f32; LANES]],
}

impl Loop for Largest<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Largest { copies, starts, firsts, values, places } = self;
        for (vector, (values, places)) in values.iter_mut().zip(places).enumerate() {
            let (mut largest, mut winners) = ([f32::NEG_INFINITY; LANES], firsts[vector]);
            for (place, start) in starts.iter().enumerate() {
                let mut challengers = [f32::NEG_INFINITY; LANES];
                let here = &copies[start + vector * LANES..];
                match here.first_chunk::<LANES>() {
                    Some(here) => challengers = *here,
                    None => challengers[..here.len()].copy_from_slice(here),
                }
                for l in 0..LANES {
                    // NaN is larger than any number.
                    let wins = (challengers[l] > largest[l]) | challengers[l].is_nan();
                    largest[l] = if wins { challengers[l] } else { largest[l] };
                    winners[l] = if wins { place as f32 } else { winners[l] };
                }
            }
            (*values, *places) = (largest, winners);
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
    let shifts = window.shifts();
    let (starts, columns) = (shifts.starts(1), shifts.columns);
    let mut firsts = vec![[0.0; LANES]; shifts.run().div_ceil(LANES)];
    for (at, first) in firsts.as_flattened_mut().iter_mut().enumerate() {
        *first = window.first(at / columns, at % columns) as f32;
    }
    let (mut y, mut winners) = (vec![0.0; planes * out_plane], vec![0; planes * out_plane]);
    let of_plane = |((y, winners), x): ((&mut [f32], &mut [u8]), &[f32])| {
        shifts.with(x, |copies| {
            scratch::with(2 * firsts.len() * LANES, |buffer| {
                let (values, places) = buffer.as_chunks_mut().0.split_at_mut(firsts.len());
                let (starts, firsts) = (&*starts, &*firsts);
                run_at(Level::in_use(), Largest { copies, starts, firsts, values, places });
                for (y, values) in y.chunks_exact_mut(out_width).zip(values.as_flattened().chunks(columns)) {
                    y.copy_from_slice(&values[..out_width]);
                }
                for (winners, places) in
                    winners.chunks_exact_mut(out_width).zip(places.as_flattened().chunks(columns))
                {
                    winners.iter_mut().zip(places).for_each(|(winner, place)| *winner = *place as i32 as u8);
                }
            });
        });
    };
    y.par_chunks_mut(out_plane)
        .zip(winners.par_chunks_mut(out_plane))
        .zip(x.par_chunks(plane))
        .with_max_len(TOGETHER)
        .for_each(of_plane);
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
        planes.zip(winners.par_chunks(out_plane)).with_max_len(TOGETHER).for_each(|((dx, dy), winners)| {
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
