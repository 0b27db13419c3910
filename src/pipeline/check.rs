//! Checks a merged document key by key and turns its stages into declarations; what is wrong with one stage
//! hides nothing about the others. It does not know how the document came to be.

use std::path::Path;

use serde_json::{Map, Value};

use super::catalogue::{Catalogue, Complaint, Inputs, KnownPorts, OutputPort, Ports};
use super::checked::{StageDecl, StageId};
use super::draft::Draft;
use super::layers::kind_of;
use super::names::{NAME_RULE, StageName, did_you_mean, is_name};
use super::report::Report;
use super::wiring;

const TOP_KEYS: [&str; 5] = ["name", "about", "extends", "vars", "stages"];
const STAGE_KEYS: [&str; 3] = ["uses", "in", "with"];

/// A stage on its way to a declaration.
pub(super) struct Candidate<S> {
    pub name: StageName,
    /// Its `in:` block.
    pub bindings: Map<String, Value>,
    /// What its `uses:` and `with:` say, if nothing is wrong with them.
    read: Option<Read<S>>,
    /// The ports that it has in any case, if it may have others than those that were read.
    known: Option<KnownPorts>,
}

/// A stage whose parameters were read.
pub(super) struct Read<S> {
    kind: String,
    params: Value,
    ports: Ports,
    stage: S,
}

impl<S> Candidate<S> {
    /// What it reads, as far as that is known.
    pub fn inputs(&self) -> Option<&Inputs> {
        match (&self.known, &self.read) {
            (Some(known), _) => known.inputs.as_ref(),
            (None, read) => read.as_ref().map(|read| &read.ports.inputs),
        }
    }

    /// What it makes, as far as that is known.
    pub fn outputs(&self) -> Option<&[OutputPort]> {
        match (&self.known, &self.read) {
            (Some(known), _) => known.outputs.as_deref(),
            (None, read) => read.as_ref().map(|read| read.ports.outputs.as_slice()),
        }
    }
}

/// Checks a whole document.
pub(super) fn check<C: Catalogue>(
    file: &Path,
    mut document: Map<String, Value>,
    catalogue: &C,
    mut report: Report,
) -> Draft<C::Stage> {
    unknown_keys(&document, &TOP_KEYS, &[], &mut report);
    let mut draft = Draft::empty(file);
    if let Some(name) = text(document.get("name"), "name", &mut report) {
        if !fits_a_path(&name) {
            let message = format!("{name:?} cannot name a pipeline, because folders are named after it");
            report.value(&["name"], message);
        }
        draft.name = name;
    }
    draft.about = text(document.get("about"), "about", &mut report).unwrap_or_default();

    let kinds = catalogue.kinds();
    let mut candidates = vec![];
    for (name, body) in stages(document.remove("stages"), &mut report) {
        let mut body = stage_body(&name, body, &mut report);
        let is_void = report.is_void(&name);
        let read = if is_void {
            Err(KnownPorts::default())
        } else {
            read(&name, &mut body, catalogue, &kinds, &mut report)
        };
        let (read, known) = match read {
            Ok(read) => {
                let known = report.is_partial().then(|| KnownPorts::of_part(read.ports.clone()));
                (Some(read), known)
            }
            Err(known) if report.is_partial() => (None, Some(known.in_part())),
            Err(known) => (None, Some(known)),
        };
        let bindings = if is_void { Map::new() } else { bindings(&name, &mut body, &mut report) };
        draft.ids.insert(StageName::new(&name), StageId(candidates.len()));
        candidates.push(Candidate { name: StageName::new(&name), bindings, read, known });
    }

    let (inputs, links) = wiring::connect(&candidates, &draft.ids, &mut report);
    draft.names = candidates.iter().map(|candidate| candidate.name.clone()).collect();
    draft.links = links;
    let sound = candidates.into_iter().zip(inputs).filter_map(|(Candidate { name, read, .. }, inputs)| {
        let Read { kind, params, ports, stage } = read?;
        Some(StageDecl { name, kind, inputs, params, ports, stage })
    });
    draft.stages = sound.collect();
    draft.report = report;
    draft
}

/// The stages with names that can be names.
fn stages(value: Option<Value>, report: &mut Report) -> Map<String, Value> {
    let stages = match value {
        Some(Value::Object(stages)) => stages,
        None => {
            if !report.is_partial() {
                report.key(&[], "there is no `stages:`");
            }
            return Map::new();
        }
        Some(other) => {
            let message = format!("`stages` is a map of names and stages, and this is {}", kind_of(&other));
            report.value(&["stages"], message);
            return Map::new();
        }
    };
    if stages.is_empty() && !report.is_partial() {
        report.key(&["stages"], "a pipeline has at least one stage");
    }
    for name in stages.keys() {
        if name == "vars" {
            let problem = report.key(&["stages", name], "`vars` cannot name a stage");
            problem.note("`--set vars.x=1` and `${vars.x}` mean the variables");
        } else if !is_name(name) {
            report.key(&["stages", name], format!("{name:?} cannot name a stage")).note(NAME_RULE);
        }
    }
    stages
}

/// What stands below a stage's name.
fn stage_body(name: &str, body: Value, report: &mut Report) -> Map<String, Value> {
    match body {
        Value::Object(body) => {
            unknown_keys(&body, &STAGE_KEYS, &["stages", name], report);
            body
        }
        other => {
            let message = format!("a stage is a map with the key `uses`, and this is {}", kind_of(&other));
            report.value(&["stages", name], message);
            Map::new()
        }
    }
}

/// Reads a stage's `uses:` and `with:`.
fn read<C: Catalogue>(
    name: &str,
    body: &mut Map<String, Value>,
    catalogue: &C,
    kinds: &[&str],
    report: &mut Report,
) -> Result<Read<C::Stage>, KnownPorts> {
    let path = ["stages", name, "uses"];
    let kind = match body.remove("uses") {
        Some(Value::String(kind)) => kind,
        None => {
            if !body.is_empty() && !report.is_partial() {
                report
                    .key(&path[..2], format!("stage `{name}` does not say what it `uses`"))
                    .hint(one_of(kinds));
            }
            return Err(KnownPorts::default());
        }
        Some(other) => {
            report.value(&path, format!("`uses` names a kind of stage, and this is {}", kind_of(&other)));
            return Err(KnownPorts::default());
        }
    };
    if !kinds.contains(&kind.as_str()) {
        let hint = did_you_mean(&kind, kinds.iter().copied()).or_else(|| one_of(kinds));
        report.value(&path, format!("there is no kind of stage `{kind}`")).hint(hint);
        return Err(KnownPorts::default());
    }
    let params = match body.remove("with").unwrap_or_default() {
        Value::Null => Value::Object(Map::new()),
        params @ Value::Object(_) => params,
        other => {
            let message = format!("`with` is a map of parameters, and this is {}", kind_of(&other));
            report.value(&["stages", name, "with"], message);
            return Err(KnownPorts::default());
        }
    };
    match catalogue.read(&kind, &params) {
        Ok((stage, ports)) => Ok(Read { kind, params, ports, stage }),
        Err(refusal) => {
            let ports = refusal.ports.clone();
            let complaints = if report.is_partial() { refusal.complaints } else { refusal.into_complaints() };
            for Complaint { path, message, hint } in complaints {
                let path = ["stages", name, "with"].into_iter().chain(path.iter().map(String::as_str));
                report.key(&path.collect::<Vec<_>>(), message).hint(hint);
            }
            Err(ports)
        }
    }
}

/// A stage's `in:` block.
fn bindings(name: &str, body: &mut Map<String, Value>, report: &mut Report) -> Map<String, Value> {
    match body.remove("in").unwrap_or_default() {
        Value::Null => Map::new(),
        Value::Object(bindings) => bindings,
        other => {
            let message =
                format!("`in` is a map of input ports and their sources, and this is {}", kind_of(&other));
            report.value(&["stages", name, "in"], message);
            Map::new()
        }
    }
}

fn unknown_keys(map: &Map<String, Value>, known: &[&str], path: &[&str], report: &mut Report) {
    for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
        let mut names = one_of(known);
        if known.contains(&"with") {
            names = names.map(|names| format!("{names}; a parameter stands in the map under `with`"));
        }
        let hint = match key.as_str() {
            "<<" => Some("merge keys are not supported; use `extends` or `vars`".into()),
            _ => did_you_mean(key, known.iter().copied()).or(names),
        };
        report.key(&[path, &[key]].concat(), format!("unknown key `{key}`")).hint(hint);
    }
}

fn text(value: Option<&Value>, key: &str, report: &mut Report) -> Option<String> {
    match value? {
        Value::String(text) => return Some(text.clone()),
        Value::Null => {}
        other => drop(report.value(&[key], format!("`{key}` is a text, and this is {}", kind_of(other)))),
    }
    None
}

/// Whether a text can be the name of a folder.
fn fits_a_path(name: &str) -> bool {
    let is_odd = |c: char| c.is_control() || c == '/' || c == '\\';
    !name.is_empty() && !name.starts_with('.') && name.len() <= 100 && !name.contains(is_odd)
}

fn one_of(names: &[&str]) -> Option<String> {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| format!("known are {}", names.join(", ")))
}
