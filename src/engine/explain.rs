//! Turns the difference between a key and that of the last result into reasons: with the place of every value, and
//! for an input with what changed before it. Whether a stage runs is not decided here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::Experiment;
use super::key::{Difference, KeyParts};
use super::outside::param_naming;
use super::past::{Earlier, Past};
use super::reason::{Cause, Causes, FileChange, InputChange, Reason};
use crate::pipeline::StageId;
use crate::store::{Digest, Record};

/// How many changes before an input are told.
const TOLD: usize = 12;
/// How many stages back changes are looked for.
const DEEPEST: usize = 100;

/// Explains differences for one pipeline.
pub(super) struct Explainer<'a> {
    experiment: &'a Experiment,
    pub(super) past: Past<'a>,
    /// The causes found so far, by the port and its former bytes. Stages in a row ask for the same ones.
    found: Mutex<HashMap<Asked, Causes>>,
}

/// An output and the bytes that it once had.
type Asked = (StageId, String, Digest);

/// The results of a run as far as they are known, by stage.
pub(super) type Results = [Option<Arc<Record>>];

impl<'a> Explainer<'a> {
    pub(super) fn new(experiment: &'a Experiment, past: Past<'a>) -> Explainer<'a> {
        Explainer { experiment, past, found: Mutex::default() }
    }

    /// Why the parts of a stage's key are not those of an earlier result. Of inputs only those count that are known.
    pub(super) fn changes(
        &self,
        id: StageId,
        parts: &KeyParts,
        earlier: &KeyParts,
        results: &Results,
    ) -> Vec<Reason> {
        self.reasons(id, parts, earlier, results, 0).0
    }

    /// The reasons, and whether they are told to the end.
    fn reasons(
        &self,
        id: StageId,
        parts: &KeyParts,
        earlier: &KeyParts,
        results: &Results,
        depth: usize,
    ) -> (Vec<Reason>, bool) {
        let decl = self.experiment.pipeline.stage(id);
        let differences = parts.changes(earlier);
        let other_kind = parts.kind != earlier.kind;
        let mut reasons = Vec::with_capacity(differences.len());
        let mut complete = true;
        for Difference { path, old, new } in differences {
            let steps: Vec<&str> = path.iter().map(String::as_str).collect();
            let reason = match steps.as_slice() {
                ["kind"] => Reason::Kind {
                    stage: decl.name.clone(),
                    old: old.unwrap_or_default(),
                    new: new.unwrap_or_default(),
                    place: self.experiment.pipeline.place_of_kind(&decl.name),
                },
                // Versions and parameters of different kinds have nothing to do with each other.
                ["version"] | ["params", ..] if other_kind => continue,
                ["version"] => Reason::Version,
                ["params", param @ ..] if new.is_none() && is_given(&decl.stage.params(), param) => {
                    let field = format!("{}.{}", decl.name, param.join("."));
                    Reason::Idle { field, old: old.unwrap_or_default() }
                }
                ["params", param @ ..] => Reason::Param {
                    field: format!("{}.{}", decl.name, param.join(".")),
                    old,
                    new,
                    place: self.experiment.pipeline.place(&decl.name, param),
                },
                ["inputs", port] => {
                    let digest = |text: Option<String>| text.and_then(|digits| digits.parse().ok());
                    match self.input((id, earlier), port, (digest(old), digest(new)), results, depth) {
                        Some((change, told)) => {
                            complete &= told;
                            Reason::Input { port: (*port).to_owned(), change }
                        }
                        None => continue,
                    }
                }
                ["files", name] => self.file(id, name, old.is_some(), new.is_some()),
                _ => Reason::Device {
                    old: old.unwrap_or("any".to_owned()),
                    new: new.unwrap_or("any".to_owned()),
                },
            };
            reasons.push(reason);
        }
        (with_renamed_entries(reasons), complete)
    }

    /// How an input differs; `None` if it is not known yet.
    fn input(
        &self,
        (id, earlier): (StageId, &KeyParts),
        port: &str,
        (old, new): (Option<Digest>, Option<Digest>),
        results: &Results,
        depth: usize,
    ) -> Option<(InputChange, bool)> {
        let pipeline = &self.experiment.pipeline;
        let decl = pipeline.stage(id);
        let Some(source) = decl.inputs.get(port) else { return Some((InputChange::Unbound, true)) };
        let (name, place) = (source.to_string(), || pipeline.place_of_input(&decl.name, port));
        new?;
        let Some(old) = old else {
            return Some((InputChange::Bound { source: name, place: place() }, true));
        };
        let maker = self.past.who_made(source.id, &source.port, &old);
        let former =
            if maker.is_none() { self.former_source((id, &earlier.key()), &old, &name) } else { None };
        if let Some(old) = former {
            return Some((InputChange::Rebound { old, new: name, place: place() }, true));
        }
        // If the log still says under which key the old bytes were made, that may be the key of the new ones: then they
        // have been overwritten by them.
        let key = maker.is_none().then(|| self.past.key_read_by(id, &earlier.key(), source.id)).flatten();
        let maker = maker.or_else(|| {
            let now = results[source.id.0].as_deref().filter(|now| key == Some(now.key));
            now.cloned().and_then(Earlier::of)
        });
        let asked = (source.id, source.port.clone(), old);
        let (causes, told) = self.causes(asked, maker, results, depth);
        Some((InputChange::Bytes { source: name, causes }, told))
    }

    /// Another output of this pipeline that an input with these bytes can have come from when a stage got a result.
    fn former_source(&self, (id, result): (StageId, &Digest), bytes: &Digest, now: &str) -> Option<String> {
        let Experiment { pipeline, graph, .. } = self.experiment;
        let sources = self.past.sources_of(bytes, id, result).iter();
        // What has gone from the pipeline was perhaps only renamed.
        let sources =
            sources.filter_map(|(stage, port)| Some((pipeline.id(stage)?, format!("{stage}.{port}"))));
        let mut others = sources.filter(|(_, name)| name != now).peekable();
        others.peek()?;
        let behind = graph.dependents(id);
        others.find(|(from, _)| *from != id && behind.binary_search(from).is_err()).map(|(_, name)| name)
    }

    /// What changed since an output had other bytes.
    fn causes(
        &self,
        asked: Asked,
        maker: Option<Earlier>,
        results: &Results,
        depth: usize,
    ) -> (Causes, bool) {
        let lock = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(causes) = lock().get(&asked) {
            return (causes.clone(), true);
        }
        let id = asked.0;
        let stage = &self.experiment.pipeline.stage(id).name;
        let Some(now) = results[id.0].as_deref().cloned().and_then(Earlier::of).filter(|_| depth < DEEPEST)
        else {
            return (Causes::default(), false);
        };
        let renamed = || {
            let made =
                |then: &Earlier| then.record.outputs.get(&asked.1).is_some_and(|a| a.digest == asked.2);
            self.past.last_result(stage, &now.parts).filter(made)
        };
        let Some(then) = maker.or_else(renamed) else { return (Causes::default(), false) };
        let (reasons, complete) = self.reasons(id, &now.parts, &then.parts, results, depth + 1);
        let mut all: Vec<Cause> = Vec::new();
        let mut more = 0;
        let mut add = |cause: &Cause| match all.len() {
            _ if all.contains(cause) => {}
            TOLD => more += 1,
            _ => all.push(cause.clone()),
        };
        if then.record.key == now.record.key {
            add(&Cause { stage: stage.clone(), reason: None });
        }
        let mut hidden = 0;
        for reason in reasons {
            match &reason {
                Reason::Input { change: InputChange::Bytes { causes, .. }, .. }
                    if !causes.told.is_empty() =>
                {
                    causes.told.iter().for_each(&mut add);
                    hidden += causes.more;
                }
                _ => add(&Cause { stage: stage.clone(), reason: Some(reason) }),
            }
        }
        let causes = Causes { told: Arc::from(all), more: more + hidden };
        if complete {
            lock().insert(asked, causes.clone());
        }
        (causes, complete)
    }

    /// How a file outside the store differs.
    fn file(&self, id: StageId, name: &str, was: bool, is: bool) -> Reason {
        let stage = &self.experiment.pipeline.stage(id).stage;
        let path = stage.identity().files.remove(name);
        let param = path.as_ref().and_then(|path| param_naming(&stage.params(), path)?.into_iter().next());
        let name = path.map_or(name.to_owned(), |path| path.display().to_string());
        let change = match (was, is) {
            (false, _) => FileChange::Appeared,
            (_, false) => FileChange::Gone,
            _ => FileChange::Content,
        };
        Reason::File { param, name, change }
    }
}

/// Reasons in which an entry of a parameter that has gone, and one of the same value that was added, are one.
fn with_renamed_entries(mut reasons: Vec<Reason>) -> Vec<Reason> {
    while let Some((gone, added, renamed)) = renamed_entry(&reasons) {
        reasons[gone] = renamed;
        reasons.remove(added);
    }
    reasons
}

/// The positions of two reasons, and the one that both are.
fn renamed_entry(reasons: &[Reason]) -> Option<(usize, usize, Reason)> {
    reasons.iter().enumerate().find_map(|(gone, reason)| {
        let Reason::Param { field: old, old: Some(was), new: None, .. } = reason else { return None };
        let map = map_around(old)?;
        reasons.iter().enumerate().find_map(|(added, reason)| match reason {
            Reason::Param { field: new, old: None, new: Some(is), place }
                if is == was && map_around(new) == Some(map) =>
            {
                let (old, new, place) = (old.clone(), new.clone(), place.clone());
                Some((gone, added, Reason::Renamed { old, new, place }))
            }
            _ => None,
        })
    })
}

/// The parameter of which a field is an entry; `None` if it is a parameter itself, whose name is not the user's.
fn map_around(field: &str) -> Option<&str> {
    field.rsplit_once('.').map(|(map, _)| map).filter(|map| map.contains('.'))
}

/// Whether parameters have a value at a path.
fn is_given(params: &Value, path: &[&str]) -> bool {
    let step = |value: &Value, step: &&str| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?).cloned(),
        value => value.get(*step).cloned(),
    };
    path.iter().try_fold(params.clone(), |value, next| step(&value, next)).is_some()
}
