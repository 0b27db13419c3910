//! The `split` stage: divides a dataset among parts, each a dataset of its own at a port of its own. Which image goes
//! where is decided in the dataset folder.

use std::collections::{BTreeMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::dataset_port::{DatasetPort, open_plain_dataset};
use crate::dataset::split::stratified;
use crate::dataset::{Dataset, DatasetWriter, Fingerprint};
use crate::engine::stage::{
    Complaint, Cost, Holds, InputPort, Inputs, Job, Need, OutputPort, Ports, Progress, Stage, StageError,
    StageKind, Unit, read_stage,
};
use crate::pipeline::Check;

/// What `uses: split` means.
pub const KIND: StageKind = StageKind {
    name: "split",
    version: 2,
    about: "Divides a dataset among parts, the same share of every class in each, equal images together.",
    schema: || schemars::schema_for!(Split).to_value(),
    read: read_stage::<Split>,
};

const IMAGES: &str = "images";

/// Images between two looks at whether to stop.
const BLOCK_IMAGES: usize = 256;

/// Into which parts to divide.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Split {
    /// The share of each part, such as `{ train: 0.8, val: 0.2 }`; each becomes an output port, in alphabetical
    /// order. If the shares add up to less than 1, the rest is left out.
    parts: BTreeMap<String, f64>,
    /// Another seed gives another split.
    #[serde(default)]
    seed: u64,
}

impl Check for Split {
    fn check(&self) -> Vec<Complaint> {
        let complain = |path: &[&str], message: String| Complaint {
            path: path.iter().map(|&name| name.to_owned()).collect(),
            message,
            hint: None,
        };
        let mut complaints = Vec::new();
        for (name, share) in &self.parts {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if name.is_empty() || !name.chars().all(plain) {
                let message = format!("parts: `{name}` cannot name a port; use letters, digits, `_` and `-`");
                complaints.push(complain(&["parts", name], message));
            }
            if !(*share > 0.0 && *share <= 1.0) {
                let message = format!("parts.{name}: {share} is no share between 0 and 1");
                complaints.push(complain(&["parts", name], message));
            }
        }
        if self.parts.is_empty() {
            complaints.push(complain(&["parts"], "parts: there are none".to_owned()));
        }
        complaints
    }

    fn check_together(&self) -> Vec<Complaint> {
        let sum: f64 = self.parts.values().sum();
        let is_more = self.check().is_empty() && sum > 1.0 + 1e-9;
        let message = || format!("parts: the shares add up to {}, more than 1", (sum * 1e6).round() / 1e6);
        let complaint = || Complaint { path: vec!["parts".to_owned()], message: message(), hint: None };
        is_more.then(complaint).into_iter().collect()
    }
}

impl Stage for Split {
    fn ports(&self) -> Ports {
        let output = |name: &String| OutputPort::new(name, Holds::Dataset);
        Ports {
            inputs: Inputs::Fixed(vec![InputPort::new(IMAGES, Holds::Dataset, Need::Required)]),
            outputs: self.parts.keys().map(output).collect(),
            named_by: Some("parts"),
        }
    }

    fn params(&self) -> Value {
        json!(self)
    }

    fn cost(&self) -> Cost {
        Cost::OneCore
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        let dataset = open_plain_dataset(job, IMAGES)?;
        let labels: Vec<u8> = (0..dataset.len()).map(|image| dataset.label(image)).collect();
        let shares: Vec<f64> = self.parts.values().copied().collect();
        let origins = dataset.origins(dataset.len());
        let different = origins.iter().collect::<HashSet<_>>().len();
        if different < origins.len() && dataset.manifest().origins.is_none() {
            let copies = origins.len() - different;
            job.log(&format!(
                "{copies} of the {} images are copies of others; they stay together",
                origins.len()
            ));
        }
        let divided = stratified(&labels, &origins, &shares, self.seed);
        let total = divided.iter().map(Vec::len).sum::<usize>() as u64;
        let mut copied = 0;
        for (part, images) in self.parts.keys().zip(divided) {
            if images.is_empty() {
                let text = format!(
                    "{part}: none of the {} images falls to this part; give it a larger share",
                    dataset.len()
                );
                return Err(StageError::message(text));
            }
            write_part(job, part, (&dataset, &origins), &images, |images| {
                copied += images as u64;
                job.progress(Progress {
                    done: copied,
                    total: Some(total),
                    unit: Unit::Images,
                    note: String::new(),
                });
            })?;
        }
        Ok(())
    }
}

fn write_part(
    job: &dyn Job,
    part: &str,
    (dataset, origins): (&Dataset, &[Fingerprint]),
    images: &[usize],
    mut copied: impl FnMut(usize),
) -> Result<(), StageError> {
    let port = DatasetPort { job, port: part };
    let mut writer = DatasetWriter::new(port, images.len(), dataset.height(), dataset.width());
    for block in images.chunks(BLOCK_IMAGES) {
        job.pause_point()?;
        for image in block {
            writer.images(dataset.image(*image))?;
            writer.labels(&[dataset.label(*image)])?;
        }
        copied(block.len());
    }
    if dataset.manifest().origins.is_some() {
        let origins: Vec<Fingerprint> = images.iter().map(|image| origins[*image]).collect();
        writer.origins(&origins)?;
    }
    writer.finish(dataset.classes().to_vec())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::augment;
    use crate::stages::test_job::{TestJob, dataset_of, numbered_images};

    fn split(job: &TestJob, params: &Value) -> Result<(), StageError> {
        (KIND.read)(params).expect("the parameters are right").run(job)
    }

    #[test]
    fn each_part_is_a_dataset_with_its_images_and_labels() {
        let labels: Vec<u8> = (0..200).map(|i| (i % 10) as u8).collect();
        let job = numbered_images(TestJob::new(), IMAGES, &labels);
        split(&job, &json!({ "parts": { "val": 0.2, "train": 0.8 }, "seed": 1337 })).expect("splits");
        let (train, val) = (dataset_of(&job, "train"), dataset_of(&job, "val"));
        assert_eq!((train.len(), val.len()), (160, 40));
        for part in [&train, &val] {
            for image in 0..part.len() {
                // Image i of the source is i everywhere, and of class i modulo 10.
                assert_eq!(part.image(image)[0] % 10, part.label(image));
            }
        }
        let mut all: Vec<u8> =
            [&train, &val].iter().flat_map(|p| (0..p.len()).map(|i| p.image(i)[0])).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..200));
    }

    #[test]
    fn equal_images_stay_together_and_draws_remember_their_originals() {
        // Images are numbered modulo 251, so that the last 49 are copies of the first.
        let job = numbered_images(TestJob::new(), IMAGES, &[0; 300]);
        split(&job, &json!({ "parts": { "a": 0.5, "b": 0.5 } })).expect("splits");
        let shades = |job: &TestJob, part: &str| {
            let part = dataset_of(job, part);
            (0..part.len()).map(|i| part.image(i)[0]).collect::<HashSet<_>>()
        };
        assert_eq!((dataset_of(&job, "a").len(), dataset_of(&job, "b").len()), (150, 150));
        assert!(shades(&job, "a").is_disjoint(&shades(&job, "b")));
        assert_eq!(job.log_lines(), ["49 of the 300 images are copies of others; they stay together"]);

        let drawn = numbered_images(TestJob::new(), "images", &[0; 20]);
        let params = json!({ "samples": 60, "transforms": [{ "color-jitter": [0.5, 0.5, 0.5, 0.5] }] });
        (augment::KIND.read)(&params).expect("the parameters are right").run(&drawn).expect("augments");
        let job = TestJob::new().with_output_of(IMAGES, &drawn, "dataset");
        split(&job, &json!({ "parts": { "a": 0.5, "b": 0.5 } })).expect("splits");
        let origins = |part: &str| {
            let part = dataset_of(&job, part);
            part.origins(part.len()).into_iter().collect::<HashSet<_>>()
        };
        assert_eq!((origins("a").len(), origins("b").len()), (10, 10));
        assert!(origins("a").is_disjoint(&origins("b")));
    }

    #[test]
    fn the_order_of_the_parts_in_the_file_does_not_matter() {
        let labels = [0; 50];
        let one = numbered_images(TestJob::new(), IMAGES, &labels);
        split(&one, &json!({ "parts": { "a": 0.5, "b": 0.5 } })).expect("splits");
        let other = numbered_images(TestJob::new(), IMAGES, &labels);
        split(&other, &json!({ "parts": { "b": 0.5, "a": 0.5 } })).expect("splits");
        assert_eq!(one.output("a").digest, other.output("a").digest);
        assert_eq!(one.output("b").digest, other.output("b").digest);
    }

    #[test]
    fn shares_that_make_no_sense_are_complained_about() {
        let message = |parts: Value| {
            let complaints =
                (KIND.read)(&json!({ "parts": parts })).err().expect("complains").into_complaints();
            complaints.into_iter().map(|c| c.message).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(message(json!({})), "parts: there are none");
        assert_eq!(message(json!({ "a": 0.8, "b": 0.5 })), "parts: the shares add up to 1.3, more than 1");
        assert_eq!(
            message(json!({ "a.b": 0.1, "c": -1.0 })),
            "parts: `a.b` cannot name a port; use letters, digits, `_` and `-`; parts.c: -1 is no share between \
             0 and 1"
        );
    }

    #[test]
    fn a_part_without_images_is_an_error() {
        let job = numbered_images(TestJob::new(), IMAGES, &[0, 1, 2]);
        let Err(StageError::Failed(error)) = split(&job, &json!({ "parts": { "a": 0.9, "b": 0.1 } })) else {
            panic!("an empty part is made")
        };
        assert_eq!(error.to_string(), "b: none of the 3 images falls to this part; give it a larger share");
    }
}
