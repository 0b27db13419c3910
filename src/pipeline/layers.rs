//! Reads a pipeline file and what it extends, and merges them into one document. It knows no key but `extends`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::diagnosis::Flaw;
use super::report::Report;
use super::yaml::{self, LARGEST};

/// Loads a file with all that it extends; none if it cannot be read as a map. What lies below a file that cannot is left
/// out, and the report says so.
pub(super) fn load(path: &Path, report: &mut Report) -> Option<Map<String, Value>> {
    let mut layers: Vec<Map<String, Value>> = vec![];
    let mut seen = HashSet::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next.take() {
        let layer = if layers.is_empty() { first(&path, report) } else { extended(&path, &seen, report) };
        let Some(mut layer) = layer else {
            report.lacks_a_file();
            break;
        };
        seen.insert(identity(&path));
        if let Some(extends) = layer.shift_remove("extends") {
            next = below(&path, &extends, report);
        }
        if !layers.is_empty() {
            // Results are filed under it: two pipelines that share one would pass for each other's past.
            layer.shift_remove("name");
        }
        layers.push(layer);
    }
    let mut document = layers.pop()?;
    if report.is_partial() {
        forget_removals(&mut document);
    }
    while let Some(layer) = layers.pop() {
        merge(&mut document, layer);
    }
    Some(document)
}

/// Reads the pipeline file itself.
fn first(path: &Path, report: &mut Report) -> Option<Map<String, Value>> {
    match read_text(path) {
        Ok(text) => parse(path, text, report),
        Err(reason) => {
            report.file(path.to_owned(), format!("cannot read {}: {reason}", path.display()));
            None
        }
    }
}

/// Reads a file that the one read last extends.
fn extended(path: &Path, seen: &HashSet<PathBuf>, report: &mut Report) -> Option<Map<String, Value>> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(reason) => {
            let message = format!("cannot read {}: {reason}", path.display());
            let problem = report.value_in_last(&["extends"], message);
            if !path.exists() {
                problem.note("the path counts from the folder of the file that it stands in");
            }
            return None;
        }
    };
    if seen.contains(&identity(path)) {
        report.value_in_last(&["extends"], format!("{} extends itself through this", path.display()));
        return None;
    }
    parse(path, text, report)
}

/// The same for all paths of one file.
fn identity(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Reads a text of bearable size, without its byte order mark.
fn read_text(path: &Path) -> Result<String, String> {
    let explain = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    };
    let mut bytes = vec![];
    let file = File::open(path).map_err(explain)?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(explain)?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("it is larger than {} MiB, which no pipeline is", LARGEST >> 20));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].split(|&byte| byte == b'\n').count();
        format!("line {} is not UTF-8 text", line - 1)
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// Parses one file and reports what is wrong with it as YAML.
fn parse(path: &Path, text: String, report: &mut Report) -> Option<Map<String, Value>> {
    let (value, flaws) = yaml::parse(&text);
    report.sources.add(path.to_owned(), text);
    for Flaw { span, path, message, hint } in flaws {
        report.span(span, message).hint(hint);
        report.void(&path);
    }
    let wrong = match value? {
        Value::Object(map) => return Some(map),
        Value::Null => "the file is empty; a pipeline has at least `stages:`".to_owned(),
        other => format!("a pipeline is a map with the key `stages`, and this is {}", kind_of(&other)),
    };
    report.file(path.to_owned(), wrong);
    None
}

/// The path of an extended file, which is given relative to the file that extends it.
fn below(path: &Path, extends: &Value, report: &mut Report) -> Option<PathBuf> {
    let Value::String(extends) = extends else {
        let message = format!("`extends` is the name of a file, and this is {}", kind_of(extends));
        report.value_in_last(&["extends"], message);
        report.lacks_a_file();
        return None;
    };
    Some(path.parent().map_or_else(|| PathBuf::from(extends), |folder| folder.join(extends)))
}

/// Drops the nulls, which take away what nobody can read.
fn forget_removals(map: &mut Map<String, Value>) {
    map.retain(|_, value| !value.is_null());
    for value in map.values_mut() {
        if let Value::Object(map) = value {
            forget_removals(map);
        }
    }
}

/// Puts one map over another: maps are merged, a null takes away, everything else replaces.
fn merge(base: &mut Map<String, Value>, over: Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (_, Value::Null) => drop(base.shift_remove(&key)),
            (Some(Value::Object(below)), Value::Object(above)) => merge(below, above),
            (Some(below), above) => *below = above,
            (None, above) => drop(base.insert(key, above)),
        }
    }
}

/// What a value is, in a sentence.
pub(super) fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(truth) => format!("`{truth}`"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() > 40 => "a long text".into(),
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a map".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(base: Value, over: Value) -> Value {
        let (Value::Object(mut base), Value::Object(over)) = (base, over) else { panic!("two maps") };
        merge(&mut base, over);
        Value::Object(base)
    }

    #[test]
    fn maps_merge_deeply_lists_replace_and_null_removes() {
        let base = json!({ "a": { "x": 1, "y": [1, 2], "z": 3 }, "b": 1 });
        let over = json!({ "a": { "y": [3], "z": null }, "c": 2 });
        assert_eq!(merged(base, over), json!({ "a": { "x": 1, "y": [3] }, "b": 1, "c": 2 }));
    }

    #[test]
    fn merging_keeps_the_order_of_the_base() {
        let text =
            merged(json!({ "a": 1, "b": 2, "c": 3 }), json!({ "d": 4, "b": 5, "a": null })).to_string();
        assert_eq!(text, r#"{"b":5,"c":3,"d":4}"#);
    }
}
