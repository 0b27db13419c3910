//! The `train` stage: a network learns from scratch.

use serde_json::{Value, json};

use super::checkpoints::{self, Checkpoints};
use super::learn;
use super::learning::learning_params;
use super::overlap::Guard;
use crate::engine::stage::{
    Complaint, Cost, DeviceUse, Identity, Inputs, Job, Ports, Stage, StageError, StageKind, read_stage,
};
use crate::nn::{Activation, Architecture, Classifier, Network, Trainable};
use crate::pipeline::Check;
use crate::training::Seen;

/// What `uses: train` means.
pub const KIND: StageKind = StageKind {
    name: "train",
    version: 6,
    about: "Trains a network from scratch and keeps its best epoch and its last.",
    schema: || schemars::schema_for!(Train).to_value(),
    read: read_stage::<Train>,
};

learning_params! {
    /// Which network, and how it learns.
    struct Train {
        /// The network.
        model: Network,
        /// What follows its convolutions.
        #[serde(default)]
        activation: Activation,
    }
}

impl Check for Train {
    fn check(&self) -> Vec<Complaint> {
        self.options(Trainable::All).problems().into_iter().map(learn::complaint).collect()
    }

    fn check_together(&self) -> Vec<Complaint> {
        self.options(Trainable::All).contradiction().map(learn::complaint).into_iter().collect()
    }
}

impl Stage for Train {
    fn ports(&self) -> Ports {
        Ports {
            inputs: Inputs::Fixed(learn::data_ports(self.batch).into()),
            outputs: learn::outputs(),
            named_by: None,
        }
    }

    fn params(&self) -> Value {
        json!(self)
    }

    fn identity(&self) -> Identity {
        Identity {
            device: DeviceUse::Computes,
            growth: Some(checkpoints::growth(&self.options(Trainable::All))),
            ..Identity::of(checkpoints::without(self.params()))
        }
    }

    fn cost(&self) -> Cost {
        Cost::AllCores
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        let data = learn::data(job)?;
        let seen = Guard { job, allow: self.allow_overlap }.check_validation(&data, &Seen::default())?;
        let classes = data.train.classes().len();
        let architecture = Architecture { network: self.model, activation: self.activation, classes };
        let first = || Ok(Classifier::new(&architecture, self.seed, learn::device(job))?);
        let options = self.options(Trainable::All);
        let checkpoints = Checkpoints { job, options: &options, keep: self.checkpoints };
        learn::learn(&checkpoints, &data, &seen, &architecture, first)
    }
}
