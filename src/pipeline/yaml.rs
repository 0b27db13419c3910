//! Reads one YAML text into a JSON value: the hot first pass. It gives up at anything odd and leaves it to the
//! second pass to say what that is.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::diagnosis::{Flaw, diagnose};

/// A text with more bytes than this is no pipeline.
pub(super) const LARGEST: u64 = 64 << 20;

/// Reads a text. The value is there whenever something can be said about the rest of it.
pub(super) fn parse(text: &str) -> (Option<Value>, Vec<Flaw>) {
    match serde_yaml::from_str::<Sober>(text) {
        Ok(Sober(value)) => (Some(value), vec![]),
        Err(error) => diagnose(text, &error),
    }
}

/// A scalar as YAML understands it when it is written without quotes.
pub(super) fn scalar(text: &str) -> Option<Value> {
    serde_yaml::from_str::<Sober>(text).ok().map(|Sober(value)| value)
}

/// A JSON value read from YAML; unlike [`Value`] it refuses a key given twice, and numbers that JSON lacks.
struct Sober(Value);

impl<'de> Deserialize<'de> for Sober {
    fn deserialize<D: Deserializer<'de>>(yaml: D) -> Result<Sober, D::Error> {
        yaml.deserialize_any(SoberVisitor).map(Sober)
    }
}

struct SoberVisitor;

impl<'de> Visitor<'de> for SoberVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value without tags")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_u64<E: Error>(self, whole: u64) -> Result<Value, E> {
        Ok(whole.into())
    }

    fn visit_i64<E: Error>(self, whole: i64) -> Result<Value, E> {
        Ok(whole.into())
    }

    fn visit_f64<E: Error>(self, float: f64) -> Result<Value, E> {
        Number::from_f64(float).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = vec![];
        while let Some(Sober(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(Sober(key)) = access.next_key()? {
            let Value::String(key) = key else { return Err(A::Error::custom("a key that is no text")) };
            let Sober(value) = access.next_value()?;
            if map.insert(key, value).is_some() {
                return Err(A::Error::custom("a key given twice"));
            }
        }
        Ok(Value::Object(map))
    }
}
