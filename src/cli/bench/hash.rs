//! Hashing a file as the store does when it checks a blob.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use super::{Measured, measured, set_up};
use crate::cli::cores::Cores;
use crate::cli::exit::Failure;
use crate::store::hash_file;

/// Arguments of `bench hash`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The file; it is read once before, so that it is in memory.
    file: PathBuf,
    #[command(flatten)]
    cores: Cores,
}

pub(super) fn hash(args: &Args) -> Result<Measured, Failure> {
    let threads = set_up(&args.cores);
    hash_file(&args.file)?;
    let start = Instant::now();
    let digest = hash_file(&args.file)?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(&args.file)?.len();
    Ok(measured(json!({
        "bench": "hash",
        "bytes": bytes,
        "threads": threads,
        "digest": digest,
        "seconds": seconds,
        "bytes_per_second": bytes as f64 / seconds,
    })))
}
