//! Gives a layer its PyTorch name where dfdx would only number it.

use std::marker::PhantomData;

use dfdx::prelude::*;

/// A name at compile time.
pub trait Name: Send + 'static {
    /// The name.
    const NAME: &'static str;
}

/// The layer `M` under the name `N`.
#[derive(Debug, Clone)]
pub struct Named<N, M> {
    layer: M,
    name: PhantomData<N>,
}

impl<N: Name, M: TensorCollection<E, D>, D: Device<E>, E: Dtype> TensorCollection<E, D> for Named<N, M> {
    type To<E2: Dtype, D2: Device<E2>> = Named<N, M::To<E2, D2>>;

    fn iter_tensors<V: ModuleVisitor<Self, E, D>>(
        visitor: &mut V,
    ) -> Result<Option<Self::To<V::E2, V::D2>>, V::Err> {
        visitor.visit_fields(Self::module(N::NAME, |s| &s.layer, |s| &mut s.layer), |layer| Named {
            layer,
            name: PhantomData,
        })
    }
}

impl<N, M: ModuleMut<X>, X> ModuleMut<X> for Named<N, M> {
    type Output = M::Output;
    type Error = M::Error;

    fn try_forward_mut(&mut self, x: X) -> Result<M::Output, M::Error> {
        self.layer.try_forward_mut(x)
    }
}

impl<N, M: Module<X>, X> Module<X> for Named<N, M> {
    type Output = M::Output;
    type Error = M::Error;

    fn try_forward(&self, x: X) -> Result<M::Output, M::Error> {
        self.layer.try_forward(x)
    }
}
