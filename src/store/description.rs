//! JSON that is kept as text until somebody asks what it says: most readers of a record want its results alone. It
//! does not know what it describes.

use std::ops::Deref;
use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// A JSON value, parsed when it is first looked at.
#[derive(Debug, Clone)]
pub struct Description {
    text: Box<RawValue>,
    value: OnceLock<Box<Value>>,
}

impl Description {
    /// What the text says, read as a type.
    ///
    /// # Errors
    /// If it says something else.
    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.text.get())
    }
}

impl From<Value> for Description {
    fn from(value: Value) -> Description {
        let text = to_raw_value(&value).expect("a value has only text keys");
        Description { text, value: OnceLock::from(Box::new(value)) }
    }
}

impl Deref for Description {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.value.get_or_init(|| Box::new(self.read().expect("it was read as JSON")))
    }
}

impl PartialEq for Description {
    fn eq(&self, other: &Description) -> bool {
        **self == **other
    }
}

impl Serialize for Description {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Description {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Description, D::Error> {
        Ok(Description { text: Deserialize::deserialize(from)?, value: OnceLock::new() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_written_as_the_json_that_it_is() {
        let description = Description::from(json!({"kind": "train", "params": {"lr": 0.1}}));
        let text = serde_json::to_string(&description).expect("JSON");
        assert_eq!(text, r#"{"kind":"train","params":{"lr":0.1}}"#);
        let again: Description = serde_json::from_str(&text).expect("JSON");
        assert_eq!(again["kind"], "train");
        assert_eq!(again, description);
        assert!(serde_json::from_str::<Description>("{\"kind\": }").is_err());
    }
}
