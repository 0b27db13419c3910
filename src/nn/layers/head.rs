//! The end of every network: the mean over space, a linear layer, and an activation on the logits, which only
//! LeNet and Custom-Net have.

use std::marker::PhantomData;

use dfdx::prelude::*;

use crate::nn::kernels::{Answer, Backend, Kernels, Maps, Rows};
use crate::nn::tape::Recorder;

use super::activation::Slope;

/// From `I` channels to the logits of `CLASSES` classes.
#[derive(Debug, Clone)]
pub struct Head<const I: usize, const CLASSES: usize, A, B, D: Storage<E>, E: Dtype = f32> {
    weight: Tensor<Rank2<CLASSES, I>, E, D>,
    bias: Tensor<Rank1<CLASSES>, E, D>,
    kinds: PhantomData<(A, B)>,
}

impl<const I: usize, const CLASSES: usize, A: Slope, B: Backend, D: Device<E>, E: Dtype>
    TensorCollection<E, D> for Head<I, CLASSES, A, B, D, E>
{
    type To<E2: Dtype, D2: Device<E2>> = Head<I, CLASSES, A, B, D2, E2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(
            (
                Self::tensor("weight", |s| &s.weight, |s| &mut s.weight, TensorOptions::reset_to_zeros()),
                Self::tensor("bias", |s| &s.bias, |s| &mut s.bias, TensorOptions::reset_to_zeros()),
            ),
            |(weight, bias)| Head { weight, bias, kinds: PhantomData },
        )
    }
}

impl<const I: usize, const CLASSES: usize, A: Slope, B: Kernels<D>, D: Device<f32>, T: Recorder<D>>
    Module<Maps<I, D, T>> for Head<I, CLASSES, A, B, D>
{
    type Output = Rows<CLASSES, D, T>;
    type Error = D::Err;

    fn try_forward(&self, x: Maps<I, D, T>) -> Answer<Self::Output, D> {
        B::connect(B::mean_over_space(x)?, &self.weight, &self.bias, A::NEGATIVE)
    }
}

impl<const I: usize, const CLASSES: usize, A, B, D: Device<f32>> NonMutableModule
    for Head<I, CLASSES, A, B, D>
{
}
