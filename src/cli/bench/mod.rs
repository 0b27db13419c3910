//! `stlpipe bench`: measures one kind of work and prints one line of JSON, so that anyone can compare machines,
//! versions and other programs. Each measurement warms up first.

mod augment;
mod decode;
mod hash;
mod network;
mod plan;

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::cores::Cores;
use super::exit::Failure;
use super::memory;
use crate::engine;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Train a network on one batch: forward, backward and a step of Adam.
    Train(network::Args),
    /// Classify one batch.
    Evaluate(network::Args),
    /// Draw random samples of 96 x 96 pictures: rotate, resized-crop, color-jitter, hflip.
    Augment(augment::Args),
    /// Read an STL-10 archive and turn its images to row-major order, in memory.
    Decode(decode::Args),
    /// Hash a file.
    Hash(hash::Args),
    /// Plan a pipeline of many small commands, with nothing and with everything in the store.
    Plan(plan::Args),
}

/// Sets the program up as a run does, and returns the number of cores.
fn set_up(cores: &Cores) -> usize {
    memory::keep_freed_blocks();
    cores.set_up()
}

impl Command {
    /// Whether it measures a network.
    pub(super) fn is_of_networks(&self) -> bool {
        matches!(self, Command::Train(_) | Command::Evaluate(_))
    }
}

pub(super) fn bench(command: &Command, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let mut line = match command {
        Command::Train(args) => network::train(args)?,
        Command::Evaluate(args) => network::evaluate(args)?,
        Command::Augment(args) => augment::augment(args)?,
        Command::Decode(args) => decode::decode(args)?,
        Command::Hash(args) => hash::hash(args)?,
        Command::Plan(args) => plan::plan(args)?,
    };
    line.insert("peak_rss_bytes".to_owned(), json!(engine::peak_memory()));
    line.insert("version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    writeln!(out, "{}", Value::Object(line))?;
    Ok(ExitCode::SUCCESS)
}

/// What was measured, by name.
type Measured = Map<String, Value>;

/// The object of a `json!` literal.
fn measured(value: Value) -> Measured {
    match value {
        Value::Object(map) => map,
        other => unreachable!("{other} is no object"),
    }
}
