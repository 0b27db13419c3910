//! `stlpipe cache ls`: the results, newest first.

use std::collections::HashMap;
use std::io::Write;
use std::process::ExitCode;

use super::words::{age, bytes, count, duration, metrics, table};
use super::{Failure, Folder, kind};
use crate::store::Record;

/// Arguments of `cache ls`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON record per line.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn ls(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let mut records = args.folder.store()?.records()?;
    let ended = |record: &Record| record.started as f64 + record.seconds;
    records.sort_by(|a, b| ended(b).total_cmp(&ended(a)));
    if args.json {
        for record in &records {
            writeln!(out, "{}", serde_json::to_string(record)?)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![["KEY", "KIND", "MADE", "TOOK", "SIZE", "METRICS"].map(str::to_owned).to_vec()];
    let mut unique = HashMap::new();
    for record in &records {
        rows.push(vec![
            record.key.short(),
            kind(record).to_owned(),
            age(record.started),
            duration(record.seconds),
            bytes(record.outputs.values().map(crate::store::Artifact::bytes).sum()),
            metrics(&record.metrics),
        ]);
        for blob in record.outputs.values().flat_map(|artifact| artifact.files.values()) {
            unique.insert(blob.digest, blob.stamp.bytes);
        }
    }
    if !records.is_empty() {
        write!(out, "{}", table(&rows))?;
    }
    let size = bytes(unique.values().sum());
    writeln!(out, "{} in {}, {size} in all", count(records.len(), "result"), args.folder.cache.display())?;
    Ok(ExitCode::SUCCESS)
}
