//! `stlpipe schema`: the JSON Schema of the pipeline language, so that editors complete and check.

use std::io::Write;
use std::process::ExitCode;

use super::exit::Failure;
use crate::pipeline;
use crate::stages;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn schema(_: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let kinds: Vec<_> = stages::kinds()
        .iter()
        .map(|kind| pipeline::KindSchema {
            name: kind.name.to_owned(),
            about: kind.about.to_owned(),
            params: (kind.schema)(),
        })
        .collect();
    writeln!(out, "{:#}", pipeline::schema(&kinds))?;
    Ok(ExitCode::SUCCESS)
}
