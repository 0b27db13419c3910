//! Batch norm: y = act(weight (x - mean) / sqrt(variance + eps) + bias) for each channel, by the batch's
//! statistics in training and by running ones in evaluation (Ioffe and Szegedy, "Batch normalization", ICML
//! 2015). As `torch.nn.BatchNorm2d` with its defaults.

use std::marker::PhantomData;

use dfdx::prelude::*;

use crate::nn::kernels::{
    Answer, Backend, Convolution, Filters, Kernels, Maps, Moments, Norm, PerChannel, Prepared,
};
use crate::nn::tape::Traced;

use super::activation::Slope;

const EPS: f32 = 1e-5;

/// How much of a batch's statistics goes into the running ones.
const MOMENTUM: f64 = 0.1;

/// Batch norm over `C` channels, followed by an activation.
#[derive(Debug, Clone)]
pub struct BatchNorm<const C: usize, A, B: Backend, D: Storage<E>, E: Dtype = f32> {
    weight: Tensor<Rank1<C>, E, D>,
    bias: Tensor<Rank1<C>, E, D>,
    running_mean: Tensor<Rank1<C>, E, D>,
    running_var: Tensor<Rank1<C>, E, D>,
    num_batches_tracked: usize,
    /// Of the convolution before it, for evaluation; whoever changes either of them empties it.
    prepared: Prepared<B>,
    kinds: PhantomData<(A, B)>,
}

impl<const C: usize, A: Slope, B: Backend, D: Device<E>, E: Dtype> TensorCollection<E, D>
    for BatchNorm<C, A, B, D, E>
{
    type To<E2: Dtype, D2: Device<E2>> = BatchNorm<C, A, B, D2, E2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        let zeros = || TensorOptions::detached(Tensor::try_fill_with_zeros);
        let ones = || TensorOptions::detached(Tensor::try_fill_with_ones);
        visitor.visit_fields(
            (
                Self::tensor(
                    "weight",
                    |s| &s.weight,
                    |s| &mut s.change().weight,
                    TensorOptions::reset_to_ones(),
                ),
                Self::tensor("bias", |s| &s.bias, |s| &mut s.change().bias, TensorOptions::reset_to_zeros()),
                Self::tensor("running_mean", |s| &s.running_mean, |s| &mut s.change().running_mean, zeros()),
                Self::tensor("running_var", |s| &s.running_var, |s| &mut s.change().running_var, ones()),
                Self::scalar(
                    "num_batches_tracked",
                    |s| &s.num_batches_tracked,
                    |s| &mut s.num_batches_tracked,
                    ScalarOptions::from_default(0),
                ),
            ),
            |(weight, bias, running_mean, running_var, num_batches_tracked)| BatchNorm {
                weight,
                bias,
                running_mean,
                running_var,
                num_batches_tracked,
                prepared: Prepared::<B>::new(),
                kinds: PhantomData,
            },
        )
    }
}

impl<const C: usize, A, B: Backend, D: Storage<E>, E: Dtype> BatchNorm<C, A, B, D, E> {
    /// Itself, to be changed.
    fn change(&mut self) -> &mut Self {
        self.prepared.take();
        self
    }

    /// The filters of the convolution before it, to be changed.
    pub(super) fn behind<'a, T>(&mut self, filters: &'a mut T) -> &'a mut T {
        self.change();
        filters
    }
}

impl<const C: usize, A: Slope, B: Kernels<D>, D: Device<f32>> BatchNorm<C, A, B, D> {
    /// Factor and offset of each channel by the running statistics.
    fn map(&self) -> Answer<(PerChannel<C, D>, PerChannel<C, D>), D> {
        let deviation = self.running_var.clone().try_add(EPS)?.try_sqrt()?;
        let scale = self.weight.clone().try_div(deviation)?;
        let shift = self.bias.clone().try_sub(scale.clone().try_mul(self.running_mean.clone())?)?;
        Ok((scale, shift))
    }

    /// In training, a convolution and this norm after it; the shortcut is added before the activation.
    pub(super) fn train_after_convolution<const I: usize, const PER_GROUP: usize, const K: usize>(
        &mut self,
        x: Maps<I, D, Traced<D>>,
        filters: &Filters<C, PER_GROUP, K, D>,
        bias: Option<&PerChannel<C, D>>,
        how: Convolution,
        shortcut: Option<Maps<C, D, Traced<D>>>,
    ) -> Answer<Maps<C, D, Traced<D>>, D> {
        let (scale, shift) = (&self.weight, &self.bias);
        let norm = Norm { scale, shift, eps: EPS, negative_slope: A::NEGATIVE, shortcut };
        let (y, moments) = B::convolve_normalize(x, filters, bias, how, norm)?;
        let (batch, _, height, width) = *y.shape();
        self.track(&moments, batch * height * width);
        Ok(y)
    }

    /// In evaluation, what a convolution without bias and this norm after it give together: one convolution, since
    /// both are linear. The shortcut is added before the activation.
    pub(super) fn after_convolution<const I: usize, const PER_GROUP: usize, const K: usize>(
        &self,
        x: Maps<I, D>,
        filters: &Filters<C, PER_GROUP, K, D>,
        how: Convolution,
        shortcut: Option<Maps<C, D>>,
    ) -> Answer<Maps<C, D>, D> {
        let (factor, offset) = self.map()?;
        let how = Convolution { negative_slope: A::NEGATIVE, ..how };
        B::convolve(x, filters, (&factor, &offset), how, shortcut, &self.prepared)
    }

    /// In evaluation, a convolution with bias and activation and this norm after it.
    pub(super) fn after_activation<const I: usize, const PER_GROUP: usize, const K: usize>(
        &self,
        x: Maps<I, D>,
        filters: &Filters<C, PER_GROUP, K, D>,
        bias: &PerChannel<C, D>,
        how: Convolution,
    ) -> Answer<Maps<C, D>, D> {
        let (factor, offset) = self.map()?;
        B::convolve_mapped(x, filters, Some(bias), how, (&factor, &offset), &self.prepared)
    }

    /// Mixes the statistics of a batch, of `count` values per channel, into the running ones.
    fn track(&mut self, batch: &Moments, count: usize) {
        // One value has no unbiased variance; PyTorch refuses it, which no batch of ours can reach.
        let unbiased = count as f64 / (count.max(2) - 1) as f64;
        let mix = |running: &mut PerChannel<C, D>, batch: &[f64], scale: f64| {
            let mut values = running.as_vec();
            for (value, &new) in values.iter_mut().zip(batch) {
                *value = (f64::from(*value) * (1.0 - MOMENTUM) + new * scale * MOMENTUM) as f32;
            }
            running.copy_from(&values);
        };
        self.change();
        mix(&mut self.running_mean, &batch.mean, 1.0);
        mix(&mut self.running_var, &batch.variance, unbiased);
        self.num_batches_tracked += 1;
    }
}
