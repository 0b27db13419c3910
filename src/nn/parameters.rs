//! Walks over the tensors of a network by their PyTorch names: out into a state dict, back in, and through a
//! step of the optimizer. Knows no particular network.

use std::convert::Infallible;

use dfdx::prelude::*;
use num_traits::NumCast;

use super::classifier::Trainable;
use super::optimizer::Step;
use super::state_dict::{StateDict, Values};

/// What a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The weights or biases of a convolution.
    Convolution,
    /// A batch norm.
    Norm,
    /// The last, linear layer.
    Head,
}

/// What the parameter of this name belongs to.
pub fn role(name: &str) -> Role {
    let layer = name.rsplit_once('.').map_or(name, |(layer, _)| layer);
    let last = layer.rsplit('.').next().unwrap_or(layer);
    if layer.starts_with("fc") {
        Role::Head
    } else if last.starts_with("bn") || last.starts_with("conv2_bn") || layer.ends_with("downsample.1") {
        Role::Norm
    } else {
        Role::Convolution
    }
}

/// All tensors of a network and its counters.
pub fn export<M: TensorCollection<f32, D>, D: Device<f32>>(network: &M) -> StateDict {
    let mut state = StateDict::default();
    let walk =
        M::iter_tensors(&mut RecursiveWalker { m: (network, String::new()), f: &mut Export(&mut state) });
    match walk {
        Ok(_) => state,
        Err(never) => match never {},
    }
}

/// Puts a state dict into a network whose own one it has been checked against.
pub fn import<M: TensorCollection<f32, D>, D: Device<f32>>(network: &mut M, state: &StateDict) {
    let walk = M::iter_tensors(&mut RecursiveWalker { m: (network, String::new()), f: &mut Import(state) });
    match walk {
        Ok(_) => {}
        Err(never) => match never {},
    }
}

/// The gradient of every parameter.
#[cfg(test)]
pub fn gradients<M: TensorCollection<f32, D>, D: Device<f32>>(
    network: &M,
    gradients: &Gradients<f32, D>,
) -> StateDict {
    let mut state = StateDict::default();
    let mut f = Collect { gradients, state: &mut state };
    let walk = M::iter_tensors(&mut RecursiveWalker { m: (network, String::new()), f: &mut f });
    match walk {
        Ok(_) => state,
        Err(never) => match never {},
    }
}

/// Moves the trainable parameters of a network against their gradients.
pub fn update<M: TensorCollection<f32, D>, D: Device<f32>>(
    network: &mut M,
    gradients: &Gradients<f32, D>,
    step: Step,
    trainable: Trainable,
) {
    let mut f = Update { gradients, step, trainable };
    let walk = M::iter_tensors(&mut RecursiveWalker { m: (network, String::new()), f: &mut f });
    match walk {
        Ok(_) => {}
        Err(never) => match never {},
    }
}

/// PyTorch's name: dfdx begins with the places in the outermost tuples, which PyTorch does not know.
fn plain(path: &str) -> &str {
    path.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
}

struct Export<'a>(&'a mut StateDict);

impl<D: Device<f32>> TensorVisitor<f32, D> for Export<'_> {
    type Viewer = (ViewTensorRef, ViewTensorName);
    type Err = Infallible;
    type E2 = f32;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        _: TensorOptions<S, f32, D>,
        (tensor, path): (&Tensor<S, f32, D>, String),
    ) -> Result<Option<Tensor<S, f32, D>>, Infallible> {
        let shape = tensor.shape().concrete().into();
        self.0.push(plain(&path).to_owned(), shape, Values::F32(tensor.as_vec()));
        Ok(None)
    }

    fn visit_scalar<N: NumCast>(
        &mut self,
        _: ScalarOptions<N>,
        (count, path): (&N, String),
    ) -> Result<Option<N>, Infallible> {
        let count = count.to_i64().expect("counters stay far below 2^63");
        self.0.push(plain(&path).to_owned(), vec![], Values::I64(vec![count]));
        Ok(None)
    }
}

struct Import<'a>(&'a StateDict);

impl Import<'_> {
    fn values(&self, path: &str) -> &Values {
        &self.0.get(plain(path)).expect("the state dict was checked").values
    }
}

impl<D: Device<f32>> TensorVisitor<f32, D> for Import<'_> {
    type Viewer = (ViewTensorMut, ViewTensorName);
    type Err = Infallible;
    type E2 = f32;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        _: TensorOptions<S, f32, D>,
        (tensor, path): (&mut Tensor<S, f32, D>, String),
    ) -> Result<Option<Tensor<S, f32, D>>, Infallible> {
        match self.values(&path) {
            Values::F32(values) => tensor.copy_from(values),
            Values::I64(_) => unreachable!("the types were checked"),
        }
        Ok(None)
    }

    fn visit_scalar<N: NumCast>(
        &mut self,
        _: ScalarOptions<N>,
        (count, path): (&mut N, String),
    ) -> Result<Option<N>, Infallible> {
        match self.values(&path) {
            Values::I64(values) => *count = N::from(values[0].max(0)).expect("counters are as wide as i64"),
            Values::F32(_) => unreachable!("the types were checked"),
        }
        Ok(None)
    }
}

#[cfg(test)]
struct Collect<'a, D: Device<f32>> {
    gradients: &'a Gradients<f32, D>,
    state: &'a mut StateDict,
}

#[cfg(test)]
impl<D: Device<f32>> TensorVisitor<f32, D> for Collect<'_, D> {
    type Viewer = (ViewTensorRef, ViewTensorName);
    type Err = Infallible;
    type E2 = f32;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, f32, D>,
        (tensor, path): (&Tensor<S, f32, D>, String),
    ) -> Result<Option<Tensor<S, f32, D>>, Infallible> {
        if options.do_gradient_update {
            let gradient = self.gradients.get(tensor).as_vec();
            let shape = tensor.shape().concrete().into();
            self.state.push(plain(&path).to_owned(), shape, Values::F32(gradient));
        }
        Ok(None)
    }
}

struct Update<'a, D: Device<f32>> {
    gradients: &'a Gradients<f32, D>,
    step: Step<'a>,
    trainable: Trainable,
}

impl<D: Device<f32>> TensorVisitor<f32, D> for Update<'_, D> {
    type Viewer = (ViewTensorMut, ViewTensorName);
    type Err = Infallible;
    type E2 = f32;
    type D2 = D;

    fn visit<S: Shape>(
        &mut self,
        options: TensorOptions<S, f32, D>,
        (tensor, path): (&mut Tensor<S, f32, D>, String),
    ) -> Result<Option<Tensor<S, f32, D>>, Infallible> {
        let name = plain(&path);
        if options.do_gradient_update && self.trainable.includes(role(name)) {
            let [mut gradient, mut values] = [(); 2].map(|()| vec![0.0; tensor.shape().num_elements()]);
            self.gradients.get(&*tensor).copy_into(&mut gradient);
            tensor.copy_into(&mut values);
            self.step.update(name, &mut values, &gradient);
            tensor.copy_from(&values);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_norms_and_heads_from_convolutions() {
        for (name, expected) in [
            ("layer_1.bias", Role::Convolution),
            ("conv2_bn1.running_var", Role::Norm),
            ("fc_layer_1.weight", Role::Head),
            ("conv1.weight", Role::Convolution),
            ("bn1.weight", Role::Norm),
            ("layer1.0.conv2.weight", Role::Convolution),
            ("layer1.0.bn2.bias", Role::Norm),
            ("layer1.0.downsample.0.weight", Role::Convolution),
            ("layer1.0.downsample.1.weight", Role::Norm),
            ("fc.bias", Role::Head),
        ] {
            assert_eq!(role(name), expected, "{name}");
        }
    }
}
