//! What the layers ask for beyond dfdx's own operations. `cpu/` answers with fused loops for the processor,
//! `composed` with dfdx's operations for any device; the layers and networks above know only this trait.

use std::fmt::Debug;
use std::sync::OnceLock;

use dfdx::prelude::*;

use super::tape::{Recorder, Traced};

/// Feature maps with the channels known to the compiler and the resolution only at run time.
pub type Maps<const C: usize, D, T = NoneTape> = Tensor<(usize, Const<C>, usize, usize), f32, D, T>; // (batch, channels, height, width)

/// One row of features per image.
pub type Rows<const C: usize, D, T = NoneTape> = Tensor<(usize, Const<C>), f32, D, T>; // (batch, features)

/// One number per channel.
pub type PerChannel<const C: usize, D> = Tensor<Rank1<C>, f32, D>; // (channels)

/// The weights of a convolution; `PER_GROUP` input channels reach each output channel.
pub type Filters<const O: usize, const PER_GROUP: usize, const K: usize, D> =
    Tensor<Rank4<O, PER_GROUP, K, K>, f32, D>; // (out, in / groups, row, column)

/// Fails as the device fails.
pub type Answer<X, D> = Result<X, <D as HasErr>::Err>;

/// What shapes a convolution besides its weights. `stride` and `padding` hold for both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Convolution {
    /// Steps between neighbouring outputs.
    pub stride: usize,
    /// Zeros beyond each edge.
    pub padding: usize,
    /// The factor for negative results, fused into the convolution: 0 for ReLU, 1 for no activation.
    pub negative_slope: f32,
    /// Where the input comes from.
    pub input: Source,
}

/// Where the input of a layer comes from, and so what becomes of its gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The images themselves, whose gradient nobody needs.
    Images,
    /// Another layer, of which nothing else reads the output.
    Layer,
    /// Another layer, of which others read the output after this.
    First,
    /// Another layer, of which others have read the output before this.
    Again,
}

/// A batch norm in training and the activation after it:
/// act(scale (x - mean) / sqrt(variance + eps) + shift + shortcut), by the batch's own mean and biased variance.
#[derive(Debug)]
pub struct Norm<'a, const C: usize, D: Device<f32>> {
    /// The factor of each channel.
    pub scale: &'a PerChannel<C, D>,
    /// The offset of each channel.
    pub shift: &'a PerChannel<C, D>,
    /// Keeps the divisor from 0.
    pub eps: f32,
    /// The factor for negative results.
    pub negative_slope: f32,
    /// What a residual block adds before its activation. Nothing reads it after this, because its gradient begins here.
    pub shortcut: Option<Maps<C, D, Traced<D>>>,
}

/// Mean and biased variance of each channel over a batch.
pub struct Moments {
    /// The means.
    pub mean: Vec<f64>, // (channels)
    /// The mean squared distances from them.
    pub variance: Vec<f64>, // (channels)
}

/// A way to compute the networks, as a type: [`Fused`](super::cpu::Fused) or
/// [`Composed`](super::composed::Composed).
pub trait Backend: Debug + Default + Clone + Send + Sync + 'static {
    /// What it makes of the filters of a convolution before it evaluates them.
    type Prepared: Debug + Clone + Send + Sync;
}

/// Filters that are prepared once for all batches: whoever changes them, or the map behind them, empties it.
pub type Prepared<B> = OnceLock<<B as Backend>::Prepared>;

/// A way to compute the networks on a device. Every operation is differentiable unless it says otherwise.
pub trait Kernels<D: Device<f32>>: Backend {
    /// act(factor (x * filters) + offset + shortcut), with a factor and an offset per channel, without a gradient, where
    /// `*` is the cross-correlation that deep learning calls convolution.
    fn convolve<const I: usize, const O: usize, const PER_GROUP: usize, const K: usize>(
        x: Maps<I, D>,
        filters: &Filters<O, PER_GROUP, K, D>,
        map: (&PerChannel<O, D>, &PerChannel<O, D>),
        how: Convolution,
        shortcut: Option<Maps<O, D>>,
        prepared: &Prepared<Self>,
    ) -> Answer<Maps<O, D>, D>;

    /// The norm of act(x * filters + bias), and what it found of that.
    fn convolve_normalize<const I: usize, const O: usize, const PER_GROUP: usize, const K: usize>(
        x: Maps<I, D, Traced<D>>,
        filters: &Filters<O, PER_GROUP, K, D>,
        bias: Option<&PerChannel<O, D>>,
        how: Convolution,
        norm: Norm<'_, O, D>,
    ) -> Answer<(Maps<O, D, Traced<D>>, Moments), D>;

    /// factor act(x * filters + bias) + offset, with a factor and an offset per channel, without a gradient.
    fn convolve_mapped<const I: usize, const O: usize, const PER_GROUP: usize, const K: usize>(
        x: Maps<I, D>,
        filters: &Filters<O, PER_GROUP, K, D>,
        bias: Option<&PerChannel<O, D>>,
        how: Convolution,
        map: (&PerChannel<O, D>, &PerChannel<O, D>),
        prepared: &Prepared<Self>,
    ) -> Answer<Maps<O, D>, D>;

    /// The largest value of each window of side `K`; of equal ones the first takes the gradient.
    fn max_pool<const C: usize, T: Recorder<D>>(
        x: Maps<C, D, T>,
        side: usize,
        stride: usize,
        padding: usize,
    ) -> Answer<Maps<C, D, T>, D>;

    /// The mean over height and width.
    fn mean_over_space<const C: usize, T: Recorder<D>>(x: Maps<C, D, T>) -> Answer<Rows<C, D, T>, D>;

    /// act(x weight^T + bias).
    fn connect<const I: usize, const O: usize, T: Tape<f32, D>>(
        x: Rows<I, D, T>,
        weight: &Tensor<Rank2<O, I>, f32, D>,
        bias: &PerChannel<O, D>,
        negative_slope: f32,
    ) -> Answer<Rows<O, D, T>, D>;
}
