//! The `fine-tune` stage: a trained network goes on learning, from other data or at another resolution.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::learn;
use super::train::defaults;
use crate::engine::stage::{
    Complaint, Cost, DeviceUse, Holds, Identity, InputPort, Inputs, Job, Need, Ports, Stage, StageError,
    StageKind,
};
use crate::nn::Trainable;
use crate::pipeline::{Check, read_params};
use crate::training::{Model, Options, Schedule};

/// What `uses: fine-tune` means.
pub const KIND: StageKind = StageKind {
    name: "fine-tune",
    version: 1,
    about: "Goes on training a trained network and keeps its best epoch.",
    schema: || schemars::schema_for!(FineTune).to_value(),
    read: |params| Ok(Box::new(read_params::<FineTune>(params)?)),
};

const MODEL: &str = "model";

/// What of the network learns, and how.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FineTune {
    /// Which parameters learn.
    #[serde(default)]
    trainable: Part,
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
    /// Decides the order of the samples.
    #[serde(default = "defaults::seed")]
    seed: u64,
    /// Stop after this many epochs without a better validation loss. Without: never.
    #[serde(default)]
    patience: Option<u32>,
}

/// What of a network learns.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Part {
    /// Everything.
    #[default]
    All,
    /// The last layer and the batch norms.
    HeadAndNorm,
}

impl FineTune {
    fn options(&self) -> Options {
        let FineTune {
            trainable,
            epochs,
            batch,
            lr,
            weight_decay,
            schedule,
            label_smoothing,
            seed,
            patience,
        } = *self;
        let trainable = match trainable {
            Part::All => Trainable::All,
            Part::HeadAndNorm => Trainable::HeadAndNorm,
        };
        Options { epochs, batch, lr, weight_decay, schedule, label_smoothing, seed, patience, trainable }
    }
}

impl Check for FineTune {
    fn check(&self) -> Vec<Complaint> {
        learn::complaints(&self.options())
    }
}

impl Stage for FineTune {
    fn ports(&self) -> Ports {
        let model = InputPort { name: MODEL, holds: Holds::Model, need: Need::Required };
        let inputs = [model].into_iter().chain(learn::data_ports()).collect();
        Ports { inputs: Inputs::Fixed(inputs), outputs: learn::outputs() }
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
        let Model { card, classifier } = learn::model(job, MODEL)?;
        card.check_classes("training", data.train.classes())?;
        learn::learn(job, &data, &self.options(), &card.architecture(), || Ok(classifier))
    }
}
