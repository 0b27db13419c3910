//! Reads one YAML text into a JSON value, or says everything that keeps it from being one: the hot first pass.
//! It does not know what the text is about.

use serde_json::{Map, Number, Value};
use serde_yaml::Value as Yaml;

use super::marks::{Content, Marks, Node, Span};

/// A text with more bytes than this is no pipeline.
pub(super) const LARGEST: u64 = 64 << 20;

/// Something that YAML allows, or does not, and a pipeline cannot hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub at: At,
    pub message: String,
    pub hint: Option<String>,
}

/// Where a [`Fault`] is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum At {
    /// At a place of the text.
    Span(Span),
    /// At a value, by its path.
    Path(Vec<String>),
}

/// Reads a text. The value is there whenever something can be said about the rest of it.
pub(super) fn parse(text: &str) -> (Option<Value>, Vec<Fault>) {
    match serde_yaml::from_str::<Yaml>(text) {
        Ok(yaml) => {
            let mut faults = vec![];
            let value = json(yaml, &mut vec![], &mut faults);
            (Some(value), faults)
        }
        Err(error) => diagnose(text, &error),
    }
}

/// Turns YAML into JSON. What JSON cannot hold becomes a fault and a null.
fn json(yaml: Yaml, path: &mut Vec<String>, faults: &mut Vec<Fault>) -> Value {
    let mut refuse = |path: &[String], message: &str| {
        faults.push(Fault { at: At::Path(path.to_vec()), message: message.into(), hint: None });
        Value::Null
    };
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(truth) => Value::Bool(truth),
        Yaml::String(text) => Value::String(text),
        Yaml::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(whole), ..) => whole.into(),
            (_, Some(whole), _) => whole.into(),
            (.., float) => match float.and_then(Number::from_f64) {
                Some(float) => Value::Number(float),
                None => refuse(path, "infinities and NaN are no values here"),
            },
        },
        Yaml::Sequence(items) => {
            let items = items.into_iter().enumerate().map(|(position, item)| {
                path.push(position.to_string());
                let item = json(item, path, faults);
                path.pop();
                item
            });
            Value::Array(items.collect())
        }
        Yaml::Mapping(entries) => {
            let mut map = Map::with_capacity(entries.len());
            for (key, value) in entries {
                let (key, is_text) = key_text(&key);
                path.push(key);
                if !is_text {
                    let message = "keys must be text; put quotes around this one".into();
                    faults.push(Fault { at: At::Path(path.clone()), message, hint: None });
                }
                let value = json(value, path, faults);
                map.extend(path.pop().map(|key| (key, value)));
            }
            Value::Object(map)
        }
        Yaml::Tagged(tagged) => refuse(path, &format!("tags such as `{}` mean nothing here", tagged.tag)),
    }
}

/// A key as the marks write it, and whether it was text from the start.
fn key_text(key: &Yaml) -> (String, bool) {
    match key {
        Yaml::String(text) => (text.clone(), true),
        Yaml::Bool(truth) => (truth.to_string(), false),
        Yaml::Number(number) => (number.to_string(), false),
        Yaml::Null => ("null".into(), false),
        Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => ("?".into(), false),
    }
}

/// Says what is wrong with a text that the first pass refused, and saves what can be saved.
fn diagnose(text: &str, error: &serde_yaml::Error) -> (Option<Value>, Vec<Fault>) {
    let marks = Marks::new(text);
    if let Some(span) = marks.second_document {
        let message = "a second document starts here; a pipeline is one document".into();
        return (None, vec![Fault { at: At::Span(span), message, hint: None }]);
    }
    if let Some((span, message)) = marks.fault {
        let hint = tab_hint(text, span.line);
        return (None, vec![Fault { at: At::Span(span), message: format!("not YAML: {message}"), hint }]);
    }
    if marks.duplicates.is_empty() {
        return (None, vec![refusal(text, error)]);
    }
    let faults = marks.duplicates.iter().map(|duplicate| {
        let message = match duplicate.path.as_slice() {
            [stages, name] if stages == "stages" => format!("two stages are named `{name}`"),
            [.., key] => format!("`{key}` is given twice"),
            [] => "a key is given twice".into(),
        };
        let hint = Some(format!("the first one is on line {}", duplicate.first_line));
        Fault { at: At::Span(duplicate.again), message, hint }
    });
    let faults = faults.collect();
    let value = marks.root.and_then(|root| salvage(&root, &mut 1_000_000));
    (value, faults)
}

/// What the first pass itself says, where the second finds nothing.
fn refusal(text: &str, error: &serde_yaml::Error) -> Fault {
    let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
    let whole = error.to_string();
    let message = whole.split(" at line ").next().unwrap_or_default();
    let message = match message {
        "recursion limit exceeded" => "nested too deeply".to_owned(),
        "repetition limit exceeded" => "aliases repeat too much".to_owned(),
        other => format!("not YAML: {other}"),
    };
    let span = Span { line: line.max(1), column: column.max(1), length: 1 };
    Fault { at: At::Span(span), message, hint: tab_hint(text, line) }
}

fn tab_hint(text: &str, line: usize) -> Option<String> {
    let line = text.lines().nth(line.saturating_sub(1))?;
    let indent = &line[..line.len() - line.trim_start().len()];
    indent.contains('\t').then(|| "YAML is indented with spaces; this line starts with a tab".into())
}

/// Turns a marked tree into a value, the first of each duplicate counting; none if aliases repeat too much.
fn salvage(node: &Node, budget: &mut usize) -> Option<Value> {
    *budget = budget.checked_sub(1)?;
    Some(match &node.content {
        Content::Plain(text) => {
            let yaml = serde_yaml::from_str(text).unwrap_or_else(|_| Yaml::String(text.clone()));
            json(yaml, &mut vec![], &mut vec![])
        }
        Content::Text(text) => Value::String(text.clone()),
        Content::List(items) => {
            Value::Array(items.iter().map(|item| salvage(item, budget)).collect::<Option<_>>()?)
        }
        Content::Map(entries) => {
            let entry = |(key, entry): (&String, &super::marks::Entry)| {
                Some((key.clone(), salvage(&entry.value, budget)?))
            };
            Value::Object(entries.iter().map(entry).collect::<Option<_>>()?)
        }
        Content::Nowhere => Value::Null,
    })
}
