//! `stlpipe get`: copies an artifact out of the store, to be changed, moved or sent freely.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::args::{PipelineArgs, look};
use super::device::DeviceArgs;
use super::exit::Failure;
use super::target;
use super::words::bytes;
use crate::store::{Form, Store};

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
    has_a_folder(&args.output)?;
    let store = args.pipeline.folders.store()?;
    is_outside(&args.output, &store)?;
    let _kept = store.keep_from_collection();
    let target = target::find(experiment, &args.artifact)?;
    let port = target.only_port(experiment)?;
    let planner = look(experiment, &store, args.device.find()?.device);
    let record = target::result(&planner, experiment, target, args.last)?;
    let Some(artifact) = record.outputs.get(&port.name) else {
        let message = format!("the last good result of `{}` has no output `{}`", args.artifact, port.name);
        return Err(anyhow::anyhow!(message).into());
    };
    let to_stdout = args.output.as_os_str() == "-";
    match artifact.form {
        Form::File if to_stdout => {
            let mut source = fs::File::open(store.blob_path(&artifact.digest))?;
            std::io::copy(&mut source, out)?;
            return Ok(ExitCode::SUCCESS);
        }
        Form::Directory if to_stdout => {
            return Err(Failure::Usage(format!("`{}` is a directory; name a path for it", port.name)));
        }
        Form::File if args.output.is_dir() => {
            return Err(Failure::Usage(format!("{}: is a directory; name a file", args.output.display())));
        }
        Form::File if args.output.is_file() => {
            may_be_replaced(&args.output, experiment.pipeline.files().map(|(path, _)| path), args.force)?;
            replace(&store, &artifact.files[""].digest, &args.output)?;
        }
        Form::File if args.output.is_symlink() && !args.output.exists() => {
            return Err(Failure::Usage(format!("{}: {IS_A_LINK}", args.output.display())));
        }
        Form::File => copy(&store, &artifact.files[""].digest, &args.output)?,
        Form::Directory if args.output.exists() => {
            let message = format!("{}: exists already; name a directory to be made", args.output.display());
            return Err(Failure::Usage(message));
        }
        Form::Directory => {
            for (name, blob) in &artifact.files {
                copy(&store, &blob.digest, &args.output.join(name))?;
            }
        }
    }
    writeln!(out, "{}  {}", args.output.display(), bytes(artifact.bytes()))?;
    Ok(ExitCode::SUCCESS)
}

/// Refuses a path in a folder that is not there: perhaps it is mistyped.
fn has_a_folder(path: &Path) -> Result<(), Failure> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            let (path, folder) = (path.display(), folder.display());
            let problem = format!("there is no folder `{folder}`; make it first, or name another path");
            Err(Failure::Usage(format!("{path}: {problem}")))
        }
        _ => Ok(()),
    }
}

/// Refuses a path in the store, whose files are stlpipe's alone.
fn is_outside(path: &Path, store: &Store) -> Result<(), Failure> {
    // The folder of a plain name, and of standard output, is the one to run in.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (folder.canonicalize(), store.root().canonicalize()) {
        (Ok(folder), Ok(root)) if folder.starts_with(&root) && path.as_os_str() != "-" => {
            Err(Failure::Usage(format!("{}: lies in the cache; name a path elsewhere", path.display())))
        }
        _ => Ok(()),
    }
}

const IS_A_LINK: &str = "is a link; remove it, or name another file";

/// Refuses files that nobody means: what a link leads to, perhaps into the store, those the pipeline is read from, and
/// without force every other.
fn may_be_replaced<'a>(
    path: &Path,
    pipeline: impl Iterator<Item = &'a Path>,
    force: bool,
) -> Result<(), Failure> {
    let mut pipeline = pipeline.filter_map(|file| file.canonicalize().ok());
    let problem = if path.is_symlink() {
        IS_A_LINK
    } else if path.canonicalize().is_ok_and(|path| pipeline.any(|file| file == path)) {
        "is a file of the pipeline; name another file"
    } else if !force {
        "exists already; --force replaces it"
    } else {
        return Ok(());
    };
    Err(Failure::Usage(format!("{}: {problem}", path.display())))
}

/// Puts a copy of a blob in the place of a file, with its permissions; the file stays as it is if that fails.
fn replace(store: &Store, digest: &crate::store::Digest, path: &Path) -> anyhow::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    let take_place = || {
        fs::set_permissions(&beside, fs::metadata(path)?.permissions())?;
        fs::rename(&beside, path)
    };
    let replaced = copy(store, digest, &beside)
        .and_then(|()| take_place().with_context(|| format!("{}: cannot be written", path.display())));
    if replaced.is_err() {
        // What could not be written may not be there.
        let _ = fs::remove_file(&beside);
    }
    replaced
}

/// Copies a blob; the copy is the user's own and may be written to.
fn copy(store: &Store, digest: &crate::store::Digest, path: &Path) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::create_dir_all(dir)?;
        }
        let mut source = fs::File::open(store.blob_path(digest))?;
        std::io::copy(&mut source, &mut fs::File::create(path)?)?;
        Ok(())
    };
    write().with_context(|| format!("{}: cannot be written", path.display()))
}
