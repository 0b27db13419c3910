//! Where the tiles of Winograd's method lie in planes of numbers, and the two ways between them: values under
//! tiles to values at points, and values at points to what a tile stores.

use super::geometry::Geometry;
use super::lanes::{LANES, Lanes, vectorize};
use super::points::{Along, Interpolate, both};
use super::scratch;

/// How many tiles, at least, share one matrix product.
const ENOUGH_TILES: usize = 128;

/// What is read and what is written, plane by plane.
pub struct Planes {
    /// Channels of the planes read and of those written.
    pub channels: (usize, usize),
    /// Rows and columns of the planes read.
    pub from: (usize, usize),
    /// Rows and columns of the planes written.
    pub to: (usize, usize),
    /// Where the first tile begins, before (or, if negative, after) the first value read.
    pub before: isize,
}

impl Planes {
    /// A forward pass reads the input and writes the output.
    pub fn forward(g: &Geometry) -> Planes {
        Planes {
            channels: g.channels,
            from: (g.height, g.width),
            to: (g.out_height(), g.out_width()),
            before: g.padding as isize,
        }
    }

    /// A backward pass reads the gradient of the output and writes that of the input.
    pub fn backward(g: &Geometry) -> Planes {
        Planes {
            channels: (g.channels.1, g.channels.0),
            from: (g.out_height(), g.out_width()),
            to: (g.height, g.width),
            before: g.kernel as isize - 1 - g.padding as isize,
        }
    }

    /// How the tiles of `M` x `M` values of `samples` planes are laid out.
    pub fn tiles<const M: usize>(&self, samples: usize) -> Tiles {
        Tiles::new(samples, (self.to.0.div_ceil(M), self.to.1.div_ceil(M)), M)
    }

    /// How many samples go together.
    pub fn samples_together<const M: usize>(&self) -> usize {
        ENOUGH_TILES.div_ceil(self.to.0.div_ceil(M) * self.to.1.div_ceil(M))
    }
}

/// The tiles of some samples.
pub struct Tiles {
    samples: usize,
    /// First row and column of the last tile of a plane.
    reach: (usize, usize),
    /// Sample, first row and first column of each tile; the last is repeated until the lanes are full.
    places: Vec<(usize, usize, usize)>,
    /// How many of the places are tiles.
    pub count: usize,
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
    pub fn width(&self) -> usize {
        self.places.len()
    }
}

/// Transforms the N x N values under each tile of one channel, `before` rows and columns before its place;
/// zero beyond the edges.
pub fn transform<'a, Map: Along<N, SIDE>, const N: usize, const SIDE: usize>(
    tiles: &Tiles,
    (height, width): (usize, usize),
    before: isize,
    plane: impl Fn(usize) -> &'a [f32],
    to: &mut [f32], // (points, tiles)
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
pub struct Plane {
    /// Which channel.
    pub channel: usize,
    /// Of how many.
    pub channels: usize,
    /// Rows and columns.
    pub size: (usize, usize),
}

/// Brings the products of one channel back from the points, and stores what lies within its planes of y.
#[inline(always)]
pub fn write_tiles<const M: usize, const SIDE: usize, P>(
    tiles: &Tiles,
    from: &[f32], // (points, tiles)
    Plane { channel, channels, size: (height, width) }: Plane,
    y: &mut [P],
    store: impl Fn(&mut P, f32),
) where
    Interpolate: Along<SIDE, M>,
{
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
                    store(to, value.0[l]);
                }
            }
        }
    }
}
