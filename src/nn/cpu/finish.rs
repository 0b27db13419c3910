//! What becomes of each value at the end of a convolution, while it is still at hand: it is stored or added, after
//! bias and activation, and in evaluation the map of a batch norm.

use std::mem::MaybeUninit;

use super::elementwise::activate;
use super::microkernel::Places;

/// The end of a convolution, channel by channel.
pub trait Finish: Sync {
    /// The place of a value.
    type Place: Send;

    /// What becomes of a value of this channel before it is stored.
    fn map(&self, channel: usize) -> impl Fn(f32) -> f32 + Copy;

    /// Stores what has become of a value.
    fn keep(place: &mut Self::Place, value: f32);

    /// How a whole tile does both with its sums, if it can; its rows are channels from this one on.
    fn places<'a>(&'a self, _channel: usize, _places: &'a mut [Self::Place]) -> Option<Places<'a>> {
        None
    }

    /// Both together.
    #[inline(always)]
    fn of(&self, channel: usize) -> impl Fn(&mut Self::Place, f32) + Copy {
        let map = self.map(channel);
        move |place, value| Self::keep(place, map(value))
    }
}

/// y = factor act(value + bias) + offset.
#[derive(Clone, Copy)]
pub struct Output<'a> {
    /// One per channel; without, 0.
    pub bias: Option<&'a [f32]>,
    /// The factor for negative values.
    pub negative_slope: f32,
    /// A factor and an offset per channel; without, 1 and 0.
    pub map: Option<(&'a [f32], &'a [f32])>,
}

impl Finish for Output<'_> {
    type Place = MaybeUninit<f32>;

    #[inline(always)]
    fn map(&self, channel: usize) -> impl Fn(f32) -> f32 + Copy {
        let bias = self.bias.map_or(0.0, |bias| bias[channel]);
        let (factor, offset) =
            self.map.map_or((1.0, 0.0), |(factor, offset)| (factor[channel], offset[channel]));
        let negative_slope = self.negative_slope;
        move |value| factor * activate(value + bias, negative_slope) + offset
    }

    #[inline(always)]
    fn keep(place: &mut MaybeUninit<f32>, value: f32) {
        place.write(value);
    }
}

/// y = act(value + bias): an [`Output`] without a map, in fewer steps.
pub struct Activated<'a> {
    /// One per channel.
    pub bias: &'a [f32],
    /// The factor for negative values.
    pub negative_slope: f32,
}

impl Finish for Activated<'_> {
    type Place = MaybeUninit<f32>;

    #[inline(always)]
    fn map(&self, channel: usize) -> impl Fn(f32) -> f32 + Copy {
        let (bias, negative_slope) = (self.bias[channel], self.negative_slope);
        move |value| activate(value + bias, negative_slope)
    }

    #[inline(always)]
    fn keep(place: &mut MaybeUninit<f32>, value: f32) {
        place.write(value);
    }

    #[inline(always)]
    fn places<'a>(&'a self, channel: usize, places: &'a mut [MaybeUninit<f32>]) -> Option<Places<'a>> {
        let bias = self.bias[channel..].first_chunk()?;
        Some(Places::Activate { places, bias, negative_slope: &self.negative_slope })
    }
}

/// y += value.
pub struct Added;

impl Finish for Added {
    type Place = f32;

    #[inline(always)]
    fn map(&self, _: usize) -> impl Fn(f32) -> f32 + Copy {
        |value| value
    }

    #[inline(always)]
    fn keep(place: &mut f32, value: f32) {
        *place += value;
    }

    #[inline(always)]
    fn places<'a>(&'a self, _: usize, places: &'a mut [f32]) -> Option<Places<'a>> {
        Some(Places::Add(places))
    }
}

/// y = value, where nothing was.
pub struct Fresh;

impl Finish for Fresh {
    type Place = MaybeUninit<f32>;

    #[inline(always)]
    fn map(&self, _: usize) -> impl Fn(f32) -> f32 + Copy {
        |value| value
    }

    #[inline(always)]
    fn keep(place: &mut MaybeUninit<f32>, value: f32) {
        place.write(value);
    }

    #[inline(always)]
    fn places<'a>(&'a self, _: usize, places: &'a mut [MaybeUninit<f32>]) -> Option<Places<'a>> {
        Some(Places::Write(places))
    }
}

/// y = value.
pub struct Stored;

impl Finish for Stored {
    type Place = f32;

    #[inline(always)]
    fn map(&self, _: usize) -> impl Fn(f32) -> f32 + Copy {
        |value| value
    }

    #[inline(always)]
    fn keep(place: &mut f32, value: f32) {
        *place = value;
    }

    #[inline(always)]
    fn places<'a>(&'a self, _: usize, places: &'a mut [f32]) -> Option<Places<'a>> {
        Some(Places::over(places))
    }
}
