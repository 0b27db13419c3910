//! The `evaluate` stage: a trained network is judged on images at any resolution.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::num::NonZero;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::learn::{self, told};
use super::model_port::ModelSource;
use super::overlap::Guard;
use crate::augment::Transform;
use crate::engine::stage::{
    Complaint, Cost, Holds, Identity, InputPort, Inputs, Job, Need, ONLY_FILE, OutputPort, Ports, Progress,
    Stage, StageError, StageKind, Unit, read_stage,
};
use crate::nn::{Activation, LEAST_SIDE, Network};
use crate::pipeline::Check;
use crate::training::{Error, Views, evaluate};

/// What `uses: evaluate` means.
pub const KIND: StageKind = StageKind {
    name: "evaluate",
    version: 4,
    about: "Judges a trained network: accuracy, top-5, loss, per class, confusion matrix, predictions, logits.",
    schema: || schemars::schema_for!(Evaluate).to_value(),
    read: read_stage::<Evaluate>,
};

const IMAGES: &str = "images";
const METRICS: &str = "metrics";
const PREDICTIONS: &str = "predictions";
const LOGITS: &str = "logits";

/// How the images are shown to the network.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Evaluate {
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
    /// Transforms before the network; only such as always do the same, `resize` for example.
    #[serde(default)]
    transforms: Vec<Transform>,
    /// Images at a time.
    #[serde(default = "hundred")]
    batch: NonZero<usize>,
    /// Judge by the mean of the probabilities for each image and its mirror image; takes twice as long.
    #[serde(default)]
    average_flips: bool,
    /// Go on even if some of the images are among those that the model has learnt from.
    #[serde(default)]
    allow_overlap: bool,
}

fn hundred() -> NonZero<usize> {
    const { NonZero::new(100).expect("not 0") }
}

impl Evaluate {
    fn source(&self) -> ModelSource<'_> {
        ModelSource { weights: self.weights.as_deref(), network: self.model, activation: self.activation }
    }

    /// Which transform decides about the shorter side of the images, if one does, and that side.
    fn side(&self) -> Option<(usize, usize)> {
        let sides = self.transforms.iter().enumerate();
        sides.filter_map(|(at, transform)| Some((at, transform.shorter_side()? as usize))).next_back()
    }
}

impl Check for Evaluate {
    fn check(&self) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for (at, transform) in self.transforms.iter().enumerate() {
            let path = vec!["transforms".to_string(), at.to_string()];
            if let Err(error) = transform.check() {
                complaints.push(Complaint { path, message: error.to_string(), hint: None });
            } else if !transform.is_deterministic() {
                let message = format!("`{}` draws at random, which would judge by luck", transform.name());
                let hint = Some("use transforms that always do the same, such as resize".to_string());
                complaints.push(Complaint { path, message, hint });
            }
        }
        if let Some((at, side)) = self.side().filter(|(_, side)| *side < LEAST_SIDE) {
            let path = vec!["transforms".to_string(), at.to_string()];
            let message = format!(
                "the network needs images of at least {LEAST_SIDE} x {LEAST_SIDE} pixels, and this makes them {side} wide or high"
            );
            let hint = Some(format!("give it at least {LEAST_SIDE}"));
            complaints.push(Complaint { path, message, hint });
        }
        complaints
    }

    fn check_together(&self) -> Vec<Complaint> {
        self.source().complaints()
    }
}

impl Stage for Evaluate {
    fn ports(&self) -> Ports {
        let least_side = self.side().is_none().then_some(LEAST_SIDE as u64);
        let images = InputPort { least_side, ..InputPort::new(IMAGES, Holds::Dataset, Need::Required) };
        let output = |name: &str, file: &str| OutputPort {
            file_name: Some(file.to_string()),
            ..OutputPort::new(name, Holds::File)
        };
        Ports {
            inputs: Inputs::Fixed(vec![self.source().port(), images]),
            outputs: vec![
                output(METRICS, "metrics.json"),
                output(PREDICTIONS, "predictions.csv"),
                output(LOGITS, "logits.safetensors"),
            ],
            named_by: None,
        }
    }

    fn params(&self) -> Value {
        json!(self)
    }

    fn identity(&self) -> Identity {
        self.source().identity(self.params())
    }

    fn origins(&self) -> BTreeMap<String, Value> {
        self.source().origins()
    }

    fn cost(&self) -> Cost {
        Cost::AllCores
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        let samples = learn::samples(job, IMAGES)?.with_transforms(&self.transforms)?;
        let model = self.source().open(job, &samples)?;
        model.card.check_classes(IMAGES, samples.classes())?;
        Guard { job, allow: self.allow_overlap }.check_images(IMAGES, &samples, &model.seen)?;
        let views = if self.average_flips { Views::WithMirror } else { Views::One };
        let total = Some(samples.len() as u64);
        let after_batch = |done: usize| {
            let (done, note) = (done as u64, String::new());
            job.progress(Progress { done, total, unit: Unit::Images, note });
            if job.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
        };
        let (classifier, normalisation) = (&model.classifier, &model.card.normalisation);
        let judged = evaluate(classifier, views, &samples, normalisation, self.batch.get(), after_batch)
            .map_err(told)?;
        if !judged.metrics.loss.is_finite() {
            return Err(StageError::message("the model's logits are not numbers; train it anew"));
        }
        job.metric("accuracy", judged.metrics.accuracy);
        job.metric("top5_accuracy", judged.metrics.top5_accuracy);
        job.metric("loss", judged.metrics.loss);
        learn::write(job, METRICS, ONLY_FILE, &serde_json::to_vec_pretty(&judged.metrics)?)?;
        let csv = csv(&judged.predictions, &model.card.classes);
        learn::write(job, PREDICTIONS, ONLY_FILE, csv.as_bytes())?;
        learn::write(job, LOGITS, ONLY_FILE, &judged.to_safetensors(&samples))
    }
}

/// One line per image: its number, from 0 in the order of the dataset, and the name of the class that it was
/// taken for.
fn csv(predictions: &[u8], classes: &[String]) -> String {
    let mut text = "Id,Category\n".to_string();
    for (id, class) in predictions.iter().enumerate() {
        let name = quoted(&classes[usize::from(*class)]);
        writeln!(text, "{id},{name}").expect("writing to a string cannot fail");
    }
    text
}

/// A field as RFC 4180 wants it.
fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predictions_are_numbered_from_0_and_named() {
        let classes = ["bird", "a \"b\", c"].map(String::from);
        assert_eq!(csv(&[1, 0], &classes), "Id,Category\n0,\"a \"\"b\"\", c\"\n1,bird\n");
    }

    #[test]
    fn transforms_that_draw_at_random_are_refused() {
        let params = json!({ "transforms": [{ "resize": 120 }, { "hflip": 0.5 }, { "resize": 5000 }, { "resize": 7 }] });
        let complaints = (KIND.read)(&params).err().expect("complaints").into_complaints();
        let places: Vec<_> = complaints.iter().map(|c| c.path.join(".")).collect();
        assert_eq!(places, ["transforms.1", "transforms.2", "transforms.3"]);
    }
}
