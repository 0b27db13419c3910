//! `stlpipe get`: copies an artifact out of the store, to be changed, moved or sent freely.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use super::args::{PipelineArgs, look};
use super::device::DeviceArgs;
use super::exit::Failure;
use super::output::Output;
use super::target;
use super::words::bytes;
use crate::engine::stage::ONLY_FILE;
use crate::store::Form;

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pipeline: PipelineArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// The artifact, as STAGE.PORT, or STAGE if it has one output.
    artifact: String,
    /// The file or directory to write; `-` writes a file to standard output.
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,
    /// Replace a file that is there.
    #[arg(long)]
    force: bool,
    /// Where there is no up-to-date result, take the last good one, from whatever params and inputs.
    #[arg(long)]
    last: bool,
}

pub(super) fn get(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let experiment = args.pipeline.open()?;
    let store = args.pipeline.folders.store()?;
    let output = Output { path: &args.output, force: args.force, experiment };
    output.check_folder(&store)?;
    let _kept = store.keep_from_collection();
    let target = target::find(experiment, &args.artifact)?;
    let port = target.only_port(experiment)?;
    let planner = look(experiment, &store, args.device.find()?.device);
    let record = target::result(&planner, experiment, target, args.last)?;
    let Some(artifact) = record.outputs.get(&port.name) else {
        let message = format!("the last good result of `{}` has no output `{}`", args.artifact, port.name);
        return Err(anyhow::anyhow!(message).into());
    };
    let source = |name: &str| File::open(store.blob_path(&artifact.files[name].digest));
    match artifact.form {
        Form::File if output.is_stdout() => {
            io::copy(&mut source(ONLY_FILE)?, out)?;
            return Ok(ExitCode::SUCCESS);
        }
        Form::Directory if output.is_stdout() => {
            return Err(Failure::Usage(format!("`{}` is a directory; name a path for it", port.name)));
        }
        Form::File => output.write_file(|file| io::copy(&mut source(ONLY_FILE)?, file).map(drop))?,
        Form::Directory => output
            .write_folder(artifact.files.keys(), |name, file| io::copy(&mut source(name)?, file).map(drop))?,
    }
    writeln!(out, "{}  {}", args.output.display(), bytes(artifact.bytes()))?;
    Ok(ExitCode::SUCCESS)
}
