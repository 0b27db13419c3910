//! The `fine-tune` stage: a trained network goes on learning, from other data or at another resolution.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::learn;
use super::model_port::ModelSource;
use super::overlap::Guard;
use super::train::defaults;
use crate::engine::stage::{
    Complaint, Cost, DeviceUse, Identity, Inputs, Job, Ports, Stage, StageError, StageKind,
};
use crate::nn::{Activation, Network, Trainable};
use crate::pipeline::{Check, read_params};
use crate::training::{Model, Options, Schedule};

/// What `uses: fine-tune` means.
pub const KIND: StageKind = StageKind {
    name: "fine-tune",
    version: 1,
    about: "Goes on training a trained network and keeps its best epoch.",
    schema: || schemars::schema_for!(FineTune).to_value(),
    read: |params| Ok(Box::new(read_params::<FineTune>(params)?.complete())),
};

/// What of the network learns, and how.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FineTune {
    /// Take the network from this file instead of the input `model`: a state dict that PyTorch has saved with
    /// `safetensors.torch.save_file(net.state_dict(), path)`. It counts by its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weights: Option<PathBuf>,
    /// The network that the `weights` are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<Network>,
    /// What follows the convolutions of the network that the `weights` are of. Without: relu.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    activation: Option<Activation>,
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
    /// Go on even if images of `val` are among those that the network learns from, or has learnt from before.
    #[serde(default)]
    allow_overlap: bool,
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
    /// Spells out the default that only weights from outside need.
    fn complete(mut self) -> Self {
        if self.weights.is_some() {
            self.activation.get_or_insert_default();
        }
        self
    }

    fn source(&self) -> ModelSource<'_> {
        ModelSource { weights: self.weights.as_deref(), network: self.model, activation: self.activation }
    }

    fn options(&self) -> Options {
        let FineTune {
            weights: _,
            model: _,
            activation: _,
            trainable,
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
        let trainable = match trainable {
            Part::All => Trainable::All,
            Part::HeadAndNorm => Trainable::HeadAndNorm,
        };
        Options { epochs, batch, lr, weight_decay, schedule, label_smoothing, seed, patience, trainable }
    }
}

impl Check for FineTune {
    fn check(&self) -> Vec<Complaint> {
        let mut complaints = self.source().complaints();
        complaints.extend(learn::complaints(&self.options()));
        complaints
    }
}

impl Stage for FineTune {
    fn ports(&self) -> Ports {
        let inputs = [self.source().port()].into_iter().chain(learn::data_ports()).collect();
        Ports { inputs: Inputs::Fixed(inputs), outputs: learn::outputs() }
    }

    fn params(&self) -> Value {
        json!(self)
    }

    fn identity(&self) -> Identity {
        Identity {
            params: ModelSource::without_path(self.params()),
            files: self.source().files(),
            device: DeviceUse::Computes,
        }
    }

    fn cost(&self) -> Cost {
        Cost::AllCores
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        let data = learn::data(job)?;
        let Model { card, classifier, seen } = self.source().open(job, &data.train)?;
        card.check_classes("training", data.train.classes())?;
        let seen = Guard { job, allow: self.allow_overlap }.check_validation(&data, &seen)?;
        learn::learn(job, &data, &seen, &self.options(), &card.architecture(), || Ok(classifier))
    }
}
