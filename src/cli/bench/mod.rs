//! `stlpipe bench`: measures one part of the program and prints one JSON line, so that anybody can repeat a
//! comparison. What is measured is somebody else's work.

mod plan;

use std::io::Write;
use std::process::ExitCode;

use super::exit::Failure;

/// What to measure.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Plan a pipeline of many small commands, with nothing and with everything in the store.
    Plan(plan::Args),
}

pub(super) fn bench(command: &Command, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let measured = match command {
        Command::Plan(args) => plan::plan(args)?,
    };
    writeln!(out, "{measured}")?;
    Ok(ExitCode::SUCCESS)
}
