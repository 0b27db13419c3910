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

use super::dots::{Strips, TILE_ROWS, add_dots, segments_together};
use super::elementwise::sum_of;
use super::finish::{Activated, Finish, Fresh, Output, Stored};
use super::geometry::Geometry;
use super::lanes::{LANES, Lanes, Loop, run_at, vectorize};
use super::level::Level;
use super::matrix::Matrix;
use super::product::{Packed, Rounding, Rows, multiply};
use super::scratch;
use super::shifts::{Shifts, copy_row};

/// Into how many tasks about the filters' gradient is cut: parts of the batch, and if these are few, blocks of rows. A
/// constant, because it fixes the order of additions.
const TASKS: usize = 16;

/// Over how many positions at least the sums of a part run, because each has to be added to those of others.
const MANY: usize = 2304;

/// Narrower planes than these are worth a copy that has those of one channel together.
const NARROW: usize = 128;

/// The filters of each group as [`forward`] reads them.
pub fn prepare(g: &Geometry, filters: &[f32], level: Level) -> Vec<Packed> {
    let groups = filters.chunks_exact(g.group_outputs() * g.filter());
    let packed = |filters| Packed::new(Matrix::new(filters, g.group_outputs(), g.filter()), level);
    groups.map(packed).collect()
}

/// Stores the output y for a batch x; returns what `then` makes of each sample of it.
pub fn forward<T: Send>(
    g: &Geometry,
    (x, y): (&[f32], &mut [MaybeUninit<f32>]),
    filters: &[Packed],
    finish: Output,
    rounding: Rounding,
    then: impl Fn(usize, &mut [MaybeUninit<f32>]) -> T + Sync,
) -> Vec<T> {
    let to = (g.out_height(), g.out_width());
    let shifts = Shifts::new(g.kernel, g.stride, g.padding as isize, (g.height, g.width), to);
    let starts = &shifts.starts(g.channels.0 / g.groups);
    let pass = Pass { shifts: &shifts, starts, channels: g.channels, filters, rounding, finish: &finish };
    match finish {
        Output { bias: None, negative_slope: 1.0, map: None } => pass.with(&Fresh).run(x, y, then),
        Output { bias: Some(bias), negative_slope, map: None } => {
            pass.with(&Activated { bias, negative_slope }).run(x, y, then)
        }
        Output { .. } => pass.run(x, y, then),
    }
}

/// What finishes the gradient of the input of some samples, from that of their output, for stride 1: the convolution of
/// dy with the flipped filters.
pub fn input_gradient<F: Finish>(
    g: &Geometry,
    filters: &[f32],
    finish: F,
    level: Level,
) -> impl Fn(&[f32], &mut [F::Place]) + Sync {
    assert_eq!(g.stride, 1, "the gradient of a convolution with a stride is none");
    let before = g.kernel as isize - 1 - g.padding as isize;
    let shifts = Shifts::new(g.kernel, 1, before, (g.out_height(), g.out_width()), (g.height, g.width));
    let (inputs, outputs) = (g.channels.0 / g.groups, g.group_outputs());
    let filters: Vec<Packed> = if g.kernel == 1 {
        let packed = |filters| Packed::new(Matrix::new(filters, outputs, inputs).transposed(), level);
        filters.chunks_exact(outputs * inputs).map(packed).collect()
    } else {
        let depth = outputs * g.kernel * g.kernel;
        let packed = |filters| Packed::new(Matrix::new(filters, inputs, depth), level);
        g.flipped(filters).chunks_exact(inputs * depth).map(packed).collect()
    };
    let (channels, starts) = ((g.channels.1, g.channels.0), shifts.starts(outputs));
    move |dy, dx| {
        let (shifts, starts, filters, finish) = (&shifts, &*starts, &*filters, &finish);
        let pass = Pass { shifts, starts, channels, filters, rounding: Rounding::Plain, finish };
        drop(pass.run(dy, dx, |_, _| ()));
    }
}

/// Fills the gradient of a sample's output, by its number, when its turn has come. Dynamic, since every network's every
/// layer has its own, and none is worth its own copy of the loops.
pub type OutputGradient<'a, T> = &'a (dyn Fn(usize, &mut [f32]) -> T + Sync);

/// What stores the gradient of the input of some samples, from them and the gradient of their output.
pub type ToInput<'a, P> = &'a (dyn Fn(&[f32], &[f32], &mut [P]) + Sync);

/// The gradient of the filters, and what `fill` made of each sample's gradient of the output; `input` stores the gradient
/// of the input. The gradient of the output is there for a few samples at a time, which stay in the cache meanwhile.
pub fn gradients<T: Send, P: Send>(
    g: &Geometry,
    x: &[f32],
    fill: OutputGradient<'_, T>,
    (dx, input): (&mut [P], ToInput<'_, P>),
    level: Level,
) -> (Vec<f32>, Vec<T>) {
    let to = (g.out_height(), g.out_width());
    let shifts = Shifts::new(g.kernel, g.stride, g.padding as isize, (g.height, g.width), to);
    let batch = x.len() / g.sample();
    let sums = FilterGradient::new(g, &shifts, batch, level);
    let (samples, place) = (sums.samples, dx.len() / batch);
    let part = |(part, (x, dx)): (usize, (&[f32], &mut [P]))| {
        let mut dw = vec![0.0; g.channels.1 * g.filter()];
        let mut seen = Vec::with_capacity(samples);
        let together = sums.together();
        for (x, dx) in x.chunks(together * g.sample()).zip(dx.chunks_mut(together * place)) {
            scratch::with(x.len() / g.sample() * g.out_sample(), |dy| {
                let first = part * samples + seen.len();
                let dys = dy.par_chunks_mut(g.out_sample()).enumerate();
                seen.extend(dys.map(|(sample, dy)| fill(first + sample, dy)).collect::<Vec<_>>());
                sums.add(x, dy, &mut dw);
                input(x, dy, dx);
            });
        }
        (dw, seen)
    };
    let parts = x.par_chunks(samples * g.sample()).zip(dx.par_chunks_mut(samples * place));
    let (dw, seen): (Vec<_>, Vec<_>) = parts.enumerate().with_max_len(1).map(part).unzip();
    (sums.total(dw), seen.into_iter().flatten().collect())
}

/// How the sums of the filters' gradient are cut into parts.
struct FilterGradient<'a> {
    g: &'a Geometry,
    shifts: &'a Shifts,
    /// Where the rows of a sample begin: those of x and those of dy.
    starts: [Vec<usize>; 2],
    level: Level,
    /// The samples of a part.
    samples: usize,
    /// The values of a block of rows. The side with more rows is cut into blocks.
    block: usize,
    /// Whether that is the input's, so that what is found is (filter, out).
    is_turned: bool,
}

impl FilterGradient<'_> {
    fn new<'a>(g: &'a Geometry, shifts: &'a Shifts, batch: usize, level: Level) -> FilterGradient<'a> {
        let outputs = g.group_outputs();
        let samples = batch.div_ceil(TASKS).max(MANY.div_ceil(shifts.run())).min(batch);
        let rows = outputs.max(g.filter()).div_ceil(TASKS.div_ceil(batch.div_ceil(samples)));
        let block = rows.next_multiple_of(TILE_ROWS) * outputs.min(g.filter());
        let starts = [shifts.starts(g.channels.0), equal_steps(g.channels.1, shifts.run())];
        FilterGradient { g, shifts, starts, level, samples, block, is_turned: g.filter() > outputs }
    }

    /// Whether planes are so narrow that those of one channel are put together.
    fn is_narrow(&self) -> bool {
        self.g.kernel == 1 && self.shifts.run() < NARROW
    }

    /// How many samples of a part are read together.
    fn together(&self) -> usize {
        if self.is_narrow() { self.samples } else { segments_together(self.shifts.run()).min(self.samples) }
    }

    /// Adds the sums over some samples.
    fn add(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let FilterGradient { g, shifts, starts: [x_starts, dy_starts], .. } = self;
        let (samples, run) = (dy.len() / g.out_sample(), shifts.run());
        let step = g.channels.0 * shifts.plane();
        shifts.with(x, |x| {
            if self.is_narrow() {
                return with_channels_together(&x[..samples * step], samples, run, |x| {
                    with_channels_together(dy, samples, run, |dy| {
                        self.add_dots(x, dy, (1, samples * run), dw);
                    });
                });
            }
            shifts.with_runs(dy, |dy| {
                let x = Strips { values: x, starts: x_starts, step };
                let dy = Strips { values: dy, starts: dy_starts, step: dy.len() / samples };
                self.add_dots(x, dy, (samples, run), dw);
            });
        });
    }

    /// Adds the dot products of each group's rows.
    fn add_dots(&self, x: Strips<'_>, dy: Strips<'_>, rows: (usize, usize), dw: &mut [f32]) {
        let (filter, outputs) = (self.g.filter(), self.g.group_outputs());
        let groups = x.starts.chunks_exact(filter).zip(dy.starts.chunks_exact(outputs));
        for ((x_starts, dy_starts), dw) in groups.zip(dw.chunks_exact_mut(outputs * filter)) {
            let (x, dy) = (Strips { starts: x_starts, ..x }, Strips { starts: dy_starts, ..dy });
            let (cut, whole) = if self.is_turned { (x, dy) } else { (dy, x) };
            dw.par_chunks_mut(self.block).enumerate().for_each(|(number, dw)| {
                let first = number * self.block / whole.starts.len();
                let starts = &cut.starts[first..][..dw.len() / whole.starts.len()];
                add_dots(Strips { starts, ..cut }, whole, rows, dw, self.level);
            });
        }
    }

    /// The sums of all parts, as (out, filter).
    fn total(&self, parts: Vec<Vec<f32>>) -> Vec<f32> {
        let dw = sum_of(parts);
        let outputs = self.g.group_outputs();
        if !self.is_turned {
            return dw;
        }
        let filter = self.g.filter();
        let mut turned = vec![0.0; dw.len()];
        turned.par_chunks_exact_mut(filter).enumerate().for_each(|(output, row)| {
            let (group, output) = (output / outputs, output % outputs);
            let column = dw[group * outputs * filter + output..].iter().step_by(outputs);
            row.iter_mut().zip(column).for_each(|(value, &sum)| *value = sum);
        });
        turned
    }
}

/// Shows `work` the planes of all samples of a channel one after the other, as one row: narrow planes of one channel lie
/// so far apart that the cache has few places for them.
fn with_channels_together(values: &[f32], samples: usize, plane: usize, work: impl FnOnce(Strips<'_>)) {
    let sample = values.len() / samples;
    let starts = equal_steps(sample / plane, samples * plane);
    scratch::with(values.len(), |together| {
        together.par_chunks_exact_mut(samples * plane).enumerate().for_each(|(channel, row)| {
            run_at(
                Level::in_use(),
                CopyingChannel { values: &values[channel * plane..], sample, plane, row },
            );
        });
        work(Strips { values: together, starts: &starts, step: 0 });
    });
}

/// Copies the planes of a channel that lie in some values, a sample's length apart, one after the other.
struct CopyingChannel<'a> {
    values: &'a [f32],
    sample: usize,
    plane: usize,
    row: &'a mut [f32],
}

impl Loop for CopyingChannel<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self) {
        for (values, row) in self.values.chunks(self.sample).zip(self.row.chunks_exact_mut(self.plane)) {
            copy_row(&values[..self.plane], row);
        }
    }
}

/// Where rows of equal length begin that follow each other.
fn equal_steps(count: usize, step: usize) -> Vec<usize> {
    (0..count).map(|row| row * step).collect()
}

/// A convolution, and what becomes of each value.
struct Pass<'a, F> {
    shifts: &'a Shifts,
    /// Where the runs of a group begin in the copies of its planes.
    starts: &'a [usize],
    channels: (usize, usize),
    /// Those of each group.
    filters: &'a [Packed],
    rounding: Rounding,
    finish: &'a F,
}

impl<'a, F: Finish> Pass<'a, F> {
    /// The same with another finish.
    fn with<G: Finish>(self, finish: &'a G) -> Pass<'a, G> {
        let Pass { shifts, starts, channels, filters, rounding, finish: _ } = self;
        Pass { shifts, starts, channels, filters, rounding, finish }
    }

    /// Stores the convolution of `x`.
    fn run<T: Send>(
        &self,
        x: &[f32],
        y: &mut [F::Place],
        then: impl Fn(usize, &mut [F::Place]) -> T + Sync,
    ) -> Vec<T> {
        let Shifts { from, to, .. } = *self.shifts;
        let (x_sample, y_sample) = (self.channels.0 * from.0 * from.1, self.channels.1 * to.0 * to.1);
        let together = self.together();
        let samples = y.par_chunks_mut(together * y_sample).zip(x.par_chunks(together * x_sample));
        samples
            .enumerate()
            // One by one, so that at the end no core waits long for another.
            .with_max_len(1)
            .flat_map_iter(|(number, (y, x))| {
                self.shifts.with(x, |planes| match together {
                    1 => self.run_one(planes, y),
                    _ => self.run_together(planes, y, x.len() / x_sample),
                });
                let results = y.chunks_mut(y_sample).enumerate();
                results.map(|(sample, y)| then(number * together + sample, y)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Of how many samples the planes are read as one row. A narrow plane would leave much of its last vector empty.
    fn together(&self) -> usize {
        let run = self.shifts.run();
        if !self.shifts.has_one_tap() || run >= NARROW {
            return 1;
        }
        let most = 4;
        // In twelfths, so that each of the numbers divides it.
        (1..=most)
            .min_by_key(|together| (together * run).next_multiple_of(LANES) * 12 / together)
            .expect("several")
    }

    /// Stores the convolution of a sample's copied planes.
    fn run_one(&self, planes: &[f32], y: &mut [F::Place]) {
        let shifts = self.shifts;
        let groups = self.filters.len();
        let (inputs, outputs) = (self.channels.0 / groups, self.channels.1 / groups);
        let (to, width) = (shifts.to.0 * shifts.to.1, shifts.whole_run());
        for (group, (filters, y)) in self.filters.iter().zip(y.chunks_exact_mut(outputs * to)).enumerate() {
            let values = &planes[group * inputs * shifts.plane()..];
            let runs = Rows { values, starts: self.starts, width };
            let first = group * outputs;
            if width == to {
                multiply(filters, runs, self.rounding, y, to, (first, self.finish));
            } else {
                scratch::with(outputs * width, |product| {
                    multiply(filters, runs, self.rounding, product, width, (0, &Stored));
                    self.keep(product, y, first);
                });
            }
        }
    }

    /// The same for some samples at once, if filters have one tap.
    fn run_together(&self, planes: &[f32], y: &mut [F::Place], samples: usize) {
        let (run, groups) = (self.shifts.run(), self.filters.len());
        let (inputs, outputs) = (self.channels.0 / groups, self.channels.1 / groups);
        let values = samples * self.channels.0 * run;
        with_channels_together(&planes[..values], samples, run, |planes| {
            scratch::with(outputs * samples * run, |product| {
                let groups = self.filters.iter().zip(planes.starts.chunks_exact(inputs));
                for (group, (filters, starts)) in groups.enumerate() {
                    let rows = Rows { values: planes.values, starts, width: samples * run };
                    multiply(filters, rows, self.rounding, product, samples * run, (0, &Stored));
                    self.keep_together(product, y, samples, group * outputs);
                }
            });
        });
    }

    /// Stores the planes of samples out of rows that have those of one channel one after the other.
    fn keep_together(&self, product: &[f32], y: &mut [F::Place], samples: usize, first: usize) {
        let run = self.shifts.run();
        for (channel, row) in product.chunks_exact(samples * run).enumerate() {
            let store = self.finish.of(first + channel);
            for (y, row) in y.chunks_exact_mut(self.channels.1 * run).zip(row.chunks_exact(run)) {
                let y = &mut y[(first + channel) * run..][..run];
                vectorize(move || {
                    for (y, value) in y.iter_mut().zip(row) {
                        store(y, *value);
                    }
                });
            }
        }
    }

    /// Stores the rows of the output out of the runs that contain them.
    fn keep(&self, runs: &[f32], y: &mut [F::Place], first: usize) {
        let Shifts { to: (height, width), columns, .. } = *self.shifts;
        let channels = runs.chunks_exact(self.shifts.whole_run()).zip(y.chunks_exact_mut(height * width));
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
