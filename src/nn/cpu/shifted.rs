//! Convolution as products of the filters with the shifted input (implicit GEMM; Chetlur et al., "cuDNN: efficient primitives for
//! deep learning", 2014, section 3). Each plane of a sample is copied once, with zeros around it, and with a stride
//! S into S x S planes, one for each remainder of row and column; then every tap of a filter reads a run of values.
//! A run goes on over the ends of rows, and what it makes there is thrown away.
//!
//! It costs the products of the definition, and as many copies as there are inputs. Samples go in parallel.

use rayon::prelude::*;

use super::finish::{Added, Finish, Output, Stored};
use super::fresh::filled;
use super::geometry::Geometry;
use super::lanes::vectorize;
use super::level::Level;
use super::matrix::Matrix;
use super::product::{Packed, Rounding, Rows, multiply};
use super::scratch;

/// The output for a batch x.
pub fn forward(
    g: &Geometry,
    x: &[f32],
    filters: &[f32],
    finish: Output,
    (rounding, level): (Rounding, Level),
) -> Vec<f32> {
    let to = (g.out_height(), g.out_width());
    let shifts = Shifts::new(g.kernel, g.stride, g.padding as isize, (g.height, g.width), to);
    let pass = Pass { shifts, groups: g.groups, channels: g.channels, rounding, level, finish };
    // SAFETY: a pass stores every value of the output.
    unsafe { filled(x.len() / g.sample() * g.out_sample(), |y| pass.run(x, filters, y)) }
}

/// dx += the gradient of the input, for stride 1: the convolution of dy with the flipped filters.
pub fn add_input_gradient(g: &Geometry, dy: &[f32], filters: &[f32], dx: &mut [f32], level: Level) {
    assert_eq!(g.stride, 1, "the gradient of a convolution with a stride is none");
    let (inputs, outputs) = (g.channels.0 / g.groups, g.group_outputs());
    let size = g.kernel * g.kernel;
    let mut flipped = Vec::with_capacity(filters.len());
    for filters in filters.chunks_exact(outputs * g.filter()) {
        for i in 0..inputs {
            for o in 0..outputs {
                flipped.extend(filters[(o * inputs + i) * size..][..size].iter().rev());
            }
        }
    }
    let before = g.kernel as isize - 1 - g.padding as isize;
    let shifts = Shifts::new(g.kernel, 1, before, (g.out_height(), g.out_width()), (g.height, g.width));
    let channels = (g.channels.1, g.channels.0);
    Pass { shifts, groups: g.groups, channels, rounding: Rounding::Plain, level, finish: Added }
        .run(dy, &flipped, dx);
}

/// A convolution, and what becomes of each value.
struct Pass<F> {
    shifts: Shifts,
    groups: usize,
    channels: (usize, usize),
    rounding: Rounding,
    level: Level,
    finish: F,
}

impl<F: Finish> Pass<F> {
    /// Stores the convolution of `x` with the filters (to channels, from channels / groups, K, K).
    fn run(&self, x: &[f32], filters: &[f32], y: &mut [F::Place]) {
        let shifts = &self.shifts;
        let (inputs, outputs) = (self.channels.0 / self.groups, self.channels.1 / self.groups);
        let starts = shifts.starts(inputs);
        let packed: Vec<Packed> = filters
            .chunks_exact(outputs * starts.len())
            .map(|filters| Packed::new(Matrix::new(filters, outputs, starts.len()), self.level))
            .collect();
        let (from, to) = (shifts.from.0 * shifts.from.1, shifts.to.0 * shifts.to.1);
        y.par_chunks_mut(self.channels.1 * to).zip(x.par_chunks(self.channels.0 * from)).for_each(
            |(y, x)| {
                shifts.with(x, |planes| {
                    let planes = planes.chunks_exact(inputs * shifts.plane());
                    let groups = packed.iter().zip(planes).zip(y.chunks_exact_mut(outputs * to));
                    for (group, ((filters, values), y)) in groups.enumerate() {
                        let run = Rows { values, starts: &starts, width: shifts.run() };
                        let first = group * outputs;
                        if shifts.run() == to {
                            multiply(filters, run, self.rounding, y, to, (first, &self.finish));
                        } else {
                            scratch::with(outputs * shifts.run(), |runs| {
                                multiply(filters, run, self.rounding, runs, shifts.run(), (0, &Stored));
                                self.keep(runs, y, first);
                            });
                        }
                    }
                });
            },
        );
    }

    /// Stores the rows of the output out of the runs that contain them.
    fn keep(&self, runs: &[f32], y: &mut [F::Place], first: usize) {
        let Shifts { to: (height, width), columns, .. } = self.shifts;
        let channels = runs.chunks_exact(self.shifts.run()).zip(y.chunks_exact_mut(height * width));
        for (channel, (run, y)) in channels.enumerate() {
            let store = self.finish.of(first + channel);
            vectorize(move || {
                for (y, run) in y.chunks_exact_mut(width).zip(run.chunks(columns)) {
                    for (y, value) in y.iter_mut().zip(run) {
                        store(y, *value);
                    }
                }
            });
        }
    }
}

/// How a kernel's taps find their inputs in copies of the planes.
struct Shifts {
    kernel: usize,
    stride: usize,
    /// Zeros (or, if negative, values left out) before the first value of a row and of a column.
    before: isize,
    /// Rows and columns of the planes read.
    from: (usize, usize),
    /// Rows and columns of the planes written.
    to: (usize, usize),
    /// Rows of a copy.
    rows: usize,
    /// Columns of a copy.
    columns: usize,
}

impl Shifts {
    fn new(kernel: usize, stride: usize, before: isize, from: (usize, usize), to: (usize, usize)) -> Shifts {
        let reach = (kernel - 1) / stride;
        Shifts { kernel, stride, before, from, to, rows: to.0 + reach, columns: to.1 + reach }
    }

    /// Remainders of rows, and of columns, that some tap reads.
    fn remainders(&self) -> usize {
        self.stride.min(self.kernel)
    }

    /// Values of the copies of one plane.
    fn plane(&self) -> usize {
        self.remainders() * self.remainders() * self.rows * self.columns
    }

    /// How long a run is: from the first output to the last.
    fn run(&self) -> usize {
        (self.to.0 - 1) * self.columns + self.to.1
    }

    /// Where each tap's run begins, for the taps of a filter in their order.
    fn starts(&self, inputs: usize) -> Vec<usize> {
        let Shifts { kernel, stride, rows, columns, .. } = *self;
        let tap = |i: usize, s: usize, t: usize| {
            let copy = s % stride * self.remainders() + t % stride;
            i * self.plane() + (copy * rows + s / stride) * columns + t / stride
        };
        let taps =
            (0..inputs).flat_map(|i| (0..kernel).flat_map(move |s| (0..kernel).map(move |t| (i, s, t))));
        taps.map(|(i, s, t)| tap(i, s, t)).collect()
    }

    /// Shows `work` the copies of all planes of a sample.
    fn with(&self, x: &[f32], work: impl FnOnce(&[f32])) {
        if (self.kernel, self.stride, self.before) == (1, 1, 0) {
            return work(x);
        }
        let planes = x.len() / (self.from.0 * self.from.1);
        scratch::with(planes * self.plane(), |copies| {
            let copy = copies.chunks_exact_mut(self.rows * self.columns);
            for (number, copy) in copy.enumerate() {
                let remainders = self.remainders() * self.remainders();
                let (plane, remainder) = (number / remainders, number % remainders);
                let size = self.from.0 * self.from.1;
                let remainder = (remainder / self.remainders(), remainder % self.remainders());
                self.copy(&x[plane * size..][..size], remainder, copy);
            }
            work(copies);
        });
    }

    /// Copies what lies at one remainder of row and column.
    fn copy(&self, plane: &[f32], (row, column): (usize, usize), to: &mut [f32]) {
        // The source of a value at 0, and the values whose sources lie in the plane.
        let source = |remainder: usize| remainder as isize - self.before;
        let inside = |first: isize, size: usize, count: usize| {
            let place = |source: isize| (source.max(0) as usize).div_ceil(self.stride).min(count);
            place(-first)..place(size as isize - first)
        };
        let (first_row, first) = (source(row), source(column));
        let (height, width) = self.from;
        let (inside_rows, inside) =
            (inside(first_row, height, self.rows), inside(first, width, self.columns));
        for (r, to) in to.chunks_exact_mut(self.columns).enumerate() {
            if !inside_rows.contains(&r) || inside.is_empty() {
                to.fill(0.0);
                continue;
            }
            let from = &plane[(first_row + (r * self.stride) as isize) as usize * width..][..width];
            let from = &from[(first + (inside.start * self.stride) as isize) as usize..];
            to[..inside.start].fill(0.0);
            to[inside.end..].fill(0.0);
            let to = &mut to[inside.clone()];
            match self.stride {
                1 => to.copy_from_slice(&from[..to.len()]),
                2 => {
                    // All but perhaps the last value come in pairs of which the first counts.
                    let (pairs, last) = from.as_chunks::<2>();
                    let values = pairs.iter().map(|pair| pair[0]).chain(last.iter().copied());
                    to.iter_mut().zip(values).for_each(|(to, value)| *to = value);
                }
                stride => {
                    to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, value)| *to = *value);
                }
            }
        }
    }
}
