//! Whole networks on two backends or two devices, held to each other: logits, loss, every gradient, running
//! statistics and the weights after a step. What `reference_tests` shows of one then holds for the other.

use dfdx::prelude::*;

use super::classifier::Trainable;
use super::composed::Composed;
use super::cpu::Fused;
use super::init::initialize;
use super::kernels::{Maps, Rows};
use super::layers::{Identity, LeakyRelu, Relu};
use super::networks::{CLASSES, CustomNet, Lenet, Resnext};
use super::on_device::backward;
use super::optimizer::{Method, Optimizer};
use super::parameters::{export, gradients, import, update};
use super::state_dict::{StateDict, Values};
use super::tape::Traced;
use crate::dataset::random::{Purpose, Stream};

/// By how much two ways to add the same numbers may differ, relative to the l2 norm of a tensor.
const ROUNDING: f64 = 1e-4;

/// The same where a value within rounding of a kink (ReLU, the maximum of a window, the sign that Adam makes of a
/// small gradient) may fall on either side of it.
const KINK: f64 = 2e-2;

/// A root mean square below which a tensor counts as zero, as the gradient of a bias before a norm is.
const ZERO: f64 = 1e-3;

/// Without activations there are no kinks but those of the pools.
#[test]
fn composed_networks_without_activations_agree_with_the_fused_ones() {
    let fused = Answers::of::<CustomNet<Identity, Fused, Cpu>, Cpu>(&Cpu::default());
    Answers::of::<CustomNet<Identity, Composed, Cpu>, Cpu>(&Cpu::default()).agree_with(&fused, ROUNDING);
    let fused = Answers::of::<Resnext<Identity, Fused, Cpu>, Cpu>(&Cpu::default());
    Answers::of::<Resnext<Identity, Composed, Cpu>, Cpu>(&Cpu::default()).agree_with(&fused, ROUNDING);
}

#[test]
fn composed_lenet_agrees_with_the_fused_one() {
    let fused = Answers::of::<Lenet<Relu, Fused, Cpu>, Cpu>(&Cpu::default());
    Answers::of::<Lenet<Relu, Composed, Cpu>, Cpu>(&Cpu::default()).agree_with(&fused, KINK);
}

#[test]
fn composed_custom_net_agrees_with_the_fused_one() {
    let fused = Answers::of::<CustomNet<Relu, Fused, Cpu>, Cpu>(&Cpu::default());
    Answers::of::<CustomNet<Relu, Composed, Cpu>, Cpu>(&Cpu::default()).agree_with(&fused, KINK);
}

#[test]
fn composed_leaky_custom_net_agrees_with_the_fused_one() {
    let fused = Answers::of::<CustomNet<LeakyRelu, Fused, Cpu>, Cpu>(&Cpu::default());
    Answers::of::<CustomNet<LeakyRelu, Composed, Cpu>, Cpu>(&Cpu::default()).agree_with(&fused, KINK);
}

#[test]
fn composed_resnext_agrees_with_the_fused_one() {
    let fused = Answers::of::<Resnext<Relu, Fused, Cpu>, Cpu>(&Cpu::default());
    Answers::of::<Resnext<Relu, Composed, Cpu>, Cpu>(&Cpu::default()).agree_with(&fused, KINK);
}

/// `cargo test --release --features cuda -- --ignored gpu`
#[cfg(feature = "cuda")]
mod gpu {
    use super::*;
    use crate::nn::cuda::open;
    use crate::nn::{
        Activation, Architecture, Batch, Classifier, Device as Place, Network, StepOptions, try_gpu,
    };

    #[test]
    #[ignore = "needs a GPU"]
    fn lenet_agrees_with_the_processor() {
        let processor = Answers::of::<Lenet<Relu, Fused, Cpu>, Cpu>(&Cpu::default());
        Answers::of::<Lenet<Relu, Composed, Cuda>, Cuda>(&open(0).unwrap()).agree_with(&processor, KINK);
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn leaky_custom_net_agrees_with_the_processor() {
        let processor = Answers::of::<CustomNet<LeakyRelu, Fused, Cpu>, Cpu>(&Cpu::default());
        Answers::of::<CustomNet<LeakyRelu, Composed, Cuda>, Cuda>(&open(0).unwrap())
            .agree_with(&processor, KINK);
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn resnext_agrees_with_the_processor() {
        let processor = Answers::of::<Resnext<Relu, Fused, Cpu>, Cpu>(&Cpu::default());
        Answers::of::<Resnext<Relu, Composed, Cuda>, Cuda>(&open(0).unwrap()).agree_with(&processor, KINK);
    }

    #[test]
    #[ignore = "needs a GPU"]
    fn a_classifier_learns_there_and_goes_on_on_the_processor() {
        try_gpu(0).unwrap();
        let architecture =
            Architecture { network: Network::Lenet, activation: Activation::Relu, classes: CLASSES };
        let mut classifier = Classifier::new(&architecture, 0, Place::Gpu(0)).unwrap();
        let batch = Batch { images: pixels(), labels: labels(), height: SIDE, width: SIDE };
        let (mut adam, options) =
            (Optimizer::new(Method::Adam, 0.0), StepOptions { lr: 1e-3, label_smoothing: 0.0 });
        let losses: Vec<f64> =
            (0..8).map(|_| classifier.train_step(&batch, &mut adam, &options).unwrap().loss).collect();
        assert!(losses[7] < losses[0] - 0.1, "{losses:?}");
        let moved = Classifier::from_state(&architecture, &classifier.state(), Place::Cpu).unwrap();
        let (there, here) = (classifier.logits(&batch).unwrap(), moved.logits(&batch).unwrap());
        assert!(distance(&there, &here) < ROUNDING, "{there:?} {here:?}");
    }
}

/// Images per batch, and the side of each.
const BATCH: usize = 6;
const SIDE: usize = 32;

/// What a network makes of a batch.
struct Answers {
    /// Logits, loss and running statistics, by name.
    forward: StateDict,
    /// Of the loss, by parameter.
    gradients: StateDict,
    /// The weights after a step against them, and the logits.
    after: StateDict,
}

impl Answers {
    /// Of the network `M` with weights that depend on nothing else.
    fn of<M, D: Device<f32>>(device: &D) -> Answers
    where
        M: BuildModule<D, f32>,
        M: ModuleMut<Maps<3, D, Traced<D>>, Output = Rows<CLASSES, D, Traced<D>>, Error = D::Err>,
        M: Module<Maps<3, D>, Output = Rows<CLASSES, D>, Error = D::Err>,
    {
        let images: Maps<3, D> = device.tensor_from_vec(pixels(), (BATCH, Const, SIDE, SIDE));
        let mut layers = M::build(device);
        let mut first = export(&layers);
        initialize(&mut first, 5);
        // Biases that are zero would stand on the kinks.
        let mut stream = Stream::new(2, Purpose::Init, 0, 0);
        for (_, entry) in first.iter_mut().filter(|(name, _)| name.ends_with("bias")) {
            let Values::F32(values) = &mut entry.values else { panic!("a bias is no counter") };
            values.iter_mut().for_each(|value| *value = 0.1 * stream.normal() as f32);
        }
        import(&mut layers, &first);

        let mut forward = StateDict::default();
        let mut keep = |name: &str, values: Vec<f32>| {
            forward.push(name.to_owned(), vec![values.len()], Values::F32(values));
        };
        keep("logits in evaluation", layers.forward(images.clone()).as_vec());
        keep("logits in training", layers.forward_mut(images.clone().put_tape(Traced::default())).as_vec());
        // With the running statistics of that batch.
        keep("logits in evaluation, after a batch", layers.forward(images.clone()).as_vec());
        for (name, entry) in export(&layers).iter().filter(|(name, _)| name.contains("running")) {
            forward.push(name.to_owned(), entry.shape.clone(), entry.values.clone());
        }

        let (result, slopes) = backward(&mut layers, images.clone(), &labels(), 0.1).unwrap();
        forward.push("loss".to_owned(), vec![1], Values::F32(vec![result.loss as f32]));
        let gradients = gradients(&layers, &slopes);
        let mut adam = Optimizer::new(Method::Adam, 0.0);
        update(&mut layers, &slopes, adam.begin_step(1e-4), Trainable::All);
        let mut after = export(&layers);
        let logits = layers.forward(images).as_vec();
        after.push("logits".to_owned(), vec![logits.len()], Values::F32(logits));
        Answers { forward, gradients, after }
    }

    /// Panics unless the gradients differ by no more than `gradients`, and the rest as it may.
    fn agree_with(&self, other: &Answers, gradients: f64) {
        let mut wrong = Vec::new();
        for (what, ours, theirs, allowed) in [
            ("forward", &self.forward, &other.forward, ROUNDING),
            ("gradient", &self.gradients, &other.gradients, gradients),
            ("after a step", &self.after, &other.after, KINK),
        ] {
            assert_eq!(ours.iter().count(), theirs.iter().count());
            for (name, entry) in ours.iter() {
                let off = match (&entry.values, &theirs.get(name).unwrap().values) {
                    (Values::F32(ours), Values::F32(theirs)) => distance(ours, theirs),
                    (ours, theirs) => f64::from(u8::from(ours != theirs)),
                };
                if off.is_nan() || off >= allowed {
                    wrong.push((what, name.to_owned(), off));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}

/// Waves of another direction and length in each image, and noise: images so unlike each other that the sums
/// over a batch do not cancel to nothing but rounding.
fn pixels() -> Vec<f32> {
    let mut stream = Stream::new(1, Purpose::Init, 0, 0);
    let mut pixels = Vec::with_capacity(BATCH * 3 * SIDE * SIDE);
    for (image, plane) in (0..BATCH).flat_map(|image| (0..3).map(move |plane| (image, plane))) {
        let (along, across) = (0.1 + 0.13 * image as f64, 0.7 - 0.11 * image as f64);
        for (row, column) in (0..SIDE).flat_map(|row| (0..SIDE).map(move |column| (row, column))) {
            let wave = (along * row as f64 + across * column as f64 + plane as f64).sin();
            pixels.push((wave + 0.3 * (image as f64 - 2.5) + 0.3 * stream.normal()) as f32);
        }
    }
    pixels // (image, plane, row, column)
}

fn labels() -> Vec<u8> {
    (0..BATCH).map(|n| (3 * n % CLASSES) as u8).collect()
}

/// The l2 norm of the difference, relative to that of `theirs`.
fn distance(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let square = |x: f64| x * x;
    let difference: f64 = ours.iter().zip(theirs).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let norm: f64 = theirs.iter().map(|b| square(f64::from(*b))).sum();
    difference.sqrt() / norm.sqrt().max(ZERO * (ours.len() as f64).sqrt())
}
