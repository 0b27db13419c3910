//! Convolution as products of the filters with the shifted input (implicit GEMM; Chetlur et al., "cuDNN: efficient primitives for
//! deep learning", 2014, section 3). Each plane of a sample is copied once, with zeros around it, and with a stride
//! S into S x S planes, one for each remainder of row and column; then every tap of a filter reads a run of values.
//! A run goes on over the ends of rows, and what it makes there is thrown away.
//!
//! The gradient of the filters has the same runs, of the input and of dy with zeros where a run goes on over the ends.
//!
//! It costs the products of the definition, and as many copies as there are inputs. Samples go in parallel, and their
//! parts of the filters' gradient are added in a fixed order.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::dots::{Strips, TILE_ROWS, add_dots};
use super::elementwise::sum_of;
use super::finish::{Finish, Output, Stored};
use super::geometry::Geometry;
use super::lanes::vectorize;
use super::level::Level;
use super::matrix::Matrix;
use super::product::{Packed, Rounding, Rows, multiply};
use super::scratch;

/// Into how many tasks about the filters' gradient is cut: parts of the batch, and if these are few, blocks of rows. A
/// constant, because it fixes the order of additions.
const TASKS: usize = 16;

/// Over how many positions at least the sums of a part run, because each has to be added to those of others.
const MANY: usize = 2304;

/// Narrower planes than these are worth a copy that has those of one channel together.
const NARROW: usize = 128;

/// Stores the output y for a batch x; returns what `then` makes of each sample of it.
pub fn forward<T: Send>(
    g: &Geometry,
    (x, y): (&[f32], &mut [MaybeUninit<f32>]),
    filters: &[f32],
    finish: Output,
    (rounding, level): (Rounding, Level),
    then: impl Fn(usize, &mut [MaybeUninit<f32>]) -> T + Sync,
) -> Vec<T> {
    let to = (g.out_height(), g.out_width());
    let shifts = Shifts::new(g.kernel, g.stride, g.padding as isize, (g.height, g.width), to);
    Pass { shifts, groups: g.groups, channels: g.channels, rounding, level, finish }.run(x, filters, y, then)
}

/// Finishes dx with the gradient of the input, for stride 1: the convolution of dy with the flipped filters.
pub fn input_gradient<F: Finish>(
    g: &Geometry,
    dy: &[f32],
    filters: &[f32],
    (dx, finish): (&mut [F::Place], F),
    level: Level,
) {
    assert_eq!(g.stride, 1, "the gradient of a convolution with a stride is none");
    let before = g.kernel as isize - 1 - g.padding as isize;
    let shifts = Shifts::new(g.kernel, 1, before, (g.out_height(), g.out_width()), (g.height, g.width));
    let channels = (g.channels.1, g.channels.0);
    Pass { shifts, groups: g.groups, channels, rounding: Rounding::Plain, level, finish }.run(
        dy,
        &g.flipped(filters),
        dx,
        |_, _| (),
    );
}

/// The gradient of the filters.
pub fn filter_gradient(g: &Geometry, x: &[f32], dy: &[f32], level: Level) -> Vec<f32> {
    let to = (g.out_height(), g.out_width());
    let shifts = Shifts::new(g.kernel, g.stride, g.padding as isize, (g.height, g.width), to);
    let (outputs, run) = (g.group_outputs(), shifts.run());
    // The side with more rows is cut into blocks; so what is found is (filter, out) if that is the input's.
    let is_turned = g.filter() > outputs;
    let batch = x.len() / g.sample();
    let samples = batch.div_ceil(TASKS).max(MANY.div_ceil(run)).min(batch);
    let rows = outputs.max(g.filter()).div_ceil(TASKS.div_ceil(batch.div_ceil(samples)));
    let block = rows.next_multiple_of(TILE_ROWS) * outputs.min(g.filter());
    let part = |(x, dy): (&[f32], &[f32])| {
        let mut dw = vec![0.0; g.channels.1 * g.filter()];
        let samples = dy.len() / g.out_sample();
        let mut add = |x: Strips<'_>, dy: Strips<'_>, rows: (usize, usize)| {
            let groups = x.starts.chunks_exact(g.filter()).zip(dy.starts.chunks_exact(outputs));
            for ((x_starts, dy_starts), dw) in groups.zip(dw.chunks_exact_mut(outputs * g.filter())) {
                let (x, dy) = (Strips { starts: x_starts, ..x }, Strips { starts: dy_starts, ..dy });
                let (cut, whole) = if is_turned { (x, dy) } else { (dy, x) };
                dw.par_chunks_mut(block).enumerate().for_each(|(number, dw)| {
                    let first = number * block / whole.starts.len();
                    let starts = &cut.starts[first..][..dw.len() / whole.starts.len()];
                    add_dots(Strips { starts, ..cut }, whole, rows, dw, level);
                });
            }
        };
        shifts.with(x, |x| {
            if g.kernel == 1 && run < NARROW {
                return with_channels_together(x, samples, run, |x| {
                    with_channels_together(dy, samples, run, |dy| add(x, dy, (1, samples * run)));
                });
            }
            shifts.with_runs(dy, |dy| {
                let (x_starts, dy_starts) = (shifts.starts(g.channels.0), equal_steps(g.channels.1, run));
                let x = Strips { values: x, starts: &x_starts, step: x.len() / samples };
                add(x, Strips { values: dy, starts: &dy_starts, step: dy.len() / samples }, (samples, run));
            });
        });
        dw
    };
    let parts = x.par_chunks(samples * g.sample()).zip(dy.par_chunks(samples * g.out_sample()));
    let dw = sum_of(parts.map(part).collect());
    if !is_turned {
        return dw;
    }
    dw.chunks_exact(outputs * g.filter()).flat_map(|dw| turned(dw, outputs)).collect()
}

/// Shows `work` the planes of all samples of a channel one after the other, as one row: narrow planes of one channel lie
/// so far apart that the cache has few places for them.
fn with_channels_together(values: &[f32], samples: usize, plane: usize, work: impl FnOnce(Strips<'_>)) {
    let sample = values.len() / samples;
    let starts = equal_steps(sample / plane, samples * plane);
    scratch::with(values.len(), |together| {
        for (channel, row) in together.chunks_exact_mut(samples * plane).enumerate() {
            for (sample, row) in values.chunks_exact(sample).zip(row.chunks_exact_mut(plane)) {
                row.copy_from_slice(&sample[channel * plane..][..plane]);
            }
        }
        work(Strips { values: together, starts: &starts, step: 0 });
    });
}

/// Where rows of equal length begin that follow each other.
fn equal_steps(count: usize, step: usize) -> Vec<usize> {
    (0..count).map(|row| row * step).collect()
}

/// A matrix with so many columns, with rows and columns exchanged.
fn turned(values: &[f32], columns: usize) -> impl Iterator<Item = f32> + '_ {
    (0..columns).flat_map(move |column| values[column..].iter().step_by(columns).copied())
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
    fn run<T: Send>(
        &self,
        x: &[f32],
        filters: &[f32],
        y: &mut [F::Place],
        then: impl Fn(usize, &mut [F::Place]) -> T + Sync,
    ) -> Vec<T> {
        let shifts = &self.shifts;
        let (inputs, outputs) = (self.channels.0 / self.groups, self.channels.1 / self.groups);
        let starts = shifts.starts(inputs);
        let packed: Vec<Packed> = filters
            .chunks_exact(outputs * starts.len())
            .map(|filters| Packed::new(Matrix::new(filters, outputs, starts.len()), self.level))
            .collect();
        let (from, to) = (shifts.from.0 * shifts.from.1, shifts.to.0 * shifts.to.1);
        let samples = y.par_chunks_mut(self.channels.1 * to).zip(x.par_chunks(self.channels.0 * from));
        samples
            .enumerate()
            .map(|(sample, (y, x))| {
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
                then(sample, y)
            })
            .collect()
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

    /// Shows `work` the copies of all planes of some samples.
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

    /// Shows `work` the runs of all planes of some outputs, with zeros where a run goes on over the end of a row.
    fn with_runs(&self, y: &[f32], work: impl FnOnce(&[f32])) {
        let Shifts { to: (height, width), columns, .. } = *self;
        if columns == width {
            return work(y);
        }
        scratch::with(y.len() / (height * width) * self.run(), |runs| {
            for (run, y) in runs.chunks_exact_mut(self.run()).zip(y.chunks_exact(height * width)) {
                for (run, y) in run.chunks_mut(columns).zip(y.chunks_exact(width)) {
                    let (row, between) = run.split_at_mut(width);
                    row.copy_from_slice(y);
                    between.fill(0.0);
                }
            }
            work(runs);
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
