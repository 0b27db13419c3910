//! `stlpipe runs`: what was run, when, and how good it was, out of the store's log. A run that changed nothing is not
//! logged. A run is named by its pipeline and how many came after it: `ver_2_3~0` is the newest. A run that was killed
//! has no such name, because there is nothing to compare.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::cache::Folder;
use super::exit::Failure;
use super::words::{age, count, duration, figure, nearest, table};
use crate::engine::{Experiment, Registry};
use crate::stages;
use crate::store::{Killed, Outcome, RunLog, Store, Unfinished};

/// Metrics that say how good a run was, the most telling first.
const TELLING: [&str; 2] = ["accuracy", "val_accuracy"];

/// Arguments of `runs`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only runs of this pipeline, by its file or its name.
    pipeline: Option<String>,
    #[command(flatten)]
    folder: Folder,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn runs(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let store = args.folder.store()?;
    let cache = &args.folder.cache;
    let mut runs = listed(&store)?;
    if let Some(text) = &args.pipeline {
        let name = pipeline_name(text)?;
        if !runs.iter().any(|run| run.pipeline() == name) {
            return Err(Failure::Usage(no_run(&name, &runs, cache)));
        }
        runs.retain(|run| run.pipeline() == name);
    }
    if args.json {
        let documents: Vec<Value> = runs.iter().map(|run| run.to_json(&store)).collect();
        writeln!(out, "{:#}", json!(documents))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = vec![["RUN", "ENDED", "TOOK", "RAN", "REUSED", "METRICS"].map(str::to_owned).to_vec()];
    rows.extend(runs.iter().map(|run| run.row(&store)));
    if runs.is_empty() {
        writeln!(out, "no runs in {}", cache.display())?;
    } else {
        write!(out, "{}", table(&rows))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A run as it is listed.
enum Listed {
    Logged(Run),
    Killed(Killed),
}

/// All runs but those that live, newest first.
fn listed(store: &Store) -> Result<Vec<Listed>, Failure> {
    let mut runs: Vec<Listed> = logged(store)?.into_iter().map(Listed::Logged).collect();
    for killed in store.killed_runs()? {
        let is_older = |run: &Listed| match run {
            Listed::Logged(run) => run.log.started < killed.started,
            Listed::Killed(run) => run.started < killed.started,
        };
        let at = runs.iter().position(is_older).unwrap_or(runs.len());
        runs.insert(at, Listed::Killed(killed));
    }
    Ok(runs)
}

impl Listed {
    fn pipeline(&self) -> &str {
        match self {
            Listed::Logged(run) => &run.log.pipeline,
            Listed::Killed(run) => &run.pipeline,
        }
    }

    fn row(&self, store: &Store) -> Vec<String> {
        let run = match self {
            Listed::Logged(run) => run,
            Listed::Killed(Killed { pipeline, started }) => {
                let began = format!("began {}", age(*started));
                return [pipeline, &began, "-", "-", "-", "(killed)"].map(str::to_owned).to_vec();
            }
        };
        let RunLog { started, seconds, .. } = run.log;
        let (ended, metrics) = (age(started + seconds as u64), run.telling(store));
        let metrics = metrics.iter().map(|(name, value)| format!("{name} {}", figure(*value)));
        vec![
            run.name(),
            ended,
            duration(seconds),
            run.ended(Outcome::Done).to_string(),
            run.ended(Outcome::Reused).to_string(),
            metrics.chain(unfinished(&run.log)).collect::<Vec<_>>().join("  "),
        ]
    }

    fn to_json(&self, store: &Store) -> Value {
        match self {
            Listed::Logged(run) => run.to_json(store),
            Listed::Killed(Killed { pipeline, started }) => json!({
                "run": null,
                "pipeline": pipeline,
                "started": started,
                "seconds": null,
                "killed": true,
                "stages": {},
                "unfinished": {},
                "metrics": {},
            }),
        }
    }
}

/// That a pipeline has no run, and which have.
fn no_run(name: &str, runs: &[Listed], cache: &Path) -> String {
    let known: BTreeSet<&str> = runs.iter().map(Listed::pipeline).collect();
    let there = if known.is_empty() {
        "there are no runs at all".to_owned()
    } else {
        format!("there are runs of {}", known.iter().copied().collect::<Vec<_>>().join(", "))
    };
    format!("no run of `{name}` in {}{}; {there}", cache.display(), nearest(name, known.into_iter()))
}

/// What to say of a run that did not get a result of every stage: what stopped it, or how many it left out.
pub(super) fn unfinished(log: &RunLog) -> Option<String> {
    for (state, word) in [(Unfinished::Failed, "failed"), (Unfinished::Interrupted, "interrupted")] {
        let stages: Vec<&str> =
            log.unfinished.iter().filter(|(_, s)| **s == state).map(|(stage, _)| stage.as_str()).collect();
        if !stages.is_empty() {
            return Some(format!("({} {word})", stages.join(", ")));
        }
    }
    let named: BTreeSet<&String> = log.stages.keys().chain(log.unfinished.keys()).collect();
    let missing = named.len() - log.own().count();
    (missing > 0).then(|| format!("(no result of {})", count(missing, "stage")))
}

/// A run and its place among those of its pipeline.
pub(super) struct Run {
    pub log: RunLog,
    /// How many runs of its pipeline came after it.
    pub before: usize,
}

impl Run {
    pub(super) fn name(&self) -> String {
        format!("{}~{}", self.log.pipeline, self.before)
    }

    fn ended(&self, state: Outcome) -> usize {
        self.log.stages.values().filter(|entry| entry.state == state).count()
    }

    /// How good its results are, by stage and metric.
    fn telling(&self, store: &Store) -> Vec<(String, f64)> {
        let records = self.log.own();
        let records: Vec<_> = records.filter_map(|(stage, e)| Some((stage, store.record(&e.key)?))).collect();
        let found = |name: &str| -> Vec<(String, f64)> {
            let values = records
                .iter()
                .filter_map(|(stage, record)| Some((format!("{stage}.{name}"), *record.metrics.get(name)?)));
            values.collect()
        };
        TELLING.iter().map(|name| found(name)).find(|found| !found.is_empty()).unwrap_or_default()
    }

    fn to_json(&self, store: &Store) -> Value {
        let metrics: serde_json::Map<String, Value> =
            self.telling(store).into_iter().map(|(name, value)| (name, json!(value))).collect();
        json!({
            "run": self.name(),
            "pipeline": self.log.pipeline,
            "started": self.log.started,
            "seconds": self.log.seconds,
            "killed": false,
            "stages": self.log.stages,
            "unfinished": self.log.unfinished,
            "metrics": metrics,
        })
    }
}

/// All runs, newest first.
pub(super) fn logged(store: &Store) -> Result<Vec<Run>, Failure> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    let runs = store.runs()?.into_iter().rev().map(|logged| {
        let count = counts.entry(logged.log.pipeline.clone()).or_default();
        let before = *count;
        *count += 1;
        Run { log: logged.log, before }
    });
    Ok(runs.collect())
}

/// The run that a text names: `NAME~2`, `NAME` or a pipeline file for the newest.
pub(super) fn find<'a>(runs: &'a [Run], text: &str) -> Result<&'a Run, Failure> {
    let (pipeline, before) = match text.rsplit_once('~') {
        Some((pipeline, digits)) if digits.parse::<usize>().is_ok() => {
            (pipeline, digits.parse().unwrap_or(0))
        }
        _ => (text, 0),
    };
    let name = pipeline_name(pipeline)?;
    let found = runs.iter().find(|run| run.log.pipeline == name && run.before == before);
    found.ok_or_else(|| {
        let names: Vec<String> = runs.iter().map(Run::name).collect();
        let plain = runs.iter().map(|run| run.log.pipeline.as_str());
        let hint = nearest(text, names.iter().map(String::as_str).chain(plain));
        Failure::Usage(format!("there is no run `{text}`{hint}; `stlpipe runs` lists them"))
    })
}

/// The name of a pipeline that is given by its file or its name.
fn pipeline_name(text: &str) -> Result<String, Failure> {
    let path = Path::new(text);
    if !path.is_file() {
        return Ok(text.to_owned());
    }
    let registry = Registry::new(&stages::kinds());
    Ok(Experiment::open(path, &[], registry).map_err(Failure::Pipeline)?.pipeline.name)
}
