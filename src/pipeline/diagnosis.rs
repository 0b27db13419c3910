//! Says what is wrong with a text that the first pass refused, and saves what can be saved of it: cold, and
//! thorough. It does not know what the text is about, but for the word it uses for a stage given twice.

use serde_json::{Map, Value};

use super::marks::{Content, Duplicate, Marks, Node, Span};
use super::yaml;

/// Something that YAML allows, or does not, and a pipeline cannot hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub span: Span,
    /// The path of the value that is worthless because of it; empty if none is.
    pub path: Vec<String>,
    pub message: String,
    pub hint: Option<String>,
}

/// Everything that is wrong with a text, and its value if that is worth a look.
pub(super) fn diagnose(text: &str, error: &serde_yaml::Error) -> (Option<Value>, Vec<Flaw>) {
    let marks = Marks::new(text);
    let hopeless = |span: Span, message: String| {
        let hint = tab_hint(text, span.line).or_else(|| reference_hint(text, span.line));
        (None, vec![Flaw { span, path: vec![], message, hint }])
    };
    if let Some(span) = marks.second_document {
        return hopeless(span, "a second document starts here; a pipeline is one document".into());
    }
    if let Some((span, message)) = marks.fault {
        return hopeless(span, format!("not YAML: {message}"));
    }
    let mut salvage = Salvage { flaws: marks.duplicates.iter().map(twice).collect(), room: MOST_NODES };
    let value = marks.root.and_then(|root| salvage.value(&root, &mut vec![]));
    if salvage.flaws.is_empty() {
        let (span, message) = refusal(error);
        return hopeless(span, message);
    }
    (value, salvage.flaws)
}

fn twice(duplicate: &Duplicate) -> Flaw {
    let message = match duplicate.path.as_slice() {
        [stages, name] if stages == "stages" => format!("two stages are named `{name}`"),
        [.., key] => format!("`{key}` is given twice"),
        [] => "a key is given twice".into(),
    };
    let hint = Some(format!("the first one is on line {}", duplicate.first_line));
    Flaw { span: duplicate.again, path: vec![], message, hint }
}

/// What the first pass itself says, where the second finds nothing.
fn refusal(error: &serde_yaml::Error) -> (Span, String) {
    let (line, column) = error.location().map_or((1, 1), |place| (place.line(), place.column()));
    let whole = error.to_string();
    let message = match whole.split(" at line ").next().unwrap_or_default() {
        "recursion limit exceeded" => "nested too deeply".to_owned(),
        "repetition limit exceeded" => "aliases repeat too much".to_owned(),
        other => format!("not YAML: {other}"),
    };
    (Span { line: line.max(1), column: column.max(1), length: 1 }, message)
}

fn tab_hint(text: &str, line: usize) -> Option<String> {
    let line = text.lines().nth(line.saturating_sub(1))?;
    let indent = &line[..line.len() - line.trim_start().len()];
    indent.contains('\t').then(|| "YAML is indented with spaces; this line starts with a tab".into())
}

/// Braces of a reference are those of a map to YAML where it stands in one.
fn reference_hint(text: &str, line: usize) -> Option<String> {
    // The parser may notice only on the line after.
    let lines = text.lines().take(line).skip(line.saturating_sub(2));
    let in_flow = |line: &&str| line.find("${").is_some_and(|at| line[..at].contains(['{', '[']));
    let start = lines.filter(in_flow).last()?;
    let reference = &start[start.find("${")?..];
    let reference = &reference[..reference.find('}').map_or(reference.len(), |end| end + 1)];
    Some(format!("inside `{{ }}` and `[ ]` put quotes around it: \"{reference}\""))
}

/// More nodes than this come from aliases that repeat too much.
const MOST_NODES: usize = 1_000_000;

/// Turns a marked tree into a value, the first of each duplicate counting.
struct Salvage {
    flaws: Vec<Flaw>,
    room: usize,
}

impl Salvage {
    /// None if aliases repeat too much. What JSON cannot hold becomes a fault and a null.
    fn value(&mut self, node: &Node, path: &mut Vec<String>) -> Option<Value> {
        self.room = self.room.checked_sub(1)?;
        if let Some(tag) = &node.tag {
            return Some(self.refuse(node.span, path, format!("tags such as `{tag}` mean nothing here")));
        }
        Some(match &node.content {
            Content::Text(text) => Value::String(text.clone()),
            Content::Plain(text) => match yaml::scalar(text) {
                Some(value) => value,
                None => self.refuse(node.span, path, format!("`{text}` is no value here")),
            },
            Content::List(items) => {
                let mut values = Vec::with_capacity(items.len());
                for (position, item) in items.iter().enumerate() {
                    path.push(position.to_string());
                    values.push(self.value(item, path)?);
                    path.pop();
                }
                Value::Array(values)
            }
            Content::Map(entries) => {
                let mut map = Map::with_capacity(entries.len());
                for (key, entry) in entries {
                    if !is_text(&entry.key) {
                        let message = "keys must be text; put quotes around this one".into();
                        self.flaws.push(Flaw { span: entry.key.span, path: vec![], message, hint: None });
                        continue;
                    }
                    path.push(key.clone());
                    map.insert(key.clone(), self.value(&entry.value, path)?);
                    path.pop();
                }
                Value::Object(map)
            }
            Content::Nowhere => self.refuse(node.span, path, "this alias contains itself".into()),
        })
    }

    fn refuse(&mut self, span: Span, path: &[String], message: String) -> Value {
        self.flaws.push(Flaw { span, path: path.to_vec(), message, hint: None });
        Value::Null
    }
}

/// Whether YAML takes a node for text, not for a number, a list or the like.
fn is_text(node: &Node) -> bool {
    match &node.content {
        Content::Text(_) => node.tag.is_none(),
        Content::Plain(text) => node.tag.is_none() && matches!(yaml::scalar(text), Some(Value::String(_))),
        Content::List(_) | Content::Map(_) | Content::Nowhere => false,
    }
}
