//! `stlpipe cache restore`: puts back what `gc` has moved to the trash, or lists what could be.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::words::{age, bytes, count};
use super::{Failure, Folder};
use crate::cli::exit::FAILED;
use crate::store::{Bin, Wrong};

/// Arguments of `cache restore`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Which collection, as `gc` named it; without it, what is in the trash is listed.
    id: Option<String>,
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn restore(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let store = args.folder.store()?;
    let bins = store.bins()?;
    let Some(id) = &args.id else {
        if args.json {
            writeln!(out, "{:#}", list_to_json(&bins))?;
            return Ok(ExitCode::SUCCESS);
        }
        for bin in &bins {
            writeln!(out, "{}  {}  {}", bin.id, age(bin.made), bytes(bin.bytes))?;
            bin.about.iter().try_for_each(|line| writeln!(out, "  {line}"))?;
        }
        let all = bytes(bins.iter().map(|bin| bin.bytes).sum());
        writeln!(out, "{} in the trash, {all}", count(bins.len(), "collection"))?;
        return Ok(ExitCode::SUCCESS);
    };
    let Some(bin) = bins.iter().find(|bin| bin.id == *id) else {
        let known: Vec<&str> = bins.iter().map(|Bin { id, .. }| id.as_str()).collect();
        let there = if known.is_empty() {
            "it is empty".to_owned()
        } else {
            format!("there are: {}", known.join(", "))
        };
        return Err(Failure::Usage(format!("the trash has no `{id}`; {there}")));
    };
    let wrong = store.restore(bin)?;
    let code = if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) };
    if args.json {
        let finding = |(file, wrong): &(PathBuf, Wrong)| json!({"file": file, "wrong": wrong.to_string()});
        let findings: Vec<Value> = wrong.iter().map(finding).collect();
        let Bin { id, bytes, .. } = bin;
        writeln!(out, "{:#}", json!({"restored": id, "bytes": bytes, "findings": findings}))?;
        return Ok(code);
    }
    writeln!(out, "{} put back", bytes(bin.bytes))?;
    if wrong.is_empty() {
        return Ok(code);
    }
    for (file, wrong) in &wrong {
        writeln!(out, "  {}: {wrong}", file.display())?;
    }
    let mend = format!("stlpipe cache verify --repair --cache {}", args.folder.cache.display());
    writeln!(out, "not whole in the trash: {}; mend what is back with: {mend}", count(wrong.len(), "file"))?;
    Ok(code)
}

fn list_to_json(bins: &[Bin]) -> Value {
    let bin = |Bin { id, made, bytes, about }: &Bin| json!({"id": id, "made": made, "bytes": bytes, "about": about});
    json!({
        "trash": bins.iter().map(bin).collect::<Vec<_>>(),
        "bytes": bins.iter().map(|bin| bin.bytes).sum::<u64>(),
    })
}
