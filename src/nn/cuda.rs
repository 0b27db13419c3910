//! The kernels on an NVIDIA GPU: all of them composed from dfdx's own operations.

use dfdx::prelude::*;

use super::composed;
use super::kernels::{Answer, Convolution, Filters, Kernels, Maps, Moments, PerChannel, Rows, Traced};

impl Kernels for Cuda {
    fn convolve<
        const I: usize,
        const O: usize,
        const PER_GROUP: usize,
        const K: usize,
        T: Tape<f32, Cuda>,
    >(
        x: Maps<I, Cuda, T>,
        filters: &Filters<O, PER_GROUP, K, Cuda>,
        bias: Option<&PerChannel<O, Cuda>>,
        how: Convolution,
    ) -> Answer<Maps<O, Cuda, T>, Cuda> {
        composed::convolve(x, filters, bias, how)
    }

    fn normalize<const C: usize>(
        x: Maps<C, Cuda, Traced<Cuda>>,
        scale: &PerChannel<C, Cuda>,
        shift: &PerChannel<C, Cuda>,
        eps: f32,
        negative_slope: f32,
    ) -> Answer<(Maps<C, Cuda, Traced<Cuda>>, Moments), Cuda> {
        composed::normalize(x, scale, shift, eps, negative_slope)
    }

    fn rescale<const C: usize>(
        x: Maps<C, Cuda>,
        scale: &PerChannel<C, Cuda>,
        shift: &PerChannel<C, Cuda>,
        negative_slope: f32,
    ) -> Answer<Maps<C, Cuda>, Cuda> {
        composed::rescale(x, scale, shift, negative_slope)
    }

    fn max_pool<const C: usize, T: Tape<f32, Cuda>>(
        x: Maps<C, Cuda, T>,
        side: usize,
        stride: usize,
        padding: usize,
    ) -> Answer<Maps<C, Cuda, T>, Cuda> {
        composed::max_pool(x, side, stride, padding)
    }

    fn join<const C: usize, T: Tape<f32, Cuda>>(
        x: Maps<C, Cuda, T>,
        y: Maps<C, Cuda, T>,
        negative_slope: f32,
    ) -> Answer<Maps<C, Cuda, T>, Cuda> {
        composed::join(x, y, negative_slope)
    }

    fn mean_over_space<const C: usize, T: Tape<f32, Cuda>>(
        x: Maps<C, Cuda, T>,
    ) -> Answer<Rows<C, Cuda, T>, Cuda> {
        composed::mean_over_space(x)
    }

    fn connect<const I: usize, const O: usize, T: Tape<f32, Cuda>>(
        x: Rows<I, Cuda, T>,
        weight: &Tensor<Rank2<O, I>, f32, Cuda>,
        bias: &PerChannel<O, Cuda>,
        negative_slope: f32,
    ) -> Answer<Rows<O, Cuda, T>, Cuda> {
        composed::connect(x, weight, bias, negative_slope)
    }
}
