//! Puts the values of variables where `${vars.name}` stands. It does not know what stages are.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::layers::kind_of;
use super::names::{NAME_RULE, did_you_mean, is_name};
use super::report::Report;

/// How deep values and references may nest.
const DEEPEST: usize = 128;

/// How many bytes variables may put into a pipeline, all in all; more is a bomb.
const MOST_BYTES: usize = 64 << 20;

/// Replaces all references; one that leads nowhere is reported and stays.
pub(super) fn substitute(document: &mut Map<String, Value>, report: &mut Report) {
    let given = match document.shift_remove("vars") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(given)) => given,
        Some(other) => {
            report.value(
                &["vars"],
                format!("`vars` is a map of names and values, and this is {}", kind_of(&other)),
            );
            Map::new()
        }
    };
    for name in given.keys().filter(|name| !is_name(name)) {
        report.key(&["vars", name], format!("`{name}` cannot name a variable")).note(NAME_RULE);
    }
    let mut vars = Vars { given, known: HashMap::new(), asking: vec![], room: MOST_BYTES, report };
    for (key, value) in document.iter_mut() {
        match value {
            Value::Object(entries) => {
                for (name, value) in entries.iter_mut().filter(|(_, value)| refers(value)) {
                    let mut path = vec![key.clone(), name.clone()];
                    if !vars.expand(value, &mut path, 0) {
                        vars.report.void(&path);
                    }
                }
            }
            value => drop(vars.expand(value, &mut vec![key.clone()], 0)),
        }
    }
}

/// The name in a text that is one reference and nothing else.
pub(super) fn named_by(text: &str) -> Option<&str> {
    text.strip_prefix("${vars.")?.strip_suffix('}').filter(|name| !name.contains('}'))
}

/// Whether there is anything to do below a value; most values hold no reference.
fn refers(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(items) => items.iter().any(refers),
        Value::Object(map) => map.values().any(refers),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The variables of one pipeline, expanded as they are asked for.
struct Vars<'a> {
    given: Map<String, Value>,
    /// The expanded value, or none if it was reported.
    known: HashMap<String, Option<Known>>,
    /// The variables being expanded, outermost first.
    asking: Vec<String>,
    room: usize,
    report: &'a mut Report,
}

/// An expanded variable, with what it costs to use it.
struct Known {
    value: Value,
    bytes: usize,
    depth: usize,
}

impl Vars<'_> {
    /// Replaces all references below a value; false if one could not be, and was reported.
    fn expand(&mut self, value: &mut Value, path: &mut Vec<String>, depth: usize) -> bool {
        match value {
            Value::String(text) if text.contains("${") => match self.expand_text(text, path, depth) {
                Some(new) => *value = new,
                None => return false,
            },
            Value::Array(items) => {
                return items.iter_mut().enumerate().fold(true, |good, (position, item)| {
                    self.below(item, position.to_string(), path, depth) && good
                });
            }
            Value::Object(map) => {
                return map
                    .iter_mut()
                    .fold(true, |good, (key, item)| self.below(item, key.clone(), path, depth) && good);
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
        true
    }

    fn below(&mut self, value: &mut Value, step: String, path: &mut Vec<String>, depth: usize) -> bool {
        path.push(step);
        let good = self.expand(value, path, depth + 1);
        path.pop();
        good
    }

    /// The value of a text with references, none of which is left out when one is wrong.
    fn expand_text(&mut self, text: &str, path: &[String], depth: usize) -> Option<Value> {
        let mut good = true;
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, reference) = rest.split_at(start);
            if let Some(before) = before.strip_suffix('$') {
                out += before;
                out += "${";
                rest = &reference[2..];
                continue;
            }
            out += before;
            let Some(end) = reference.find('}') else {
                self.complain(
                    path,
                    "`${` without a `}`".into(),
                    Some("a literal `${` is written `$${`".into()),
                );
                return None;
            };
            let (reference, after) = reference.split_at(end + 1);
            let value = self.look_up(reference, path, depth);
            if reference.len() == text.len() {
                return value;
            }
            match value {
                Some(Value::String(value)) => out += &value,
                Some(value @ (Value::Bool(_) | Value::Number(_))) => out += &value.to_string(),
                Some(other) => {
                    let message =
                        format!("`{reference}` is {} and does not fit inside a text", kind_of(&other));
                    self.complain(path, message, None);
                    good = false;
                }
                None => good = false,
            }
            rest = after;
        }
        out += rest;
        good.then_some(Value::String(out))
    }

    /// The value of one reference, such as `${vars.copies}`.
    fn look_up(&mut self, reference: &str, path: &[String], depth: usize) -> Option<Value> {
        let Some(name) = named_by(reference) else {
            let hint =
                format!("a variable is `${{vars.NAME}}`; a literal `{reference}` is written `${reference}`");
            self.complain(path, format!("`{reference}` is no reference to a variable"), Some(hint));
            return None;
        };
        if !self.given.contains_key(name) {
            if let Some(removal) = self.report.sources.removal(&["vars", name]) {
                let hint = format!("keep `{name}`, or give what refers to it another value");
                self.complain(
                    path,
                    format!("`{reference}` is a variable that {removal} removes"),
                    Some(hint),
                );
                return None;
            }
            if self.report.is_partial() {
                return None;
            }
            let hint = did_you_mean(name, self.given.keys().map(String::as_str))
                .unwrap_or_else(|| format!("declare it under `vars:` at the top, as `{name}: VALUE`"));
            self.complain(path, format!("no variable is named `{name}`"), Some(hint));
            return None;
        }
        self.resolve(name, depth);
        let known = self.known.get(name)?.as_ref()?;
        if depth + known.depth > DEEPEST {
            self.complain(path, format!("`{reference}` makes this nest more than {DEEPEST} deep"), None);
            return None;
        }
        let Some(room) = self.room.checked_sub(known.bytes) else {
            self.complain(path, format!("variables expand to more than {} MiB", MOST_BYTES >> 20), None);
            return None;
        };
        self.room = room;
        Some(known.value.clone())
    }

    /// Expands a variable unless that has been done, or reports why it cannot be.
    fn resolve(&mut self, name: &str, depth: usize) {
        if self.known.contains_key(name) {
            return;
        }
        let path = ["vars".to_owned(), name.to_owned()];
        if let Some(start) = self.asking.iter().position(|asked| asked == name) {
            let cycle = [&self.asking[start..], &path[1..]].concat().join(" -> ");
            return self.complain(&path, format!("variables refer to each other in a cycle: {cycle}"), None);
        }
        if self.asking.len() + depth > DEEPEST {
            return self.complain(&path, "variables refer to each other too deeply".into(), None);
        }
        let mut value = self.given.get(name).cloned().unwrap_or_default();
        self.asking.push(name.to_owned());
        let good = self.expand(&mut value, &mut path.to_vec(), depth + 1);
        self.asking.pop();
        let known = good.then(|| {
            let (bytes, depth) = measure(&value);
            Known { value, bytes, depth }
        });
        self.known.insert(name.to_owned(), known);
    }

    fn complain(&mut self, path: &[String], message: String, hint: Option<String>) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        self.report.value(&path, message).hint(hint);
    }
}

/// About how many bytes a value takes, and how deep it nests.
fn measure(value: &Value) -> (usize, usize) {
    const NODE: usize = 32;
    let of_children = |values: &mut dyn Iterator<Item = &Value>| {
        values.map(measure).fold((NODE, 0), |(bytes, depth), child| (bytes + child.0, depth.max(child.1 + 1)))
    };
    match value {
        Value::String(text) => (NODE + text.len(), 0),
        Value::Array(items) => of_children(&mut items.iter()),
        Value::Object(map) => of_children(&mut map.values()),
        Value::Null | Value::Bool(_) | Value::Number(_) => (NODE, 0),
    }
}
