//! Max pooling, as `torch.nn.MaxPool2d`.

use std::marker::PhantomData;

use dfdx::prelude::*;

use crate::nn::kernels::{Answer, Backend, Kernels, Maps};
use crate::nn::tape::Recorder;

/// The largest value of each window of side `K`, `S` apart, with `P` beyond each edge.
#[derive(Debug, Default, Clone, Copy)]
pub struct MaxPool<const K: usize, const S: usize, const P: usize, B>(PhantomData<B>);

impl<const K: usize, const S: usize, const P: usize, B: Backend> ZeroSizedModule for MaxPool<K, S, P, B> {}

impl<const K: usize, const S: usize, const P: usize, B> NonMutableModule for MaxPool<K, S, P, B> {}

impl<
    const K: usize,
    const S: usize,
    const P: usize,
    const C: usize,
    B: Kernels<D>,
    D: Device<f32>,
    T: Recorder<D>,
> Module<Maps<C, D, T>> for MaxPool<K, S, P, B>
{
    type Output = Maps<C, D, T>;
    type Error = D::Err;

    fn try_forward(&self, x: Maps<C, D, T>) -> Answer<Self::Output, D> {
        B::max_pool(x, K, S, P)
    }
}
