//! `stlpipe status`: what would run, and why. Nothing is changed.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::args::{PipelineArgs, look};
use super::device::DeviceArgs;
use super::exit::Failure;
use super::words::{about, all_stages_are, count, remarks, table};
use crate::engine::{Plan, Reason, Verdict};

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
    let plan = look(experiment, &store, args.device.find()?.device).plan(&experiment.everything());
    print(&experiment.pipeline.name, &plan, args.json, out)?;
    // The process ends here, which is quicker than taking the plan apart.
    std::mem::forget(plan);
    Ok(ExitCode::SUCCESS)
}

/// Prints a plan for people, or as one JSON document.
pub(super) fn print(pipeline: &str, plan: &Plan, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if json { writeln!(out, "{:#}", to_json(pipeline, plan)) } else { write!(out, "{}", to_text(plan)) }
}

/// One line per stage, further reasons and remarks below the first, and a closing line.
fn to_text(plan: &Plan) -> String {
    let mut rows = Vec::new();
    let timed = plan.stale().any(|decision| decision.outlook.seconds.is_some());
    for (name, decision) in &plan.steps {
        let mut row = vec![name.to_string(), word(&decision.verdict).to_owned()];
        let Verdict::Run(reasons) = &decision.verdict else {
            rows.push(row);
            continue;
        };
        if timed {
            row.push(decision.outlook.seconds.map(about).unwrap_or_default());
        }
        for line in reasons.iter().map(ToString::to_string).chain(remarks(&decision.outlook)) {
            let below = vec![String::new(); row.len()];
            row.push(line);
            rows.push(std::mem::replace(&mut row, below));
        }
    }
    table(&rows) + &closing(plan) + "\n"
}

/// `2 of 7 stages to run, about 12 min`.
fn closing(plan: &Plan) -> String {
    let (stale, all) = (plan.stale().count(), plan.steps.len());
    if stale == 0 {
        return format!("nothing to do: {} up to date", all_stages_are(all));
    }
    let known: Vec<f64> = plan.stale().filter_map(|decision| decision.outlook.seconds).collect();
    let time = match estimate(plan) {
        Some(seconds) => format!(", {}", about(seconds)),
        None if known.is_empty() => String::new(),
        None => {
            let noun = if stale - known.len() == 1 { "one" } else { "those" };
            format!(", {} without {noun} that never ran", about(known.iter().sum()))
        }
    };
    format!("{stale} of {} to run{time}", count(all, "stage"))
}

/// How long the stages that run should take one after the other, if that is known of all of them.
fn estimate(plan: &Plan) -> Option<f64> {
    plan.stale().map(|decision| decision.outlook.seconds).sum()
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
                "key": decision.key,
                "reasons": reasons.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "remarks": remarks(&decision.outlook).collect::<Vec<_>>(),
                "estimated_seconds": decision.outlook.seconds,
            })
        })
        .collect();
    json!({
        "pipeline": pipeline,
        "stages": stages,
        "to_run": plan.stale().count(),
        "estimated_seconds": estimate(plan),
    })
}
