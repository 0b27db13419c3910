//! Convolutions of stride 1 with kernels 2, 3 and 4 by Winograd's (Toom and Cook's) method: a tile of M x M
//! outputs needs 36 products per pair of channels instead of M M R R (Lavin and Gray, "Fast algorithms for
//! convolutional neural networks", CVPR 2016).
//!
//! With R + M = 7, one matrix B serves every kernel: Y = A' ((G w G') . (B' x B)) A for the 6 x 6 inputs x
//! under each tile, where G evaluates polynomials at six points and A' goes back. The gradient of the input is
//! the convolution of dy with the flipped filters, and the gradient of the filters has the same form with R and
//! M exchanged, summed over all tiles.

use rayon::prelude::*;

use super::elementwise::activate;
use super::geometry::Geometry;
use super::lanes::{LANES, Lanes, vectorize};
use super::matrix::{Matrix, add_product, multiply_spaced};
use super::points::{Along, Evaluate, Interpolate, POINTS, SIDE, Windows, both};
use super::scratch;

/// How many tiles, at least, share one matrix product.
const ENOUGH_TILES: usize = 128;

/// Fewer channels than these do not repay the transforms.
const ENOUGH_CHANNELS: usize = 32;

/// A convolution this method takes.
pub enum Tiling {
    /// Kernel 2, tiles of 5 x 5.
    Two,
    /// Kernel 3, tiles of 4 x 4.
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

    /// The output for a batch x.
    pub fn forward(
        &self,
        g: &Geometry,
        x: &[f32],
        filters: &[f32],
        bias: Option<&[f32]>,
        negative_slope: f32,
    ) -> Vec<f32> {
        let mut y = vec![0.0; x.len() / g.sample() * g.out_sample()];
        let store = |y: &mut f32, o: usize, value: f32| {
            *y = activate(value + bias.map_or(0.0, |bias| bias[o]), negative_slope);
        };
        let planes = Planes::forward(g);
        match self {
            Tiling::Two => correlate::<2, 5>(&planes, x, &evaluate_filters::<2>(g, filters), &mut y, store),
            Tiling::Three => correlate::<3, 4>(&planes, x, &evaluate_filters::<3>(g, filters), &mut y, store),
            Tiling::Four => correlate::<4, 3>(&planes, x, &evaluate_filters::<4>(g, filters), &mut y, store),
        }
        y
    }

    /// The gradient of the filters.
    pub fn filter_gradient(&self, g: &Geometry, x: &[f32], dy: &[f32]) -> Vec<f32> {
        match self {
            Tiling::Two => filter_gradient::<2, 5>(g, x, dy),
            Tiling::Three => filter_gradient::<3, 4>(g, x, dy),
            Tiling::Four => filter_gradient::<4, 3>(g, x, dy),
        }
    }

    /// dx += the gradient of the input.
    pub fn add_input_gradient(&self, g: &Geometry, dy: &[f32], filters: &[f32], dx: &mut [f32]) {
        let (planes, filters) = (Planes::backward(g), flipped(g, filters));
        let back = Geometry { channels: (g.channels.1, g.channels.0), ..*g };
        let store = |dx: &mut f32, _: usize, value: f32| *dx += value;
        match self {
            Tiling::Two => correlate::<2, 5>(&planes, dy, &evaluate_filters::<2>(&back, &filters), dx, store),
            Tiling::Three => {
                correlate::<3, 4>(&planes, dy, &evaluate_filters::<3>(&back, &filters), dx, store);
            }
            Tiling::Four => {
                correlate::<4, 3>(&planes, dy, &evaluate_filters::<4>(&back, &filters), dx, store);
            }
        }
    }
}

/// What is read and what is written, plane by plane.
struct Planes {
    channels: (usize, usize),
    /// Rows and columns of the planes read.
    from: (usize, usize),
    /// Rows and columns of the planes written.
    to: (usize, usize),
    /// Where the first tile begins, before (or, if negative, after) the first value read.
    before: isize,
}

impl Planes {
    fn forward(g: &Geometry) -> Planes {
        Planes {
            channels: g.channels,
            from: (g.height, g.width),
            to: (g.out_height(), g.out_width()),
            before: g.padding as isize,
        }
    }

    fn backward(g: &Geometry) -> Planes {
        Planes {
            channels: (g.channels.1, g.channels.0),
            from: (g.out_height(), g.out_width()),
            to: (g.height, g.width),
            before: g.kernel as isize - 1 - g.padding as isize,
        }
    }

    /// How the tiles of `M` x `M` values of `samples` planes are laid out.
    fn tiles<const M: usize>(&self, samples: usize) -> Tiles {
        Tiles::new(samples, (self.to.0.div_ceil(M), self.to.1.div_ceil(M)), M)
    }

    /// How many samples go together.
    fn samples_together<const M: usize>(&self) -> usize {
        ENOUGH_TILES.div_ceil(self.to.0.div_ceil(M) * self.to.1.div_ceil(M))
    }
}

/// The tiles of some samples.
struct Tiles {
    samples: usize,
    /// First row and column of the last tile of a plane.
    reach: (usize, usize),
    /// Sample, first row and first column of each tile; the last is repeated until the lanes are full.
    places: Vec<(usize, usize, usize)>,
    /// How many of the places are tiles.
    count: usize,
}

impl Tiles {
    fn new(samples: usize, grid: (usize, usize), step: usize) -> Tiles {
        let count = samples * grid.0 * grid.1;
        let place = |tile: usize| {
            let tile = tile.min(count - 1);
            let (sample, in_plane) = (tile / (grid.0 * grid.1), tile % (grid.0 * grid.1));
            (sample, in_plane / grid.1 * step, in_plane % grid.1 * step)
        };
        Tiles {
            samples,
            reach: ((grid.0 - 1) * step, (grid.1 - 1) * step),
            places: (0..count.next_multiple_of(LANES)).map(place).collect(),
            count,
        }
    }

    /// Tiles with those that fill the last lanes.
    fn width(&self) -> usize {
        self.places.len()
    }
}

/// Calls `store` with each value to write, its channel, and the convolution of `x` with the evaluated filters.
fn correlate<const R: usize, const M: usize>(
    planes: &Planes,
    x: &[f32],
    filters: &[f32], // (POINTS, to channels, from channels)
    y: &mut [f32],
    store: impl Fn(&mut f32, usize, f32) + Sync,
) {
    const { assert!(R + M == SIDE + 1) };
    let (inputs, outputs) = planes.channels;
    let (from, to) = (planes.from.0 * planes.from.1, planes.to.0 * planes.to.1);
    let together = planes.samples_together::<M>();
    y.par_chunks_mut(together * outputs * to).zip(x.par_chunks(together * inputs * from)).for_each(
        |(y, x)| {
            let samples = y.len() / (outputs * to);
            let tiles = planes.tiles::<M>(samples);
            let row = POINTS * tiles.width();
            scratch::with(inputs * row, |transformed| {
                scratch::with(outputs * row, |products| {
                    for (channel, to) in transformed.chunks_exact_mut(row).enumerate() {
                        let plane = |sample: usize| &x[(sample * inputs + channel) * from..][..from];
                        transform::<Windows, SIDE>(&tiles, planes.from, planes.before, plane, to);
                    }
                    for point in 0..POINTS {
                        let filters = &filters[point * outputs * inputs..][..outputs * inputs];
                        let at = point * tiles.width();
                        multiply_spaced(
                            Matrix::new(filters, outputs, inputs),
                            Matrix::spaced(&transformed[at..], inputs, tiles.width(), row),
                            &mut products[at..],
                            row,
                        );
                    }
                    for (channel, from) in products.chunks_exact(row).enumerate() {
                        let plane = Plane { channel, channels: outputs, size: planes.to };
                        vectorize(|| write_tiles::<M>(&tiles, from, plane, y, &store));
                    }
                });
            });
        },
    );
}

/// The gradient of the filters (out, in, R, R).
fn filter_gradient<const R: usize, const M: usize>(g: &Geometry, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let planes = Planes::forward(g);
    let (inputs, outputs) = g.channels;
    let together = planes.samples_together::<M>();
    let mut products = vec![0.0; POINTS * outputs * inputs];
    // Groups of samples one after the other, each in parallel over channels and points: so the order of
    // additions is the same for any number of threads.
    for (x, dy) in x.chunks(together * g.sample()).zip(dy.chunks(together * g.out_sample())) {
        let samples = x.len() / g.sample();
        let tiles = planes.tiles::<M>(samples);
        let row = POINTS * tiles.width();
        scratch::with(inputs * row, |x_tiles| {
            scratch::with(outputs * row, |dy_tiles| {
                x_tiles.par_chunks_mut(row).enumerate().for_each(|(channel, to)| {
                    let space = g.height * g.width;
                    let plane = |sample: usize| &x[sample * g.sample() + channel * space..][..space];
                    transform::<Windows, SIDE>(&tiles, planes.from, planes.before, plane, to);
                });
                dy_tiles.par_chunks_mut(row).enumerate().for_each(|(channel, to)| {
                    let space = g.out_space();
                    let plane = |sample: usize| &dy[sample * g.out_sample() + channel * space..][..space];
                    transform::<Evaluate, M>(&tiles, planes.to, 0, plane, to);
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

/// G w G' for all pairs of channels, as (POINTS, out, in).
fn evaluate_filters<const R: usize>(g: &Geometry, filters: &[f32]) -> Vec<f32> {
    let pairs = g.channels.0 * g.channels.1;
    let mut evaluated = vec![0.0; POINTS * pairs];
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

/// The filters as the gradient of the input needs them: (in, out, R, R), turned by half a turn.
fn flipped(g: &Geometry, filters: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = g.channels;
    let size = g.kernel * g.kernel;
    let mut flipped = Vec::with_capacity(filters.len());
    for i in 0..inputs {
        for o in 0..outputs {
            flipped.extend(filters[(o * inputs + i) * size..][..size].iter().rev());
        }
    }
    flipped
}

/// Transforms the N x N values under each tile of one channel, `before` rows and columns before its place;
/// zero beyond the edges.
fn transform<'a, Map: Along<N, SIDE>, const N: usize>(
    tiles: &Tiles,
    (height, width): (usize, usize),
    before: isize,
    plane: impl Fn(usize) -> &'a [f32],
    to: &mut [f32], // (POINTS, tiles)
) {
    let (padded_height, padded_width) = (tiles.reach.0 + N, tiles.reach.1 + N);
    let size = padded_height * padded_width;
    let (skip, shift) = (before.min(0).unsigned_abs(), before.max(0).unsigned_abs());
    let columns = (width - skip).min(padded_width - shift);
    scratch::with(tiles.samples * size, |padded| {
        padded.fill(0.0);
        for (sample, padded) in padded.chunks_exact_mut(size).enumerate() {
            let rows = plane(sample).chunks_exact(width).take(height).skip(skip);
            for (row, padded) in rows.zip(padded.chunks_exact_mut(padded_width).skip(shift)) {
                padded[shift..][..columns].copy_from_slice(&row[skip..][..columns]);
            }
        }
        vectorize(|| {
            for (block, places) in tiles.places.chunks_exact(LANES).enumerate() {
                let mut tile = [[Lanes::ZERO; N]; N];
                for (l, &(sample, row, column)) in places.iter().enumerate() {
                    let padded = &padded[sample * size + row * padded_width + column..];
                    let padded = &padded[..(N - 1) * padded_width + N];
                    for r in 0..N {
                        for c in 0..N {
                            tile[r][c].0[l] = padded[r * padded_width + c];
                        }
                    }
                }
                let points: [[Lanes; SIDE]; SIDE] = both::<Map, N, SIDE>(&tile);
                for (point, values) in points.as_flattened().iter().enumerate() {
                    to[point * tiles.width() + block * LANES..][..LANES].copy_from_slice(&values.0);
                }
            }
        });
    });
}

/// Where the tiles of one channel go, in every sample.
#[derive(Clone, Copy)]
struct Plane {
    channel: usize,
    channels: usize,
    /// Rows and columns.
    size: (usize, usize),
}

/// Brings the products of one channel back from the points, and stores what lies within its planes of y.
#[inline(always)]
fn write_tiles<const M: usize>(
    tiles: &Tiles,
    from: &[f32], // (POINTS, tiles)
    Plane { channel, channels, size: (height, width) }: Plane,
    y: &mut [f32],
    store: &impl Fn(&mut f32, usize, f32),
) {
    for (block, places) in tiles.places.chunks_exact(LANES).enumerate() {
        let mut points = [[Lanes::ZERO; SIDE]; SIDE];
        for (point, values) in points.as_flattened_mut().iter_mut().enumerate() {
            values.0.copy_from_slice(&from[point * tiles.width() + block * LANES..][..LANES]);
        }
        let tile: [[Lanes; M]; M] = both::<Interpolate, SIDE, M>(&points);
        let count = LANES.min(tiles.count - block * LANES);
        for (l, &(sample, row, column)) in places[..count].iter().enumerate() {
            let plane = &mut y[(sample * channels + channel) * height * width..][..height * width];
            for (r, values) in tile.iter().enumerate().take(height - row) {
                let to = &mut plane[(row + r) * width + column..(row + r + 1) * width];
                for (to, value) in to.iter_mut().zip(values) {
                    store(to, channel, value.0[l]);
                }
            }
        }
    }
}
