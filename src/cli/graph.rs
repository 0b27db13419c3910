//! `stlpipe graph`: the stages and what flows between them, as text, DOT or Mermaid.

use std::io::Write;
use std::process::ExitCode;

use super::args::PipelineArgs;
use super::exit::Failure;
use crate::graph::{dot, mermaid, text};

/// Arguments of `graph`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The form of the drawing.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For reading in a terminal.
    Text,
    /// For Graphviz.
    Dot,
    /// For Markdown pages.
    Mermaid,
}

pub(super) fn graph(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let experiment = args.pipeline.open()?;
    let draw = match args.format {
        Format::Text => text,
        Format::Dot => dot,
        Format::Mermaid => mermaid,
    };
    write!(out, "{}", draw(&experiment.pipeline, &experiment.graph))?;
    Ok(ExitCode::SUCCESS)
}
