//! How the values at the points of Winograd's method lie in memory: as the products read and write them, and as the dot
//! products of the gradients of filters read them.

use std::ops::Range;

use super::lanes::LANES;
use super::tiles::Tiles;

/// How the values at the points of some channels lie in memory.
pub trait Layout {
    /// Where a vector of tiles of a channel lies for the first point, and how far it is from there to the next point.
    fn place(&self, channel: usize, vector: usize) -> (usize, usize);
}

/// Stripe by stripe, point by point, channel by channel: as the products read and write them. Behind each point a line is
/// left free, because points that lie a power of two apart would fall into the same few places of the cache.
pub struct Striped {
    /// How many tiles each stripe has, and where it begins.
    stripes: Vec<(usize, usize)>,
    /// Of each vector, how many tiles its stripe has, and where it lies for the first channel and point.
    vectors: Vec<(usize, usize)>,
    channels: usize,
    /// Values of all of them.
    pub len: usize,
}

impl Striped {
    /// The layout for these tiles.
    pub fn new(tiles: &Tiles, channels: usize, points: usize) -> Striped {
        let mut striped = Striped { stripes: Vec::new(), vectors: Vec::new(), channels, len: 0 };
        for count in tiles.stripes() {
            striped.stripes.push((count, striped.len));
            striped.vectors.extend((0..count).step_by(LANES).map(|at| (count, striped.len + at)));
            striped.len += points * (count * channels + LANES);
        }
        striped
    }

    /// The values of all channels at a point, stripe by stripe, and how many tiles each has.
    pub fn at(&self, point: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        self.stripes.iter().map(move |&(count, start)| {
            let len = count * self.channels;
            let first = start + point * (len + LANES);
            (count, first..first + len)
        })
    }
}

impl Layout for Striped {
    #[inline(always)]
    fn place(&self, channel: usize, vector: usize) -> (usize, usize) {
        let (count, first) = self.vectors[vector];
        (first + channel * count, count * self.channels + LANES)
    }
}

/// Point by point, and all tiles of a channel in a row, for a few channels: as dot products read them. Here too a line is left
/// free behind each point.
pub struct InRows {
    width: usize,
    points: usize,
}

impl InRows {
    /// How many channels lie together.
    pub const TOGETHER: usize = 16;

    /// The layout for these tiles.
    pub fn new(tiles: &Tiles, points: usize) -> InRows {
        InRows { width: tiles.width(), points }
    }

    /// Values of the channels that lie together.
    pub fn len(&self) -> usize {
        self.points * self.step()
    }

    /// From a point to the next one.
    fn step(&self) -> usize {
        InRows::TOGETHER * self.width + LANES
    }

    /// Where the rows of all channels begin at a point, of channels that follow each other in this way.
    pub fn starts(&self, channels: usize, point: usize) -> Vec<usize> {
        let row = |channel: usize| channel % InRows::TOGETHER * self.width;
        (0..channels)
            .map(|channel| channel / InRows::TOGETHER * self.len() + point * self.step() + row(channel))
            .collect()
    }
}

impl Layout for InRows {
    #[inline(always)]
    fn place(&self, channel: usize, vector: usize) -> (usize, usize) {
        (channel * self.width + vector * LANES, self.step())
    }
}
