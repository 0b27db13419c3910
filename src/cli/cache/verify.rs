//! `stlpipe cache verify`: reads every file and says what is not as it should be; mends it on request.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::say::say;
use super::words::{bytes, count};
use super::{Failure, Folder, names};
use crate::cli::exit::FAILED;
use crate::store::{Finding, Mending, Repaired, Report};

/// Arguments of `cache verify`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    folder: Folder,
    /// Move what is damaged to quarantine, so that the next run computes exactly that again.
    #[arg(long)]
    repair: bool,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// How long a verification says nothing, and how often it says something after that.
const PACE: Duration = Duration::from_secs(2);

pub(super) fn verify(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let store = args.folder.store()?;
    let told = Mutex::new(Instant::now());
    let report = store.verify(&|done, total| {
        if let Ok(mut told) = told.try_lock()
            && told.elapsed() > PACE
        {
            *told = Instant::now();
            let end = if std::io::stderr().is_terminal() { "\u{1b}[1A\u{1b}[K" } else { "" };
            say(format_args!("{end}read {} of {}", bytes(done), bytes(total)));
        }
    })?;
    let repaired = if args.repair { Some(store.repair(&report)?) } else { None };
    if args.json {
        writeln!(out, "{:#}", to_json(&report, repaired.as_ref()))?;
    } else {
        write!(out, "{}", to_text(&report, repaired.as_ref()))?;
    }
    let is_right = report.findings.is_empty() || repaired.is_some();
    Ok(if is_right { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn to_text(report: &Report, repaired: Option<&Repaired>) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let of =
            if finding.owners.is_empty() { String::new() } else { format!(" of {}", names(&finding.owners)) };
        let Finding { file, holds, wrong, .. } = finding;
        let remedy = match repaired {
            Some(_) => mended(finding).to_owned(),
            None => format!("--repair {}", mends(finding)),
        };
        text.push_str(&format!("{}: {wrong}: {holds}{of}; {remedy}\n", file.display()));
    }
    for file in &report.foreign {
        text.push_str(&format!("{}: is not stlpipe's, and is left alone\n", file.display()));
    }
    let read = format!("{} read, {}", count(report.files, "file"), bytes(report.bytes));
    text.push_str(&match (report.findings.len(), repaired) {
        (0, _) => format!("everything is as it should be: {read}\n"),
        (n, None) => format!("{} found: {read}\n", count(n, "fault")),
        (n, Some(Repaired { again, lost })) => {
            let next = match (again.is_empty(), lost) {
                (false, _) => format!("the next run computes again: {}", names(again)),
                (true, 0) => "nothing has to be computed again".to_owned(),
                (true, _) => "what was lost was no logged run's".to_owned(),
            };
            format!("{} mended: {read}; {next}\n", count(n, "fault"))
        }
    });
    text
}

/// What a repair would do.
fn mends(finding: &Finding) -> &'static str {
    match (&finding.mending, finding.lost.is_empty()) {
        (Mending::SetAside(_), true) => "moves it to quarantine",
        (Mending::SetAside(_), false) => "moves it to quarantine, and the next run computes it again",
        (Mending::Note, true) | (Mending::Forget, _) => "forgets it",
        (Mending::Note, false) => "notes the loss, and the next run computes it again",
        (Mending::Remake(_), _) => "makes the links anew",
        (Mending::Relist, _) => "makes the list of logs anew",
    }
}

fn mended(finding: &Finding) -> &'static str {
    match &finding.mending {
        Mending::SetAside(_) => "moved to quarantine",
        Mending::Forget => "forgotten",
        Mending::Note if finding.lost.is_empty() => "forgotten",
        Mending::Note => "the loss is noted",
        Mending::Remake(_) => "links made anew",
        Mending::Relist => "list of logs made anew",
    }
}

fn to_json(report: &Report, repaired: Option<&Repaired>) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "file": finding.file,
            "holds": finding.holds,
            "stages": finding.owners,
            "wrong": finding.wrong.to_string(),
            "remedy": mends(finding),
        })
    };
    json!({
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "foreign": report.foreign,
        "files": report.files,
        "bytes": report.bytes,
        "repaired": repaired.is_some(),
        "computed_again": repaired.map(|repaired| &repaired.again),
    })
}
