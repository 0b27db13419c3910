//! The `augment` stage: more samples from the same images, each drawn at random through transforms; stored, or as a
//! recipe that the loader draws anew in each epoch. What the transforms do is known in the augment folder.

use std::io::Write;
use std::num::NonZero;
use std::ops::Range;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::dataset_port::{DatasetPort, open_plain_dataset};
use crate::augment::{Recipe, Samples, Transform};
use crate::dataset::{Dataset, DatasetWriter, MANIFEST_FILE, Manifest, ORIGINS_FILE, SHARD_IMAGES};
use crate::engine::stage::{
    Complaint, Cost, Growth, Holds, Identity, InputPort, Inputs, Job, Need, OutputPort, Ports, Progress,
    Side, Stage, StageError, StageKind, Unit, read_stage,
};
use crate::pipeline::Check;

/// What `uses: augment` means.
pub const KIND: StageKind = StageKind {
    name: "augment",
    version: 2,
    about: "Draws samples from images through random transforms, once or anew in each epoch.",
    schema: || schemars::schema_for!(Augment).to_value(),
    read: read_stage::<Augment>,
};

const IMAGES: &str = "images";
const DATASET: &str = "dataset";

/// Samples are drawn in parallel so many at a time.
const BLOCK_SAMPLES: usize = 250;

/// What to draw.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Augment {
    /// How many samples; sample `i` comes from image `i` modulo the number of images.
    samples: NonZero<u64>,
    /// Whether samples are drawn once and stored, or drawn anew by the loader in each epoch.
    #[serde(default)]
    redraw: Redraw,
    /// The transforms, in the order in which they are applied.
    transforms: Vec<Transform>,
    /// Another seed gives other samples.
    #[serde(default)]
    seed: u64,
}

/// When samples are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Redraw {
    /// Once, by this stage.
    #[default]
    Never,
    /// In each epoch, by the loader.
    EachEpoch,
}

impl Check for Augment {
    fn check(&self) -> Vec<Complaint> {
        // So many samples would fill any disk.
        const MOST_SAMPLES: u64 = 1_000_000_000;
        let mut complaints = Vec::new();
        if self.samples.get() > MOST_SAMPLES {
            let message = format!("samples: {} is not from 1 to {MOST_SAMPLES}", self.samples);
            complaints.push(Complaint { path: vec!["samples".to_owned()], message, hint: None });
        }
        for (place, transform) in self.transforms.iter().enumerate() {
            if let Err(error) = transform.check() {
                let path = ["transforms", &place.to_string(), transform.name()].map(str::to_owned).to_vec();
                complaints.push(Complaint { path, message: error.to_string(), hint: None });
            }
        }
        complaints
    }
}

impl Augment {
    fn recipe(&self) -> Recipe {
        Recipe { samples: self.samples.get() as usize, transforms: self.transforms.clone(), seed: self.seed }
    }

    /// The shorter side of the samples, if a transform decides about it.
    fn side(&self) -> Option<Side> {
        let sides = self.transforms.iter().enumerate();
        let mut sides = sides.filter_map(|(place, transform)| {
            let param = ["transforms", &place.to_string(), transform.name()].map(str::to_owned).to_vec();
            Some(Side { pixels: transform.shorter_side()?.into(), param })
        });
        sides.next_back()
    }
}

impl Stage for Augment {
    fn ports(&self) -> Ports {
        Ports {
            inputs: Inputs::Fixed(vec![InputPort::new(IMAGES, Holds::Dataset, Need::Required)]),
            outputs: vec![OutputPort {
                samples: Some(self.samples.get()),
                side: self.side(),
                ..OutputPort::new(DATASET, Holds::Dataset)
            }],
            named_by: None,
        }
    }

    fn params(&self) -> Value {
        json!(self)
    }

    fn identity(&self) -> Identity {
        let stored = matches!(self.redraw, Redraw::Never);
        let growth = Growth { by: "samples", length: self.samples.get(), free: &["samples"], bound: None };
        Identity { growth: stored.then_some(growth), ..Identity::of(self.params()) }
    }

    fn cost(&self) -> Cost {
        match self.redraw {
            Redraw::Never => Cost::AllCores,
            Redraw::EachEpoch => Cost::OneCore,
        }
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        let dataset = open_plain_dataset(job, IMAGES)?;
        match self.redraw {
            Redraw::Never => store_samples(job, &Samples::with_recipe(dataset, self.recipe())?),
            Redraw::EachEpoch => store_recipe(job, &dataset, &self.recipe()),
        }
    }
}

/// Writes all samples that no earlier run has kept; while a block is written, the next one is drawn.
fn store_samples(job: &dyn Job, samples: &Samples) -> Result<(), StageError> {
    let port = DatasetPort { job, port: DATASET };
    let mut writer = DatasetWriter::new(port, samples.len(), samples.height(), samples.width());
    let shards = Manifest::of_images(samples.len(), samples.height(), samples.width()).shards;
    let mut found = 0;
    let mut missing = Vec::new();
    for (number, shard) in shards.iter().enumerate() {
        let first = number * SHARD_IMAGES;
        let end = first + shard.count;
        match job.link((first + SHARD_IMAGES) as u64).filter(|_| shard.count == SHARD_IMAGES) {
            Some(link) => {
                job.share(DATASET, &shard.file, &link[&shard.file])?;
                found += shard.count;
            }
            None => {
                missing.extend((first..end).step_by(BLOCK_SAMPLES).map(|at| at..end.min(at + BLOCK_SAMPLES)));
            }
        }
    }
    if found > 0 {
        job.log(&format!("{found} of {} samples were drawn before", samples.len()));
    }
    let mut done = found;
    let mut written = 0;
    let mut drawn = missing.first().map(|block| Block::draw(samples, block.clone()));
    for (number, block) in missing.iter().enumerate() {
        job.pause_point()?;
        let this = drawn.take().expect("each block is drawn while the one before it is written");
        writer.skip_shards((block.start - written) / SHARD_IMAGES);
        let (outcome, next) = rayon::join(
            || writer.images(&this.pixels).and_then(|()| writer.labels(&this.labels)),
            || missing.get(number + 1).map(|next| Block::draw(samples, next.clone())),
        );
        outcome?;
        (written, drawn) = (block.end, next);
        if written % SHARD_IMAGES == 0 {
            job.keep_output(written as u64, DATASET, &shards[written / SHARD_IMAGES - 1].file)?;
        }
        done += block.len();
        job.progress(Progress {
            done: done as u64,
            total: Some(samples.len() as u64),
            unit: Unit::Images,
            note: String::new(),
        });
    }
    writer.skip_shards((samples.len() - written) / SHARD_IMAGES);
    writer.origins(&samples.origins())?;
    writer.finish(samples.classes().to_vec())?;
    job.computed((samples.len() - found) as u64);
    Ok(())
}

/// Some samples in a row.
struct Block {
    pixels: Vec<u8>, // (samples, 3, height, width)
    labels: Vec<u8>,
}

impl Block {
    /// Draws these samples.
    fn draw(samples: &Samples, which: Range<usize>) -> Block {
        let sample_bytes = 3 * samples.height() * samples.width();
        let (first, count) = (which.start, which.len());
        let mut pixels = vec![0; count * sample_bytes];
        let mut labels = vec![0; count];
        pixels
            .par_chunks_exact_mut(sample_bytes)
            .zip(&mut labels)
            .enumerate()
            .for_each(|(i, (out, label))| *label = samples.draw(first + i, 0, out));
        Block { pixels, labels }
    }
}

/// Makes a dataset of the same shards and a recipe.
fn store_recipe(job: &dyn Job, dataset: &Dataset, recipe: &Recipe) -> Result<(), StageError> {
    let manifest = Manifest { recipe: Some(json!(recipe)), ..dataset.manifest().clone() };
    let input = job.input(IMAGES).expect("required ports are bound before a stage runs");
    let shards = manifest.shards.iter().map(|shard| shard.file.as_str());
    for name in shards.chain(manifest.origins.map(|_| ORIGINS_FILE)) {
        let file = input.files.get(name).expect("the dataset was opened from these files");
        job.share(DATASET, name, file)?;
    }
    let mut file = job.create(DATASET, MANIFEST_FILE)?;
    file.write_all(&manifest.to_json())?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::test_job::{TestJob, dataset_of, numbered_images};

    fn augment(job: &TestJob, params: &Value) -> Result<(), StageError> {
        (KIND.read)(params).expect("the parameters are right").run(job)
    }

    fn params(samples: u64, redraw: &str) -> Value {
        json!({ "samples": samples, "redraw": redraw, "seed": 5, "transforms": [
            { "rotate": 45 }, { "resized-crop": 6 }, { "color-jitter": [0.3, 0.3, 0.3, 0.3] }, { "hflip": 0.5 },
        ] })
    }

    fn job() -> TestJob {
        let labels: Vec<u8> = (0..30).map(|i| (i % 10) as u8).collect();
        numbered_images(TestJob::new(), IMAGES, &labels)
    }

    #[test]
    fn stored_samples_are_those_that_the_recipe_draws_in_epoch_0() {
        let (stored, recipe) = (job(), job());
        augment(&stored, &params(1100, "never")).expect("augments");
        augment(&recipe, &params(1100, "each-epoch")).expect("augments");
        let stored = Samples::new(dataset_of(&stored, DATASET)).expect("makes sense");
        let drawn = Samples::new(dataset_of(&recipe, DATASET)).expect("makes sense");
        assert_eq!((stored.len(), stored.height(), stored.width()), (1100, 6, 6));
        assert_eq!((drawn.len(), drawn.height(), drawn.width()), (1100, 6, 6));
        let (mut one, mut other) = (vec![0; 108], vec![0; 108]);
        for i in 0..1100 {
            assert_eq!(stored.draw(i, 9, &mut one), drawn.draw(i, 0, &mut other));
            assert_eq!(one, other, "sample {i}");
        }
    }

    #[test]
    fn more_samples_share_the_whole_shards_of_fewer() {
        let (few, many) = (job(), job());
        augment(&few, &params(1300, "never")).expect("augments");
        augment(&many, &params(2100, "never")).expect("augments");
        let digests = |job: &TestJob| {
            let files = job.output(DATASET).files.into_iter();
            files.map(|(name, file)| (name, file.digest)).collect::<Vec<_>>()
        };
        assert_eq!(digests(&few)[1], digests(&many)[1], "the first whole shard");
        assert_ne!(digests(&few)[2], digests(&many)[2], "the partial shard");
    }

    #[test]
    fn more_samples_draw_only_those_and_fewer_only_their_partial_shard() {
        let few = job();
        augment(&few, &params(1300, "never")).expect("augments");
        assert_eq!((few.computed_told(), few.kept().expect("readable")), (Some(1300), vec![1000]));
        let grow = |from: &TestJob, samples: u64| {
            let (grown, straight) = (job().with_chain_of(from), job());
            augment(&grown, &params(samples, "never")).expect("augments");
            augment(&straight, &params(samples, "never")).expect("augments");
            assert_eq!(grown.output(DATASET).digest, straight.output(DATASET).digest, "{samples} samples");
            grown
        };
        let many = grow(&few, 3100);
        assert_eq!(
            (many.computed_told(), many.kept().expect("readable")),
            (Some(2100), vec![1000, 2000, 3000])
        );
        assert_eq!(many.log_lines(), ["1000 of 3100 samples were drawn before"]);
        assert_eq!(grow(&many, 2500).computed_told(), Some(500));
        assert_eq!(grow(&many, 2000).computed_told(), Some(0));
        // A hole in the middle is filled.
        many.forget(2000).expect("forgotten");
        assert_eq!(grow(&many, 3000).computed_told(), Some(1000));
    }

    #[test]
    fn an_interrupted_run_goes_on_after_its_last_shard() {
        let first = job().interrupt_after(7);
        assert!(matches!(augment(&first, &params(2100, "never")), Err(StageError::Interrupted)));
        let second = job().with_chain_of(&first);
        augment(&second, &params(2100, "never")).expect("augments");
        assert_eq!(second.computed_told(), Some(1100));
    }

    #[test]
    fn a_recipe_copies_no_image() {
        let job = job();
        augment(&job, &params(90, "each-epoch")).expect("augments");
        let made = job.output(DATASET);
        assert_eq!(
            job.input(IMAGES).map(|i| &i.files["images-00000.safetensors"]),
            made.files.values().nth(1)
        );
        assert_eq!(dataset_of(&job, DATASET).len(), 30);
    }

    #[test]
    fn a_dataset_that_is_drawn_in_each_epoch_cannot_be_augmented_again() {
        let first = job();
        augment(&first, &params(90, "each-epoch")).expect("augments");
        let second = TestJob::new().with_output_of(IMAGES, &first, DATASET);
        let Err(StageError::Failed(error)) = augment(&second, &params(90, "never")) else {
            panic!("a recipe is augmented")
        };
        assert!(error.to_string().starts_with("images: this dataset is drawn anew in each epoch"), "{error}");
    }

    #[test]
    fn it_stops_when_interrupted() {
        assert!(matches!(
            augment(&job().interrupt_after(1), &params(1000, "never")),
            Err(StageError::Interrupted)
        ));
    }

    #[test]
    fn every_wrong_parameter_is_complained_about_with_its_place() {
        let params = json!({ "samples": 2_000_000_000, "transforms": [{ "resize": 8 }, { "hflip": 2 }] });
        let complaints = (KIND.read)(&params).err().expect("complains").into_complaints();
        let told: Vec<_> = complaints.iter().map(|c| (c.path.join("."), c.message.as_str())).collect();
        assert_eq!(
            told,
            [
                ("samples".to_owned(), "samples: 2000000000 is not from 1 to 1000000000"),
                ("transforms.1.hflip".to_owned(), "hflip: 2 is no probability from 0 to 1"),
            ]
        );
    }
}
