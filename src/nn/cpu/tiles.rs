//! Where the tiles of Winograd's method lie in planes of numbers, and the two ways between them: values under
//! tiles to values at points, and values at points to what a tile stores.

use std::marker::PhantomData;
use std::ops::Range;

use super::finish::Finish;
use super::geometry::Geometry;
use super::lanes::{LANES, Lanes, Loop, SHORT, run_at};
use super::layouts::Layout;
use super::level::{Level, prefetch};
use super::points::{Along, Interpolate, both};
use super::scratch;

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

    /// How many samples have at least so many tiles.
    pub fn samples_together<const M: usize>(&self, tiles: usize) -> usize {
        tiles.div_ceil(self.to.0.div_ceil(M) * self.to.1.div_ceil(M))
    }
}

/// The tiles of some samples, in vectors of as many as there are lanes.
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

    /// How many tiles lie together in each stripe: two or three vectors, or one if there are no more, as products like them.
    pub fn stripes(&self) -> impl Iterator<Item = usize> {
        let mut left = self.width() / LANES;
        std::iter::from_fn(move || {
            let vectors = match left {
                0 => return None,
                4 => 2,
                _ => left.min(3),
            };
            left -= vectors;
            Some(vectors * LANES)
        })
    }
}

/// Transforms the N x N values under each tile, which begin `before` rows and columns before its place, for some channels;
/// zero beyond the edges.
pub fn transform<'a, Map: Along<N, SIDE>, const N: usize, const SIDE: usize>(
    tiles: &Tiles,
    (size, before): ((usize, usize), isize),
    planes: impl Fn(usize, usize) -> &'a [f32], // of a channel and a sample
    channels: Range<usize>,
    (to, layout): (&mut [f32], &impl Layout),
    level: Level,
) {
    let padded = (tiles.reach.0 + N, tiles.reach.1 + N);
    let frame = Frame {
        size,
        padded,
        skip: before.min(0).unsigned_abs(),
        shift: before.max(0).unsigned_abs(),
        columns: 0,
    };
    let columns = (size.1 - frame.skip).min(padded.1 - frame.shift);
    let frame = Frame { columns, ..frame };
    // Behind the last row lie a few more zeros, because rows are read in fours.
    scratch::with(tiles.samples * frame.len() + SHORT, |padded| {
        padded.fill(0.0);
        for (channel, plane) in channels.enumerate() {
            for (sample, padded) in padded.chunks_exact_mut(frame.len()).take(tiles.samples).enumerate() {
                frame.fill(planes(plane, sample), padded);
            }
            let map = PhantomData::<Map>;
            let work =
                Transform::<_, _, N, SIDE> { tiles, frame, padded, layout, channel, to: &mut *to, map };
            run_at(level, work);
        }
    });
}

/// A plane with zeros around it.
#[derive(Clone, Copy)]
struct Frame {
    /// Rows and columns of the plane.
    size: (usize, usize),
    /// Rows and columns with the zeros.
    padded: (usize, usize),
    /// Rows and columns of the plane that are left out at the beginning.
    skip: usize,
    /// Rows and columns of zeros at the beginning.
    shift: usize,
    /// Values of a row that are copied.
    columns: usize,
}

impl Frame {
    fn len(&self) -> usize {
        self.padded.0 * self.padded.1
    }

    /// Copies a plane in.
    fn fill(&self, plane: &[f32], padded: &mut [f32]) {
        let Frame { size, skip, shift, columns, .. } = *self;
        let rows = plane.chunks_exact(size.1).take(size.0).skip(skip);
        for (row, padded) in rows.zip(padded.chunks_exact_mut(self.padded.1).skip(shift)) {
            padded[shift..][..columns].copy_from_slice(&row[skip..][..columns]);
        }
    }
}

struct Transform<'a, Map, L, const N: usize, const SIDE: usize> {
    tiles: &'a Tiles,
    frame: Frame,
    padded: &'a [f32],
    layout: &'a L,
    channel: usize,
    to: &'a mut [f32],
    map: PhantomData<Map>,
}

impl<Map: Along<N, SIDE>, To: Layout, const N: usize, const SIDE: usize> Loop
    for Transform<'_, Map, To, N, SIDE>
{
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let width = self.frame.padded.1;
        for (vector, places) in self.tiles.places.as_chunks::<LANES>().0.iter().enumerate() {
            // The places of its values come while it is computed: they are too far apart for the machine to foresee.
            let (first, step) = self.layout.place(self.channel, vector);
            (0..SIDE * SIDE).for_each(|point| prefetch(self.to, first + point * step));
            let mut starts = [0; LANES];
            for (start, (sample, row, column)) in starts.iter_mut().zip(places) {
                *start = sample * self.frame.len() + row * width + column;
            }
            let mut tile = [[L::all(0.0); N]; N];
            for row in &mut tile {
                for c in (0..N).step_by(SHORT) {
                    let columns = L::columns(&self.padded[c..], &starts);
                    for (to, column) in row[c..].iter_mut().zip(columns) {
                        *to = column;
                    }
                }
                for start in &mut starts {
                    *start += width;
                }
            }
            let points: [[L; SIDE]; SIDE] = both::<Map, L, N, SIDE>(&tile);
            for (point, values) in points.as_flattened().iter().enumerate() {
                values.store(self.to[first + point * step..].first_chunk_mut().expect(WHOLE));
            }
        }
    }
}

/// Why a vector can be loaded or stored.
const WHOLE: &str = "layouts have room for whole vectors";

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
pub fn write_tiles<const M: usize, const SIDE: usize, F: Finish>(
    tiles: &Tiles,
    (from, layout): (&[f32], &impl Layout),
    plane: Plane,
    (y, finish): (&mut [F::Place], &F),
    level: Level,
) where
    Interpolate: Along<SIDE, M>,
{
    run_at(level, Write::<_, F, M, SIDE> { tiles, from, layout, plane, y, finish });
}

struct Write<'a, From, F: Finish, const M: usize, const SIDE: usize> {
    tiles: &'a Tiles,
    from: &'a [f32],
    layout: &'a From,
    plane: Plane,
    y: &'a mut [F::Place],
    finish: &'a F,
}

impl<From: Layout, F: Finish, const M: usize, const SIDE: usize> Loop for Write<'_, From, F, M, SIDE>
where
    Interpolate: Along<SIDE, M>,
{
    #[inline(always)]
    fn run<L: Lanes>(self) {
        let Plane { channel, channels, size: (height, width) } = self.plane;
        let map = self.finish.map(channel);
        let places = self.tiles.places.as_chunks::<LANES>().0.iter();
        for (vector, places) in places.enumerate() {
            // The next ones come meanwhile: they are too far apart for the machine to foresee.
            let next = (vector + 1) * LANES < self.tiles.width();
            let (next, step) = if next {
                self.layout.place(channel, vector + 1)
            } else {
                self.layout.place((channel + 1) % channels, 0)
            };
            (0..SIDE * SIDE).for_each(|point| prefetch(self.from, next + point * step));
            let (first, step) = self.layout.place(channel, vector);
            let mut points = [[L::all(0.0); SIDE]; SIDE];
            for (point, values) in points.as_flattened_mut().iter_mut().enumerate() {
                *values = L::load(self.from[first + point * step..].first_chunk().expect(WHOLE));
            }
            let tile: [[L; M]; M] = both::<Interpolate, L, SIDE, M>(&points);
            let mut rows = [[[[0.0; SHORT]; 2]; M]; LANES];
            for (r, values) in tile.iter().enumerate() {
                for (part, values) in values.chunks(SHORT).enumerate() {
                    let mut columns = [L::all(0.0); SHORT];
                    for (column, value) in columns.iter_mut().zip(values) {
                        let mut lanes = [0.0; LANES];
                        value.store(&mut lanes);
                        for lane in &mut lanes {
                            *lane = map(*lane);
                        }
                        *column = L::load(&lanes);
                    }
                    for (rows, short) in rows.iter_mut().zip(L::rows(columns)) {
                        rows[r][part] = short;
                    }
                }
            }
            let count = LANES.min(self.tiles.count - vector * LANES);
            for (rows, &(sample, row, column)) in rows[..count].iter().zip(places) {
                let first = ((sample * channels + channel) * height + row) * width + column;
                let count = M.min(width - column);
                for (r, values) in rows.iter().enumerate().take(height - row) {
                    let to = &mut self.y[first + r * width..];
                    if count == M {
                        let to: &mut [F::Place; M] = to.first_chunk_mut().expect(WHOLE);
                        for i in 0..M {
                            F::keep(&mut to[i], values[i / SHORT][i % SHORT]);
                        }
                    } else {
                        for (to, value) in to[..count].iter_mut().zip(values.as_flattened()) {
                            F::keep(to, *value);
                        }
                    }
                }
            }
        }
    }
}
