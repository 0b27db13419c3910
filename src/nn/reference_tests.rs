//! The networks against PyTorch's numbers: `tests/fixtures/<network>_<pixels>.json` holds, for weights and
//! inputs that a formula gives, what PyTorch computes in f64, and by how much its own f32 run differs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use dfdx::prelude::*;
use serde_json::Value;

use super::classifier::Trainable;
use super::cpu::Fused;
use super::cpu::bench::Level;
use super::kernels::{Maps, Rows};
use super::layers::{LeakyRelu, Relu};
use super::networks::{CLASSES, CustomNet, Lenet, Resnext};
use super::on_device::backward;
use super::optimizer::{Method, Optimizer};
use super::parameters::{export, gradients, import, update};
use super::state_dict::{StateDict, Values};
use super::tape::Traced;

/// Where the fixtures are, unless a folder of others is named by this variable.
const FOLDER: &str = "STLPIPE_REFERENCE";

/// Of how many figures one may miss its tolerance.
///
/// A value within rounding of a kink (of ReLU, of the maximum of a window, of the sign that Adam's first step
/// makes of a gradient) may fall on either side of it in f32, and then moves every figure behind it. PyTorch's
/// own f32 run, made again on a second machine, misses up to 19 of the 68 figures of Lenet, 2 of the 124 of
/// Custom-Net and 1 of the 452 of ResNeXt.
const FIGURES_PER_MISS: usize = 200;

/// The most by which a figure that misses its tolerance may be off.
const MOVED_BY_A_KINK: f64 = 1e-2;

/// Names the kind of instructions to a process that is to use it.
const LEVEL: &str = "STLPIPE_TEST_LEVEL";

#[test]
fn networks_agree_with_pytorch_at_every_level() {
    if let Ok(name) = std::env::var(LEVEL) {
        let level = Level::here().find(|level| level.name() == name).unwrap();
        level.choose();
        return networks_agree_with_pytorch();
    }
    // A process has one level, so each gets a process of its own.
    for level in Level::here() {
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "nn::reference_tests::networks_agree_with_pytorch_at_every_level"]);
        let output = test.env(LEVEL, level.name()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{}:\n{said}", level.name());
    }
}

fn networks_agree_with_pytorch() {
    let shipped = || format!("{}/tests/fixtures", env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var(FOLDER).unwrap_or_else(|_| shipped());
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut references: Vec<_> = files.iter().filter_map(|file| Reference::read(file)).collect();
    if Level::in_use() == Level::Plain {
        // Ten times slower than vectors, so the smallest images of each network have to do. (Of `lenet_96`, plain loops miss
        // 18 figures, as PyTorch's second run does: the value that lies 4e-8 from a kink falls on the other side.)
        references.sort_by_key(|reference| reference.numbers["resolution"].as_u64());
        let mut seen = BTreeSet::new();
        references.retain(|reference| seen.insert(reference.numbers["model"].to_string()));
    }
    assert!(!references.is_empty(), "{folder} holds no reference numbers");
    let failures: Vec<String> = references.iter().filter_map(Reference::failure).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// One fixture.
struct Reference {
    name: String,
    numbers: Value,
}

/// How the figures of a fixture compare with ours.
#[derive(Default)]
struct Comparison {
    figures: usize,
    /// What is off by more than its tolerance, and by how much.
    wrong: BTreeMap<String, f64>,
}

impl Reference {
    /// The numbers in a file, if it is about a network.
    fn read(file: &Path) -> Option<Reference> {
        let text =
            file.extension().is_some_and(|e| e == "json").then(|| std::fs::read_to_string(file).unwrap());
        let numbers: Value = serde_json::from_str(&text?).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        numbers.get("model").is_some().then_some(Reference { name, numbers })
    }

    /// What is wrong with our network, if anything is.
    fn failure(&self) -> Option<String> {
        let device = Cpu::default();
        let Comparison { figures, wrong } = match self.numbers["model"].as_str().unwrap() {
            "lenet" => self.compare::<Lenet<Relu, Fused, Cpu>, Cpu>(&device),
            "lenet_leaky" => self.compare::<Lenet<LeakyRelu, Fused, Cpu>, Cpu>(&device),
            "custom_net" => self.compare::<CustomNet<Relu, Fused, Cpu>, Cpu>(&device),
            "custom_net_leaky" => self.compare::<CustomNet<LeakyRelu, Fused, Cpu>, Cpu>(&device),
            "resnext" => self.compare::<Resnext<Relu, Fused, Cpu>, Cpu>(&device),
            other => panic!("{}: no network is called {other}", self.name),
        };
        let far = wrong.iter().any(|(what, off)| *off >= MOVED_BY_A_KINK || is_before_any_kink(what));
        let fails = far || wrong.len() > figures / FIGURES_PER_MISS;
        fails.then(|| format!("{}: {} of {figures} figures: {wrong:#?}", self.name, wrong.len()))
    }

    /// Everything the fixture knows, beside what a network of ours makes of the same weights and images.
    fn compare<M, D: Device<f32>>(&self, device: &D) -> Comparison
    where
        M: BuildModule<D, f32>,
        M: ModuleMut<Maps<3, D, Traced<D>>, Output = Rows<CLASSES, D, Traced<D>>, Error = D::Err>,
        M: Module<Maps<3, D>, Output = Rows<CLASSES, D>, Error = D::Err>,
    {
        let mut found = Comparison::default();
        let (images, labels) = self.batch(device);
        let mut layers = M::build(device);
        assert_eq!(layers.num_trainable_params() as u64, self.numbers["parameters"].as_u64().unwrap());
        let first = self.first_state(export(&layers));
        import(&mut layers, &first);

        self.tensor("logits_eval_before", &layers.forward(images.clone()).as_vec(), &mut found);
        let logits = layers.forward_mut(images.clone().put_tape(Traced::default())).as_vec();
        self.tensor("logits_train", &logits, &mut found);
        import(&mut layers, &first);

        let mut adam = Optimizer::new(Method::Adam, 1e-4);
        for step in 1..=3 {
            let (result, slopes) = backward(&mut layers, images.clone(), &labels, 0.0).unwrap();
            self.loss(step, result.loss, &mut found);
            if step == 1 {
                self.tensors("grads", &gradients(&layers, &slopes), &mut found);
            }
            update(&mut layers, &slopes, adam.begin_step(1e-4), Trainable::All);
            if step != 2 {
                self.tensors(&format!("params_after_{step}"), &export(&layers), &mut found);
            }
            if step == 1 {
                self.tensors("buffers_after_1", &export(&layers), &mut found);
            }
        }
        self.tensor("logits_eval_after_3", &layers.forward(images).as_vec(), &mut found);
        found
    }

    fn batch<D: Device<f32>>(&self, device: &D) -> (Maps<3, D>, Vec<u8>) {
        let size = |key: &str| self.numbers[key].as_u64().unwrap() as usize;
        let (batch, pixels) = (size("batch"), size("resolution"));
        let images = (0..batch * 3 * pixels * pixels).map(|i| (2.0 * uniform(1000, i)) as f32).collect();
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
    fn tensors(&self, key: &str, ours: &StateDict, found: &mut Comparison) {
        for (name, expected) in self.numbers[key].as_object().unwrap() {
            let entry = ours.get(&self.our_name(name)).unwrap_or_else(|| panic!("{key}: no {name}"));
            let Values::F32(values) = &entry.values else { panic!("{name} is a counter") };
            found.note(format!("{key} {name}"), expected, distance(expected, values));
        }
    }

    fn tensor(&self, key: &str, ours: &[f32], found: &mut Comparison) {
        found.note(key.to_owned(), &self.numbers[key], distance(&self.numbers[key], ours));
    }

    fn loss(&self, step: usize, loss: f64, found: &mut Comparison) {
        let key = format!("loss_{step}");
        let expected = &self.numbers[&key];
        let value = expected["value"].as_f64().unwrap();
        found.note(key, expected, (loss - value).abs() / value);
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

impl Comparison {
    /// Counts a figure, and keeps it if it is off by more than five times PyTorch's own f32 run.
    fn note(&mut self, what: String, expected: &Value, off: f64) {
        self.figures += 1;
        let allowed = 5.0 * expected["f32_error"].as_f64().unwrap() + 1e-5;
        if off.is_nan() || off >= allowed {
            self.wrong.insert(what, off);
        }
    }
}

/// Whether this follows from the first weights without a derivative.
fn is_before_any_kink(what: &str) -> bool {
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
