//! Turns the difference between a key and that of the last result into reasons: with the place of every value, and
//! for an input with what changed before it. Whether a stage runs is not decided here.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::Experiment;
use super::key::{Difference, KeyParts};
use super::outside::param_naming;
use super::past::{Earlier, Nth, Past, are_alike};
use super::reason::{Cause, Causes, FileChange, InputChange, Reason};
use crate::pipeline::{Source, StageId};
use crate::store::{Digest, Record};

/// How many changes before an input are told.
const TOLD: usize = 12;
/// How many stages back changes are looked for.
const DEEPEST: usize = 100;

/// Explains differences for one pipeline.
pub(super) struct Explainer<'a> {
    experiment: &'a Experiment,
    pub(super) past: Past<'a>,
    /// The causes found so far, by the port, its former bytes and the run that had those. Stages in a row ask for the same
    /// ones.
    found: Mutex<HashMap<Asked, Causes>>,
}

/// An output, the bytes that it once had, and in which run.
type Asked = (StageId, String, Digest, usize);

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
        earlier: &Earlier,
        results: &Results,
    ) -> Vec<Reason> {
        self.reasons(id, parts, earlier, results, 0).0
    }

    /// The reasons, and whether they are told to the end.
    fn reasons(
        &self,
        id: StageId,
        parts: &KeyParts,
        earlier: &Earlier,
        results: &Results,
        depth: usize,
    ) -> (Vec<Reason>, bool) {
        let decl = self.experiment.pipeline.stage(id);
        let differences = parts.changes(&earlier.parts);
        let other_kind = parts.kind != earlier.parts.kind;
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
                // Of different kinds these have nothing to do with each other.
                ["version" | "params" | "files" | "device", ..] if other_kind => continue,
                ["version"] => Reason::Version,
                ["params", param @ ..] => self.param(id, earlier, param, (old, new)),
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
                ["files", name] => self.file(id, earlier, name, (old.is_some(), new.is_some())),
                _ => Reason::Device {
                    old: old.unwrap_or("any".to_owned()),
                    new: new.unwrap_or("any".to_owned()),
                },
            };
            // What a parameter and the file that it names tell may be the same edit.
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        (with_renamed_entries(reasons), complete)
    }

    /// How an input differs; `None` if it is not known yet.
    fn input(
        &self,
        (id, earlier): (StageId, &Earlier),
        port: &str,
        (old, new): (Option<Digest>, Option<Digest>),
        results: &Results,
        depth: usize,
    ) -> Option<(InputChange, bool)> {
        let pipeline = &self.experiment.pipeline;
        let decl = pipeline.stage(id);
        let Some(source) = decl.inputs.get(port) else {
            let place = pipeline.place_around(&decl.name, &["in", port]);
            return Some((InputChange::Unbound { place }, true));
        };
        let (name, place) = (source.to_string(), || pipeline.place_of_input(&decl.name, port));
        new?;
        let Some(old) = old else {
            return Some((InputChange::Bound { source: name, place: place() }, true));
        };
        let read = self.past.run_of(&decl.name, earlier);
        let read = read.and_then(|(run, origins)| Some((run, origins.inputs.get(port)?)));
        let Some((run, former)) = read else {
            return Some((InputChange::Bytes { source: name, causes: Causes::default() }, true));
        };
        let (stage, former_port) = former.split_once('.').unwrap_or((former, ""));
        let then = self.past.result_in(run, stage);
        if !self.is_same_output((stage, former_port), (run, then.as_ref()), source, results) {
            return Some((InputChange::Rebound { old: former.clone(), new: name, place: place() }, true));
        }
        let asked = (source.id, source.port.clone(), old, run.0);
        let (causes, told) = self.causes(asked, then, results, depth);
        Some((InputChange::Bytes { source: name, causes }, told))
    }

    /// Whether what an input once came from is what it comes from now, perhaps under another name. `then` is the result
    /// of that stage in the run in which it was read.
    fn is_same_output(
        &self,
        (stage, port): (&str, &str),
        (run, then): (Nth<'_>, Option<&Earlier>),
        source: &Source,
        results: &Results,
    ) -> bool {
        let pipeline = &self.experiment.pipeline;
        let now = &pipeline.stage(source.id).name;
        let is_alike = |now: &Earlier, then: &Earlier| {
            are_alike(&now.parts, &then.parts)
                || now.parts.kind == then.parts.kind && self.past.heirs(run).get(stage) == Some(&source.id)
        };
        let is_same_stage = match (pipeline.id(stage), self.past.successor(stage)) {
            (Some(id), _) => id == source.id,
            (None, Some(successor)) => successor == now,
            // One that was there beside it is no other name of it.
            (None, None) => {
                let results = result_of(source.id, results).zip(then);
                !self.past.was_beside(now.as_str(), run, then)
                    && results.is_some_and(|(now, then)| is_alike(&now, then))
            }
        };
        let is_there =
            |port| pipeline.stage(source.id).ports.outputs.iter().any(|output| output.name == port);
        is_same_stage && (port == source.port || !is_there(port))
    }

    /// What changed since an output had other bytes.
    fn causes(&self, asked: Asked, then: Option<Earlier>, results: &Results, depth: usize) -> (Causes, bool) {
        let lock = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(causes) = lock().get(&asked) {
            return (causes.clone(), true);
        }
        let id = asked.0;
        let stage = &self.experiment.pipeline.stage(id).name;
        let now = result_of(id, results).filter(|_| depth < DEEPEST);
        let Some((now, then)) = now.zip(then) else { return (Causes::default(), false) };
        let (reasons, complete) = self.reasons(id, &now.parts, &then, results, depth + 1);
        let mut all: Vec<Cause> = Vec::new();
        let mut more = 0;
        let mut add = |cause: &Cause| match all.len() {
            _ if all.contains(cause) => {}
            TOLD => more += 1,
            _ => all.push(cause.clone()),
        };
        // The log has it that the former bytes were read from there, so its record has been overwritten since.
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

    /// How a parameter differs. One that does not count, or did not, has a value all the same.
    fn param(
        &self,
        id: StageId,
        earlier: &Earlier,
        param: &[&str],
        (old, new): (Option<String>, Option<String>),
    ) -> Reason {
        let Experiment { pipeline, .. } = self.experiment;
        let decl = pipeline.stage(id);
        let field = format!("{}.{}", decl.name, param.join("."));
        let in_json = |value: &Value| value_at(value, param).map(ToString::to_string);
        let given = if new.is_none() { in_json(&decl.stage.params()) } else { None };
        if given.is_some() && given == old {
            let place = pipeline.place(&decl.name, param);
            return Reason::Idle { field, old: old.unwrap_or_default(), place };
        }
        let was_given = if old.is_none() { in_json(&json!(earlier.origins.params)) } else { None };
        if let Some(value) = was_given.as_ref().filter(|was| new.as_ref() == Some(was)) {
            let place = pipeline.place(&decl.name, param);
            return Reason::Counts { field, value: value.clone(), place };
        }
        let (mut old, mut new) = (old.or(was_given), new.or(given));
        if param.len() == 1 {
            // Without a default a parameter that is left out is null.
            [&mut old, &mut new].into_iter().for_each(|value| drop(value.take_if(|value| value == "null")));
        }
        let place = match &new {
            Some(_) => pipeline.place(&decl.name, param),
            None => pipeline.place_around(&decl.name, &[&["with"], param].concat()),
        };
        Reason::Param { field, old, new, place }
    }

    /// How a file outside the store differs: by where it is, if the parameter that names it was edited, or else by
    /// its content.
    fn file(&self, id: StageId, earlier: &Earlier, name: &str, (was, is): (bool, bool)) -> Reason {
        let decl = self.experiment.pipeline.stage(id);
        let (former, origins) = (&earlier.origins.params, decl.stage.origins());
        let path = decl.stage.identity().files.remove(name);
        let param = match &path {
            Some(path) => param_naming(&origins, path),
            // Files of a folder come and go while that stays named.
            None => {
                let address = former.iter().find(|(_, value)| value.is_string());
                let folder = || param_naming(&origins, Path::new(name));
                let whole = |(param, _): (&String, &Value)| vec![param.clone()];
                address.map(whole).or_else(folder).or_else(|| former.first_key_value().map(whole))
            }
        };
        if let Some(param) = &param {
            let steps: Vec<&str> = param.iter().map(String::as_str).collect();
            let (old, new) = (json!(former), json!(origins));
            let (whole, new) = (&old[steps[0]], value_at(&new, &steps));
            let is_same = |old| match whole {
                // Others may have come or gone before it.
                Value::Array(items) => !(was && is) || new.is_some_and(|new| items.contains(new)),
                _ => new.is_some_and(|new| name_the_same(old, new)),
            };
            if let Some(old) = value_at(&old, &steps).filter(|old| !is_same(old)) {
                let values = (Some(old.to_string()), new.map(ToString::to_string));
                return self.param(id, earlier, &steps, values);
            }
        }
        let name = path.map_or(name.to_owned(), |path| path.display().to_string());
        let change = match (was, is) {
            (false, _) => FileChange::Appeared,
            (_, false) => FileChange::Gone,
            _ => FileChange::Content,
        };
        let param = param.unwrap_or_default();
        let path: Vec<&str> = std::iter::once("with").chain(param.iter().map(String::as_str)).collect();
        let place = self.experiment.pipeline.place_around(&decl.name, &path);
        Reason::File { param: param.into_iter().next(), name, change, place }
    }
}

/// The result of a stage, if it is known.
fn result_of(id: StageId, results: &Results) -> Option<Earlier> {
    Earlier::of(Record::clone(results[id.0].as_deref()?))
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

/// What a value has inside at a path.
fn value_at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        value => value.get(*step),
    })
}

/// Whether two values name the same file, perhaps spelled in two ways.
fn name_the_same(one: &Value, other: &Value) -> bool {
    let file = |value: &Value| {
        let text = value.as_str()?;
        let path = text.strip_prefix("file://").or(text.strip_prefix("file:")).unwrap_or(text);
        std::fs::canonicalize(path).ok()
    };
    one == other || file(one).zip(file(other)).is_some_and(|(one, other)| one == other)
}
