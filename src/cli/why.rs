//! `stlpipe why`: everything that a stage's result depends on, part by part, and how that differs from the nearest
//! result there is. Nothing is changed.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::{PipelineArgs, find_stage, look};
use super::device::DeviceArgs;
use super::exit::Failure;
use super::status;
use super::words::{about, age, duration, remarks, table};
use crate::engine::{Decision, Difference, Earlier, Experiment, KeyParts, Verdict};
use crate::pipeline::{Place, StageId};
use crate::store::{Digest, Store};

/// Arguments of `why`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// The stage.
    stage: String,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn why(args: &Args, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    let experiment = args.pipeline.open()?;
    let store = args.pipeline.folders.store()?;
    let planner = look(experiment, &store, args.device.find()?.device);
    let id = find_stage(experiment, &args.stage)?;
    let plan = planner.plan(&experiment.with_ancestors(&[id]));
    let name = &experiment.pipeline.stage(id).name;
    let mut steps = plan.steps.into_iter();
    let decision = steps.find(|(stage, _)| stage == name).map(|(_, decision)| decision);
    let decision = decision.expect("the selection holds the stage itself");
    let nearest = match (&decision.verdict, &decision.parts) {
        (Verdict::Reuse(record), _) => Earlier::of((**record).clone()),
        (Verdict::Run(_), Some(parts)) => planner.nearest(name, parts),
        (Verdict::Run(_), None) => None,
    };
    let nearest = nearest.map(|earlier| Nearest::new(earlier, experiment, &store));
    let view = View { experiment, id, decision, nearest };
    if args.json {
        writeln!(out, "{:#}", view.to_json())?;
    } else {
        write!(out, "{}", view.to_text())?;
    }
    Ok(ExitCode::SUCCESS)
}

struct View<'a> {
    experiment: &'a Experiment,
    id: StageId,
    decision: Decision,
    nearest: Option<Nearest>,
}

/// The result to compare with, and whose it is.
struct Nearest {
    earlier: Earlier,
    /// Its pipeline and stage, in the newest run that has it, this pipeline's runs first; gone with the log of runs.
    owner: Option<(String, String)>,
}

impl Nearest {
    fn new(earlier: Earlier, experiment: &Experiment, store: &Store) -> Nearest {
        let ours = &experiment.pipeline.name;
        let mut runs = store.runs().unwrap_or_default();
        runs.sort_by_key(|run| run.log.pipeline == *ours);
        let owner = runs.iter().rev().find_map(|run| {
            let (stage, _) = run.log.stages.iter().find(|(_, entry)| entry.key == earlier.record.key)?;
            Some((run.log.pipeline.clone(), stage.clone()))
        });
        Nearest { earlier, owner }
    }

    fn title(&self) -> String {
        let record = &self.earlier.record;
        let owner = match &self.owner {
            Some((pipeline, stage)) => format!("{stage} of {pipeline}, "),
            None => String::new(),
        };
        let (made, took) = (age(record.started), duration(record.seconds));
        format!("{owner}made {made} in {took}, key {}", record.key.short())
    }
}

/// One part of the key as it is shown.
struct Part {
    path: String,
    value: Option<String>,
    origin: String,
}

impl View<'_> {
    fn to_text(&self) -> String {
        let decl = self.experiment.pipeline.stage(self.id);
        let pipeline = &self.experiment.pipeline.name;
        let Decision { key, verdict, outlook, .. } = &self.decision;
        let time = outlook.seconds.map(|seconds| format!(", {}", about(seconds))).unwrap_or_default();
        let mut text = format!("{} of {pipeline}: {}{time}\n", decl.name, status::word(verdict));
        for line in self.reasons().into_iter().chain(remarks(outlook)) {
            text += &format!("  {line}\n");
        }
        if self.decision.parts.is_none() {
            return text;
        }
        text += &match key {
            Some(key) => format!("\nkey {key}\n"),
            None => format!("\nkey not known yet, because of {}\n", self.unknown().join(", ")),
        };
        let rows = self.parts().into_iter().map(|Part { path, value, origin }| {
            vec![path, value.unwrap_or_else(|| "not known yet".to_owned()), origin]
        });
        text += &indented(&rows.collect::<Vec<_>>());
        match (&self.nearest, verdict) {
            (None, _) => text += "\nthere is no other result of this kind to compare with\n",
            (Some(nearest), Verdict::Reuse(_)) => text += &format!("\nresult: {}\n", nearest.title()),
            (Some(nearest), Verdict::Run(_)) => {
                text += &format!("\nnearest result: {}\n{}", nearest.title(), self.changes());
            }
        }
        text
    }

    /// What differs from the nearest result, marked `-` and `+`.
    fn changes(&self) -> String {
        let differences = self.differences();
        if differences.is_empty() {
            return "  nothing known differs\n".to_owned();
        }
        let rows = differences.into_iter().flat_map(|Difference { path, old, new }| {
            let row = |sign: &str, value: Option<String>| {
                value.map(|value| vec![sign.to_owned(), path.join("."), shown(&path, &value)])
            };
            [row("-", old), row("+", new)].into_iter().flatten().collect::<Vec<_>>()
        });
        indented(&rows.collect::<Vec<_>>())
    }

    fn differences(&self) -> Vec<Difference> {
        let (Some(parts), Some(nearest)) = (&self.decision.parts, &self.nearest) else { return Vec::new() };
        let unknown = self.unknown_ports();
        let is_known = |difference: &Difference| match difference.path.as_slice() {
            [inputs, port] if inputs == "inputs" => !unknown.contains(&port.as_str()),
            _ => true,
        };
        parts.differences(&nearest.earlier.parts).into_iter().filter(is_known).collect()
    }

    fn reasons(&self) -> Vec<String> {
        match &self.decision.verdict {
            Verdict::Reuse(_) => Vec::new(),
            Verdict::Run(reasons) => reasons.iter().map(ToString::to_string).collect(),
        }
    }

    /// The bound inputs whose bytes are not known, because what makes them has to run.
    fn unknown_ports(&self) -> Vec<&str> {
        let known = self.decision.parts.as_ref().map(|parts| &parts.inputs);
        let ports = self.experiment.pipeline.stage(self.id).inputs.keys().map(String::as_str);
        ports.filter(|port| known.is_none_or(|known| !known.contains_key(*port))).collect()
    }

    fn unknown(&self) -> Vec<String> {
        let inputs = &self.experiment.pipeline.stage(self.id).inputs;
        self.unknown_ports().iter().map(|port| format!("input {port} from {}", inputs[*port])).collect()
    }

    /// The parts of the key as far as they are known, in the order in which they are hashed.
    fn parts(&self) -> Vec<Part> {
        let decl = self.experiment.pipeline.stage(self.id);
        let leaves = self.decision.parts.as_ref().map(KeyParts::leaves).unwrap_or_default();
        let unknown = self.unknown_ports().into_iter();
        let mut all: Vec<(Vec<String>, Option<String>)> =
            unknown.map(|port| (vec!["inputs".to_owned(), port.to_owned()], None)).collect();
        all.extend(leaves.into_iter().map(|(path, value)| (path, Some(value))));
        let rank = |path: &[String]| {
            ["kind", "version", "params", "inputs", "files", "device"]
                .iter()
                .position(|part| *part == path[0])
        };
        all.sort_by(|(a, _), (b, _)| (rank(a), a).cmp(&(rank(b), b)));
        let part = |(path, value): (Vec<String>, Option<String>)| {
            let steps: Vec<&str> = path.iter().map(String::as_str).collect();
            let origin = match steps.as_slice() {
                ["params", param @ ..] => {
                    let place = self.experiment.pipeline.place(&decl.name, param);
                    place.map_or("default".to_owned(), |place| line_of(&place))
                }
                ["inputs", port] => decl.inputs.get(*port).map(ToString::to_string).unwrap_or_default(),
                ["files", name] => {
                    let files = decl.stage.identity().files;
                    files.get(*name).map(|path| path.display().to_string()).unwrap_or_default()
                }
                _ => String::new(),
            };
            let value = value.map(|value| shown(&path, &value));
            Part { path: path.join("."), value, origin }
        };
        all.into_iter().map(part).collect()
    }

    fn to_json(&self) -> Value {
        let Decision { key, verdict, outlook, .. } = &self.decision;
        let parts: Vec<Value> = self
            .parts()
            .into_iter()
            .map(|Part { path, value, origin }| json!({"part": path, "value": value, "origin": origin}))
            .collect();
        let differences: Vec<Value> = self
            .differences()
            .into_iter()
            .map(|Difference { path, old, new }| json!({"part": path.join("."), "old": old, "new": new}))
            .collect();
        let nearest = self.nearest.as_ref().map(|Nearest { earlier, owner }| {
            json!({
                "key": earlier.record.key,
                "pipeline": owner.as_ref().map(|(pipeline, _)| pipeline),
                "stage": owner.as_ref().map(|(_, stage)| stage),
                "started": earlier.record.started,
                "seconds": earlier.record.seconds,
                "differences": differences,
            })
        });
        json!({
            "pipeline": self.experiment.pipeline.name,
            "stage": self.experiment.pipeline.stage(self.id).name.as_str(),
            "verdict": if matches!(verdict, Verdict::Reuse(_)) { "reuse" } else { "run" },
            "reasons": self.reasons(),
            "remarks": remarks(outlook).collect::<Vec<_>>(),
            "estimated_seconds": outlook.seconds,
            "key": key,
            "unknown_inputs": self.unknown_ports(),
            "parts": parts,
            "nearest": nearest,
        })
    }
}

/// A value as it is shown: of digests the first digits are enough.
fn shown(path: &[String], value: &str) -> String {
    match path[0].as_str() {
        "inputs" | "files" => {
            value.parse().map_or_else(|_| value.to_owned(), |digest: Digest| digest.short())
        }
        _ => value.to_owned(),
    }
}

fn line_of(place: &Place) -> String {
    match place {
        Place::File { path, line, .. } => format!("{}:{line}", path.display()),
        place => place.to_string(),
    }
}

fn indented(rows: &[Vec<String>]) -> String {
    table(rows).lines().map(|line| format!("  {line}\n")).collect()
}
