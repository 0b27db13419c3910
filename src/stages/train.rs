//! The `train` stage: a network learns from scratch.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::learn;
use super::overlap::Guard;
use crate::engine::stage::{
    Complaint, Cost, DeviceUse, Identity, Inputs, Job, Ports, Stage, StageError, StageKind,
};
use crate::nn::{Activation, Architecture, Classifier, Network, Trainable};
use crate::pipeline::{Check, read_params};
use crate::training::{Options, Schedule, Seen};

/// What `uses: train` means.
pub const KIND: StageKind = StageKind {
    name: "train",
    version: 1,
    about: "Trains a network from scratch and keeps its best epoch.",
    schema: || schemars::schema_for!(Train).to_value(),
    read: |params| Ok(Box::new(read_params::<Train>(params)?)),
};

/// Which network, and how it learns.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Train {
    /// The network.
    model: Network,
    /// What follows its convolutions.
    #[serde(default)]
    activation: Activation,
    /// How often to go through the training samples.
    epochs: u32,
    /// Images per step.
    #[serde(default = "defaults::batch")]
    batch: usize,
    /// The learning rate of the first epoch.
    #[serde(default = "defaults::lr")]
    lr: f64,
    /// How much of each parameter Adam adds to its gradient.
    #[serde(default = "defaults::weight_decay")]
    weight_decay: f64,
    /// How the learning rate changes: `constant`, `cosine`, or `{ step: 100, gamma: 0.1 }`.
    #[serde(default)]
    schedule: Schedule,
    /// How much of the target goes evenly to all classes, from 0 to below 1.
    #[serde(default)]
    label_smoothing: f64,
    /// Decides the first weights and the order of the samples.
    #[serde(default = "defaults::seed")]
    seed: u64,
    /// Stop after this many epochs without a better validation loss. Without: never.
    #[serde(default)]
    patience: Option<u32>,
    /// Go on even if images of `val` are among those that the network learns from.
    #[serde(default)]
    allow_overlap: bool,
}

/// What `train` and `fine-tune` assume where the pipeline says nothing.
pub(super) mod defaults {
    pub fn batch() -> usize {
        64
    }

    pub fn lr() -> f64 {
        1e-3
    }

    pub fn weight_decay() -> f64 {
        1e-4
    }

    pub fn seed() -> u64 {
        1337
    }
}

impl Train {
    fn options(&self) -> Options {
        let Train {
            model: _,
            activation: _,
            epochs,
            batch,
            lr,
            weight_decay,
            schedule,
            label_smoothing,
            seed,
            patience,
            allow_overlap: _,
        } = *self;
        let trainable = Trainable::All;
        Options { epochs, batch, lr, weight_decay, schedule, label_smoothing, seed, patience, trainable }
    }
}

impl Check for Train {
    fn check(&self) -> Vec<Complaint> {
        learn::complaints(&self.options())
    }
}

impl Stage for Train {
    fn ports(&self) -> Ports {
        Ports { inputs: Inputs::Fixed(learn::data_ports().into()), outputs: learn::outputs() }
    }

    fn params(&self) -> Value {
        json!(self)
    }

    fn identity(&self) -> Identity {
        Identity { params: self.params(), files: [].into(), device: DeviceUse::Computes }
    }

    fn cost(&self) -> Cost {
        Cost::AllCores
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        let data = learn::data(job)?;
        let seen = Guard { job, allow: self.allow_overlap }.check_validation(&data, &Seen::default())?;
        let classes = data.train.classes().len();
        let architecture = Architecture { network: self.model, activation: self.activation, classes };
        let first = || Ok(Classifier::new(&architecture, self.seed)?);
        learn::learn(job, &data, &seen, &self.options(), &architecture, first)
    }
}
