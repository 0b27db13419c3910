//! The `fine-tune` stage: a trained network goes on learning, from other data or at another resolution.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::learn;
use super::learning::learning_params;
use crate::engine::stage::{
    Complaint, Cost, DeviceUse, Holds, Identity, InputPort, Inputs, Job, Need, Ports, Stage, StageError,
    StageKind,
};
use crate::nn::Trainable;
use crate::pipeline::{Check, read_params};
use crate::training::Model;

/// What `uses: fine-tune` means.
pub const KIND: StageKind = StageKind {
    name: "fine-tune",
    version: 1,
    about: "Goes on training a trained network and keeps its best epoch and its last.",
    schema: || schemars::schema_for!(FineTune).to_value(),
    read: |params| Ok(Box::new(read_params::<FineTune>(params)?)),
};

const MODEL: &str = "model";

learning_params! {
    /// What of the network learns, and how.
    struct FineTune {
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
        learn::complaints(&self.options(self.trainable.trainable()))
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
        learn::learn(job, &data, &self.options(self.trainable.trainable()), &card.architecture(), || {
            Ok(classifier)
        })
    }
}
