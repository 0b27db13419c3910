//! `stlpipe show`: a pipeline, a stage or an artifact as it stands: what went in, what came out, how good it is.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::{PipelineArgs, look};
use super::device::DeviceArgs;
use super::exit::Failure;
use super::history::History;
use super::output::Output;
use super::target::{self, Target};
use super::words::{age, bytes, duration, figure, metrics, table};
use super::{picture, status};
use crate::engine::{Decision, Experiment, KeyParts, Planner, Verdict};
use crate::store::{Artifact, Aside, Blob, Digest, Record, Store};

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pipeline: PipelineArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// The stage or artifact, as STAGE or STAGE.PORT; without it, the whole pipeline.
    target: Option<String>,
    /// Draw a sheet of pictures of a dataset; `-` writes it to standard output.
    #[arg(long, value_name = "FILE", requires = "target")]
    png: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long, requires = "png")]
    force: bool,
    /// Print what the stage said while its result was computed, or what every stage said.
    #[arg(long, conflicts_with = "png")]
    log: bool,
    /// Print one JSON document.
    #[arg(long, conflicts_with = "log")]
    pub json: bool,
}

pub(super) fn show(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let experiment = args.pipeline.open()?;
    let store = args.pipeline.folders.store()?;
    let planner = look(experiment, &store, args.device.find()?.device);
    let Some(text) = &args.target else {
        if args.log || args.json {
            let views = every_stage(experiment, &planner, &store);
            if args.log {
                print_logs(experiment, &views, &store, out)?;
            } else {
                writeln!(out, "{:#}", all_to_json(experiment, &views))?;
            }
        } else {
            write!(out, "{}", overview(experiment, &planner))?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let target = target::find(experiment, text)?;
    if let Some(png) = &args.png {
        let output = Output { path: png, force: args.force, experiment };
        output.check_folder(&store)?;
        output.check_file()?;
        let port = target.only_port(experiment)?;
        let record = target::result(&planner, experiment, target, false)?;
        let (sheet, drawn) = picture::draw_sheet(&store, port, &record.outputs[&port.name])?;
        if output.is_stdout() {
            out.write_all(&sheet)?;
            return Ok(ExitCode::SUCCESS);
        }
        output.write_file(|file| file.write_all(&sheet))?;
        writeln!(out, "{}  {drawn}", png.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    let view = StageView::new(experiment, &planner, &store, target);
    if args.log {
        view.print_log(&store, out)?;
    } else if args.json {
        writeln!(out, "{:#}", view.to_json())?;
    } else {
        write!(out, "{}", view.to_text())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One line per stage.
fn overview(experiment: &Experiment, planner: &Planner<'_>) -> String {
    let mut rows = vec![["STAGE", "KIND", "RESULT", "TOOK", "SIZE", "METRICS"].map(str::to_owned).to_vec()];
    for (name, decision) in planner.plan(&experiment.everything()).steps {
        let kind = experiment.pipeline.id(name.as_str()).map(|id| experiment.pipeline.stage(id).kind.clone());
        let mut row =
            vec![name.to_string(), kind.unwrap_or_default(), status::word(&decision.verdict).to_owned()];
        if let Verdict::Reuse(record) = decision.verdict {
            let size = record.outputs.values().map(Artifact::bytes).sum();
            row.extend([duration(record.seconds), bytes(size), metrics(&record.metrics)]);
        }
        rows.push(row);
    }
    let about = &experiment.pipeline.about;
    let title = if about.is_empty() { String::new() } else { format!(": {about}") };
    format!("{}{title}\n\n{}", experiment.pipeline.name, table(&rows))
}

/// Every stage, inputs before their users.
fn every_stage<'a>(experiment: &'a Experiment, planner: &Planner<'_>, store: &Store) -> Vec<StageView<'a>> {
    let steps = planner.plan(&experiment.everything()).steps;
    let order = experiment.graph.order().iter();
    let views = order.zip(steps).map(|(id, (_, decision))| {
        StageView::of(experiment, planner, store, Target { id: *id, port: None }, decision)
    });
    views.collect()
}

fn all_to_json(experiment: &Experiment, views: &[StageView<'_>]) -> Value {
    json!({
        "pipeline": experiment.pipeline.name,
        "about": experiment.pipeline.about,
        "stages": views.iter().map(StageView::to_json).collect::<Vec<_>>(),
    })
}

/// What every stage said, under its name.
fn print_logs(
    experiment: &Experiment,
    views: &[StageView<'_>],
    store: &Store,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let said: Vec<_> = views.iter().filter(|view| view.has_log()).collect();
    if said.is_empty() {
        return Err(Failure::Usage(format!("no stage of {} has a log yet", experiment.pipeline.name)));
    }
    for (nth, view) in said.into_iter().enumerate() {
        let gap = if nth == 0 { "" } else { "\n" };
        writeln!(out, "{gap}== {} ==", experiment.pipeline.stage(view.target.id).name)?;
        view.print_log(store, out)?;
    }
    Ok(())
}

/// What there is to say about one stage.
struct StageView<'a> {
    experiment: &'a Experiment,
    target: Target<'a>,
    decision: Decision,
    /// The up-to-date result, or else the last one.
    record: Option<Record>,
    /// The epochs of that result, if it is a training's.
    history: Option<History>,
    /// What its last attempt left, if that failed.
    left: Aside,
}

impl<'a> StageView<'a> {
    fn new(experiment: &'a Experiment, planner: &Planner<'_>, store: &Store, target: Target<'a>) -> Self {
        let plan = planner.plan(&experiment.with_ancestors(&[target.id]));
        let (_, decision) = plan.steps.into_iter().next_back().expect("the selection holds the stage itself");
        StageView::of(experiment, planner, store, target, decision)
    }

    fn of(
        experiment: &'a Experiment,
        planner: &Planner<'_>,
        store: &Store,
        target: Target<'a>,
        decision: Decision,
    ) -> Self {
        let name = &experiment.pipeline.stage(target.id).name;
        let record = match &decision.verdict {
            Verdict::Reuse(record) => Some((**record).clone()),
            Verdict::Run(_) => planner.last_good(name),
        };
        let history = record.as_ref().and_then(|record| History::of(record, store));
        let left = store.aside(&experiment.pipeline.name, name.as_str());
        StageView { experiment, target, decision, record, history, left }
    }

    fn to_text(&self) -> String {
        let decl = self.experiment.pipeline.stage(self.target.id);
        let mut text =
            format!("{}  uses {}  {}\n", decl.name, decl.kind, status::word(&self.decision.verdict));
        let left = self.left.names();
        if !left.is_empty() && !self.is_current() {
            let place = self.left.path().display();
            let why = self.left.why().map(|why| format!(": {why}")).unwrap_or_default();
            text.push_str(&format!("  failed     in its last attempt{why}\n"));
            text.push_str(&format!("             which left {} in {place}\n", left.join(", ")));
        }
        match (&self.decision.verdict, &self.record) {
            (Verdict::Reuse(_), Some(record)) => text.push_str(&self.result(record, &decl.stage.params())),
            (Verdict::Reuse(_), None) => unreachable!("what is reused has a record"),
            (Verdict::Run(reasons), last) => {
                reasons.iter().for_each(|reason| text.push_str(&format!("  because    {reason}\n")));
                text.push_str(&section("params", &leaves(&decl.stage.params())));
                if let Some(record) = last {
                    text.push_str(&format!(
                        "\nthe last good result of {}, from other params or inputs\n",
                        decl.name
                    ));
                    text.push_str(&self.result(record, &record.identity["params"]));
                }
            }
        }
        text
    }

    /// A result, with the params it came from.
    fn result(&self, record: &Record, params: &Value) -> String {
        // What a program takes is its own; stlpipe's would mislead.
        let known =
            record.peak_memory.filter(|_| record.identity["kind"] != crate::stages::command::KIND.name);
        let memory = known.map(|m| format!(", at most {} of memory", bytes(m))).unwrap_or_default();
        let (made, took) = (age(record.started), duration(record.seconds));
        let figures = record.metrics.iter().map(|(name, value)| vec![name.clone(), figure(*value)]);
        [
            format!("  key        {}\n", record.key),
            format!("  made       {made} in {took}{memory}, by {}\n", record.tool),
            section("params", &leaves(params)),
            section("inputs", &self.inputs()),
            section("outputs", &self.outputs()),
            section("metrics", &figures.collect::<Vec<_>>()),
            section("history", &self.epochs()),
            record
                .log
                .map(|log| format!("  log        {} (--log prints it)\n", bytes(log.stamp.bytes)))
                .unwrap_or_default(),
        ]
        .concat()
    }

    fn print_log(&self, store: &Store, out: &mut dyn Write) -> Result<(), Failure> {
        let name = &self.experiment.pipeline.stage(self.target.id).name;
        let failed = self.left.log().filter(|_| !self.is_current());
        if let Some(failed) = &failed {
            writeln!(out, "-- the last attempt, which failed ({})", self.left.path().display())?;
            out.write_all(failed)?;
        }
        let Some(record) = &self.record else {
            let none = || Failure::Usage(format!("{name} has no result yet, and so no log"));
            return if failed.is_some() { Ok(()) } else { Err(none()) };
        };
        if !self.is_current() {
            writeln!(out, "-- the last good result, from other params or inputs ({})", age(record.started))?;
        }
        if let Some(log) = record.log {
            std::io::copy(&mut std::fs::File::open(store.blob_path(&log.digest))?, out)?;
        }
        Ok(())
    }

    fn has_log(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.log.is_some())
            || self.left.log().is_some() && !self.is_current()
    }

    fn is_current(&self) -> bool {
        matches!(self.decision.verdict, Verdict::Reuse(_))
    }

    fn inputs(&self) -> Vec<Vec<String>> {
        let parts = self.record.as_ref().and_then(|record| record.identity.read::<KeyParts>().ok());
        let inputs = parts.map(|parts| parts.inputs).unwrap_or_default();
        let decl = self.experiment.pipeline.stage(self.target.id);
        // Where the bytes of an earlier result came from, the pipeline of today does not know.
        let source = |port: &String| decl.inputs.get(port).filter(|_| self.is_current());
        let row = |(port, digest): (&String, &Digest)| {
            let source = source(port).map(ToString::to_string);
            [Some(port.clone()), source, Some(digest.short())].into_iter().flatten().collect()
        };
        inputs.iter().map(row).collect()
    }

    fn outputs(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let wanted = |name: &str| self.target.port.is_none_or(|port| port.name == name);
        let outputs = self.record.iter().flat_map(|record| &record.outputs);
        for (name, artifact) in outputs.filter(|(name, _)| wanted(name)) {
            rows.push(vec![name.clone(), artifact.digest.short(), bytes(artifact.bytes())]);
            let files = artifact.files.iter().filter(|(file, _)| !file.is_empty());
            rows.extend(
                files.map(|(file, blob)| {
                    vec![format!("  {file}"), blob.digest.short(), bytes(blob.stamp.bytes)]
                }),
            );
        }
        rows
    }

    fn epochs(&self) -> Vec<Vec<String>> {
        let extent = History::extent(self.target.port.map(|port| port.name.as_str()));
        self.history.as_ref().map(|history| history.rows(extent)).unwrap_or_default()
    }

    fn to_json(&self) -> Value {
        let decl = self.experiment.pipeline.stage(self.target.id);
        let record = self.record.as_ref();
        let reasons: Vec<String> = match &self.decision.verdict {
            Verdict::Reuse(_) => Vec::new(),
            Verdict::Run(reasons) => reasons.iter().map(ToString::to_string).collect(),
        };
        let file = |blob: &Blob| json!({"digest": blob.digest, "bytes": blob.stamp.bytes});
        let artifact = |a: &Artifact| {
            let files: serde_json::Map<String, Value> = a
                .files
                .iter()
                .filter(|(name, _)| !name.is_empty())
                .map(|(n, b)| (n.clone(), file(b)))
                .collect();
            json!({"digest": a.digest, "bytes": a.bytes(), "files": files})
        };
        let outputs: serde_json::Map<String, Value> =
            record.iter().flat_map(|r| &r.outputs).map(|(port, a)| (port.clone(), artifact(a))).collect();
        json!({
            "stage": decl.name.as_str(),
            "kind": decl.kind,
            "verdict": if self.is_current() { "reuse" } else { "run" },
            "reasons": reasons,
            "params": decl.stage.params(),
            "key": record.map(|r| r.key),
            "identity": record.map(|r| &r.identity),
            "outputs": outputs,
            "metrics": record.map(|r| &r.metrics),
            "history": self.history.as_ref().map(History::to_json),
            "log": record.and_then(|r| r.log).map(|log| file(&log)),
            "started": record.map(|r| r.started),
            "seconds": record.map(|r| r.seconds),
        })
    }
}

/// A titled block of rows, or nothing if there are none.
fn section(title: &str, rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let lines: String = table(rows).lines().map(|line| format!("    {line}\n")).collect();
    format!("\n  {title}\n{lines}")
}

/// The leaves of a JSON value as rows of path and value.
fn leaves(value: &Value) -> Vec<Vec<String>> {
    fn walk(path: &str, value: &Value, rows: &mut Vec<Vec<String>>) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match value {
            Value::Object(map) if !map.is_empty() => map.iter().for_each(|(k, v)| walk(&below(k), v, rows)),
            Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                items.iter().enumerate().for_each(|(i, v)| walk(&below(&i.to_string()), v, rows));
            }
            Value::String(text) => rows.push(vec![path.to_owned(), text.clone()]),
            leaf => rows.push(vec![path.to_owned(), leaf.to_string()]),
        }
    }
    let mut rows = Vec::new();
    walk("", value, &mut rows);
    rows
}
