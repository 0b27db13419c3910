//! Measures reading and planning a generated pipeline. Its stages stand in layers, each reads two of the layer before,
//! and all results are the same few bytes, so that the store holds records and next to nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::{Measured, measured};
use crate::cli::exit::Failure;
use crate::engine::stage::Device;
use crate::engine::{Experiment, Planner, Registry, Verdict};
use crate::stages;
use crate::store::{Artifact, Claim, Record, Store, Want};

/// Arguments of `bench plan`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// How many stages.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    stages: usize,
    /// How many stages make a layer.
    #[arg(long, value_name = "N", default_value = "100")]
    width: NonZero<usize>,
    /// How often to measure; the shortest time counts.
    #[arg(long, value_name = "N", default_value = "5")]
    repeat: NonZero<usize>,
    /// Where the store and the pipeline are put, and removed afterwards [default: in memory, if the system can].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn plan(args: &Args) -> Result<Measured, Failure> {
    let memory = Path::new("/dev/shm");
    let fallback = || if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let dir = tempfile::tempdir_in(args.dir.clone().unwrap_or_else(fallback))?;
    let file = dir.path().join("bench.yaml");
    std::fs::write(&file, pipeline(args.stages, args.width.get()))?;
    let open = || Experiment::open(&file, &[], Registry::new(&stages::kinds())).map_err(Failure::Pipeline);
    let experiment = open()?;
    let (empty, full) = (Store::at(&dir.path().join("empty")), Store::at(&dir.path().join("full")));
    fill(&experiment, &full)?;
    let all = experiment.everything();
    let stale = |store: &Store| {
        let plan = Planner::new(&experiment, store, Device::Cpu, BTreeSet::new()).plan(&all);
        plan.steps.iter().filter(|(_, decision)| matches!(decision.verdict, Verdict::Run(_))).count()
    };
    if (stale(&empty), stale(&full)) != (args.stages, 0) {
        return Err(anyhow::anyhow!("the plans are wrong, so their times mean nothing").into());
    }
    Ok(measured(json!({
        "bench": "plan",
        "stages": args.stages,
        "width": args.width,
        "seconds_read": shortest(args.repeat, open),
        "seconds_plan": shortest(args.repeat, || stale(&full)),
        "seconds_plan_empty": shortest(args.repeat, || stale(&empty)),
    })))
}

/// The shortest time of several, in seconds; the result is thrown away outside it.
fn shortest<T>(repeat: NonZero<usize>, work: impl Fn() -> T) -> f64 {
    let times = (0..repeat.get()).map(|_| {
        let start = Instant::now();
        let result = work();
        let seconds = start.elapsed().as_secs_f64();
        drop(result);
        seconds
    });
    times.fold(f64::INFINITY, f64::min)
}

/// A pipeline of this many commands.
fn pipeline(stages: usize, width: usize) -> String {
    let mut text = String::from("name: bench\nstages:\n");
    for stage in 0..stages {
        let inputs = stage.checked_sub(width).map(|above| {
            let other = above / width * width + (7 * above + 3) % width;
            format!(" in: {{ a: s{above}, b: s{other} }},")
        });
        // Writing into a text cannot fail.
        let _ = writeln!(
            text,
            "  s{stage}: {{ uses: command,{} with: {{ run: echo {stage} > out, outs: {{ out: out }} }} }}",
            inputs.unwrap_or_default()
        );
    }
    text
}

/// Publishes a record for every stage.
fn fill(experiment: &Experiment, store: &Store) -> Result<(), Failure> {
    let mut writer = store.write_blob()?;
    writer.write_all(b"result")?;
    let blob = writer.finish()?;
    let planner = Planner::new(experiment, store, Device::Cpu, BTreeSet::new());
    let mut results: Vec<Option<Arc<Record>>> = vec![None; experiment.pipeline.stages.len()];
    for id in experiment.graph.order() {
        let decision = planner.decide(*id, &results);
        let (Some(key), Some(parts)) = (decision.key, decision.parts) else {
            return Err(anyhow::anyhow!("a stage has no key although its inputs are known").into());
        };
        let identity = serde_json::to_value(&parts)?;
        let outputs = BTreeMap::from([("out".to_owned(), Artifact::file(blob))]);
        let record = Record::new(key, identity, outputs);
        if let Claim::Vacant(slot) = store.claim(&key, "bench", Want::Anew)? {
            slot.publish(&record)?;
        }
        results[id.0] = Some(Arc::new(record));
    }
    Ok(())
}
