//! A network that learns to tell classes apart, with its shape and device hidden: batches go in, losses,
//! logits and weights come out.

use dfdx::prelude::*;

use super::architecture::{Activation, Architecture, Network};
use super::batch::Batch;
use super::error::Error;
use super::init::initialize;
use super::kernels::{Kernels, Maps, Rows, Traced};
use super::layers::{LeakyRelu, Relu};
use super::loss::cross_entropy;
use super::networks::{CLASSES, CustomNet, Lenet, Resnext};
use super::optimizer::Optimizer;
use super::parameters::{self, Role};
use super::state_dict::StateDict;

/// A network with its weights. One set of weights serves every resolution.
pub struct Classifier {
    architecture: Architecture,
    trainable: Trainable,
    network: Box<dyn Trained>,
}

/// Which parameters a training step changes. Running statistics follow the batches in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Trainable {
    /// All of them.
    #[default]
    All,
    /// The last layer and the batch norms.
    HeadAndNorm,
}

/// What may change from step to step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepOptions {
    /// The learning rate.
    pub lr: f64,
    /// How much of the target goes evenly to all classes, from 0 to 1.
    pub label_smoothing: f64,
}

/// How a batch went, before its step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepResult {
    /// The mean loss; it may be NaN or infinite, and then so are the weights.
    pub loss: f64,
    /// How many images had their largest logit at their label.
    pub correct: usize,
}

impl Classifier {
    /// A network with the first weights of this seed.
    ///
    /// # Errors
    /// [`Error::Classes`] for a number of classes other than ten.
    pub fn new(architecture: &Architecture, seed: u64) -> Result<Classifier, Error> {
        let mut network = build(architecture)?;
        let mut state = network.state();
        initialize(&mut state, seed);
        network.load(&state);
        Ok(Classifier { architecture: *architecture, trainable: Trainable::All, network })
    }

    /// A network with these weights. Counters of batches may be missing, as in PyTorch.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with every tensor that is missing, unknown or misshapen; [`Error::Classes`].
    pub fn from_state(architecture: &Architecture, state: &StateDict) -> Result<Classifier, Error> {
        let mut network = build(architecture)?;
        let (mut state, expected) = (state.clone(), network.state());
        state.add_missing_counters(&expected);
        state.check(&expected)?;
        network.load(&state);
        Ok(Classifier { architecture: *architecture, trainable: Trainable::All, network })
    }

    /// What it is.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// How many numbers training can change.
    #[must_use]
    pub fn parameter_count(&self) -> usize {
        self.network.parameter_count()
    }

    /// Its weights and running statistics, by PyTorch's names.
    #[must_use]
    pub fn state(&self) -> StateDict {
        self.network.state()
    }

    /// Chooses what later steps change.
    pub fn set_trainable(&mut self, trainable: Trainable) {
        self.trainable = trainable;
    }

    /// Learns from one batch: forward in training mode, mean cross-entropy, backward, one step of the optimizer.
    ///
    /// # Errors
    /// If the batch contradicts itself or the classes, or the device fails.
    pub fn train_step(
        &mut self,
        batch: &Batch,
        optimizer: &mut Optimizer,
        options: &StepOptions,
    ) -> Result<StepResult, Error> {
        batch.check(self.architecture.classes)?;
        self.network.train_step(batch, optimizer, options, self.trainable)
    }

    /// What it thinks of each image: logits in evaluation mode.
    ///
    /// # Errors
    /// If the batch contradicts itself or the classes, or the device fails.
    pub fn logits(&self, batch: &Batch) -> Result<Vec<f32>, Error> {
        batch.check(self.architecture.classes)?;
        self.network.logits(batch) // (batch, classes)
    }
}

impl Trainable {
    /// Whether a step changes parameters of this role.
    pub(super) fn includes(self, role: Role) -> bool {
        match self {
            Trainable::All => true,
            Trainable::HeadAndNorm => matches!(role, Role::Head | Role::Norm),
        }
    }
}

/// A network whose layers are forgotten.
trait Trained: Send + Sync {
    fn train_step(
        &mut self,
        batch: &Batch,
        optimizer: &mut Optimizer,
        options: &StepOptions,
        trainable: Trainable,
    ) -> Result<StepResult, Error>;
    fn logits(&self, batch: &Batch) -> Result<Vec<f32>, Error>;
    fn state(&self) -> StateDict;
    fn load(&mut self, state: &StateDict);
    fn parameter_count(&self) -> usize;
}

fn build(architecture: &Architecture) -> Result<Box<dyn Trained>, Error> {
    let Architecture { network, activation, classes } = *architecture;
    if classes != CLASSES {
        return Err(Error::Classes { asked: classes, supported: CLASSES });
    }
    let device = Cpu::default();
    match (network, activation) {
        (Network::Lenet, Activation::Relu) => OnDevice::<Lenet<Relu, Cpu>, _>::boxed(device),
        (Network::Lenet, Activation::LeakyRelu) => OnDevice::<Lenet<LeakyRelu, Cpu>, _>::boxed(device),
        (Network::CustomNet, Activation::Relu) => OnDevice::<CustomNet<Relu, Cpu>, _>::boxed(device),
        (Network::CustomNet, Activation::LeakyRelu) => {
            OnDevice::<CustomNet<LeakyRelu, Cpu>, _>::boxed(device)
        }
        (Network::Resnext, Activation::Relu) => OnDevice::<Resnext<Relu, Cpu>, _>::boxed(device),
        (Network::Resnext, Activation::LeakyRelu) => OnDevice::<Resnext<LeakyRelu, Cpu>, _>::boxed(device),
    }
}

/// A network of layers on a device.
struct OnDevice<M, D> {
    layers: M,
    device: D,
}

impl<M, D: Kernels> OnDevice<M, D>
where
    OnDevice<M, D>: Trained + 'static,
    M: BuildModule<D, f32>,
{
    fn boxed(device: D) -> Result<Box<dyn Trained>, Error> {
        let layers = M::try_build(&device).map_err(failure::<D>)?;
        Ok(Box::new(OnDevice { layers, device }))
    }
}

impl<M, D: Kernels> OnDevice<M, D> {
    fn images(&self, batch: &Batch) -> Result<Maps<3, D>, Error> {
        let shape = (batch.len(), Const, batch.height, batch.width);
        self.device.try_tensor_from_vec(batch.images.clone(), shape).map_err(failure::<D>)
    }
}

impl<M, D: Kernels> Trained for OnDevice<M, D>
where
    D: Send + Sync,
    M: TensorCollection<f32, D> + Send + Sync,
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
        let images = self.images(batch)?;
        let (result, gradients) = backward(&mut self.layers, images, &batch.labels, options.label_smoothing)
            .map_err(failure::<D>)?;
        parameters::update(&mut self.layers, &gradients, optimizer.begin_step(options.lr), trainable);
        Ok(result)
    }

    fn logits(&self, batch: &Batch) -> Result<Vec<f32>, Error> {
        let logits = self.layers.try_forward(self.images(batch)?).map_err(failure::<D>)?;
        Ok(logits.as_vec())
    }

    fn state(&self) -> StateDict {
        parameters::export(&self.layers)
    }

    fn load(&mut self, state: &StateDict) {
        parameters::import(&mut self.layers, state);
    }

    fn parameter_count(&self) -> usize {
        self.layers.num_trainable_params()
    }
}

/// The loss of a batch in training mode and the gradients of all parameters.
pub(super) fn backward<M, D: Kernels>(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::optimizer::Method;
    use crate::nn::state_dict::Values;

    const STEP: StepOptions = StepOptions { lr: 1e-3, label_smoothing: 0.1 };

    fn adam() -> Optimizer {
        Optimizer::new(Method::Adam, 0.0)
    }

    fn architecture(network: Network) -> Architecture {
        Architecture { network, activation: Activation::Relu, classes: 10 }
    }

    fn batch(count: usize, side: usize) -> Batch {
        let value = |i: usize| ((i * 7919) % 1000) as f32 / 500.0 - 1.0;
        Batch {
            images: (0..count * 3 * side * side).map(value).collect(),
            labels: (0..count).map(|n| (n % 10) as u8).collect(),
            height: side,
            width: side,
        }
    }

    /// Two steps of training, and what comes of them.
    fn train(network: Network, threads: usize) -> (Vec<u64>, Vec<u8>, Vec<f32>) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut classifier = Classifier::new(&architecture(network), 1).unwrap();
            let (mut adam, batch) = (adam(), batch(19, 32));
            let losses =
                [0, 1].map(|_| classifier.train_step(&batch, &mut adam, &STEP).unwrap().loss.to_bits());
            (losses.to_vec(), classifier.state().to_safetensors(), classifier.logits(&batch).unwrap())
        })
    }

    #[test]
    fn training_gives_the_same_bits_on_any_number_of_threads() {
        for network in [Network::Lenet, Network::CustomNet, Network::Resnext] {
            let alone = train(network, 1);
            assert!(train(network, 2) == alone, "{network:?} on 2 threads");
            assert!(train(network, 3) == alone, "{network:?} on 3 threads");
        }
    }

    #[test]
    fn networks_have_the_parameters_of_their_experiments() {
        for (network, count) in
            [(Network::Lenet, 1_565_706), (Network::CustomNet, 1_899_274), (Network::Resnext, 1_939_530)]
        {
            assert_eq!(Classifier::new(&architecture(network), 0).unwrap().parameter_count(), count);
        }
    }

    #[test]
    fn a_stored_network_is_the_same_network_at_every_resolution() {
        let mut trained = Classifier::new(&architecture(Network::Lenet), 3).unwrap();
        trained.train_step(&batch(4, 24), &mut adam(), &STEP).unwrap();
        let state = StateDict::from_safetensors(&trained.state().to_safetensors()).unwrap();
        let stored = Classifier::from_state(&architecture(Network::Lenet), &state).unwrap();
        for side in [17, 32] {
            let logits = stored.logits(&batch(3, side)).unwrap();
            assert_eq!(logits.len(), 30);
            assert_eq!(logits, trained.logits(&batch(3, side)).unwrap());
        }
        assert_eq!(state.get("conv2_bn4.num_batches_tracked").unwrap().values, Values::I64(vec![1]));
    }

    #[test]
    fn weights_of_another_network_are_refused() {
        let state = Classifier::new(&architecture(Network::Lenet), 0).unwrap().state();
        let told = match Classifier::from_state(&architecture(Network::CustomNet), &state) {
            Err(Error::Mismatch(mismatch)) => mismatch,
            _ => panic!("Lenet is no Custom-Net"),
        };
        assert!(told.missing.contains(&"layer_8.bias".to_owned()), "{told}");
        assert!(
            told.misshapen.iter().any(|t| t.starts_with("layer_1.weight is F32 [64, 3, 7, 7]")),
            "{told}"
        );
    }

    #[test]
    fn a_state_dict_without_counters_of_batches_counts_from_0() {
        let mut trained = Classifier::new(&architecture(Network::Resnext), 3).unwrap();
        trained.train_step(&batch(4, 32), &mut adam(), &STEP).unwrap();
        let mut state = StateDict::default();
        let whole = trained.state();
        for (name, entry) in whole.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")) {
            state.push(name.to_owned(), entry.shape.clone(), entry.values.clone());
        }
        let loaded = Classifier::from_state(&architecture(Network::Resnext), &state).unwrap();
        assert_eq!(loaded.logits(&batch(3, 32)).unwrap(), trained.logits(&batch(3, 32)).unwrap());
        assert_eq!(loaded.state().get("bn1.num_batches_tracked").unwrap().values, Values::I64(vec![0]));
    }

    #[test]
    fn only_head_and_norms_move_when_the_rest_is_frozen() {
        let mut classifier = Classifier::new(&architecture(Network::Resnext), 0).unwrap();
        let before = classifier.state();
        classifier.set_trainable(Trainable::HeadAndNorm);
        classifier.train_step(&batch(4, 32), &mut adam(), &STEP).unwrap();
        for (name, entry) in classifier.state().iter() {
            let moved = before.get(name) != Some(entry);
            assert_eq!(moved, parameters::role(name) != Role::Convolution, "{name}");
        }
    }

    #[test]
    fn training_on_one_batch_lowers_its_loss() {
        let mut classifier = Classifier::new(&architecture(Network::Lenet), 0).unwrap();
        let (mut adam, batch) = (adam(), batch(8, 16));
        let losses: Vec<f64> =
            (0..6).map(|_| classifier.train_step(&batch, &mut adam, &STEP).unwrap().loss).collect();
        assert!(losses[5] < losses[0] - 0.1, "{losses:?}");
    }

    #[test]
    fn a_loss_that_is_no_number_is_reported_and_no_error() {
        let mut classifier = Classifier::new(&architecture(Network::Lenet), 0).unwrap();
        let mut batch = batch(2, 16);
        batch.images[5] = f32::NAN;
        let result = classifier.train_step(&batch, &mut adam(), &STEP).unwrap();
        assert!(result.loss.is_nan());
    }
}
