//! `stlpipe status`: what would run, and why. Nothing is changed.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::args::{PipelineArgs, look};
use super::device::DeviceArgs;
use super::exit::Failure;
use super::words::{all_stages_are, count, table};
use crate::engine::{KeyParts, Plan, Reason, Verdict};

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pipeline: PipelineArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON document.
    #[arg(long)]
    json: bool,
}

pub(super) fn status(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let experiment = args.pipeline.open()?;
    let store = args.pipeline.folders.store();
    let plan = look(&experiment, &store, args.device.find()?.device).plan(&experiment.everything());
    print(&experiment.pipeline.name, &plan, args.json, out)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a plan for people, or as one JSON document.
pub(super) fn print(pipeline: &str, plan: &Plan, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if json { writeln!(out, "{:#}", to_json(pipeline, plan)) } else { write!(out, "{}", to_text(plan)) }
}

/// One line per stage, further reasons below the first, and a closing line.
fn to_text(plan: &Plan) -> String {
    let mut rows = Vec::new();
    for (name, decision) in &plan.steps {
        let mut row = vec![name.to_string(), word(&decision.verdict).to_owned()];
        if let Verdict::Run(reasons) = &decision.verdict {
            for reason in reasons {
                row.push(reason.to_string());
                rows.push(std::mem::replace(&mut row, vec![String::new(), String::new()]));
            }
        } else {
            rows.push(row);
        }
    }
    let stale = plan.steps.iter().filter(|(_, d)| matches!(d.verdict, Verdict::Run(_))).count();
    let closing = if stale == 0 {
        format!("nothing to do: {} up to date\n", all_stages_are(plan.steps.len()))
    } else {
        format!("{stale} of {} to run\n", count(plan.steps.len(), "stage"))
    };
    table(&rows) + &closing
}

/// A verdict in two or three words.
pub(super) fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Reuse(_) => "up to date",
        Verdict::Run(_) => "will run",
    }
}

fn to_json(pipeline: &str, plan: &Plan) -> serde_json::Value {
    let stages: Vec<_> = plan
        .steps
        .iter()
        .map(|(name, decision)| {
            let reasons: &[Reason] = match &decision.verdict {
                Verdict::Reuse(_) => &[],
                Verdict::Run(reasons) => reasons,
            };
            json!({
                "stage": name.as_str(),
                "verdict": if matches!(decision.verdict, Verdict::Reuse(_)) { "reuse" } else { "run" },
                "key": decision.parts.as_ref().map(KeyParts::key),
                "reasons": reasons.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "pipeline": pipeline, "stages": stages })
}
