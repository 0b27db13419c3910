//! `STAGE[.PORT]` on the command line: what it names in a pipeline.

use std::sync::Arc;

use super::args::find_stage;
use super::exit::Failure;
use super::words::nearest;
use crate::engine::stage::OutputPort;
use crate::engine::{Experiment, Planner, Verdict};
use crate::pipeline::StageId;
use crate::store::Record;

/// A stage, and perhaps one of its output ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub id: StageId,
    pub port: Option<&'a OutputPort>,
}

/// Finds what a text names.
pub(super) fn find<'a>(experiment: &'a Experiment, text: &str) -> Result<Target<'a>, Failure> {
    let (stage, port) = text.split_once('.').map_or((text, None), |(stage, port)| (stage, Some(port)));
    let id = find_stage(experiment, stage)?;
    let ports = &experiment.pipeline.stage(id).ports.outputs;
    let port = match port {
        None => None,
        Some(name) => Some(ports.iter().find(|port| port.name == name).ok_or_else(|| {
            let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            let hint = nearest(name, names.iter().copied());
            Failure::Usage(format!("`{stage}` has no output `{name}`, only {}{hint}", names.join(", ")))
        })?),
    };
    Ok(Target { id, port })
}

impl<'a> Target<'a> {
    /// The port that was named, or the only one.
    pub(super) fn only_port(&self, experiment: &'a Experiment) -> Result<&'a OutputPort, Failure> {
        let decl = experiment.pipeline.stage(self.id);
        match (self.port, decl.ports.outputs.as_slice()) {
            (Some(port), _) | (None, [port]) => Ok(port),
            (None, ports) => {
                let names: Vec<String> =
                    ports.iter().map(|port| format!("{}.{}", decl.name, port.name)).collect();
                let which = if names.is_empty() { "it has none".to_owned() } else { names.join(" or ") };
                Err(Failure::Usage(format!("`{}`: say which output: {which}", decl.name)))
            }
        }
    }
}

/// The up-to-date result of a stage, or with `or_last` the last good one; else a message that says how to come by one.
pub(super) fn result(
    planner: &Planner<'_>,
    experiment: &Experiment,
    target: Target<'_>,
    or_last: bool,
) -> Result<Record, Failure> {
    let decl = experiment.pipeline.stage(target.id);
    let name = &decl.name;
    let plan = planner.plan(&experiment.with_ancestors(&[target.id]));
    let (_, decision) = plan.steps.into_iter().next_back().expect("the selection holds the stage itself");
    if let Verdict::Reuse(record) = decision.verdict {
        return Ok(Arc::unwrap_or_clone(record));
    }
    let file = experiment.pipeline.file.display();
    let older = match planner.last_good(name) {
        Some(record) if or_last => return Ok(record),
        Some(_) => {
            let port = target.port.or(decl.ports.outputs.first()).map_or("", |port| &port.name);
            format!(
                "; the last good one, from other params or inputs: stlpipe get {file} {name}.{port} --last -o PATH"
            )
        }
        None => String::new(),
    };
    let message =
        format!("`{name}` has no up-to-date result; make it with: stlpipe run {file} --stage {name}{older}");
    Err(anyhow::anyhow!(message).into())
}
