//! A network of any layers on any device that dfdx knows, behind one face for all of them. What a batch must
//! look like has been checked before.

use dfdx::prelude::*;
use rayon::prelude::*;

use super::architecture::{Activation, Architecture, Network};
use super::awake::awake;
use super::batch::Batch;
use super::classifier::{StepOptions, StepResult, Trainable};
use super::cpu::Fused;
use super::error::Error;
use super::kernels::{Maps, Rows};
use super::layers::{LeakyRelu, Relu};
use super::loss::cross_entropy;
use super::networks::{CLASSES, CustomNet, Lenet, Resnext};
use super::optimizer::Optimizer;
use super::parameters::{export, import, update};
use super::state_dict::StateDict;
use super::tape::Traced;

/// A network whose layers are forgotten.
pub trait Trained {
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

/// How many images each core judges together: few enough for their maps to stay in its cache from one layer to the next, and
/// enough for products that are wide.
const TOGETHER: usize = 4;

/// The network of an architecture, its layers computed in a way on a device, made by a function of its layers' type.
macro_rules! network {
    ($architecture:expr, $backend:ty, $device:ty, $make:ident, $on:expr) => {
        match ($architecture.network, $architecture.activation) {
            (Network::Lenet, Activation::Relu) => $make::<Lenet<Relu, $backend, $device>>($on),
            (Network::Lenet, Activation::LeakyRelu) => $make::<Lenet<LeakyRelu, $backend, $device>>($on),
            (Network::CustomNet, Activation::Relu) => $make::<CustomNet<Relu, $backend, $device>>($on),
            (Network::CustomNet, Activation::LeakyRelu) => {
                $make::<CustomNet<LeakyRelu, $backend, $device>>($on)
            }
            (Network::Resnext, Activation::Relu) => $make::<Resnext<Relu, $backend, $device>>($on),
            (Network::Resnext, Activation::LeakyRelu) => $make::<Resnext<LeakyRelu, $backend, $device>>($on),
        }
    };
}

/// The network of an architecture on the processor, with weights still to be loaded.
///
/// # Errors
/// [`Error::Device`].
pub fn on_cores(architecture: &Architecture) -> Result<Box<dyn Trained>, Error> {
    fn make<M: Layers<Cpu> + Send + Sync + 'static>(device: Cpu) -> Result<Box<dyn Trained>, Error> {
        Ok(Box::new(OnCores(OnDevice::<M, Cpu>::new(device)?)))
    }
    network!(architecture, Fused, Cpu, make, Cpu::default())
}

/// The network of an architecture on a GPU, with weights still to be loaded.
///
/// # Errors
/// [`Error::Device`].
#[cfg(feature = "cuda")]
pub fn on_gpu(architecture: &Architecture, device: Cuda) -> Result<Box<dyn Trained>, Error> {
    fn make<M: Layers<Cuda> + 'static>(device: Cuda) -> Result<Box<dyn Trained>, Error> {
        Ok(Box::new(OnDevice::<M, Cuda>::new(device)?))
    }
    network!(architecture, super::composed::Composed, Cuda, make, device)
}

/// The layers of a network.
trait Layers<D: Device<f32>>:
    BuildModule<D, f32>
    + TensorCollection<f32, D>
    + ModuleMut<Maps<3, D, Traced<D>>, Output = Rows<CLASSES, D, Traced<D>>, Error = D::Err>
    + Module<Maps<3, D>, Output = Rows<CLASSES, D>, Error = D::Err>
{
}

impl<M, D: Device<f32>> Layers<D> for M where
    M: BuildModule<D, f32>
        + TensorCollection<f32, D>
        + ModuleMut<Maps<3, D, Traced<D>>, Output = Rows<CLASSES, D, Traced<D>>, Error = D::Err>
        + Module<Maps<3, D>, Output = Rows<CLASSES, D>, Error = D::Err>
{
}

/// A network of layers on a device.
struct OnDevice<M, D> {
    layers: M,
    device: D,
}

impl<M: Layers<D>, D: Device<f32>> OnDevice<M, D> {
    fn new(device: D) -> Result<OnDevice<M, D>, Error> {
        let layers = M::try_build(&device).map_err(failure::<D>)?;
        Ok(OnDevice { layers, device })
    }

    /// Images of the size of a batch's.
    fn images(&self, images: &[f32], &Batch { height, width, .. }: &Batch) -> Result<Maps<3, D>, Error> {
        let shape = (images.len() / (3 * height * width), Const, height, width);
        self.device.try_tensor_from_vec(images.to_vec(), shape).map_err(failure::<D>)
    }

    /// Logits of some images of a batch.
    fn judge(&self, images: &[f32], batch: &Batch) -> Result<Vec<f32>, Error> {
        let answer = self.layers.try_forward(self.images(images, batch)?).map_err(failure::<D>)?;
        Ok(answer.as_vec())
    }
}

impl<M: Layers<D>, D: Device<f32>> Trained for OnDevice<M, D> {
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
        self.judge(&batch.images, batch)
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

/// A network on the processor.
struct OnCores<M>(OnDevice<M, Cpu>);

impl<M: Layers<Cpu> + Send + Sync> Trained for OnCores<M> {
    fn train_step(
        &mut self,
        batch: &Batch,
        optimizer: &mut Optimizer,
        options: &StepOptions,
        trainable: Trainable,
    ) -> Result<StepResult, Error> {
        awake(|| self.0.train_step(batch, optimizer, options, trainable))
    }

    fn logits(&self, batch: &Batch) -> Result<Vec<f32>, Error> {
        let parts = batch.images.par_chunks(TOGETHER * 3 * batch.height * batch.width);
        let logits = parts.map(|images| self.0.judge(images, batch));
        Ok(logits.collect::<Result<Vec<_>, Error>>()?.concat())
    }

    fn state(&self) -> StateDict {
        self.0.state()
    }

    fn load(&mut self, state: &StateDict) {
        self.0.load(state);
    }

    fn parameter_count(&self) -> usize {
        self.0.parameter_count()
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
    let (logits, tape) = layers.try_forward_mut(images.put_tape(Traced::default()))?.split_tape();
    let logits = logits.put_tape(tape.into_inner());
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
