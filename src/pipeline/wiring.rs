//! Connects the `in:` of each stage with the output ports of others. It knows no parameters and no cycles.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::catalogue::{AtLeast, Holds, InputPort, Inputs, Need, OutputPort, Side};
use super::check::Candidate;
use super::checked::{Link, Source, StageId};
use super::layers::kind_of;
use super::names::{NAME_RULE, StageName, did_you_mean, is_name};
use super::report::Report;

/// Resolves all bindings: the inputs of each stage, and every link between two stages that is clear from the
/// file, also those of stages with other problems.
pub(super) fn connect<S>(
    stages: &[Candidate<S>],
    ids: &HashMap<StageName, StageId>,
    report: &mut Report,
) -> (Vec<BTreeMap<String, Source>>, Vec<Link>) {
    let mut links = vec![];
    let mut all_inputs = Vec::with_capacity(stages.len());
    for (position, stage) in stages.iter().enumerate() {
        let mut inputs = BTreeMap::new();
        let ports = stage.inputs();
        for (port, source) in &stage.bindings {
            if report.is_full() {
                break;
            }
            let input = ports.and_then(|ports| input_port(stage, ports, port, report));
            if let Some(Need::ReplacedBy(param)) = input.map(|input| input.need) {
                let message = format!("stage `{}` has both an input `{port}` and `{param}`", stage.name);
                report.key(&path(stage, port), message).note("keep one of them; each stands for the other");
            }
            let Some((from, output)) = find(stages, ids, stage, port, source, report) else { continue };
            if from.0 == position {
                report.value(&path(stage, port), format!("stage `{}` reads its own output", stage.name));
                continue;
            }
            links.push(Link { from, to: StageId(position), port: port.clone() });
            let Some(output) = output else { continue };
            if let Some(input) = input.filter(|input| !fits(output.holds, input.holds)) {
                let message =
                    format!("`{port}` takes a {}, and this is a {}", input.holds.word(), output.holds.word());
                report.value(&path(stage, port), message).hint(fitting(stages, from, input.holds));
            }
            if let Some(least) = input.and_then(|input| input.at_least) {
                check_size(stage, least, source, output, report);
            }
            if let Some(least) = input.and_then(|input| input.least_side) {
                check_side(stage, least, &stages[from.0], output, report);
            }
            let source = Source { stage: stages[from.0].name.clone(), id: from, port: output.name.clone() };
            inputs.insert(port.clone(), source);
        }
        missing(stage, ports, report);
        all_inputs.push(inputs);
    }
    (all_inputs, links)
}

fn path<'a, S>(stage: &'a Candidate<S>, port: &'a str) -> [&'a str; 4] {
    ["stages", stage.name.as_str(), "in", port]
}

/// The declared port behind a name in `in:`; none if it is unknown or holds anything.
fn input_port<'a, S>(
    stage: &Candidate<S>,
    ports: &'a Inputs,
    port: &str,
    report: &mut Report,
) -> Option<&'a InputPort> {
    match ports {
        Inputs::Any => {
            if !is_name(port) {
                report.key(&path(stage, port), format!("{port:?} cannot name an input")).note(NAME_RULE);
            }
            None
        }
        Inputs::Fixed(known) => {
            let found = known.iter().find(|input| input.name == port);
            if found.is_none() {
                let names: Vec<&str> = known.iter().map(|input| input.name).collect();
                let hint =
                    did_you_mean(port, names.iter().copied()).unwrap_or_else(|| match names.as_slice() {
                        [] => "it has no inputs".into(),
                        names => format!("its inputs are {}", quoted(names)),
                    });
                report
                    .key(&path(stage, port), format!("stage `{}` has no input `{port}`", stage.name))
                    .note(hint);
            }
            found
        }
    }
}

/// The stage that a binding names, and its port unless that stage could not be read.
fn find<'a, S>(
    stages: &'a [Candidate<S>],
    ids: &HashMap<StageName, StageId>,
    stage: &Candidate<S>,
    port: &str,
    source: &Value,
    report: &mut Report,
) -> Option<(StageId, Option<&'a OutputPort>)> {
    let Value::String(source) = source else {
        let message = format!("a source is `stage` or `stage.port`, and this is {}", kind_of(source));
        report.value(&path(stage, port), message);
        return None;
    };
    let (name, wanted) = match source.split_once('.') {
        Some((name, wanted)) => (name, Some(wanted)),
        None => (source.as_str(), None),
    };
    let Some(&from) = ids.get(name) else {
        if let Some(removal) = report.sources.removal(&["stages", name]) {
            let reader = &stage.name;
            let message = format!("stage `{reader}` reads `{name}`, which {removal} removes");
            let remedy = format!("keep `{name}`, remove `{reader}` as well, or let it read another stage");
            report.value(&path(stage, port), message).note(remedy);
            return None;
        }
        if report.is_partial() {
            return None;
        }
        let hint = did_you_mean(name, stages.iter().map(|stage| stage.name.as_str()));
        report.value(&path(stage, port), format!("no stage is named `{name}`")).hint(hint);
        return None;
    };
    let Some(outputs) = stages[from.0].outputs() else {
        return Some((from, None));
    };
    let found = match (wanted, outputs) {
        (None, [only]) => Some(only),
        (None, _) => None,
        (Some(wanted), outputs) => outputs.iter().find(|output| output.name == wanted),
    };
    if found.is_none() {
        let sources: Vec<String> = outputs.iter().map(|output| format!("{name}.{}", output.name)).collect();
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        let (message, hint) = match wanted {
            _ if sources.is_empty() => (format!("stage `{name}` has no outputs"), None),
            None => (format!("stage `{name}` has several outputs"), None),
            Some(wanted) => {
                let hint = did_you_mean(source, sources.iter().copied());
                (format!("stage `{name}` has no output `{wanted}`"), hint)
            }
        };
        let hint =
            hint.or_else(|| (!sources.is_empty()).then(|| format!("write one of {}", quoted(&sources))));
        report.value(&path(stage, port), message).hint(hint);
    }
    Some((from, found))
}

/// Reports a parameter that asks for more samples than there will be.
fn check_size<S>(
    stage: &Candidate<S>,
    least: AtLeast,
    source: &Value,
    output: &OutputPort,
    report: &mut Report,
) {
    if let (Some(there), Value::String(source)) = (output.samples, source)
        && let Some((message, remedy)) = least.too_few(there, source)
    {
        report.value(&["stages", stage.name.as_str(), "with", least.param], message).note(remedy);
    }
}

/// Reports the parameter that makes images too small for whoever reads them.
fn check_side<S>(
    stage: &Candidate<S>,
    least: u64,
    maker: &Candidate<S>,
    output: &OutputPort,
    report: &mut Report,
) {
    let Some(Side { pixels, param }) = output.side.as_ref().filter(|side| side.pixels < least) else {
        return;
    };
    let (reader, maker) = (&stage.name, maker.name.as_str());
    let message = format!(
        "`{reader}` needs images of at least {least} x {least} pixels, and `{maker}` makes them {pixels} wide or high"
    );
    let param = param.iter().map(String::as_str);
    let path: Vec<&str> = ["stages", maker, "with"].into_iter().chain(param).collect();
    report.value(&path, message).note(format!("give it at least {least}"));
}

/// Reports the required inputs that a stage leaves out.
fn missing<S>(stage: &Candidate<S>, ports: Option<&Inputs>, report: &mut Report) {
    let Some(Inputs::Fixed(known)) = ports else { return };
    for input in known.iter().filter(|input| !stage.bindings.contains_key(input.name)) {
        let (or, instead) = match input.need {
            Need::Required => (String::new(), String::new()),
            Need::Or(param) => (format!(" or `{param}`"), format!(", or give `{param}`")),
            Need::Optional | Need::ReplacedBy(_) => continue,
        };
        let message = format!("stage `{}` needs an input `{}`{or}", stage.name, input.name);
        let (name, word) = (input.name, input.holds.word());
        let example = format!("bind it with `in: {{ {name}: STAGE }}` to a {word}{instead}");
        report.key(&["stages", stage.name.as_str(), "in"], message).note(example);
    }
}

/// Whether an artifact can go where another kind is expected.
fn fits(made: Holds, taken: Holds) -> bool {
    match taken {
        Holds::Directory => made != Holds::File,
        Holds::File | Holds::Dataset | Holds::Model => made == taken,
    }
}

/// The outputs of the same stage that would fit.
fn fitting<S>(stages: &[Candidate<S>], from: StageId, taken: Holds) -> Option<String> {
    let name = &stages[from.0].name;
    let outputs = stages[from.0].outputs().unwrap_or_default().iter();
    let sources =
        outputs.filter(|output| fits(output.holds, taken)).map(|output| format!("{name}.{}", output.name));
    let sources: Vec<String> = sources.collect();
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    (!sources.is_empty()).then(|| format!("{} would fit", quoted(&sources)))
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
