//! The trained network as `fine-tune` and `evaluate` get it: from their `model` port, or from a file of weights that
//! PyTorch has saved, whose network the parameters then name.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::learn;
use crate::augment::Samples;
use crate::engine::stage::{Complaint, DeviceUse, Holds, Identity, InputPort, Job, Need, StageError};
use crate::nn::{Activation, Architecture, Network};
use crate::training::{Model, ModelCard, Normalisation, Seen, load_weights};

const MODEL: &str = "model";
const WEIGHTS: &str = "weights";
const ACTIVATION: &str = "activation";

/// What the parameters say of where the network comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelSource<'a> {
    pub(super) weights: Option<&'a Path>,
    pub(super) network: Option<Network>,
    pub(super) activation: Option<Activation>,
}

impl ModelSource<'_> {
    /// The port that takes the model, unless weights stand in its place.
    pub(super) fn port(&self) -> InputPort {
        let need = if self.weights.is_some() { Need::ReplacedBy(WEIGHTS) } else { Need::Or(WEIGHTS) };
        InputPort::new(MODEL, Holds::Model, need)
    }

    /// Everything about which the parameters contradict each other.
    pub(super) fn complaints(&self) -> Vec<Complaint> {
        let complain = |path: &str, message: &str, hint: Option<&str>| Complaint {
            path: vec![path.to_owned()],
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
        };
        if self.weights.is_some() {
            let hint = "add `model`, and `activation` unless it is relu";
            let nameless =
                complain(WEIGHTS, "weights: the network that they are of must be named", Some(hint));
            return if self.network.is_none() { vec![nameless] } else { vec![] };
        }
        let needless = [(MODEL, self.network.is_some()), (ACTIVATION, self.activation.is_some())];
        let alone = |(name, _): (&str, bool)| {
            let message = format!("{name}: this goes with `weights`; the model at the input says what it is");
            complain(name, &message, None)
        };
        needless.into_iter().filter(|(_, given)| *given).map(alone).collect()
    }

    /// What makes the result of a stage with these parameters: a file of weights counts by its content and not by its
    /// path, and its activation also where it goes without saying.
    pub(super) fn identity(&self, mut params: Value) -> Identity {
        if let (Some(_), Some(params)) = (self.weights, params.as_object_mut()) {
            params.shift_remove(WEIGHTS);
            params.insert(ACTIVATION.to_owned(), json!(self.activation.unwrap_or_default()));
        }
        let files = self.weights.map(|path| (WEIGHTS.to_owned(), path.to_owned()));
        Identity { files: files.into_iter().collect(), device: DeviceUse::Computes, ..Identity::of(params) }
    }

    /// The file of weights, as the parameters name it.
    pub(super) fn origins(&self) -> BTreeMap<String, Value> {
        self.weights.map(|path| (WEIGHTS.to_owned(), json!(path))).into_iter().collect()
    }

    /// The network, and what is known about it. Weights from outside know no classes and no images: they get the
    /// classes of these samples, and the pipeline's own normalisation.
    pub(super) fn open(&self, job: &dyn Job, samples: &Samples) -> Result<Model, StageError> {
        let Some(path) = self.weights else {
            let input = job.input(MODEL).expect("the plan binds the port where there are no weights");
            return Ok(Model::open(learn::device(job), |file| input.path(file))?);
        };
        let network = self.network.expect("the parameters were checked for it");
        let (classes, activation) = (samples.classes().to_vec(), self.activation.unwrap_or_default());
        let architecture = Architecture { network, activation, classes: classes.len() };
        let classifier = load_weights(path, &architecture, learn::device(job))?;
        job.log(&format!(
            "nothing is known of the images that {} has learnt from, so that nobody can say whether they are here",
            path.display()
        ));
        let card = ModelCard {
            network,
            activation,
            classes,
            normalisation: Normalisation::default(),
            resolution: [samples.height(), samples.width()],
            parameters: classifier.parameter_count(),
        };
        Ok(Model { card, classifier, seen: Seen::default() })
    }
}
