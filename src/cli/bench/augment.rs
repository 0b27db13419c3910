//! Drawing random samples as the STL-10 experiments do, from painted pictures.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;
use serde_json::json;

use super::{Measured, measured, set_up};
use crate::augment::{Recipe, Samples, Transform};
use crate::cli::cores::Cores;
use crate::cli::exit::Failure;
use crate::dataset::random::{Purpose, Stream};
use crate::dataset::{Dataset, DatasetWriter, Destination, painter, stl10};

/// How many pictures the samples are drawn from.
const PICTURES: usize = 200;

/// Arguments of `bench augment`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// How many samples to draw.
    #[arg(long, value_name = "N", default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    #[command(flatten)]
    cores: Cores,
}

pub(super) fn augment(args: &Args) -> Result<Measured, Failure> {
    let threads = set_up(&args.cores);
    let folder = tempfile::tempdir()?;
    let dataset = paint_dataset(folder.path())?;
    let transforms: Vec<Transform> = serde_json::from_value(json!([
        { "rotate": 45 }, { "resized-crop": stl10::SIDE }, { "color-jitter": [0.3, 0.3, 0.3, 0.3] }, { "hflip": 0.5 },
    ]))?;
    let samples =
        Samples::with_recipe(dataset, Recipe { samples: args.images as usize, transforms, seed: 0 })?;
    let draw = |count: usize, epoch: u32| {
        (0..count).into_par_iter().for_each_init(
            || vec![0; stl10::IMAGE_BYTES],
            |out, sample| _ = samples.draw(sample, epoch, out),
        );
    };
    draw(PICTURES.min(samples.len()), 1);
    let start = Instant::now();
    draw(samples.len(), 0);
    let seconds = start.elapsed().as_secs_f64();
    Ok(measured(json!({
        "bench": "augment",
        "images": args.images,
        "threads": threads,
        "seconds": seconds,
        "images_per_second": f64::from(args.images) / seconds,
    })))
}

fn paint_dataset(folder: &Path) -> anyhow::Result<Dataset> {
    let mut writer = DatasetWriter::new(Folder(folder.to_owned()), PICTURES, stl10::SIDE, stl10::SIDE);
    let mut pixels = vec![0; stl10::IMAGE_BYTES];
    for picture in 0..PICTURES {
        let class = picture % painter::CLASSES.len();
        painter::paint(class, &mut Stream::new(0, Purpose::Init, picture as u64, 0), &mut pixels);
        writer.images(&pixels)?;
        writer.labels(&[class as u8])?;
    }
    writer.finish(painter::CLASSES.map(str::to_owned).into())?;
    Ok(Dataset::open(|file| Some(folder.join(file)))?)
}

/// A directory that goes away with the measurement.
struct Folder(PathBuf);

impl Destination for Folder {
    type File = File;
    type Error = anyhow::Error;

    fn create(&self, file: &str) -> anyhow::Result<File> {
        Ok(File::create(self.0.join(file))?)
    }

    fn finish(&self, _: File) -> anyhow::Result<()> {
        Ok(())
    }
}
