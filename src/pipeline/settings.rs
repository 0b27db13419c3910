//! One `--set` from the command line: which value of the pipeline it replaces, and by what. It does not know
//! which stages and parameters exist.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::names::did_you_mean;
use super::report::Report;
use super::yaml;

/// A value given on the command line: `train.epochs=5`, `vars.copies=2`; `=null` takes a value away.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// As the user wrote it.
    pub(super) text: String,
    /// The path from the top of the pipeline.
    pub(super) path: Vec<String>,
    /// None if nothing stands behind the `=`; what to write instead depends on the place.
    value: Option<Value>,
}

impl Setting {
    /// As the user wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Why a text is no [`Setting`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingError {
    /// There is no `=`.
    #[error("`{0}` has no `=`; write STAGE.PARAMETER=VALUE or vars.NAME=VALUE")]
    NoValue(String),
    /// The left side does not say of which stage.
    #[error("`{0}` names no parameter; write STAGE.PARAMETER=VALUE or vars.NAME=VALUE")]
    NoParameter(String),
    /// The right side is YAML, but nothing that a pipeline can hold.
    #[error("{0}")]
    NoneHere(String),
    /// The right side is not YAML.
    #[error("`{value}` is not YAML ({reason}); put quotes around it")]
    NotYaml {
        /// The right side.
        value: String,
        /// What the parser says.
        reason: String,
    },
}

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(text: &str) -> Result<Setting, SettingError> {
        const DEEPEST: usize = 50;
        let (left, right) = text.split_once('=').ok_or_else(|| SettingError::NoValue(text.into()))?;
        let steps: Vec<&str> = left.trim().split('.').collect();
        if steps.len() < 2 || steps.len() > DEEPEST || steps.iter().any(|step| step.is_empty()) {
            return Err(SettingError::NoParameter(left.into()));
        }
        let path = match steps.as_slice() {
            ["vars", variable @ ..] => [&["vars"], variable].concat(),
            [stage, parameter @ ..] => [&["stages", stage, "with"], parameter].concat(),
            [] => vec![],
        };
        let path = path.into_iter().map(String::from).collect();
        if right.trim().is_empty() {
            return Ok(Setting { text: text.trim_end().into(), path, value: None });
        }
        let (value, faults) = yaml::parse(right);
        match (value, faults.into_iter().next()) {
            (value @ Some(_), None) => Ok(Setting { text: text.into(), path, value }),
            (_, fault) => {
                let reason = fault.map_or(String::new(), |fault| fault.message);
                Err(match reason.strip_prefix("not YAML: ") {
                    Some(reason) => SettingError::NotYaml { value: right.into(), reason: reason.into() },
                    None => SettingError::NoneHere(reason),
                })
            }
        }
    }
}

/// Puts settings over a merged pipeline, the last one winning.
pub(super) fn overlay(document: &mut Map<String, Value>, settings: &[Setting], report: &mut Report) {
    for setting in settings {
        if report.is_partial() && !is_met(document, setting) {
            continue;
        }
        let applied = match setting.value {
            Some(_) => apply(document, setting),
            None => apply(&mut document.clone(), setting),
        };
        if let Err((message, hint)) = applied {
            report.setting(setting, message).hint(hint);
        }
    }
}

/// Whether a document gives what a setting changes, or at least what it stands in.
fn is_met(document: &Map<String, Value>, setting: &Setting) -> bool {
    let length = match setting.path.len() {
        // A parameter stands in its stage, whether that has others or not.
        2 | 4 => 2,
        length => length.saturating_sub(1),
    };
    let Some((top, inside)) = setting.path[..length].split_first() else { return true };
    let mut found = document.get(top);
    for step in inside {
        found = match found {
            Some(Value::Object(map)) => map.get(step),
            Some(Value::Array(_)) => return true,
            _ => return false,
        };
    }
    found.is_some()
}

fn apply(document: &mut Map<String, Value>, setting: &Setting) -> Result<(), (String, Option<String>)> {
    let steps: Vec<&str> = setting.path.iter().map(String::as_str).collect();
    // As its place in the file is written; no parameter is named `with`.
    if let ["stages", "stages", "with", stage, "with", parameter @ ..]
    | ["stages", stage, "with", "with", parameter @ ..] = steps.as_slice()
        && !parameter.is_empty()
    {
        let name = [&[*stage], parameter].concat().join(".");
        return Err(("this names no parameter".to_owned(), Some(format!("write `{name}=..`"))));
    }
    if let ["stages", stage, ..] = steps.as_slice() {
        let known = document.get("stages").and_then(Value::as_object);
        if known.is_none_or(|stages| !stages.contains_key(*stage)) {
            let names = known.into_iter().flat_map(Map::keys).map(String::as_str);
            let hint = did_you_mean(stage, names.chain(["vars"]));
            return Err((format!("no stage is named `{stage}`"), hint));
        }
    }
    if let ["vars", variable, ..] = steps.as_slice() {
        let known = document.get("vars").and_then(Value::as_object);
        if known.is_none_or(|vars| !vars.contains_key(*variable)) {
            let names = known.into_iter().flat_map(Map::keys).map(String::as_str);
            return Err((format!("no variable is named `{variable}`"), did_you_mean(variable, names)));
        }
    }
    let [first, inner @ .., last] = steps.as_slice() else {
        return Ok(());
    };
    let mut target = document.entry(*first).or_insert(Value::Null);
    for step in inner {
        target = child(target, step)?;
    }
    let Some(value) = &setting.value else {
        return Err((
            "there is nothing behind the `=`".to_owned(),
            Some(instead_of_nothing(setting, target)),
        ));
    };
    match (target, value) {
        (Value::Object(map), Value::Null) => drop(map.shift_remove(*last)),
        (Value::Array(items), Value::Null) if last.parse().is_ok_and(|at: usize| at < items.len()) => {
            let hint = "give the whole list without it, such as --set NAME='[A, B]'";
            return Err((format!("null takes nothing out of a list (`{last}`)"), Some(hint.to_owned())));
        }
        (target, value) => *child(target, last)? = value.clone(),
    }
    Ok(())
}

/// What to write where nothing stands behind the `=`. Null takes entries out of maps alone.
fn instead_of_nothing(setting: &Setting, target: &Value) -> String {
    match target {
        Value::Object(_) => format!("write a value, or {}null to take away what is there", setting.text),
        Value::Array(_) => {
            "write a value, or give the whole list without it, such as --set NAME='[A, B]'".to_owned()
        }
        _ => "write a value".to_owned(),
    }
}

/// The value under a key or at a position. What is neither map nor list becomes a map.
fn child<'a>(target: &'a mut Value, step: &str) -> Result<&'a mut Value, (String, Option<String>)> {
    match target {
        Value::Array(items) => {
            let length = items.len();
            let item = step.parse().ok().and_then(|position: usize| items.get_mut(position));
            item.ok_or_else(|| (format!("`{step}` is no position in a list of {length}"), positions(length)))
        }
        Value::Object(map) => Ok(map.entry(step).or_insert(Value::Null)),
        other => {
            *other = Value::Object(Map::new());
            child(other, step)
        }
    }
}

fn positions(length: usize) -> Option<String> {
    let counted = length.checked_sub(1).map(|last| format!("positions count from 0 to {last}; "))?;
    Some(counted + "to make it longer give the whole list, such as --set NAME='[A, B]'")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(document: Value, text: &str) -> Value {
        let Value::Object(mut map) = document else { panic!("a map") };
        apply(&mut map, &text.parse().unwrap()).unwrap();
        Value::Object(map)
    }

    #[test]
    fn a_setting_reaches_parameters_variables_and_list_items() {
        let before =
            json!({ "vars": { "n": 1 }, "stages": { "a": { "with": { "list": [{ "x": 1 }, 2] } } } });
        assert_eq!(set(before.clone(), "vars.n=2")["vars"]["n"], json!(2));
        assert_eq!(
            set(before.clone(), "a.list.0.x=[1, 2]")["stages"]["a"]["with"]["list"][0]["x"],
            json!([1, 2])
        );
        assert_eq!(
            set(before.clone(), "a.new.deep=text")["stages"]["a"]["with"]["new"]["deep"],
            json!("text")
        );
        assert_eq!(set(before.clone(), "a.list=null")["stages"]["a"]["with"], json!({}));
        let Value::Object(mut map) = before else { panic!("a map") };
        let (problem, hint) = apply(&mut map, &"a.list.1=null".parse().unwrap()).unwrap_err();
        assert_eq!(problem, "null takes nothing out of a list (`1`)");
        assert!(hint.is_some_and(|hint| hint.starts_with("give the whole list without it")));
    }

    #[test]
    fn a_setting_gives_a_stage_without_parameters_its_first() {
        let after = set(json!({ "stages": { "a": { "with": null }, "b": {} } }), "a.x=1");
        assert_eq!(after["stages"]["a"]["with"], json!({ "x": 1 }));
    }

    #[test]
    fn a_value_may_hold_equal_signs_and_colons() {
        let setting: Setting = "archive.url=file:///data/x?a=b".parse().unwrap();
        assert_eq!(setting.value, Some(json!("file:///data/x?a=b")));
    }

    #[test]
    fn what_is_no_setting_is_refused_with_the_form_that_is() {
        let refusal = |text: &str| text.parse::<Setting>().unwrap_err().to_string();
        insta::assert_snapshot!(refusal("train.epochs"), @"`train.epochs` has no `=`; write STAGE.PARAMETER=VALUE or vars.NAME=VALUE");
        insta::assert_snapshot!(refusal("epochs=5"), @"`epochs` names no parameter; write STAGE.PARAMETER=VALUE or vars.NAME=VALUE");
        insta::assert_snapshot!(refusal("train.epochs=[1"), @"`[1` is not YAML (while parsing a flow sequence, expected ',' or ']'); put quotes around it");
        insta::assert_snapshot!(refusal("train.lr=.inf"), @"`.inf` is no value here");
        insta::assert_snapshot!(refusal("train.x={a: 1, a: 2}"), @"`a` is given twice");
        // There null would be refused as well.
        for text in ["train=", "vars=", "train.lr.="] {
            assert_eq!(refusal(text), refusal(&format!("{text}null")));
        }
    }

    #[test]
    fn where_nothing_or_too_much_is_given_it_is_told_what_can_be_written_instead() {
        let Value::Object(document) = json!({ "stages": { "a": { "with": { "x": 1, "list": [1, 2] } } } })
        else {
            panic!("a map")
        };
        let told = |text: &str| {
            let (message, hint) = apply(&mut document.clone(), &text.parse().unwrap()).unwrap_err();
            format!("{message}; {}", hint.unwrap_or_default())
        };
        insta::assert_snapshot!(told("a.x= "), @"there is nothing behind the `=`; write a value, or a.x=null to take away what is there");
        insta::assert_snapshot!(told("a.list.0="), @"there is nothing behind the `=`; write a value, or give the whole list without it, such as --set NAME='[A, B]'");
        insta::assert_snapshot!(told("a.with.x=1"), @"this names no parameter; write `a.x=..`");
        insta::assert_snapshot!(told("stages.a.with.list.0=1"), @"this names no parameter; write `a.list.0=..`");
        insta::assert_snapshot!(told("a.x.y="), @"there is nothing behind the `=`; write a value");
    }
}
