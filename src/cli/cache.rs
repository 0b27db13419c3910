//! `stlpipe cache`: what the store holds.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::Failure;
use super::words::{age, bytes, count, duration, metrics, table};
use crate::store::{Record, Store};

/// What to look at.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the results, newest first.
    Ls(Ls),
    /// Print one record whole.
    Show(Show),
}

/// Arguments of `cache ls`.
#[derive(Debug, clap::Args)]
pub(super) struct Ls {
    /// The store of all results.
    #[arg(long, value_name = "DIR", default_value = "cache")]
    cache: PathBuf,
    /// Print one JSON record per line.
    #[arg(long)]
    json: bool,
}

/// Arguments of `cache show`.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The key, or enough of its first digits.
    key: String,
    /// The store of all results.
    #[arg(long, value_name = "DIR", default_value = "cache")]
    cache: PathBuf,
}

pub(super) fn cache(command: &Command, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match command {
        Command::Ls(args) => ls(args, out),
        Command::Show(args) => show(args, out),
    }
}

fn ls(args: &Ls, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let mut records = Store::at(&args.cache).records()?;
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
    writeln!(out, "{} in {}, {size} in all", count(records.len(), "result"), args.cache.display())?;
    Ok(ExitCode::SUCCESS)
}

fn show(args: &Show, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let records = Store::at(&args.cache).records()?;
    let mut fitting = records.iter().filter(|record| record.key.to_string().starts_with(&args.key));
    match (fitting.next(), fitting.next()) {
        (Some(record), None) => {
            writeln!(out, "{}", serde_json::to_string_pretty(record)?)?;
            Ok(ExitCode::SUCCESS)
        }
        (None, _) => Err(Failure::Usage(format!(
            "{}: no result has a key that starts with `{}`; `stlpipe cache ls` lists the keys",
            args.cache.display(),
            args.key
        ))),
        (Some(_), Some(_)) => {
            Err(Failure::Usage(format!("several keys start with `{}`; give more digits", args.key)))
        }
    }
}

fn kind(record: &Record) -> &str {
    record.identity.get("kind").and_then(serde_json::Value::as_str).unwrap_or("?")
}
