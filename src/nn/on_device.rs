//! A network of any layers on any device that dfdx knows, behind one face for all of them. What a batch must
//! look like has been checked before.

use dfdx::prelude::*;
use rayon::prelude::*;

use super::architecture::{Activation, Architecture, Network};
use super::batch::Batch;
use super::classifier::{StepOptions, StepResult, Trainable};
use super::error::Error;
use super::kernels::{Backend, Kernels, Maps, Rows, Traced};
use super::layers::{LeakyRelu, Relu};
use super::loss::cross_entropy;
use super::networks::{CLASSES, CustomNet, Lenet, Resnext};
use super::optimizer::Optimizer;
use super::parameters::{export, import, update};
use super::state_dict::StateDict;

/// A network whose layers are forgotten.
pub trait Trained: Send + Sync {
    /// As [`Classifier::train_step`](super::classifier::Classifier::train_step), of a checked batch.
    fn train_step(
        &mut self,
        batch: &Batch,
        optimizer: &mut Optimizer,
        options: &StepOptions,
        trainable: Trainable,
    ) -> Result<StepResult, Error>;
    /// As [`Classifier::logits`](super::classifier::Classifier::logits), of a checked batch.
    fn logits(&self, batch: &Batch) -> Result<Vec<f32>, Error>;
    /// Its weights and running statistics.
    fn state(&self) -> StateDict;
    /// Takes weights that have been checked against its own state.
    fn load(&mut self, state: &StateDict);
    /// How many numbers training can change.
    fn parameter_count(&self) -> usize;
}

/// How many images at least are judged together where the filters are prepared each time, for Winograd's method.
const PREPARED: usize = 64;

/// The network of an architecture, with weights still to be loaded.
///
/// # Errors
/// [`Error::Device`].
pub fn build<B: Kernels<D>, D: Device<f32> + Send + Sync>(
    architecture: &Architecture,
    device: D,
) -> Result<Box<dyn Trained>, Error>
where
    <D as Storage<f32>>::Vec: Send + Sync,
{
    match (architecture.network, architecture.activation) {
        (Network::Lenet, Activation::Relu) => OnDevice::<Lenet<Relu, B, D>, D>::boxed::<B>(device, PREPARED),
        (Network::Lenet, Activation::LeakyRelu) => {
            OnDevice::<Lenet<LeakyRelu, B, D>, D>::boxed::<B>(device, PREPARED)
        }
        (Network::CustomNet, Activation::Relu) => {
            OnDevice::<CustomNet<Relu, B, D>, D>::boxed::<B>(device, PREPARED)
        }
        (Network::CustomNet, Activation::LeakyRelu) => {
            OnDevice::<CustomNet<LeakyRelu, B, D>, D>::boxed::<B>(device, PREPARED)
        }
        (Network::Resnext, Activation::Relu) => OnDevice::<Resnext<Relu, B, D>, D>::boxed::<B>(device, 0),
        (Network::Resnext, Activation::LeakyRelu) => {
            OnDevice::<Resnext<LeakyRelu, B, D>, D>::boxed::<B>(device, 0)
        }
    }
}

/// A network of layers on a device.
struct OnDevice<M, D> {
    layers: M,
    device: D,
    /// How many images are judged together.
    together: usize,
}

impl<M, D: Device<f32>> OnDevice<M, D>
where
    OnDevice<M, D>: Trained + 'static,
    M: BuildModule<D, f32>,
{
    fn boxed<B: Backend>(device: D, together: usize) -> Result<Box<dyn Trained>, Error> {
        let layers = M::try_build(&device).map_err(failure::<D>)?;
        Ok(Box::new(OnDevice { layers, device, together: B::TOGETHER.max(together) }))
    }
}

impl<M, D: Device<f32>> OnDevice<M, D> {
    /// Images of the size of a batch's.
    fn images(&self, images: &[f32], &Batch { height, width, .. }: &Batch) -> Result<Maps<3, D>, Error> {
        let shape = (images.len() / (3 * height * width), Const, height, width);
        self.device.try_tensor_from_vec(images.to_vec(), shape).map_err(failure::<D>)
    }
}

impl<M, D: Device<f32>> Trained for OnDevice<M, D>
where
    M: TensorCollection<f32, D> + Send + Sync,
    D: Send + Sync,
    M: ModuleMut<Maps<3, D, Traced<D>>, Output = Rows<CLASSES, D, Traced<D>>, Error = D::Err>,
    M: Module<Maps<3, D>, Output = Rows<CLASSES, D>, Error = D::Err>,
{
    fn train_step(
        &mut self,
        batch: &Batch,
        optimizer: &mut Optimizer,
        options: &StepOptions,
        trainable: Trainable,
    ) -> Result<StepResult, Error> {
        let images = self.images(&batch.images, batch)?;
        let (result, gradients) = backward(&mut self.layers, images, &batch.labels, options.label_smoothing)
            .map_err(failure::<D>)?;
        update(&mut self.layers, &gradients, optimizer.begin_step(options.lr), trainable);
        Ok(result)
    }

    fn logits(&self, batch: &Batch) -> Result<Vec<f32>, Error> {
        let image = 3 * batch.height * batch.width;
        let parts = batch.images.par_chunks(self.together.saturating_mul(image));
        let logits = parts.map(|images| {
            let answer = self.layers.try_forward(self.images(images, batch)?).map_err(failure::<D>)?;
            Ok(answer.as_vec())
        });
        Ok(logits.collect::<Result<Vec<_>, Error>>()?.concat())
    }

    fn state(&self) -> StateDict {
        export(&self.layers)
    }

    fn load(&mut self, state: &StateDict) {
        import(&mut self.layers, state);
    }

    fn parameter_count(&self) -> usize {
        self.layers.num_trainable_params()
    }
}

/// The loss of a batch in training mode and the gradients of all parameters.
pub fn backward<M, D: Device<f32>>(
    layers: &mut M,
    images: Maps<3, D>,
    labels: &[u8],
    label_smoothing: f64,
) -> Result<(StepResult, Gradients<f32, D>), D::Err>
where
    M: ModuleMut<Maps<3, D, Traced<D>>, Output = Rows<CLASSES, D, Traced<D>>, Error = D::Err>,
{
    let device = images.device().clone();
    let logits = layers.try_forward_mut(images.leaky_traced())?;
    let loss = cross_entropy(&logits.as_vec(), labels, label_smoothing);
    // The sum of logits times a constant has that constant as its gradient: so the loss itself needs no tape.
    let slope: Rows<CLASSES, D> = device.try_tensor_from_vec(loss.gradient, *logits.shape())?;
    let gradients = logits.try_mul(slope)?.try_sum::<Rank0, _>()?.try_backward()?;
    Ok((StepResult { loss: loss.loss, correct: loss.correct }, gradients))
}

/// The device's error, without its type.
#[expect(clippy::needless_pass_by_value, reason = "map_err hands it over")]
fn failure<D: HasErr>(error: D::Err) -> Error {
    Error::Device(error.to_string())
}
