//! Convolutions of stride 1 with kernels 2, 3 and 4 by Winograd's (Toom and Cook's) method: a tile of M x M
//! outputs needs (M + R - 1)^2 products per pair of channels instead of M M R R (Lavin and Gray, "Fast
//! algorithms for convolutional neural networks", CVPR 2016).
//!
//! With R + M = 7, one matrix B serves every kernel: Y = A' ((G w G') . (B' x B)) A for the 6 x 6 inputs x
//! under each tile, where G evaluates polynomials at six points and A' goes back. The gradient of the input is
//! the convolution of dy with the flipped filters, and the gradient of the filters has the same form with R and
//! M exchanged, summed over all tiles. Where rounding matters most, tiles of 4 x 4 inputs do the same with the
//! four mildest points.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::finish::{Finish, Output, Stored};
use super::geometry::Geometry;
use super::lanes::{LANES, Lanes, vectorize};
use super::level::Level;
use super::matrix::{Matrix, add_product};
use super::points::{Along, Evaluate, Interpolate, Windows, both};
use super::product::{Packed, Rounding, Rows, multiply};
use super::scratch;
use super::tiles::{Plane, Planes, transform, write_tiles};

/// Fewer channels than these do not repay the transforms.
const ENOUGH_CHANNELS: usize = 32;

/// Rows and columns of the inputs under a tile of the gradients.
const SIDE: usize = 6;

/// A convolution this method takes.
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

    /// Stores the output y for a batch x; returns what `then` makes of each sample of it.
    pub fn forward<T: Send>(
        &self,
        g: &Geometry,
        (x, y): (&[f32], &mut [MaybeUninit<f32>]),
        filters: &[f32],
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
    pub fn filter_gradient(&self, g: &Geometry, x: &[f32], dy: &[f32]) -> Vec<f32> {
        match self {
            Tiling::Two => filter_gradient::<2, 5>(g, x, dy),
            Tiling::Three => filter_gradient::<3, 4>(g, x, dy),
            Tiling::Four => filter_gradient::<4, 3>(g, x, dy),
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
        // Adam divides small gradients by small moments, so what they lose shows in the weights.
        let planes = Planes::backward(g);
        let pass =
            Pass { planes, rounding: Rounding::Careful, level, finish, then: |_: usize, _: &mut [_]| () };
        match self {
            Tiling::Two => pass.run::<2, 5, 6, _>(dy, &filters, dx),
            Tiling::Three => pass.run::<3, 4, 6, _>(dy, &filters, dx),
            Tiling::Four => pass.run::<4, 3, 6, _>(dy, &filters, dx),
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
    /// Stores the convolution of `x` with the filters (to channels, from channels, R, R), in tiles of M x M.
    fn run<const R: usize, const M: usize, const SIDE: usize, T: Send>(
        &self,
        x: &[f32],
        filters: &[f32],
        y: &mut [F::Place],
    ) -> Vec<T>
    where
        Then: Fn(usize, &mut [F::Place]) -> T + Sync,
        Evaluate: Along<R, SIDE>,
        Windows: Along<SIDE, SIDE>,
        Interpolate: Along<SIDE, M>,
    {
        const { assert!(R + M == SIDE + 1) };
        let points = SIDE * SIDE;
        let (inputs, outputs) = self.planes.channels;
        let filters: Vec<Packed> = evaluate_filters::<R, SIDE>(filters)
            .par_chunks(outputs * inputs)
            .map(|filters| Packed::new(Matrix::new(filters, outputs, inputs), self.level))
            .collect();
        let (from, to) = (self.planes.from.0 * self.planes.from.1, self.planes.to.0 * self.planes.to.1);
        let together = self.planes.samples_together::<M>();
        let samples = y.par_chunks_mut(together * outputs * to).zip(x.par_chunks(together * inputs * from));
        samples
            .enumerate()
            .flat_map_iter(|(number, (y, x))| {
                let tiles = self.planes.tiles::<M>(y.len() / (outputs * to));
                let row = points * tiles.width();
                scratch::with(inputs * row, |transformed| {
                    scratch::with(outputs * row, |products| {
                        for (channel, row) in transformed.chunks_exact_mut(row).enumerate() {
                            let plane = |sample: usize| &x[(sample * inputs + channel) * from..][..from];
                            let Planes { from, before, .. } = self.planes;
                            transform::<Windows, SIDE, SIDE>(&tiles, from, before, plane, row);
                        }
                        let starts: Vec<usize> = (0..inputs).map(|channel| channel * row).collect();
                        for (point, filters) in filters.iter().enumerate() {
                            let at = point * tiles.width();
                            let values = &transformed[at..];
                            let tiles = Rows { values, starts: &starts, width: tiles.width() };
                            multiply(filters, tiles, self.rounding, &mut products[at..], row, (0, &Stored));
                        }
                        for (channel, row) in products.chunks_exact(row).enumerate() {
                            let plane = Plane { channel, channels: outputs, size: self.planes.to };
                            vectorize(|| {
                                write_tiles::<M, SIDE, _>(&tiles, row, plane, y, self.finish.of(channel));
                            });
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
fn filter_gradient<const R: usize, const M: usize>(g: &Geometry, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let planes = Planes::forward(g);
    let points = SIDE * SIDE;
    let (inputs, outputs) = g.channels;
    let together = planes.samples_together::<M>();
    let mut products = vec![0.0; points * outputs * inputs];
    // Groups of samples one after the other, each in parallel over channels and points: so the order of
    // additions is the same for any number of threads.
    for (x, dy) in x.chunks(together * g.sample()).zip(dy.chunks(together * g.out_sample())) {
        let samples = x.len() / g.sample();
        let tiles = planes.tiles::<M>(samples);
        let row = points * tiles.width();
        scratch::with(inputs * row, |x_tiles| {
            scratch::with(outputs * row, |dy_tiles| {
                x_tiles.par_chunks_mut(row).enumerate().for_each(|(channel, to)| {
                    let space = g.height * g.width;
                    let plane = |sample: usize| &x[sample * g.sample() + channel * space..][..space];
                    transform::<Windows, SIDE, SIDE>(&tiles, planes.from, planes.before, plane, to);
                });
                dy_tiles.par_chunks_mut(row).enumerate().for_each(|(channel, to)| {
                    let space = g.out_space();
                    let plane = |sample: usize| &dy[sample * g.out_sample() + channel * space..][..space];
                    transform::<Evaluate, M, SIDE>(&tiles, planes.to, 0, plane, to);
                });
                products.par_chunks_mut(outputs * inputs).enumerate().for_each(|(point, products)| {
                    let at = point * tiles.width();
                    add_product(
                        Matrix::spaced(&dy_tiles[at..], outputs, tiles.count, row),
                        Matrix::spaced(&x_tiles[at..], inputs, tiles.count, row).transposed(),
                        products,
                    );
                });
            });
        });
    }
    let mut dw = vec![0.0; outputs * g.filter()];
    dw.par_chunks_mut(LANES * R * R).enumerate().for_each(|(block, dw)| {
        vectorize(|| {
            let mut tile = [[Lanes::ZERO; SIDE]; SIDE];
            for l in 0..dw.len() / (R * R) {
                for (point, value) in tile.as_flattened_mut().iter_mut().enumerate() {
                    value.0[l] = products[point * outputs * inputs + block * LANES + l];
                }
            }
            let filters: [[Lanes; R]; R] = both::<Interpolate, SIDE, R>(&tile);
            for (l, dw) in dw.chunks_exact_mut(R * R).enumerate() {
                for (dw, value) in dw.iter_mut().zip(filters.as_flattened()) {
                    *dw = value.0[l];
                }
            }
        });
    });
    dw
}

/// G w G' for all pairs of channels, as (points, to, from).
fn evaluate_filters<const R: usize, const SIDE: usize>(filters: &[f32]) -> Vec<f32>
where
    Evaluate: Along<R, SIDE>,
{
    let pairs = filters.len() / (R * R);
    let mut evaluated = vec![0.0; SIDE * SIDE * pairs];
    vectorize(|| {
        for (block, filters) in filters.chunks(LANES * R * R).enumerate() {
            let mut tile = [[Lanes::ZERO; R]; R];
            for (l, filter) in filters.chunks_exact(R * R).enumerate() {
                for (value, &weight) in tile.as_flattened_mut().iter_mut().zip(filter) {
                    value.0[l] = weight;
                }
            }
            let points: [[Lanes; SIDE]; SIDE] = both::<Evaluate, R, SIDE>(&tile);
            let count = filters.len() / (R * R);
            for (point, values) in points.as_flattened().iter().enumerate() {
                evaluated[point * pairs + block * LANES..][..count].copy_from_slice(&values.0[..count]);
            }
        }
    });
    evaluated
}
