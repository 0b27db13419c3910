//! Max pooling, as `torch.nn.MaxPool2d`.

use dfdx::prelude::*;

use crate::nn::kernels::{Answer, Kernels, Maps};

/// The largest value of each window of side `K`, `S` apart, with `P` beyond each edge.
#[derive(Debug, Default, Clone, Copy)]
pub struct MaxPool<const K: usize, const S: usize, const P: usize>;

impl<const K: usize, const S: usize, const P: usize> ZeroSizedModule for MaxPool<K, S, P> {}

impl<const K: usize, const S: usize, const P: usize> NonMutableModule for MaxPool<K, S, P> {}

impl<const K: usize, const S: usize, const P: usize, const C: usize, D: Kernels, T: Tape<f32, D>>
    Module<Maps<C, D, T>> for MaxPool<K, S, P>
{
    type Output = Maps<C, D, T>;
    type Error = D::Err;

    fn try_forward(&self, x: Maps<C, D, T>) -> Answer<Self::Output, D> {
        D::max_pool(x, K, S, P)
    }
}
