//! The parts of ResNeXt (Xie et al., "Aggregated residual transformations for deep neural networks", CVPR
//! 2017), with torchvision's names: convolutions without bias, each followed by batch norm.

use dfdx::prelude::*;

use crate::nn::kernels::{Answer, Backend, Convolution, Kernels, Maps, Source};
use crate::nn::tape::{Traced, twice};

use super::activation::{Identity, Slope};
use super::norm::BatchNorm;

/// What a convolution of stride `stride` before a batch norm looks like.
const fn bare(stride: usize, padding: usize, input: Source) -> Convolution {
    Convolution { stride, padding, negative_slope: 1.0, input }
}

/// The first convolution, on images: 3 to `O` channels, kernel 7, stride 2, padding 3; norm, activation.
#[derive(Debug, Clone)]
pub struct Stem<const O: usize, A, B: Backend, D: Storage<E>, E: Dtype = f32> {
    conv1: Tensor<Rank4<O, 3, 7, 7>, E, D>,
    bn1: BatchNorm<O, A, B, D, E>,
}

impl<const O: usize, A: Slope, B: Backend, D: Device<E>, E: Dtype> TensorCollection<E, D>
    for Stem<O, A, B, D, E>
{
    type To<E2: Dtype, D2: Device<E2>> = Stem<O, A, B, D2, E2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (
                Self::tensor(
                    "conv1.weight",
                    |s| &s.conv1,
                    |s| s.bn1.behind(&mut s.conv1),
                    TensorOptions::reset_to_zeros(),
                ),
                Self::module("bn1", |s| &s.bn1, |s| &mut s.bn1),
            ),
            |(conv1, bn1)| Stem { conv1, bn1 },
        )
    }
}

impl<const O: usize, A: Slope, B: Kernels<D>, D: Device<f32>> ModuleMut<Maps<3, D, Traced<D>>>
    for Stem<O, A, B, D>
{
    type Output = Maps<O, D, Traced<D>>;
    type Error = D::Err;

    fn try_forward_mut(&mut self, x: Maps<3, D, Traced<D>>) -> Answer<Self::Output, D> {
        self.bn1.train_after_convolution(x, &self.conv1, None, bare(2, 3, Source::Images), None)
    }
}

impl<const O: usize, A: Slope, B: Kernels<D>, D: Device<f32>> Module<Maps<3, D>> for Stem<O, A, B, D> {
    type Output = Maps<O, D>;
    type Error = D::Err;

    fn try_forward(&self, x: Maps<3, D>) -> Answer<Self::Output, D> {
        self.bn1.after_convolution(x, &self.conv1, bare(2, 3, Source::Images), None)
    }
}

/// A shortcut where the shape changes: kernel 1, stride `S`; norm.
#[derive(Debug, Clone)]
pub struct Projection<
    const I: usize,
    const O: usize,
    const S: usize,
    B: Backend,
    D: Storage<E>,
    E: Dtype = f32,
> {
    conv: Tensor<Rank4<O, I, 1, 1>, E, D>,
    norm: BatchNorm<O, Identity, B, D, E>,
}

impl<const I: usize, const O: usize, const S: usize, B: Backend, D: Device<E>, E: Dtype>
    TensorCollection<E, D> for Projection<I, O, S, B, D, E>
{
    type To<E2: Dtype, D2: Device<E2>> = Projection<I, O, S, B, D2, E2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (
                Self::tensor(
                    "0.weight",
                    |s| &s.conv,
                    |s| s.norm.behind(&mut s.conv),
                    TensorOptions::reset_to_zeros(),
                ),
                Self::module("1", |s| &s.norm, |s| &mut s.norm),
            ),
            |(conv, norm)| Projection { conv, norm },
        )
    }
}

impl<const I: usize, const O: usize, const S: usize, B: Kernels<D>, D: Device<f32>>
    ModuleMut<Maps<I, D, Traced<D>>> for Projection<I, O, S, B, D>
{
    type Output = Maps<O, D, Traced<D>>;
    type Error = D::Err;

    fn try_forward_mut(&mut self, x: Maps<I, D, Traced<D>>) -> Answer<Self::Output, D> {
        self.norm.train_after_convolution(x, &self.conv, None, bare(S, 0, Source::Again), None)
    }
}

impl<const I: usize, const O: usize, const S: usize, B: Kernels<D>, D: Device<f32>> Module<Maps<I, D>>
    for Projection<I, O, S, B, D>
{
    type Output = Maps<O, D>;
    type Error = D::Err;

    fn try_forward(&self, x: Maps<I, D>) -> Answer<Self::Output, D> {
        self.norm.after_convolution(x, &self.conv, bare(S, 0, Source::Again), None)
    }
}

/// A shortcut where the shape stays.
#[derive(Debug, Default, Clone)]
pub struct Direct;

impl ZeroSizedModule for Direct {}

impl NonMutableModule for Direct {}

impl<const C: usize, D: Device<f32>, T: Tape<f32, D>> Module<Maps<C, D, T>> for Direct {
    type Output = Maps<C, D, T>;
    type Error = D::Err;

    fn try_forward(&self, x: Maps<C, D, T>) -> Answer<Self::Output, D> {
        Ok(x)
    }
}

/// act(shortcut(x) + f(x)), where f is kernel 1 from `I` to `W` channels, kernel 3 with stride `S` in groups of
/// `PER_GROUP` channels, and kernel 1 from `W` to `O`, each with its norm, the first two with activation.
#[derive(Debug, Clone)]
pub struct Bottleneck<
    const I: usize,
    const W: usize,
    const PER_GROUP: usize,
    const O: usize,
    const S: usize,
    Shortcut,
    A,
    B: Backend,
    D: Storage<E>,
    E: Dtype = f32,
> {
    conv1: Tensor<Rank4<W, I, 1, 1>, E, D>,
    bn1: BatchNorm<W, A, B, D, E>,
    conv2: Tensor<Rank4<W, PER_GROUP, 3, 3>, E, D>,
    bn2: BatchNorm<W, A, B, D, E>,
    conv3: Tensor<Rank4<O, W, 1, 1>, E, D>,
    bn3: BatchNorm<O, A, B, D, E>,
    shortcut: Shortcut,
}

impl<
    const I: usize,
    const W: usize,
    const PER_GROUP: usize,
    const O: usize,
    const S: usize,
    Shortcut: TensorCollection<E, D>,
    A: Slope,
    B: Backend,
    D: Device<E>,
    E: Dtype,
> TensorCollection<E, D> for Bottleneck<I, W, PER_GROUP, O, S, Shortcut, A, B, D, E>
{
    type To<E2: Dtype, D2: Device<E2>> =
        Bottleneck<I, W, PER_GROUP, O, S, Shortcut::To<E2, D2>, A, B, D2, E2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (
                (
                    Self::tensor(
                        "conv1.weight",
                        |s| &s.conv1,
                        |s| s.bn1.behind(&mut s.conv1),
                        TensorOptions::reset_to_zeros(),
                    ),
                    Self::module("bn1", |s| &s.bn1, |s| &mut s.bn1),
                ),
                (
                    Self::tensor(
                        "conv2.weight",
                        |s| &s.conv2,
                        |s| s.bn2.behind(&mut s.conv2),
                        TensorOptions::reset_to_zeros(),
                    ),
                    Self::module("bn2", |s| &s.bn2, |s| &mut s.bn2),
                ),
                (
                    Self::tensor(
                        "conv3.weight",
                        |s| &s.conv3,
                        |s| s.bn3.behind(&mut s.conv3),
                        TensorOptions::reset_to_zeros(),
                    ),
                    Self::module("bn3", |s| &s.bn3, |s| &mut s.bn3),
                ),
                Self::module("downsample", |s| &s.shortcut, |s| &mut s.shortcut),
            ),
            |((conv1, bn1), (conv2, bn2), (conv3, bn3), shortcut)| Bottleneck {
                conv1,
                bn1,
                conv2,
                bn2,
                conv3,
                bn3,
                shortcut,
            },
        )
    }
}

impl<
    const I: usize,
    const W: usize,
    const PER_GROUP: usize,
    const O: usize,
    const S: usize,
    Shortcut,
    A: Slope,
    B: Kernels<D>,
    D: Device<f32>,
> ModuleMut<Maps<I, D, Traced<D>>> for Bottleneck<I, W, PER_GROUP, O, S, Shortcut, A, B, D>
where
    Shortcut: ModuleMut<Maps<I, D, Traced<D>>, Output = Maps<O, D, Traced<D>>, Error = D::Err>,
{
    type Output = Maps<O, D, Traced<D>>;
    type Error = D::Err;

    fn try_forward_mut(&mut self, x: Maps<I, D, Traced<D>>) -> Answer<Self::Output, D> {
        let (x, again) = twice(x);
        let x = self.bn1.train_after_convolution(x, &self.conv1, None, bare(1, 0, Source::First), None)?;
        let shortcut = self.shortcut.try_forward_mut(again)?;
        let x = self.bn2.train_after_convolution(x, &self.conv2, None, bare(S, 1, Source::Layer), None)?;
        self.bn3.train_after_convolution(x, &self.conv3, None, bare(1, 0, Source::Layer), Some(shortcut))
    }
}

impl<
    const I: usize,
    const W: usize,
    const PER_GROUP: usize,
    const O: usize,
    const S: usize,
    Shortcut,
    A: Slope,
    B: Kernels<D>,
    D: Device<f32>,
> Module<Maps<I, D>> for Bottleneck<I, W, PER_GROUP, O, S, Shortcut, A, B, D>
where
    Shortcut: Module<Maps<I, D>, Output = Maps<O, D>, Error = D::Err>,
{
    type Output = Maps<O, D>;
    type Error = D::Err;

    fn try_forward(&self, x: Maps<I, D>) -> Answer<Self::Output, D> {
        let shortcut = self.shortcut.try_forward(x.clone())?;
        let x = self.bn1.after_convolution(x, &self.conv1, bare(1, 0, Source::First), None)?;
        let x = self.bn2.after_convolution(x, &self.conv2, bare(S, 1, Source::Layer), None)?;
        self.bn3.after_convolution(x, &self.conv3, bare(1, 0, Source::Layer), Some(shortcut))
    }
}
