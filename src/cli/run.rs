//! `stlpipe run`: brings the results of a pipeline up to date.

use std::collections::BTreeSet;
use std::io::Write;
use std::num::NonZero;
use std::process::ExitCode;
use std::time::Instant;

use super::args::{PipelineArgs, find_stage};
use super::cores::{Cores, at_least_one};
use super::device::DeviceArgs;
use super::exit::{FAILED, Failure, INTERRUPTED};
use super::progress::{self, Json, Plain, Show, Terminal};
use super::say::say;
use super::{signals, sizes, status};
use crate::engine::{
    self, Detail, Event, Experiment, Limits, Observer, OnFailure, Planner, Registry, Settled, StageEvent,
    State, Stop, Summary,
};
use crate::pipeline::StageId;
use crate::stages;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Run this stage and what it needs, nothing else; may be given several times.
    #[arg(long = "stage", value_name = "STAGE")]
    stages: Vec<String>,
    /// Run this stage even if its result is there; may be given several times.
    #[arg(long = "force", value_name = "STAGE")]
    forced: Vec<String>,
    /// Only say what would run, and why.
    #[arg(long)]
    dry_run: bool,
    /// Stages at the same time [default: the number of threads].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    jobs: Option<NonZero<usize>>,
    #[command(flatten)]
    cores: Cores,
    #[command(flatten)]
    device: DeviceArgs,
    /// After a failure, finish what does not depend on it.
    #[arg(long)]
    keep_going: bool,
    /// Print one JSON event per line on standard output.
    #[arg(long)]
    pub json: bool,
}

static STOP: Stop = Stop::new();

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let started = Instant::now();
    let threads = args.cores.set_up();
    args.pipeline.folders.are_ours()?;
    let store = args.pipeline.folders.store()?;
    let found = args.device.find()?;
    let registry = Registry::new(&stages::kinds());
    let question = args.pipeline.question(found.device, &registry);
    if args.stages.is_empty()
        && args.forced.is_empty()
        && let Some((pipeline, settled)) = question.recall(&store)
    {
        return nothing_to_do(args, &pipeline, settled, started, out);
    }
    let experiment = args.pipeline.open_to_run(&args.stages, &args.forced)?;
    let selection = selection(args, experiment)?;
    let forced = find_stages(experiment, &args.forced)?;
    if let Some(left_out) = forced.iter().find(|id| !selection.contains(id)) {
        let name = &experiment.pipeline.stage(*left_out).name;
        return Err(Failure::Usage(format!("--force {name}: --stage leaves that stage out")));
    }
    let planner = Planner::new(experiment, &store, found.device, forced.into_iter().collect());
    if args.dry_run || sizes::matter(experiment) {
        let plan = planner.plan(&selection);
        sizes::check(experiment, &plan, &store)?;
        if args.dry_run {
            status::print(&experiment.pipeline.name, &plan, args.json, out)?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    if let Some(remark) = found.remark {
        say(remark);
    }
    signals::watch(&STOP)?;
    let limits = Limits { jobs: args.jobs.map_or(threads, NonZero::get), threads };
    let on_failure = if args.keep_going { OnFailure::KeepGoing } else { OnFailure::Stop };
    let checkout = args.pipeline.checkout(experiment);
    let show: Box<dyn Show> = if args.json {
        Box::new(Json::new())
    } else if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        Box::new(Terminal::new(experiment))
    } else {
        Box::new(Plain::new(experiment))
    };
    let summary = engine::run(&planner, &selection, limits, on_failure, &checkout, &*show, &STOP)?;
    show.summary(&summary);
    question.remember(experiment, &summary, &checkout, &store);
    Ok(exit_code(&summary))
}

/// Says of every stage that it is reused.
fn nothing_to_do(
    args: &Args,
    pipeline: &str,
    settled: Vec<Settled>,
    started: Instant,
    out: &mut dyn Write,
) -> Result<ExitCode, Failure> {
    if args.dry_run {
        status::print_settled(pipeline, &settled, args.json, out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let stages = settled.iter().map(|settled| (settled.stage.clone(), State::Reused)).collect();
    let summary =
        Summary { stages, results: Vec::new(), seconds: started.elapsed().as_secs_f64(), interrupted: false };
    if args.json {
        let json = Json::new();
        for Settled { stage, key, metrics, .. } in settled {
            let (state, key, detail) = (State::Reused, Some(key), Detail::Metrics(metrics));
            json.observe(&Event::Stage(StageEvent { stage, state, key, seconds: 0.0, detail }));
        }
        json.summary(&summary);
    } else {
        progress::say_summary(&summary);
    }
    Ok(ExitCode::SUCCESS)
}

fn selection(args: &Args, experiment: &Experiment) -> Result<BTreeSet<StageId>, Failure> {
    if args.stages.is_empty() {
        return Ok(experiment.everything());
    }
    Ok(experiment.with_ancestors(&find_stages(experiment, &args.stages)?))
}

fn find_stages(experiment: &Experiment, names: &[String]) -> Result<Vec<StageId>, Failure> {
    names.iter().map(|name| find_stage(experiment, name)).collect()
}

fn exit_code(summary: &Summary) -> ExitCode {
    if summary.interrupted {
        ExitCode::from(INTERRUPTED)
    } else if summary.ended(State::Failed).next().is_some() {
        ExitCode::from(FAILED)
    } else {
        ExitCode::SUCCESS
    }
}
