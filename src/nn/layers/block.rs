//! The block of LeNet and Custom-Net: convolution with bias, activation, batch norm, in this order.

use std::marker::PhantomData;

use dfdx::prelude::*;

use crate::nn::kernels::{Answer, Backend, Convolution, Kernels, Maps, Source};
use crate::nn::tape::Traced;

use super::activation::Slope;
use super::norm::BatchNorm;

/// The block of this `NUMBER`, from `I` to `O` channels: kernel `K`, stride `S`, padding `P`.
///
/// Block 1 reads the images, and applies its activation twice, as the experiments it repeats did.
#[derive(Debug, Clone)]
pub struct Block<
    const NUMBER: usize,
    const I: usize,
    const O: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    A,
    B: Backend,
    D: Storage<E>,
    E: Dtype = f32,
> {
    weight: Tensor<Rank4<O, I, K, K>, E, D>,
    bias: Tensor<Rank1<O>, E, D>,
    norm: BatchNorm<O, super::Identity, B, D, E>,
    kinds: PhantomData<(A, B)>,
}

impl<
    const NUMBER: usize,
    const I: usize,
    const O: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    A: Slope,
    B: Backend,
    D: Device<E>,
    E: Dtype,
> TensorCollection<E, D> for Block<NUMBER, I, O, K, S, P, A, B, D, E>
{
    type To<E2: Dtype, D2: Device<E2>> = Block<NUMBER, I, O, K, S, P, A, B, D2, E2>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        let [weight, bias] = ["weight", "bias"].map(|part| format!("layer_{NUMBER}.{part}"));
        visitor.visit_fields(
            (
                Self::tensor(
                    &weight,
                    |s| &s.weight,
                    |s| s.norm.behind(&mut s.weight),
                    TensorOptions::reset_to_zeros(),
                ),
                Self::tensor(&bias, |s| &s.bias, |s| &mut s.bias, TensorOptions::reset_to_zeros()),
                Self::module(&format!("conv2_bn{NUMBER}"), |s| &s.norm, |s| &mut s.norm),
            ),
            |(weight, bias, norm)| Block { weight, bias, norm, kinds: PhantomData },
        )
    }
}

impl<
    const NUMBER: usize,
    const I: usize,
    const O: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    A: Slope,
    B: Kernels<D>,
    D: Device<f32>,
> Block<NUMBER, I, O, K, S, P, A, B, D>
{
    const HOW: Convolution = Convolution {
        stride: S,
        padding: P,
        negative_slope: if NUMBER == 1 { A::NEGATIVE * A::NEGATIVE } else { A::NEGATIVE },
        input: if NUMBER == 1 { Source::Images } else { Source::Layer },
    };
}

impl<
    const NUMBER: usize,
    const I: usize,
    const O: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    A: Slope,
    B: Kernels<D>,
    D: Device<f32>,
> ModuleMut<Maps<I, D, Traced<D>>> for Block<NUMBER, I, O, K, S, P, A, B, D>
{
    type Output = Maps<O, D, Traced<D>>;
    type Error = D::Err;

    fn try_forward_mut(&mut self, x: Maps<I, D, Traced<D>>) -> Answer<Self::Output, D> {
        self.norm.train_after_convolution(x, &self.weight, Some(&self.bias), Self::HOW, None)
    }
}

impl<
    const NUMBER: usize,
    const I: usize,
    const O: usize,
    const K: usize,
    const S: usize,
    const P: usize,
    A: Slope,
    B: Kernels<D>,
    D: Device<f32>,
> Module<Maps<I, D>> for Block<NUMBER, I, O, K, S, P, A, B, D>
{
    type Output = Maps<O, D>;
    type Error = D::Err;

    fn try_forward(&self, x: Maps<I, D>) -> Answer<Self::Output, D> {
        self.norm.after_activation(x, &self.weight, &self.bias, Self::HOW)
    }
}
