//! `stlpipe status`: what would run, and why. Nothing is changed.

use std::io::Write;
use std::process::ExitCode;

use serde_json::json;

use super::args::{PipelineArgs, look};
use super::device::DeviceArgs;
use super::exit::Failure;
use super::sizes;
use super::words::{about, all_stages_are, count, remarks, table};
use crate::engine::{Plan, Reason, Registry, Settled, Verdict};
use crate::stages;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pipeline: PipelineArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn status(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let store = args.pipeline.folders.store()?;
    let device = args.device.find()?.device;
    let registry = Registry::new(&stages::kinds());
    if let Some((pipeline, settled)) = args.pipeline.question(device, &registry).recall(&store) {
        print_settled(&pipeline, &settled, args.json, out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let experiment = args.pipeline.open_to_run(&[], &[])?;
    let plan = look(experiment, &store, device).plan(&experiment.everything());
    sizes::check(experiment, &plan, &store)?;
    print(&experiment.pipeline.name, &plan, args.json, out)?;
    // The process ends here, which is quicker than taking the plan apart.
    std::mem::forget(plan);
    Ok(ExitCode::SUCCESS)
}

/// Prints a plan for people, or as one JSON document.
pub(super) fn print(pipeline: &str, plan: &Plan, json: bool, out: &mut dyn Write) -> std::io::Result<()> {
    if json { writeln!(out, "{:#}", to_json(pipeline, plan)) } else { write!(out, "{}", to_text(plan)) }
}

/// Prints that nothing is left to do, in the same words.
pub(super) fn print_settled(
    pipeline: &str,
    settled: &[Settled],
    json: bool,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    if json {
        let stages: Vec<_> = settled
            .iter()
            .map(|settled| {
                json!({
                    "stage": settled.stage.as_str(),
                    "verdict": "reuse",
                    "key": settled.key,
                    "reasons": [],
                    "remarks": [],
                    "estimated_seconds": null,
                })
            })
            .collect();
        let all = json!({ "pipeline": pipeline, "stages": stages, "to_run": 0, "estimated_seconds": 0.0 });
        return writeln!(out, "{all:#}");
    }
    let row = |settled: &Settled| vec![settled.stage.to_string(), UP_TO_DATE.to_owned()];
    let rows: Vec<_> = settled.iter().map(row).collect();
    writeln!(out, "{}{}", table(&rows), nothing_to_do(settled.len()))
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

fn nothing_to_do(stages: usize) -> String {
    format!("nothing to do: {} up to date", all_stages_are(stages))
}

/// `2 of 7 stages to run, about 12 min`.
fn closing(plan: &Plan) -> String {
    let (stale, all) = (plan.stale().count(), plan.steps.len());
    if stale == 0 {
        return nothing_to_do(all);
    }
    let known: Vec<f64> = plan.stale().filter_map(|decision| decision.outlook.seconds).collect();
    let time = match estimate(plan) {
        Some(seconds) => format!(", {}", about(seconds)),
        None if known.is_empty() => String::new(),
        None => {
            let noun = if stale - known.len() == 1 { "one" } else { "those" };
            format!(", {} without {noun} {}", about(known.iter().sum()), why_unknown(plan))
        }
    };
    format!("{stale} of {} to run{time}", count(all, "stage"))
}

/// Why nobody knows how long some stages take.
fn why_unknown(plan: &Plan) -> &'static str {
    let unknown = || plan.stale().filter(|decision| decision.outlook.seconds.is_none());
    let all = |is: fn(&Reason) -> bool| {
        unknown().all(|decision| matches!(&decision.verdict, Verdict::Run(reasons) if reasons.iter().any(is)))
    };
    if all(|reason| *reason == Reason::FirstRun) {
        "that never ran"
    } else if all(|reason| matches!(reason, Reason::Kind { .. })) {
        "of another kind than before"
    } else {
        "whose time is not known"
    }
}

/// How long the stages that run should take one after the other, if that is known of all of them.
fn estimate(plan: &Plan) -> Option<f64> {
    // The sum of nothing would be -0.
    plan.stale().map(|decision| decision.outlook.seconds).try_fold(0.0, |sum, seconds| Some(sum + seconds?))
}

const UP_TO_DATE: &str = "up to date";

/// A verdict in two or three words.
pub(super) fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Reuse(_) => UP_TO_DATE,
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
