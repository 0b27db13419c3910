//! The `fine-tune` stage: a trained network goes on learning, from other data or at another resolution.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::checkpoints::{self, Checkpoints};
use super::learn;
use super::learning::learning_params;
use super::model_port::ModelSource;
use super::overlap::Guard;
use crate::engine::stage::{
    Complaint, Cost, Identity, Inputs, Job, Ports, Stage, StageError, StageKind, read_stage,
};
use crate::nn::{Activation, Network, Trainable};
use crate::pipeline::Check;
use crate::training::Model;

/// What `uses: fine-tune` means.
pub const KIND: StageKind = StageKind {
    name: "fine-tune",
    version: 6,
    about: "Goes on training a trained network and keeps its best epoch and its last.",
    schema: || schemars::schema_for!(FineTune).to_value(),
    read: read_stage::<FineTune>,
};

learning_params! {
    /// What of the network learns, and how.
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
    }
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
    fn source(&self) -> ModelSource<'_> {
        ModelSource { weights: self.weights.as_deref(), network: self.model, activation: self.activation }
    }
}

impl Part {
    fn trainable(self) -> Trainable {
        match self {
            Part::All => Trainable::All,
            Part::HeadAndNorm => Trainable::HeadAndNorm,
        }
    }
}

impl Check for FineTune {
    fn check(&self) -> Vec<Complaint> {
        self.options(self.trainable.trainable()).problems().into_iter().map(learn::complaint).collect()
    }

    fn check_together(&self) -> Vec<Complaint> {
        let contradiction = self.options(self.trainable.trainable()).contradiction();
        self.source().complaints().into_iter().chain(contradiction.map(learn::complaint)).collect()
    }
}

impl Stage for FineTune {
    fn ports(&self) -> Ports {
        let inputs = [self.source().port()].into_iter().chain(learn::data_ports(self.batch)).collect();
        Ports { inputs: Inputs::Fixed(inputs), outputs: learn::outputs(), named_by: None }
    }

    fn params(&self) -> Value {
        json!(self)
    }

    fn identity(&self) -> Identity {
        let identity = self.source().identity(checkpoints::without(self.params()));
        Identity { growth: Some(checkpoints::growth(&self.options(self.trainable.trainable()))), ..identity }
    }

    fn origins(&self) -> BTreeMap<String, Value> {
        self.source().origins()
    }

    fn cost(&self) -> Cost {
        Cost::AllCores
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        let data = learn::data(job)?;
        let Model { card, classifier, seen } = self.source().open(job, &data.train)?;
        card.check_classes("training", data.train.classes())?;
        let seen = Guard { job, allow: self.allow_overlap }.check_validation(&data, &seen)?;
        let options = self.options(self.trainable.trainable());
        let checkpoints = Checkpoints { job, options: &options, keep: self.checkpoints };
        learn::learn(&checkpoints, &data, &seen, &card.architecture(), || Ok(classifier))
    }
}
