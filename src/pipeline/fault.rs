//! Why a parameter does not fit its type, as serde reports it, in the words of somebody who writes YAML. It does
//! not know where the parameter stands in a file.

use std::fmt::{self, Display};

use serde::de::{self, Expected, Unexpected};

/// Why a [`Param`] does not fit a type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Where, outermost first.
    pub path: Vec<String>,
    pub mistake: Mistake,
}

/// What is wrong at the place of a [`Fault`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// A map has an entry that its type does not know.
    Unknown { name: String, known: &'static [&'static str] },
    /// A map lacks an entry.
    Missing { name: &'static str },
    /// A text, or the only key of a map, is none of the choices.
    NoSuchChoice { name: String, known: &'static [&'static str] },
    /// Anything else.
    Wrong { message: String },
}

impl Fault {
    /// The fault as seen from one step further out.
    pub fn under(mut self, step: impl Into<String>) -> Fault {
        self.path.insert(0, step.into());
        self
    }
}

impl From<Mistake> for Fault {
    fn from(mistake: Mistake) -> Fault {
        Fault { path: vec![], mistake }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.mistake)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Fault {
        Mistake::Wrong { message: message.to_string() }.into()
    }

    fn invalid_type(found: Unexpected, expected: &dyn Expected) -> Fault {
        let expected = plain(&expected.to_string());
        let expected = expected.split(" from ").next().unwrap_or_default();
        Fault::custom(format!("expected {expected}, found {}", told(found)))
    }

    fn invalid_value(found: Unexpected, expected: &dyn Expected) -> Fault {
        Fault::custom(format!("expected {}, found {}", plain(&expected.to_string()), told(found)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Fault {
        Fault::custom(format!("expected {}, found {length}", plain(&expected.to_string())))
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Fault {
        Mistake::Unknown { name: name.into(), known }.into()
    }

    fn missing_field(name: &'static str) -> Fault {
        Mistake::Missing { name }.into()
    }

    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Fault {
        Mistake::NoSuchChoice { name: name.into(), known }.into()
    }
}

/// Serde's words for a type, in the words of somebody who writes YAML.
fn plain(expected: &str) -> String {
    let list = ["an array of length ", "a tuple of size "];
    if let Some(length) = list.iter().find_map(|prefix| expected.strip_prefix(prefix)) {
        return format!("a list of {length}");
    }
    match expected {
        "f32" | "f64" => "a number",
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        "unit" | "unit variant" => "nothing",
        other if other.starts_with("a nonzero u") => "a whole number from 1",
        other if other.starts_with("struct ") => "a map",
        other => other,
    }
    .to_owned()
}

/// What was found instead.
pub(super) fn told(found: Unexpected) -> String {
    match found {
        Unexpected::Bool(truth) => format!("`{truth}`"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number:?}"),
        Unexpected::Str(text) if text.chars().count() > 40 => "a long text".into(),
        Unexpected::Str(text) => format!("the text {text:?}"),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map".into(),
        other => other.to_string(),
    }
}
