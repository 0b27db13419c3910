//! Convolutions of stride 1 with kernels 2, 3 and 4 by Winograd's (Toom and Cook's) method: a tile of M x M
//! outputs needs (M + R - 1)^2 products per pair of channels instead of M M R R (Lavin and Gray, "Fast
//! algorithms for convolutional neural networks", CVPR 2016).
//!
//! With R + M = 7, one matrix B serves every kernel: Y = A' ((G w G') . (B' x B)) A for the 6 x 6 inputs x
//! under each tile, where G evaluates polynomials at six points and A' goes back. The gradient of the input is
//! the convolution of dy with the flipped filters, and the gradient of the filters has the same form with R and
//! M exchanged, summed over all tiles by dot products. Where rounding matters most, tiles of 4 x 4 inputs do the same with the
//! four mildest points.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::dots::{Strips, add_dots};
use super::finish::{Finish, Output, Stored};
use super::geometry::Geometry;
use super::lanes::{LANES, Lanes, Loop, run_at};
use super::layouts::{InRows, Striped};
use super::level::Level;
use super::matrix::Matrix;
use super::points::{Along, Evaluate, Interpolate, Windows, both};
use super::product::{Packed, Rounding, Rows, multiply};
use super::scratch;
use super::tiles::{Plane, Planes, transform, write_tiles};

/// Fewer channels than these do not repay the transforms.
const ENOUGH_CHANNELS: usize = 32;

/// Rows and columns of the inputs under a tile of the gradients.
const SIDE: usize = 6;

/// How many tiles, at least, share one product.
const ENOUGH_TILES: usize = 96;

/// How many tiles, at least, share one dot product in the gradient of the filters, because each has to be added to those of others.
const ENOUGH_DOTS: usize = 512;

/// A convolution this method takes.
#[derive(Clone, Copy)]
pub enum Tiling {
    /// Kernel 2, tiles of 5 x 5, or carefully of 3 x 3.
    Two,
    /// Kernel 3, tiles of 4 x 4, or carefully of 2 x 2.
    Three,
    /// Kernel 4, tiles of 3 x 3.
    Four,
}

impl Tiling {
    /// The tiling for these sizes, if the method suits them.
    pub fn of(g: &Geometry) -> Option<Tiling> {
        let is_wide = g.channels.0.min(g.channels.1) >= ENOUGH_CHANNELS;
        match g.kernel {
            _ if !is_wide || g.stride != 1 || g.groups != 1 => None,
            2 => Some(Tiling::Two),
            3 => Some(Tiling::Three),
            4 => Some(Tiling::Four),
            _ => None,
        }
    }

    /// Filters at the points, as [`Tiling::forward`] reads them.
    pub fn prepare(
        &self,
        g: &Geometry,
        filters: &[f32],
        (rounding, level): (Rounding, Level),
    ) -> Vec<Packed> {
        match (self, rounding) {
            (Tiling::Two, Rounding::Plain) => at_points::<2, 6>(filters, g.channels, level),
            (Tiling::Two, Rounding::Careful) => at_points::<2, 4>(filters, g.channels, level),
            (Tiling::Three, Rounding::Plain) => at_points::<3, 6>(filters, g.channels, level),
            (Tiling::Three, Rounding::Careful) => at_points::<3, 4>(filters, g.channels, level),
            (Tiling::Four, _) => at_points::<4, 6>(filters, g.channels, level),
        }
    }

    /// Stores the output y for a batch x; returns what `then` makes of each sample of it.
    pub fn forward<T: Send>(
        &self,
        g: &Geometry,
        (x, y): (&[f32], &mut [MaybeUninit<f32>]),
        filters: &[Packed],
        finish: Output,
        (rounding, level): (Rounding, Level),
        then: impl Fn(usize, &mut [MaybeUninit<f32>]) -> T + Sync,
    ) -> Vec<T> {
        let pass = Pass { planes: Planes::forward(g), rounding, level, finish, then };
        match (self, rounding) {
            (Tiling::Two, Rounding::Plain) => pass.run::<2, 5, 6, _>(x, filters, y),
            (Tiling::Two, Rounding::Careful) => pass.run::<2, 3, 4, _>(x, filters, y),
            (Tiling::Three, Rounding::Plain) => pass.run::<3, 4, 6, _>(x, filters, y),
            (Tiling::Three, Rounding::Careful) => pass.run::<3, 2, 4, _>(x, filters, y),
            (Tiling::Four, _) => pass.run::<4, 3, 6, _>(x, filters, y),
        }
    }

    /// The gradient of the filters.
    pub fn filter_gradient(&self, g: &Geometry, x: &[f32], dy: &[f32], level: Level) -> Vec<f32> {
        match self {
            Tiling::Two => filter_gradient::<2, 5>(g, x, dy, level),
            Tiling::Three => filter_gradient::<3, 4>(g, x, dy, level),
            Tiling::Four => filter_gradient::<4, 3>(g, x, dy, level),
        }
    }

    /// Finishes dx with the gradient of the input.
    pub fn input_gradient<F: Finish>(
        &self,
        g: &Geometry,
        dy: &[f32],
        filters: &[f32],
        (dx, finish): (&mut [F::Place], F),
        level: Level,
    ) {
        let filters = g.flipped(filters);
        let channels = (g.channels.1, g.channels.0);
        // Adam divides small gradients by small moments, so what they lose shows in the weights.
        let planes = Planes::backward(g);
        let pass =
            Pass { planes, rounding: Rounding::Careful, level, finish, then: |_: usize, _: &mut [_]| () };
        match self {
            Tiling::Two => pass.run::<2, 5, 6, _>(dy, &at_points::<2, 6>(&filters, channels, level), dx),
            Tiling::Three => pass.run::<3, 4, 6, _>(dy, &at_points::<3, 6>(&filters, channels, level), dx),
            Tiling::Four => pass.run::<4, 3, 6, _>(dy, &at_points::<4, 6>(&filters, channels, level), dx),
        };
    }
}

/// A convolution of planes, and what becomes of each value and then of each sample.
struct Pass<F, Then> {
    planes: Planes,
    rounding: Rounding,
    level: Level,
    finish: F,
    then: Then,
}

impl<F: Finish, Then> Pass<F, Then> {
    /// Stores the convolution of `x` with the filters at each point, in tiles of M x M.
    fn run<const R: usize, const M: usize, const SIDE: usize, T: Send>(
        &self,
        x: &[f32],
        filters: &[Packed],
        y: &mut [F::Place],
    ) -> Vec<T>
    where
        Then: Fn(usize, &mut [F::Place]) -> T + Sync,
        Windows: Along<SIDE, SIDE>,
        Interpolate: Along<SIDE, M>,
    {
        const { assert!(R + M == SIDE + 1) };
        let points = SIDE * SIDE;
        let (inputs, outputs) = self.planes.channels;
        let (from, to) = (self.planes.from.0 * self.planes.from.1, self.planes.to.0 * self.planes.to.1);
        let together = self.planes.samples_together::<M>(ENOUGH_TILES);
        let samples = y.par_chunks_mut(together * outputs * to).zip(x.par_chunks(together * inputs * from));
        samples
            .enumerate()
            .with_max_len(1)
            .flat_map_iter(|(number, (y, x))| {
                let tiles = self.planes.tiles::<M>(y.len() / (outputs * to));
                let reading = Striped::new(&tiles, inputs, points);
                let writing = Striped::new(&tiles, outputs, points);
                scratch::with(reading.len, |transformed| {
                    scratch::with(writing.len, |products| {
                        let plane =
                            |channel: usize, sample: usize| &x[(sample * inputs + channel) * from..][..from];
                        let Planes { from, before, .. } = self.planes;
                        transform::<Windows, SIDE, SIDE>(
                            &tiles,
                            (from, before),
                            plane,
                            0..inputs,
                            (transformed, &reading),
                            self.level,
                        );
                        for (point, filters) in filters.iter().enumerate() {
                            for ((width, from), (_, to)) in reading.at(point).zip(writing.at(point)) {
                                let starts: Vec<usize> = (0..inputs).map(|channel| channel * width).collect();
                                let tiles = Rows { values: &transformed[from], starts: &starts, width };
                                multiply(
                                    filters,
                                    tiles,
                                    self.rounding,
                                    &mut products[to],
                                    width,
                                    (0, &Stored),
                                );
                            }
                        }
                        for channel in 0..outputs {
                            let plane = Plane { channel, channels: outputs, size: self.planes.to };
                            let to = (&mut *y, &self.finish);
                            write_tiles::<M, SIDE, _>(&tiles, (products, &writing), plane, to, self.level);
                        }
                    });
                });
                let samples = y.chunks_exact_mut(outputs * to).enumerate();
                samples.map(move |(sample, y)| (self.then)(number * together + sample, y))
            })
            .collect()
    }
}

/// The gradient of the filters (out, in, R, R).
fn filter_gradient<const R: usize, const M: usize>(
    g: &Geometry,
    x: &[f32],
    dy: &[f32],
    level: Level,
) -> Vec<f32> {
    let planes = Planes::forward(g);
    let points = SIDE * SIDE;
    let (inputs, outputs) = g.channels;
    let together = planes.samples_together::<M>(ENOUGH_DOTS);
    let mut products = vec![0.0; points * outputs * inputs];
    // Groups of samples one after the other, each in parallel over channels and points: so the order of
    // additions is the same for any number of threads.
    for (x, dy) in x.chunks(together * g.sample()).zip(dy.chunks(together * g.out_sample())) {
        let tiles = planes.tiles::<M>(x.len() / g.sample());
        let layout = InRows::new(&tiles, points);
        let len = |channels: usize| channels.div_ceil(InRows::TOGETHER) * layout.len();
        scratch::with(len(inputs), |x_tiles| {
            scratch::with(len(outputs), |dy_tiles| {
                let few = |block: usize, channels: usize| {
                    block * InRows::TOGETHER..channels.min((block + 1) * InRows::TOGETHER)
                };
                x_tiles.par_chunks_mut(layout.len()).enumerate().for_each(|(block, to)| {
                    let space = g.height * g.width;
                    let plane =
                        |channel: usize, sample: usize| &x[sample * g.sample() + channel * space..][..space];
                    let channels = few(block, inputs);
                    transform::<Windows, SIDE, SIDE>(
                        &tiles,
                        (planes.from, planes.before),
                        plane,
                        channels,
                        (to, &layout),
                        level,
                    );
                });
                dy_tiles.par_chunks_mut(layout.len()).enumerate().for_each(|(block, to)| {
                    let space = g.out_space();
                    let plane = |channel: usize, sample: usize| {
                        &dy[sample * g.out_sample() + channel * space..][..space]
                    };
                    let channels = few(block, outputs);
                    transform::<Evaluate, M, SIDE>(
                        &tiles,
                        (planes.to, 0),
                        plane,
                        channels,
                        (to, &layout),
                        level,
                    );
                });
                products.par_chunks_mut(outputs * inputs).enumerate().for_each(|(point, products)| {
                    let dy = Strips { values: dy_tiles, starts: &layout.starts(outputs, point), step: 0 };
                    let x = Strips { values: x_tiles, starts: &layout.starts(inputs, point), step: 0 };
                    add_dots(dy, x, (1, tiles.count), products, level);
                });
            });
        });
    }
    let mut dw = vec![0.0; outputs * g.filter()];
    dw.par_chunks_mut(LANES * R * R).enumerate().for_each(|(block, dw)| {
        let products = &products[block * LANES..];
        run_at(level, ToFilters::<R> { products, step: outputs * inputs, dw });
    });
    dw
}

/// Brings the gradients of filters back from the points.
struct ToFilters<'a, const R: usize> {
    /// At each point, `step` values further.
    products: &'a [f32],
    step: usize,
    dw: &'a mut [f32],
}

impl<const R: usize> Loop for ToFilters<'_, R>
where
    Interpolate: Along<SIDE, R>,
{
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let count = self.dw.len() / (R * R);
        let mut tile = [[L::all(0.0); SIDE]; SIDE];
        for (point, value) in tile.as_flattened_mut().iter_mut().enumerate() {
            let mut lanes = [0.0; LANES];
            lanes[..count].copy_from_slice(&self.products[point * self.step..][..count]);
            *value = L::load(&lanes);
        }
        let filters: [[L; R]; R] = both::<Interpolate, L, SIDE, R>(&tile);
        for (i, value) in filters.as_flattened().iter().enumerate() {
            let mut lanes = [0.0; LANES];
            value.store(&mut lanes);
            for (dw, value) in self.dw[i..].iter_mut().step_by(R * R).zip(lanes) {
                *dw = value;
            }
        }
    }
}

/// G w G' of filters (to channels, from channels, R, R), packed for each point.
fn at_points<const R: usize, const SIDE: usize>(
    filters: &[f32],
    (inputs, outputs): (usize, usize),
    level: Level,
) -> Vec<Packed>
where
    Evaluate: Along<R, SIDE>,
{
    let points = SIDE * SIDE;
    let filters = evaluate_filters::<R, SIDE>(filters, inputs, level);
    let at = |point: usize| Matrix::spaced(&filters[point * inputs..], outputs, inputs, points * inputs);
    (0..points).into_par_iter().map(|point| Packed::new(at(point), level)).collect()
}

/// G w G' for all pairs of channels, as (to, points, from).
fn evaluate_filters<const R: usize, const SIDE: usize>(
    filters: &[f32],
    inputs: usize,
    level: Level,
) -> Vec<f32>
where
    Evaluate: Along<R, SIDE>,
{
    let mut evaluated = vec![0.0; SIDE * SIDE * filters.len() / (R * R)];
    let outputs = evaluated.par_chunks_mut(SIDE * SIDE * inputs).zip(filters.par_chunks(inputs * R * R));
    outputs.for_each(|(evaluated, filters)| run_at(level, AtPoints::<R, SIDE> { filters, evaluated }));
    evaluated
}

/// Evaluates the filters of one output.
struct AtPoints<'a, const R: usize, const SIDE: usize> {
    filters: &'a [f32],       // (from, R, R)
    evaluated: &'a mut [f32], // (points, from)
}

impl<const R: usize, const SIDE: usize> Loop for AtPoints<'_, R, SIDE>
where
    Evaluate: Along<R, SIDE>,
{
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let inputs = self.filters.len() / (R * R);
        for (block, filters) in self.filters.chunks(LANES * R * R).enumerate() {
            let mut tile = [[L::all(0.0); R]; R];
            for (i, value) in tile.as_flattened_mut().iter_mut().enumerate() {
                let mut lanes = [0.0; LANES];
                for (lane, weight) in lanes.iter_mut().zip(filters[i..].iter().step_by(R * R)) {
                    *lane = *weight;
                }
                *value = L::load(&lanes);
            }
            let points: [[L; SIDE]; SIDE] = both::<Evaluate, L, R, SIDE>(&tile);
            let count = filters.len() / (R * R);
            for (point, value) in points.as_flattened().iter().enumerate() {
                let mut lanes = [0.0; LANES];
                value.store(&mut lanes);
                self.evaluated[point * inputs + block * LANES..][..count].copy_from_slice(&lanes[..count]);
            }
        }
    }
}
