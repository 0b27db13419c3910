//! A network that learns to tell classes apart, with its shape and device hidden: batches go in, losses,
//! logits and weights come out.

use super::architecture::Architecture;
use super::batch::Batch;
use super::device::Device;
use super::error::Error;
use super::init::initialize;
use super::networks::CLASSES;
use super::on_device::{self, Trained};
use super::optimizer::Optimizer;
use super::parameters::Role;
use super::state_dict::StateDict;

/// A network with its weights. One set of weights serves every resolution. It stays in the thread that made it,
/// because CUDA binds a GPU to a thread.
pub struct Classifier {
    architecture: Architecture,
    device: Device,
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
    /// A network with the first weights of this seed, the same on every device.
    ///
    /// # Errors
    /// [`Error::Classes`] for a number of classes other than ten; [`Error::NoGpu`].
    pub fn new(architecture: &Architecture, seed: u64, device: Device) -> Result<Classifier, Error> {
        let mut network = build(architecture, device)?;
        let mut state = network.state();
        initialize(&mut state, seed);
        network.load(&state);
        Ok(Classifier { architecture: *architecture, device, trainable: Trainable::All, network })
    }

    /// A network with these weights. Counters of batches may be missing, as in PyTorch.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with every tensor that is missing, unknown or misshapen; [`Error::Classes`];
    /// [`Error::NoGpu`].
    pub fn from_state(
        architecture: &Architecture,
        state: &StateDict,
        device: Device,
    ) -> Result<Classifier, Error> {
        let mut network = build(architecture, device)?;
        let (mut state, expected) = (state.clone(), network.state());
        state.add_missing_counters(&expected);
        state.check(&expected)?;
        network.load(&state);
        Ok(Classifier { architecture: *architecture, device, trainable: Trainable::All, network })
    }

    /// What it is.
    #[must_use]
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The same network, on the same device, with other weights.
    ///
    /// # Errors
    /// As [`Classifier::from_state`].
    pub fn with_state(&self, state: &StateDict) -> Result<Classifier, Error> {
        Classifier::from_state(&self.architecture, state, self.device)
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

fn build(architecture: &Architecture, device: Device) -> Result<Box<dyn Trained>, Error> {
    if architecture.classes != CLASSES {
        return Err(Error::Classes { asked: architecture.classes, supported: CLASSES });
    }
    match device {
        Device::Cpu => on_device::on_cores(architecture),
        #[cfg(feature = "cuda")]
        Device::Gpu(number) => on_device::on_gpu(architecture, super::cuda::open(number)?),
        #[cfg(not(feature = "cuda"))]
        Device::Gpu(_) => Err(super::device::NoGpu::NotBuilt.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::architecture::{Activation, Network};
    use crate::nn::optimizer::Method;
    use crate::nn::parameters;
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
            let mut classifier = Classifier::new(&architecture(network), 1, Device::Cpu).unwrap();
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
    fn what_training_or_loading_changes_is_seen_by_the_next_evaluation() {
        let batch = batch(6, 16);
        for network in [Network::Lenet, Network::CustomNet, Network::Resnext] {
            let new = |seed| Classifier::new(&architecture(network), seed, Device::Cpu).unwrap();
            let mut classifier = new(1);
            let (first, before) = (classifier.state(), classifier.logits(&batch).unwrap());
            classifier.train_step(&batch, &mut adam(), &STEP).unwrap();
            let after = classifier.logits(&batch).unwrap();
            assert_ne!(after, before, "{network:?}");
            let mut other = new(2);
            other.logits(&batch).unwrap();
            other.network.load(&classifier.state());
            assert_eq!(other.logits(&batch).unwrap(), after, "{network:?}");
            classifier.network.load(&first);
            assert_eq!(classifier.logits(&batch).unwrap(), before, "{network:?}");
        }
    }

    #[test]
    fn networks_have_the_parameters_of_their_experiments() {
        for (network, count) in
            [(Network::Lenet, 1_565_706), (Network::CustomNet, 1_899_274), (Network::Resnext, 1_939_530)]
        {
            assert_eq!(
                Classifier::new(&architecture(network), 0, Device::Cpu).unwrap().parameter_count(),
                count
            );
        }
    }

    #[test]
    fn a_stored_network_is_the_same_network_at_every_resolution() {
        let mut trained = Classifier::new(&architecture(Network::Lenet), 3, Device::Cpu).unwrap();
        trained.train_step(&batch(4, 24), &mut adam(), &STEP).unwrap();
        let state = StateDict::from_safetensors(&trained.state().to_safetensors()).unwrap();
        let stored = Classifier::from_state(&architecture(Network::Lenet), &state, Device::Cpu).unwrap();
        for side in [17, 32] {
            let logits = stored.logits(&batch(3, side)).unwrap();
            assert_eq!(logits.len(), 30);
            assert_eq!(logits, trained.logits(&batch(3, side)).unwrap());
        }
        assert_eq!(state.get("conv2_bn4.num_batches_tracked").unwrap().values, Values::I64(vec![1]));
    }

    #[test]
    fn weights_of_another_network_are_refused() {
        let state = Classifier::new(&architecture(Network::Lenet), 0, Device::Cpu).unwrap().state();
        let told = match Classifier::from_state(&architecture(Network::CustomNet), &state, Device::Cpu) {
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
        let mut trained = Classifier::new(&architecture(Network::Resnext), 3, Device::Cpu).unwrap();
        trained.train_step(&batch(4, 32), &mut adam(), &STEP).unwrap();
        let mut state = StateDict::default();
        let whole = trained.state();
        for (name, entry) in whole.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked")) {
            state.push(name.to_owned(), entry.shape.clone(), entry.values.clone());
        }
        let loaded = Classifier::from_state(&architecture(Network::Resnext), &state, Device::Cpu).unwrap();
        assert_eq!(loaded.logits(&batch(3, 32)).unwrap(), trained.logits(&batch(3, 32)).unwrap());
        assert_eq!(loaded.state().get("bn1.num_batches_tracked").unwrap().values, Values::I64(vec![0]));
    }

    #[test]
    fn only_head_and_norms_move_when_the_rest_is_frozen() {
        let mut classifier = Classifier::new(&architecture(Network::Resnext), 0, Device::Cpu).unwrap();
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
        let mut classifier = Classifier::new(&architecture(Network::Lenet), 0, Device::Cpu).unwrap();
        let (mut adam, batch) = (adam(), batch(8, 16));
        let losses: Vec<f64> =
            (0..6).map(|_| classifier.train_step(&batch, &mut adam, &STEP).unwrap().loss).collect();
        assert!(losses[5] < losses[0] - 0.1, "{losses:?}");
    }

    #[test]
    fn a_loss_that_is_no_number_is_reported_and_no_error() {
        let mut classifier = Classifier::new(&architecture(Network::Lenet), 0, Device::Cpu).unwrap();
        let mut batch = batch(2, 16);
        batch.images[5] = f32::NAN;
        let result = classifier.train_step(&batch, &mut adam(), &STEP).unwrap();
        assert!(result.loss.is_nan());
    }
}
