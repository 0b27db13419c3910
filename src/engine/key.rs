//! What a result depends on, as a plain struct, and its blake3 hash: the key. One walk over the parts serves
//! both the hash and the explanation of a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::stage::{Device, DeviceUse, Growth, Identity};
use crate::store::Digest;

/// Goes into every key: another number makes every result of earlier versions unreachable.
const FORMAT: &str = "stlpipe key 1";

/// Everything that a stage's result depends on, and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyParts {
    /// The kind in `uses:`.
    pub kind: String,
    /// The kind's version.
    pub version: u32,
    /// The parameters that matter, defaults filled in.
    pub params: Value,
    /// The digest of the artifact at each bound input port.
    pub inputs: BTreeMap<String, Digest>,
    /// The digest of each file outside the store.
    pub files: BTreeMap<String, Digest>,
    /// The class of device, where the result depends on it.
    pub device: Option<DeviceClass>,
}

/// A class of devices whose results may stand for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceClass {
    /// The processor.
    Cpu,
    /// A CUDA device.
    Cuda,
}

impl From<Device> for DeviceClass {
    fn from(device: Device) -> DeviceClass {
        match device {
            Device::Cpu => DeviceClass::Cpu,
            Device::Cuda(_) => DeviceClass::Cuda,
        }
    }
}

/// One part of a key that differs between two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The way to the part, such as `params`, `lr`, or `inputs`, `train`, or `version`.
    pub path: Vec<String>,
    /// Its former value; `None` if there was none.
    pub old: Option<String>,
    /// Its new value; `None` if it is gone.
    pub new: Option<String>,
}

impl KeyParts {
    /// The parts of a stage's key.
    #[must_use]
    pub fn new(
        kind: (&str, u32),
        identity: Identity,
        inputs: BTreeMap<String, Digest>,
        files: BTreeMap<String, Digest>,
        device: Device,
    ) -> KeyParts {
        let Identity { params, files: _, device: device_use, growth: _ } = identity;
        let device = match device_use {
            DeviceUse::Irrelevant => None,
            DeviceUse::Computes => Some(device.into()),
        };
        KeyParts { kind: kind.0.to_owned(), version: kind.1, params, inputs, files, device }
    }

    /// The key: blake3 over the format, then each leaf of the parts: the number of its steps, each step with a
    /// letter for its kind, and its value in JSON. Numbers are 8 little-endian bytes, and texts are preceded by
    /// their length, so that no two lists of parts give the same bytes. Maps are walked in the order of their
    /// keys, so that the order in a file does not matter.
    #[must_use]
    pub fn key(&self) -> Digest {
        // Most fit in here, and up to a thousand bytes cost the allocator nothing.
        let mut bytes = Vec::with_capacity(1000);
        let mut number = |n: usize, texts: &[&[u8]]| {
            bytes.extend_from_slice(&(n as u64).to_le_bytes());
            texts.iter().for_each(|text| bytes.extend_from_slice(text));
        };
        number(FORMAT.len(), &[FORMAT.as_bytes()]);
        self.walk(&mut |path, value| {
            number(path.len(), &[]);
            for step in path {
                match step {
                    Step::Name(name) => number(name.len(), &[b"n", name.as_bytes()]),
                    Step::Position(position) => number(*position, &[b"p"]),
                }
            }
            number(value.len(), &[value.as_bytes()]);
        });
        Digest::of(&bytes)
    }

    /// The key of the chain on which the result lies: that of the parts without the free parameters.
    #[must_use]
    pub fn chain(&self, growth: &Growth) -> Digest {
        let mut way = self.clone();
        if let Value::Object(params) = &mut way.params {
            params.retain(|name, _| !growth.free.contains(&name.as_str()));
        }
        way.key()
    }

    /// Every part by the way to it, with its value in JSON; the order is that of the paths.
    #[must_use]
    pub fn leaves(&self) -> BTreeMap<Vec<String>, String> {
        let mut leaves = BTreeMap::new();
        self.walk(&mut |path, value| {
            leaves.insert(path.iter().map(ToString::to_string).collect(), value.to_owned());
        });
        leaves
    }

    /// What differs from an earlier key, in the order of paths.
    #[must_use]
    pub fn differences(&self, earlier: &KeyParts) -> Vec<Difference> {
        let (old, new) = (earlier.leaves(), self.leaves());
        let paths: BTreeSet<&Vec<String>> = old.keys().chain(new.keys()).collect();
        paths
            .into_iter()
            .filter(|path| old.get(*path) != new.get(*path))
            .map(|path| Difference {
                path: path.clone(),
                old: old.get(path).cloned(),
                new: new.get(path).cloned(),
            })
            .collect()
    }

    /// The same as people see it: where a parameter has another shape than before, that is one difference, told whole;
    /// a map that has no entries, or had none, is told by the entries of the other.
    #[must_use]
    pub fn changes(&self, earlier: &KeyParts) -> Vec<Difference> {
        let mut whole = Vec::new();
        if let (Value::Object(old), Value::Object(new)) = (&earlier.params, &self.params) {
            reshaped_in(&mut vec!["params".to_owned()], old, new, &mut whole);
        }
        let mut changes = self.differences(earlier);
        changes.retain(|leaf| !whole.iter().any(|change| leaf.path.starts_with(&change.path)));
        let around: BTreeSet<Vec<String>> =
            changes.iter().map(|leaf| leaf.path[..leaf.path.len() - 1].to_vec()).collect();
        changes.retain(|leaf| !around.contains(&leaf.path));
        changes.extend(whole);
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        changes
    }

    fn walk(&self, visit: &mut dyn FnMut(&[Step], &str)) {
        let KeyParts { kind, version, params, inputs, files, device } = self;
        visit(&[Step::Name("kind")], kind);
        visit(&[Step::Name("version")], &version.to_string());
        walk_value(&mut vec![Step::Name("params")], params, visit);
        for (port, digest) in inputs {
            visit(&[Step::Name("inputs"), Step::Name(port)], &digest.to_string());
        }
        for (name, digest) in files {
            visit(&[Step::Name("files"), Step::Name(name)], &digest.to_string());
        }
        match device {
            None => {}
            Some(DeviceClass::Cpu) => visit(&[Step::Name("device")], "cpu"),
            Some(DeviceClass::Cuda) => visit(&[Step::Name("device")], "cuda"),
        }
    }
}

/// One step on the way to a part.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    /// To the value of that name in a map.
    Name(&'a str),
    /// To the value at that position of a list.
    Position(usize),
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Name(name) => f.write_str(name),
            Step::Position(position) => write!(f, "{position}"),
        }
    }
}

fn walk_value<'a>(path: &mut Vec<Step<'a>>, value: &'a Value, visit: &mut dyn FnMut(&[Step], &str)) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut sorted: Vec<(&String, &Value)> = map.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            for (name, value) in sorted {
                path.push(Step::Name(name));
                walk_value(path, value, visit);
                path.pop();
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (position, value) in items.iter().enumerate() {
                path.push(Step::Position(position));
                walk_value(path, value, visit);
                path.pop();
            }
        }
        leaf => visit(path, &leaf.to_string()),
    }
}

/// Finds what has another shape among the entries that two maps share.
fn reshaped_in(
    path: &mut Vec<String>,
    old: &serde_json::Map<String, Value>,
    new: &serde_json::Map<String, Value>,
    found: &mut Vec<Difference>,
) {
    for (name, old) in old {
        if let Some(new) = new.get(name) {
            path.push(name.clone());
            reshaped(path, old, new, found);
            path.pop();
        }
    }
}

/// Finds what was no map or list and is one now, or the other way round, and maps that have no entry in common, unless
/// their entries are names that the user gave to plain values.
fn reshaped(path: &mut Vec<String>, old: &Value, new: &Value, found: &mut Vec<Difference>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) if old.keys().any(|name| new.contains_key(name)) => {
            reshaped_in(path, old, new, found);
        }
        (Value::Object(old), Value::Object(new)) if is_of_names(path, old) && is_of_names(path, new) => {}
        (Value::Array(old), Value::Array(new)) if old.is_empty() == new.is_empty() => {
            for (position, (old, new)) in old.iter().zip(new).enumerate() {
                path.push(position.to_string());
                reshaped(path, old, new, found);
                path.pop();
            }
        }
        (old, new) if old == new || !has_inside(old) && !has_inside(new) => {}
        (old, new) => {
            let (old, new) = (Some(old.to_string()), Some(new.to_string()));
            found.push(Difference { path: path.clone(), old, new });
        }
    }
}

/// Whether the entries of a map are names that the user gave. In a list a map is one of several forms.
fn is_of_names(path: &[String], map: &serde_json::Map<String, Value>) -> bool {
    path.len() == 2 && !map.values().any(has_inside)
}

fn has_inside(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(params: Value) -> KeyParts {
        KeyParts {
            kind: "train".to_owned(),
            version: 1,
            params,
            inputs: BTreeMap::from([("train".to_owned(), Digest::of(b"data"))]),
            files: BTreeMap::new(),
            device: Some(DeviceClass::Cpu),
        }
    }

    #[test]
    fn a_key_is_what_it_was_in_every_version_of_this_format() {
        let key =
            parts(json!({"lr": 0.001, "epochs": 20, "transforms": [{"rotate": 45.0}, {"hflip": 0.5}]})).key();
        assert_eq!(key.to_string(), "700c19cf5b8610503627673f5c7f7fee0939501b276af2e5c705d5a3d9838c3a");
    }

    #[test]
    fn the_order_of_params_does_not_matter() {
        assert_eq!(parts(json!({"a": 1, "b": 2})).key(), parts(json!({"b": 2, "a": 1})).key());
    }

    #[test]
    fn every_part_matters() {
        let base = parts(json!({"lr": 0.001}));
        let edits: [fn(&mut KeyParts); 6] = [
            |p| p.kind = "fine-tune".to_owned(),
            |p| p.version = 2,
            |p| p.params = json!({"lr": 0.01}),
            |p| p.inputs = BTreeMap::from([("val".to_owned(), Digest::of(b"data"))]),
            |p| p.files = BTreeMap::from([("file".to_owned(), Digest::of(b"data"))]),
            |p| p.device = None,
        ];
        for edit in edits {
            let mut other = base.clone();
            edit(&mut other);
            assert_ne!(base.key(), other.key(), "{other:?}");
        }
    }

    #[test]
    fn params_of_another_shape_have_another_key() {
        for (one, other) in [
            (json!({"a": {"b": 1}}), json!({"a.b": 1})),
            (json!({"a": {"b": 1}}), json!({"a": {"b": "1"}})),
            (json!({"a": [1]}), json!({"a": {"0": 1}})),
            (json!({"a": [1, 2]}), json!({"a": [[1, 2]]})),
            (json!({"a": []}), json!({"a": {}})),
            (json!({"a": null}), json!({})),
        ] {
            assert_ne!(parts(one.clone()).key(), parts(other.clone()).key(), "{one} and {other}");
        }
    }

    #[test]
    fn keys_that_differ_in_free_parameters_alone_lie_on_one_chain() {
        let growth = |free| Growth { by: "epochs", length: 0, free, bound: None };
        let free = growth(&["epochs", "patience"]);
        let (short, long) = (parts(json!({"lr": 1, "epochs": 2})), parts(json!({"lr": 1, "epochs": 3})));
        assert_eq!(short.chain(&free), long.chain(&free));
        assert_ne!(short.chain(&free), parts(json!({"lr": 2, "epochs": 2})).chain(&free));
        assert_eq!(
            short.chain(&growth(&[])),
            short.key(),
            "without free parameters it has a chain of its own"
        );
    }

    #[test]
    fn differences_name_the_leaf() {
        let old = parts(json!({"lr": 0.001, "gone": true, "transforms": [{"resize": 80}]}));
        let new = parts(json!({"lr": 0.0005, "transforms": [{"resize": 96}]}));
        let difference = |path: &str, old: Option<&str>, new: Option<&str>| Difference {
            path: path.split('.').map(str::to_owned).collect(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        };
        assert_eq!(
            new.differences(&old),
            [
                difference("params.gone", Some("true"), None),
                difference("params.lr", Some("0.001"), Some("0.0005")),
                difference("params.transforms.0.resize", Some("80"), Some("96")),
            ]
        );
    }

    #[test]
    fn a_parameter_of_another_shape_is_one_change() {
        let change = |old: Value, new: Value| -> Vec<String> {
            let told = |text: Option<String>| text.unwrap_or("nothing".to_owned());
            let changes = parts(json!({"x": new})).changes(&parts(json!({"x": old})));
            let line = |d: Difference| format!("{} {} {}", d.path[1..].join("."), told(d.old), told(d.new));
            changes.into_iter().map(line).collect()
        };
        assert_eq!(
            change(json!({"step": 50, "gamma": 0.1}), json!("cosine")),
            [r#"x {"step":50,"gamma":0.1} "cosine""#]
        );
        assert_eq!(
            change(json!([{"rotate": 45}, {"hflip": 0.5}]), json!([{"resize": 96}])),
            [r#"x.0 {"rotate":45} {"resize":96}"#, "x.1.hflip 0.5 nothing"]
        );
        assert_eq!(
            change(json!({"a": 1, "b": 2}), json!({"a": 3, "c": 2})),
            ["x.a 1 3", "x.b 2 nothing", "x.c nothing 2"]
        );
        assert_eq!(
            change(json!({"a": 1}), json!({"b": 1, "c": 2})),
            ["x.a 1 nothing", "x.b nothing 1", "x.c nothing 2"]
        );
        assert_eq!(change(json!({"a": 1}), json!({})), ["x.a 1 nothing"]);
        assert_eq!(
            change(json!({"a": {"b": 1}}), json!({"c": {"b": 1}})),
            [r#"x {"a":{"b":1}} {"c":{"b":1}}"#]
        );
        assert_eq!(change(json!([]), json!(["a", "b"])), [r#"x [] ["a","b"]"#]);
        assert_eq!(change(json!(1), json!("one")), [r#"x 1 "one""#]);
        assert!(change(json!({"a": {}}), json!({"a": {}})).is_empty());
    }
}
