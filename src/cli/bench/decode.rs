//! Reading an STL-10 archive, without the store.

use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use super::{Measured, measured};
use crate::cli::exit::Failure;
use crate::dataset;
use crate::dataset::stl10::{self, Part, Visitor};

/// Arguments of `bench decode`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// An STL-10 archive, a .tar.gz.
    archive: PathBuf,
}

pub(super) fn decode(args: &Args) -> Result<Measured, Failure> {
    let start = Instant::now();
    let mut count = Count { images: 0, bytes: 0 };
    stl10::read(File::open(&args.archive)?, &[Part::Train, Part::Test], &mut count)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(measured(json!({
        "bench": "decode",
        "images": count.images,
        "bytes": count.bytes,
        "seconds": seconds,
        "images_per_second": count.images as f64 / seconds,
        "bytes_per_second": count.bytes as f64 / seconds,
    })))
}

/// Looks at no image twice.
struct Count {
    images: usize,
    bytes: usize,
}

impl Visitor for Count {
    type Error = dataset::Error;

    fn begin(&mut self, _: Part, _: usize) -> Result<(), dataset::Error> {
        Ok(())
    }

    fn images(&mut self, _: Part, pixels: &[u8]) -> Result<(), dataset::Error> {
        self.images += pixels.len() / stl10::IMAGE_BYTES;
        self.bytes += pixels.len();
        Ok(())
    }

    fn labels(&mut self, _: Part, _: &[u8]) -> Result<(), dataset::Error> {
        Ok(())
    }

    fn pause_point(&mut self) -> Result<(), dataset::Error> {
        Ok(())
    }
}
