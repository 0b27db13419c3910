//! `stlpipe cache du`: what costs how much, by pipeline and stage.

use std::io::Write;
use std::process::ExitCode;

use super::words::{bytes, table};
use super::{Failure, Folder};

/// Arguments of `cache du`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn du(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let usage = args.folder.store()?.usage()?;
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&usage)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![["PIPELINE", "STAGE", "RESULTS", "UNIQUE", "SHARED"].map(str::to_owned).to_vec()];
    for share in &usage.shares {
        let (pipeline, stage) = match &share.stage {
            None => (share.pipeline.clone(), "(all)".to_owned()),
            Some(stage) => (String::new(), stage.clone()),
        };
        rows.push(vec![pipeline, stage, share.results.to_string(), bytes(share.unique), bytes(share.shared)]);
    }
    if !usage.shares.is_empty() {
        writeln!(out, "{}", table(&rows))?;
        writeln!(out, "unique: what dropping it alone would free; shared: used by others as well\n")?;
    }
    let alone = usage.shares.iter().filter(|share| share.stage.is_some()).map(|share| share.unique).sum();
    let mut sums = vec![
        vec!["used by one stage".to_owned(), bytes(alone)],
        vec!["shared by several stages, counted once".to_owned(), bytes(usage.shared)],
    ];
    sums.extend(usage.others.iter().map(|(what, size)| vec![(*what).to_owned(), bytes(*size)]));
    sums.push(vec![format!("total in {}", args.folder.cache.display()), bytes(usage.total)]);
    write!(out, "{}", table(&sums))?;
    Ok(ExitCode::SUCCESS)
}
