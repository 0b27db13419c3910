//! The networks against PyTorch's numbers: `tests/fixtures/<network>_<pixels>.json` holds, for weights and
//! inputs that a formula gives, what PyTorch computes in f64, and by how much its own f32 run differs.

use std::collections::BTreeMap;

use dfdx::prelude::*;
use serde_json::Value;

use super::classifier::{Trainable, backward};
use super::kernels::{Kernels, Maps, Rows, Traced};
use super::layers::{LeakyRelu, Relu};
use super::networks::{CLASSES, CustomNet, Lenet, Resnext};
use super::optimizer::{Method, Optimizer};
use super::parameters::{export, gradients, import, update};
use super::state_dict::{StateDict, Values};

#[test]
fn lenet_agrees_with_pytorch_at_96_pixels() {
    Reference::read("lenet_96").check::<Lenet<Relu, Cpu>, Cpu>(&Cpu::default());
}

#[test]
fn custom_net_agrees_with_pytorch_at_80_pixels() {
    Reference::read("custom_net_80").check::<CustomNet<Relu, Cpu>, Cpu>(&Cpu::default());
}

#[test]
fn custom_net_agrees_with_pytorch_at_96_pixels() {
    Reference::read("custom_net_96").check::<CustomNet<Relu, Cpu>, Cpu>(&Cpu::default());
}

#[test]
fn custom_net_agrees_with_pytorch_at_120_pixels() {
    Reference::read("custom_net_120").check::<CustomNet<Relu, Cpu>, Cpu>(&Cpu::default());
}

#[test]
fn leaky_custom_net_agrees_with_pytorch_at_96_pixels() {
    Reference::read("custom_net_leaky_96").check::<CustomNet<LeakyRelu, Cpu>, Cpu>(&Cpu::default());
}

#[test]
fn resnext_agrees_with_pytorch_at_70_pixels() {
    Reference::read("resnext_70").check::<Resnext<Relu, Cpu>, Cpu>(&Cpu::default());
}

#[test]
fn resnext_agrees_with_pytorch_at_96_pixels() {
    Reference::read("resnext_96").check::<Resnext<Relu, Cpu>, Cpu>(&Cpu::default());
}

/// How many roundings of the images are tried.
const ATTEMPTS: usize = 3;

/// The most that a value on the other side of a kink may change a tensor.
const MOVED_BY_A_KINK: f64 = 1e-2;

/// One fixture.
struct Reference {
    numbers: Value,
}

impl Reference {
    fn read(name: &str) -> Reference {
        let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        Reference { numbers: serde_json::from_str(&text).unwrap() }
    }

    /// Everything the fixture knows about the network `M`.
    ///
    /// A value within rounding of a kink (ReLU, the maximum of a window, the sign that Adam makes of a small
    /// gradient) may fall on either side of it, and moves every gradient before it by about a thousandth. So
    /// what disagrees is asked again on images that differ by rounding. What still disagrees, as in Lenet,
    /// where some of 400,000 windows are always near a tie, must lie behind a kink and be off by little.
    fn check<M, D: Kernels>(&self, device: &D)
    where
        M: BuildModule<D, f32>,
        M: ModuleMut<Maps<3, D, Traced<D>>, Output = Rows<CLASSES, D, Traced<D>>, Error = D::Err>,
        M: Module<Maps<3, D>, Output = Rows<CLASSES, D>, Error = D::Err>,
    {
        let mut wrong = self.disagreements::<M, D>(device, 0);
        for attempt in 1..ATTEMPTS {
            if wrong.is_empty() {
                return;
            }
            let again = self.disagreements::<M, D>(device, attempt);
            wrong.retain(|what, _| again.contains_key(what));
        }
        wrong.retain(|what, off| *off >= MOVED_BY_A_KINK || is_before_any_gradient(what));
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// What is off by more than the fixture's tolerance, and by how much.
    fn disagreements<M, D: Kernels>(&self, device: &D, attempt: usize) -> BTreeMap<String, f64>
    where
        M: BuildModule<D, f32>,
        M: ModuleMut<Maps<3, D, Traced<D>>, Output = Rows<CLASSES, D, Traced<D>>, Error = D::Err>,
        M: Module<Maps<3, D>, Output = Rows<CLASSES, D>, Error = D::Err>,
    {
        let mut wrong = BTreeMap::new();
        let (images, labels) = self.batch(device, attempt);
        let mut layers = M::build(device);
        assert_eq!(layers.num_trainable_params() as u64, self.numbers["parameters"].as_u64().unwrap());
        let first = self.first_state(export(&layers));
        import(&mut layers, &first);

        self.compare("logits_eval_before", &layers.forward(images.clone()).as_vec(), &mut wrong);
        let logits = layers.forward_mut(images.clone().leaky_traced()).as_vec();
        self.compare("logits_train", &logits, &mut wrong);
        import(&mut layers, &first);

        let mut adam = Optimizer::new(Method::Adam, 1e-4);
        for step in 1..=3 {
            let (result, slopes) = backward(&mut layers, images.clone(), &labels, 0.0).unwrap();
            self.compare_loss(step, result.loss, &mut wrong);
            if step == 1 {
                self.compare_all("grads", &gradients(&layers, &slopes), &mut wrong);
            }
            update(&mut layers, &slopes, adam.begin_step(1e-4), Trainable::All);
            if step != 2 {
                self.compare_all(&format!("params_after_{step}"), &export(&layers), &mut wrong);
            }
            if step == 1 {
                self.compare_all("buffers_after_1", &export(&layers), &mut wrong);
            }
        }
        self.compare("logits_eval_after_3", &layers.forward(images).as_vec(), &mut wrong);
        wrong
    }

    fn batch<D: Kernels>(&self, device: &D, attempt: usize) -> (Maps<3, D>, Vec<u8>) {
        let size = |key: &str| self.numbers[key].as_u64().unwrap() as usize;
        let (batch, pixels) = (size("batch"), size("resolution"));
        let rounding = if attempt == 0 { 0.0 } else { f64::from(f32::EPSILON) };
        let images = (0..batch * 3 * pixels * pixels)
            .map(|i| (2.0 * uniform(1000, i) * (1.0 + rounding * uniform(1000 + attempt, i))) as f32)
            .collect();
        let labels = (0..batch).map(|n| ((7 * n + 3) % CLASSES) as u8).collect();
        (device.tensor_from_vec(images, (batch, Const, pixels, pixels)), labels)
    }

    /// The weights of the fixture's formula.
    fn first_state(&self, mut state: StateDict) -> StateDict {
        let order: Vec<String> = self.numbers["parameter_names"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| self.our_name(name.as_str().unwrap()))
            .collect();
        for (name, entry) in state.iter_mut() {
            let Some(t) = order.iter().position(|n| n == name) else { continue };
            let Values::F32(values) = &mut entry.values else { panic!("{name} is a counter") };
            let fan_in: usize = entry.shape[1..].iter().product();
            let spread = |gain: f64| 2.0 * 3f64.sqrt() * (gain / fan_in as f64).sqrt();
            let is_norm = name.contains("bn") || name.contains("downsample.1");
            let (scale, offset) = match (entry.shape.len(), name.ends_with("bias")) {
                (4, _) => (spread(2.0), 0.0),
                (2, _) => (spread(1.0), 0.0),
                (_, true) if is_norm => (0.2, 0.0),
                (_, false) => (0.2, 1.0),
                (_, true) if name.starts_with("fc") => (0.1, 1.0),
                (_, true) => (0.1, 0.0),
            };
            for (i, value) in values.iter_mut().enumerate() {
                *value = (scale * uniform(t, i) + offset) as f32;
            }
        }
        state
    }

    /// Compares every tensor the fixture has under `key`.
    fn compare_all(&self, key: &str, ours: &StateDict, wrong: &mut BTreeMap<String, f64>) {
        for (name, expected) in self.numbers[key].as_object().unwrap() {
            let entry = ours.get(&self.our_name(name)).unwrap_or_else(|| panic!("{key}: no {name}"));
            let Values::F32(values) = &entry.values else { panic!("{name} is a counter") };
            note(format!("{key} {name}"), expected, distance(expected, values), wrong);
        }
    }

    fn compare(&self, key: &str, ours: &[f32], wrong: &mut BTreeMap<String, f64>) {
        note(key.to_owned(), &self.numbers[key], distance(&self.numbers[key], ours), wrong);
    }

    fn compare_loss(&self, step: usize, loss: f64, wrong: &mut BTreeMap<String, f64>) {
        let key = format!("loss_{step}");
        let expected = &self.numbers[&key];
        let value = expected["value"].as_f64().unwrap();
        note(key, expected, (loss - value).abs() / value, wrong);
    }

    /// The fixtures name the parameters of the first two networks by their place, from 0.
    fn our_name(&self, name: &str) -> String {
        let parts: Vec<&str> = name.split('.').collect();
        match parts[..] {
            ["convs", k, part] => format!("layer_{}.{part}", k.parse::<usize>().unwrap() + 1),
            ["norms", k, part] => format!("conv2_bn{}.{part}", k.parse::<usize>().unwrap() + 1),
            ["fc", part] if self.numbers["model"] != "resnext" => format!("fc_layer_1.{part}"),
            _ => name.to_owned(),
        }
    }
}

/// The relative l2 distance of values from the fixture's, at its positions.
fn distance(expected: &Value, ours: &[f32]) -> f64 {
    let numbers = |key: &str| expected[key].as_array().unwrap().iter();
    let numel: u64 = numbers("shape").map(|n| n.as_u64().unwrap()).product();
    assert_eq!(ours.len() as u64, numel, "number of values");
    let squares: f64 = numbers("at")
        .zip(numbers("values"))
        .map(|(at, value)| f64::from(ours[at.as_u64().unwrap() as usize]) - value.as_f64().unwrap())
        .map(|difference| difference * difference)
        .sum();
    let count = numbers("at").len() as f64;
    squares.sqrt() / (expected["l2"].as_f64().unwrap() * (count / numel as f64).sqrt())
}

/// Notes what is off by more than five times PyTorch's own f32 run.
fn note(what: String, expected: &Value, off: f64, wrong: &mut BTreeMap<String, f64>) {
    let allowed = 5.0 * expected["f32_error"].as_f64().unwrap() + 1e-5;
    if off.is_nan() || off >= allowed {
        wrong.insert(what, off);
    }
}

/// Whether this follows from the first weights alone, without a gradient.
fn is_before_any_gradient(what: &str) -> bool {
    ["logits_eval_before", "logits_train", "loss_1", "buffers_after_1"]
        .iter()
        .any(|key| what.starts_with(key))
}

/// Element `i` of the `t`-th tensor of the fixtures' formula, uniform in [-0.5, 0.5).
fn uniform(t: usize, i: usize) -> f64 {
    let mut x = ((t as u64) << 32).wrapping_add(i as u64).wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ (x >> 31)) >> 40) as f64 / f64::from(1 << 24) - 0.5
}
