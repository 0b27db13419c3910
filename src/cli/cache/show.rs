//! `stlpipe cache show`: one record whole.

use std::io::Write;
use std::process::ExitCode;

use super::{Failure, Folder};

/// Arguments of `cache show`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The key, or enough of its first digits.
    key: String,
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON document, as it does without this; what it cannot do is told in JSON as well.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn show(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let records = args.folder.store()?.records()?;
    let mut fitting = records.iter().filter(|record| record.key.to_string().starts_with(&args.key));
    match (fitting.next(), fitting.next()) {
        (Some(record), None) => {
            writeln!(out, "{}", serde_json::to_string_pretty(record)?)?;
            Ok(ExitCode::SUCCESS)
        }
        (None, _) => Err(Failure::Usage(format!(
            "{}: no result has a key that starts with `{}`; `stlpipe cache ls` lists the keys",
            args.folder.cache.display(),
            args.key
        ))),
        (Some(_), Some(_)) => {
            Err(Failure::Usage(format!("several keys start with `{}`; give more digits", args.key)))
        }
    }
}
