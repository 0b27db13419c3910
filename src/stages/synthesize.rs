//! The `synthesize` stage: an STL-10 archive of procedural pictures, so that everything runs with no network. How a
//! picture is painted and what an archive looks like is known elsewhere.

use std::num::NonZero;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dataset::painter;
use crate::dataset::random::{Purpose, Stream};
use crate::dataset::stl10::{ArchiveWriter, IMAGE_BYTES, Part};
use crate::engine::stage::{
    Complaint, Cost, Holds, Inputs, Job, ONLY_FILE, OutputFile, OutputPort, Ports, Progress, Stage,
    StageError, StageKind, Unit, read_stage,
};
use crate::pipeline::Check;

/// What `uses: synthesize` means.
pub const KIND: StageKind = StageKind {
    name: "synthesize",
    version: 1,
    about: "Writes an STL-10 archive of procedural pictures in ten classes of shapes and textures.",
    schema: || schemars::schema_for!(Synthesize).to_value(),
    read: read_stage::<Synthesize>,
};

const FILE: &str = "file";

/// Pictures are painted in parallel so many at a time.
const BLOCK_IMAGES: usize = 128;

/// How many pictures there are.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Synthesize {
    /// Training images of each class.
    #[serde(default = "default_train")]
    train_per_class: NonZero<u32>,
    /// Test images of each class.
    #[serde(default = "default_test")]
    test_per_class: NonZero<u32>,
    /// Images without labels.
    #[serde(default)]
    unlabeled: u32,
    /// Another seed gives other pictures.
    #[serde(default)]
    seed: u64,
}

fn default_train() -> NonZero<u32> {
    const { NonZero::new(500).expect("not 0") }
}

fn default_test() -> NonZero<u32> {
    const { NonZero::new(100).expect("not 0") }
}

impl Check for Synthesize {
    fn check(&self) -> Vec<Complaint> {
        // So many pictures would fill any disk.
        const MOST: u32 = 1_000_000;
        let counts = [
            ("train_per_class", self.train_per_class.get(), 1),
            ("test_per_class", self.test_per_class.get(), 1),
            ("unlabeled", self.unlabeled, 0),
        ];
        let wrong = counts.into_iter().filter(|(_, count, _)| *count > MOST);
        let complain = |(name, count, least): (&str, u32, u32)| Complaint {
            path: vec![name.to_owned()],
            message: format!("{name}: {count} is not from {least} to {MOST}"),
            hint: None,
        };
        wrong.map(complain).collect()
    }
}

impl Synthesize {
    /// How many images each part has.
    fn counts(&self) -> Vec<(Part, usize)> {
        let per_class = |count: u32| count as usize * painter::CLASSES.len();
        let mut counts = vec![
            (Part::Train, per_class(self.train_per_class.get())),
            (Part::Test, per_class(self.test_per_class.get())),
        ];
        if self.unlabeled > 0 {
            counts.push((Part::Unlabeled, self.unlabeled as usize));
        }
        counts
    }

    fn paint(&self, part: Part, image: usize, out: &mut [u8]) {
        // Parts are far apart, so that a part may grow without changing the pictures it had.
        let sample = (part as u64) << 40 | image as u64;
        painter::paint(class_of(image), &mut Stream::new(self.seed, Purpose::Synthesize, sample, 0), out);
    }
}

impl Stage for Synthesize {
    fn ports(&self) -> Ports {
        Ports {
            inputs: Inputs::Fixed(vec![]),
            outputs: vec![OutputPort {
                file_name: Some("stl10_binary.tar.gz".to_owned()),
                ..OutputPort::new(FILE, Holds::File)
            }],
            named_by: None,
        }
    }

    fn params(&self) -> Value {
        json!(self)
    }

    fn cost(&self) -> Cost {
        Cost::AllCores
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        let total: usize = self.counts().iter().map(|(_, count)| count).sum();
        let mut painted = 0;
        let mut archive: ArchiveWriter<Box<dyn OutputFile + '_>> =
            ArchiveWriter::new(job.create(FILE, ONLY_FILE)?);
        let mut block = vec![0; BLOCK_IMAGES * IMAGE_BYTES];
        archive.class_names(&painter::CLASSES)?;
        for (part, count) in self.counts() {
            archive.begin_images(part, count)?;
            for first in (0..count).step_by(BLOCK_IMAGES) {
                job.pause_point()?;
                let images = BLOCK_IMAGES.min(count - first);
                let pixels = &mut block[..images * IMAGE_BYTES];
                pixels
                    .par_chunks_exact_mut(IMAGE_BYTES)
                    .enumerate()
                    .for_each(|(i, out)| self.paint(part, first + i, out));
                for image in pixels.chunks_exact(IMAGE_BYTES) {
                    archive.image(image)?;
                }
                painted += images;
                job.progress(Progress {
                    done: painted as u64,
                    total: Some(total as u64),
                    unit: Unit::Images,
                    note: String::new(),
                });
            }
            if part != Part::Unlabeled {
                let labels: Vec<u8> = (0..count).map(|image| class_of(image) as u8).collect();
                archive.labels(part, &labels)?;
            }
        }
        archive.finish()?.finish()
    }
}

/// Every class in turn, so that any beginning of a part has all of them.
fn class_of(image: usize) -> usize {
    image % painter::CLASSES.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::stage::Refusal;
    use crate::stages::test_job::TestJob;

    fn archive(params: &Value) -> Vec<u8> {
        let job = TestJob::new();
        (KIND.read)(params).expect("the parameters are right").run(&job).expect("runs");
        job.bytes(FILE, ONLY_FILE)
    }

    #[test]
    fn the_same_parameters_give_the_same_bytes_and_another_seed_others() {
        let params = json!({ "train_per_class": 2, "test_per_class": 1 });
        let other = json!({ "train_per_class": 2, "test_per_class": 1, "seed": 1 });
        assert_eq!(archive(&params), archive(&params));
        assert_ne!(archive(&params), archive(&other));
    }

    #[test]
    fn it_stops_when_interrupted() {
        let job = TestJob::new().interrupt_after(1);
        let stage = (KIND.read)(&json!({ "train_per_class": 20, "test_per_class": 1 }))
            .expect("the parameters are right");
        assert!(matches!(stage.run(&job), Err(StageError::Interrupted)));
    }

    #[test]
    fn counts_out_of_range_are_complained_about() {
        let complaints = (KIND.read)(&json!({ "train_per_class": 1_000_001, "unlabeled": 2_000_000 }))
            .err()
            .map(Refusal::into_complaints);
        let messages: Vec<_> = complaints.expect("complains").into_iter().map(|c| c.message).collect();
        assert_eq!(
            messages,
            [
                "train_per_class: 1000001 is not from 1 to 1000000",
                "unlabeled: 2000000 is not from 0 to 1000000"
            ]
        );
    }
}
