//! Writes the JSON Schema of the whole language, so that editors complete and check pipeline files. It knows
//! no stage kinds of its own.

use serde_json::{Map, Value, json};

use super::names::NAME_PATTERN;

/// What the schema must be told about one kind of stage.
#[derive(Debug, Clone)]
pub struct KindSchema {
    /// The name in `uses:`.
    pub name: String,
    /// One sentence, shown by editors.
    pub about: String,
    /// The JSON Schema of `with:`.
    pub params: Value,
}

/// The JSON Schema (draft 2020-12) of a pipeline file.
#[must_use]
pub fn schema(kinds: &[KindSchema]) -> Value {
    let mut definitions = Map::new();
    let mut choices = vec![];
    let mut rules = vec![];
    for KindSchema { name, about, params } in kinds {
        choices.push(json!({ "const": name, "description": about }));
        rules.push(json!({
            "if": { "required": ["uses"], "properties": { "uses": { "const": name } } },
            "then": { "properties": { "with": { "$ref": format!("#/$defs/with.{name}") } } },
        }));
        embed(name, params, &mut definitions);
    }
    definitions.insert("variable".into(), json!({ "type": "string", "pattern": "\\$\\{vars\\." }));
    definitions.insert("stage".into(), stage(&choices, &rules));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "stlpipe pipeline",
        "description": "How data becomes a trained model.",
        "type": "object",
        "properties": {
            "name": { "type": "string", "description": "What the results are filed under; otherwise the file's name." },
            "about": { "type": "string", "description": "One sentence about the pipeline." },
            "extends": {
                "type": "string",
                "description": "A pipeline file, relative to this one, over which this one is put: maps merge, null removes, lists and single values replace.",
            },
            "vars": {
                "type": "object",
                "description": "Values that `${vars.NAME}` puts elsewhere.",
                "propertyNames": { "pattern": NAME_PATTERN },
            },
            "stages": {
                "type": "object",
                "description": "The stages by name.",
                "propertyNames": { "pattern": NAME_PATTERN },
                "additionalProperties": { "$ref": "#/$defs/stage" },
            },
        },
        "additionalProperties": false,
        // A file that extends another gives only what differs.
        "if": { "not": { "required": ["extends"] } },
        "then": {
            "required": ["stages"],
            "properties": { "stages": { "additionalProperties": { "required": ["uses"] } } },
        },
        "$defs": definitions,
    })
}

fn stage(choices: &[Value], rules: &[Value]) -> Value {
    json!({
        "type": ["object", "null"],
        "properties": {
            "uses": { "description": "The kind of stage.", "oneOf": choices },
            "in": {
                "type": ["object", "null"],
                "description": "Where each input port comes from: `stage`, or `stage.port` if the stage has several outputs.",
                "additionalProperties": { "type": ["string", "null"] },
            },
            "with": { "type": ["object", "null"], "description": "The parameters." },
        },
        "additionalProperties": false,
        "allOf": rules,
    })
}

/// Adds a kind's schema to the definitions as `with.KIND`, and its own definitions as `KIND.NAME`.
fn embed(kind: &str, params: &Value, definitions: &mut Map<String, Value>) {
    let mut params = params.clone();
    adapt(&mut params, kind);
    if let Value::Object(schema) = &mut params {
        schema.remove("$schema");
        schema.remove("title");
        if let Some(Value::Object(own)) = schema.remove("$defs") {
            definitions.extend(own.into_iter().map(|(name, schema)| (format!("{kind}.{name}"), schema)));
        }
    }
    definitions.insert(format!("with.{kind}"), params);
}

/// Points references to where [`embed`] puts what they mean, and allows a variable wherever a value is expected.
fn adapt(schema: &mut Value, kind: &str) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), value) {
                    ("$ref", Value::String(target)) => {
                        *target = target.replace("#/$defs/", &format!("#/$defs/{kind}."));
                    }
                    ("properties" | "patternProperties", Value::Object(properties)) => {
                        for property in properties.values_mut() {
                            adapt(property, kind);
                            allow_variable(property);
                        }
                    }
                    ("items" | "additionalProperties", item @ Value::Object(_)) => {
                        adapt(item, kind);
                        allow_variable(item);
                    }
                    ("prefixItems", Value::Array(items)) => {
                        for item in items {
                            adapt(item, kind);
                            allow_variable(item);
                        }
                    }
                    ("default" | "enum" | "const" | "examples", _) => {}
                    (_, value) => adapt(value, kind),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| adapt(item, kind)),
        _ => {}
    }
}

/// Lets a schema accept `${vars.NAME}` as well, keeping what editors show at the outside.
fn allow_variable(schema: &mut Value) {
    let Value::Object(inner) = schema else { return };
    let mut outer = Map::new();
    for shown in ["description", "default"] {
        outer.extend(inner.remove(shown).map(|value| (shown.to_owned(), value)));
    }
    let inner = std::mem::take(inner);
    outer.insert("anyOf".into(), json!([inner, { "$ref": "#/$defs/variable" }]));
    *schema = Value::Object(outer);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn train() -> KindSchema {
        let params = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Train",
            "type": "object",
            "properties": {
                "epochs": { "type": "integer", "description": "How many.", "default": 20 },
                "transforms": { "type": "array", "items": { "$ref": "#/$defs/Transform" } },
            },
            "required": ["epochs"],
            "$defs": { "Transform": { "type": "string" } },
        });
        KindSchema { name: "train".into(), about: "Trains.".into(), params }
    }

    #[test]
    fn a_parameter_may_be_a_variable_and_keeps_its_description() {
        let schema = schema(&[train()]);
        let expected = json!({
            "description": "How many.",
            "default": 20,
            "anyOf": [{ "type": "integer" }, { "$ref": "#/$defs/variable" }],
        });
        assert_eq!(schema["$defs"]["with.train"]["properties"]["epochs"], expected);
    }

    #[test]
    fn definitions_move_to_the_top_and_references_follow() {
        let schema = schema(&[train()]);
        let items = &schema["$defs"]["with.train"]["properties"]["transforms"]["anyOf"][0]["items"];
        assert_eq!(items["anyOf"][0]["$ref"], "#/$defs/train.Transform");
        assert_eq!(schema["$defs"]["train.Transform"], json!({ "type": "string" }));
        assert!(schema["$defs"]["with.train"].get("$defs").is_none());
    }

    #[test]
    fn the_kind_of_a_stage_decides_about_its_parameters() {
        let expected = json!([{
            "if": { "required": ["uses"], "properties": { "uses": { "const": "train" } } },
            "then": { "properties": { "with": { "$ref": "#/$defs/with.train" } } },
        }]);
        assert_eq!(schema(&[train()])["$defs"]["stage"]["allOf"], expected);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let schema = schema(&[train()]);
        let text = schema.to_string();
        for target in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(schema.pointer(target).is_some(), "{target}");
        }
    }
}
