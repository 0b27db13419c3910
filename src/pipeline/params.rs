//! Reads a `with:` block into a stage's parameter struct and says everything that is wrong with it at once,
//! where serde alone would stop at the first mistake. It knows no particular stage.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::catalogue::{Complaint, Ports, Refusal};
use super::fault::{Fault, Mistake};
use super::names::did_you_mean;
use super::param::Param;

/// What a parameter struct demands beyond the types of its fields.
pub trait Check {
    /// Everything that is wrong with these values, each by itself.
    fn check(&self) -> Vec<Complaint> {
        vec![]
    }

    /// Everything that is wrong with them side by side. Not asked if one of them is of a wrong type.
    fn check_together(&self) -> Vec<Complaint> {
        vec![]
    }
}

/// Reads parameters, whose struct should refuse unknown fields. A missing `with:` reads like an empty one. `ports` says
/// which ports a stage of these parameters has, and is asked if they are refused; then some are stand-ins.
///
/// # Errors
/// Every unknown, missing and mistyped parameter, and what [`Check`] complains about in the others.
pub fn read_params<T: DeserializeOwned + Check>(
    params: &Value,
    ports: impl FnOnce(&T) -> Ports,
) -> Result<T, Refusal> {
    match read(params) {
        (Some(read), wrong) if wrong.surely.is_empty() && wrong.unless_more.is_empty() => Ok(read),
        (read, wrong) => Err(Refusal::new(params, wrong.surely, wrong.unless_more, read.as_ref().map(ports))),
    }
}

/// All that is wrong with parameters.
#[derive(Default)]
struct Wrong {
    /// Whatever else may be given.
    surely: Vec<Complaint>,
    /// As long as nothing else is.
    unless_more: Vec<Complaint>,
}

/// What could be read, and all that is wrong. After each mistake a stand-in takes the place of the wrong or missing value,
/// and reading starts again.
fn read<T: DeserializeOwned + Check>(params: &Value) -> (Option<T>, Wrong) {
    const MOST_MISTAKES: usize = 100;
    let mut param = match params {
        Value::Null => Param::Map(vec![]),
        given => Param::from(given),
    };
    let Wrong { mut surely, mut unless_more } = Wrong::default();
    for _ in 0..MOST_MISTAKES {
        match T::deserialize(&param) {
            Ok(read) => {
                if surely.is_empty() && unless_more.is_empty() {
                    surely = read.check();
                    unless_more = read.check_together();
                } else {
                    let of_originals = |wrong: &Complaint| param.is_original(&wrong.path);
                    surely.extend(read.check().into_iter().filter(of_originals));
                }
                return (Some(read), Wrong { surely, unless_more });
            }
            Err(fault) => {
                if !param.explains(&fault) {
                    let is_missing = matches!(fault.mistake, Mistake::Missing { .. });
                    let complaints = if is_missing { &mut unless_more } else { &mut surely };
                    complaints.push(complaint(&fault));
                }
                if !param.amend(&fault) {
                    break;
                }
            }
        }
    }
    (None, Wrong { surely, unless_more })
}

fn complaint(fault: &Fault) -> Complaint {
    let place = fault.path.join(".");
    let inside = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    let mut path = fault.path.clone();
    let (message, hint) = match &fault.mistake {
        Mistake::Unknown { name, known } => {
            path.push(name.clone());
            (format!("unknown parameter `{}`", inside(name)), nearest_or_all(name, known))
        }
        Mistake::Missing { name } => (format!("parameter `{}` is missing", inside(name)), None),
        Mistake::NoSuchChoice { name, known } => {
            let outside =
                place.strip_suffix(name).and_then(|place| place.strip_suffix('.')).unwrap_or(&place);
            (at(outside, &format!("there is no choice `{name}`")), nearest_or_all(name, known))
        }
        Mistake::Wrong { message } => (at(&place, message), None),
    };
    Complaint { path, message, hint }
}

fn at(place: &str, message: &str) -> String {
    if place.is_empty() { message.to_owned() } else { format!("{place}: {message}") }
}

fn nearest_or_all(name: &str, known: &[&str]) -> Option<String> {
    let all = || {
        let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        (!known.is_empty()).then(|| format!("known are {}", known.join(", ")))
    };
    did_you_mean(name, known.iter().copied()).or_else(all)
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::Inputs;
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Training {
        epochs: u32,
        lr: f64,
        #[serde(default)]
        shuffle: bool,
        model: Model,
        #[serde(default)]
        transforms: Vec<Transform>,
        schedule: Option<Schedule>,
        #[serde(default)]
        warmup: u32,
        #[serde(default = "nothing")]
        program: Program,
    }

    fn nothing() -> Program {
        Program::Line(String::new())
    }

    /// One of several forms, which serde tries one after the other.
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(untagged, expecting = "expected a line or a list")]
    enum Program {
        Line(String),
        Words(Vec<String>),
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Model {
        Lenet,
        CustomNet,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    enum Transform {
        Rotate(f64),
        ColorJitter([f64; 4]),
        Flip,
        Blur {
            #[serde(default)]
            radius: f64,
        },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Schedule {
        step: std::num::NonZeroU32,
        gamma: f64,
    }

    impl Check for Training {
        fn check(&self) -> Vec<Complaint> {
            let message = "epochs: must be at least 1".to_owned();
            let complaint = Complaint { path: vec!["epochs".into()], message, hint: None };
            if self.epochs == 0 { vec![complaint] } else { vec![] }
        }

        fn check_together(&self) -> Vec<Complaint> {
            let message = "warmup: must be below epochs".to_owned();
            let complaint = Complaint { path: vec!["warmup".into()], message, hint: None };
            if self.warmup >= self.epochs.max(1) { vec![complaint] } else { vec![] }
        }
    }

    fn read_params(params: &Value) -> Result<Training, Vec<Complaint>> {
        let ports = |_: &Training| Ports { inputs: Inputs::Any, outputs: vec![], named_by: None };
        super::read_params(params, ports).map_err(Refusal::into_complaints)
    }

    fn complaints(params: &Value) -> String {
        let told = |complaint: Complaint| {
            let hint = complaint.hint.map_or(String::new(), |hint| format!(" ({hint})"));
            format!("[{}] {}{hint}", complaint.path.join("."), complaint.message)
        };
        let complaints = read_params(params).unwrap_err();
        complaints.into_iter().map(told).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn right_parameters_are_read_with_their_defaults() {
        let params = json!({ "epochs": 3, "lr": 1, "model": "custom_net",
            "transforms": [{ "rotate": 45 }, "flip", { "color-jitter": [0.1, 0.2, 0.3, 0.4] }] });
        let read = read_params(&params).unwrap();
        let transforms =
            vec![Transform::Rotate(45.0), Transform::Flip, Transform::ColorJitter([0.1, 0.2, 0.3, 0.4])];
        let model = Model::CustomNet;
        assert_eq!(
            read,
            Training {
                epochs: 3,
                lr: 1.0,
                shuffle: false,
                model,
                transforms,
                schedule: None,
                warmup: 0,
                program: nothing(),
            }
        );
    }

    #[test]
    fn a_choice_whose_parameters_have_defaults_may_stand_alone() {
        let params = |blur: Value| json!({ "epochs": 1, "lr": 1, "model": "lenet", "transforms": [blur] });
        for (blur, radius) in [(json!("blur"), 0.0), (json!({ "blur": { "radius": 2 } }), 2.0)] {
            let read = read_params(&params(blur)).unwrap();
            assert_eq!(read.transforms, [Transform::Blur { radius }]);
        }
        insta::assert_snapshot!(complaints(&params(json!({ "blur": { "radius": "wide", "radios": 1 } }))), @r#"
        [transforms.0.blur.radius] transforms.0.blur.radius: expected a number, found the text "wide"
        [transforms.0.blur.radios] unknown parameter `transforms.0.blur.radios` (did you mean `radius`?)
        "#);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let params = json!({ "epoch": 3, "lr": "fast", "shuffle": 1, "model": "custm_net",
            "transforms": [{ "rotat": 45 }, "flap", { "color-jitter": [0.1, 0.2, 0.3] }, { "rotate": null }, 7],
            "schedule": { "step": 0, "gama": 0.1 } });
        insta::assert_snapshot!(complaints(&params), @r#"
        [epoch] unknown parameter `epoch` (did you mean `epochs`?)
        [lr] lr: expected a number, found the text "fast"
        [shuffle] shuffle: expected true or false, found the number 1
        [model] model: there is no choice `custm_net` (did you mean `custom_net`?)
        [transforms.0.rotat] transforms.0: there is no choice `rotat` (did you mean `rotate`?)
        [transforms.1] transforms.1: there is no choice `flap` (did you mean `flip`?)
        [transforms.2.color-jitter] transforms.2.color-jitter: expected a list of 4, found 3
        [transforms.3.rotate] transforms.3.rotate: expected a number, found nothing
        [transforms.4] transforms.4: expected one of `rotate`, `color-jitter`, `flip`, `blur`, found the number 7
        [schedule.step] schedule.step: expected a whole number from 1, found the number 0
        [schedule.gama] unknown parameter `schedule.gama` (did you mean `gamma`?)
        [schedule] parameter `schedule.gamma` is missing
        [] parameter `epochs` is missing
        "#);
    }

    #[test]
    fn an_absent_block_misses_all_that_is_required() {
        insta::assert_snapshot!(complaints(&Value::Null), @r"
        [] parameter `epochs` is missing
        [] parameter `lr` is missing
        [] parameter `model` is missing
        ");
    }

    #[test]
    fn numbers_out_of_range_and_lists_of_wrong_length_are_explained() {
        let params = json!({ "epochs": -1, "lr": [], "model": { "lenet": 1 }, "schedule": [1, 2],
            "transforms": [{ "color-jitter": [1, 2, 3, 4, 5] }, { "rotate": 1, "flip": 2 }, "rotate", { "rotate": 1, "rotat": 2 }] });
        insta::assert_snapshot!(complaints(&params), @r"
        [epochs] epochs: expected a whole number from 0 to 4294967295, found the number -1
        [lr] lr: expected a number, found a list
        [model.lenet] model.lenet: `lenet` takes no value; write `lenet` in place of the map
        [schedule] schedule: expected a map, found a list
        [transforms.0.color-jitter] transforms.0.color-jitter: expected a list of 4, found 5
        [transforms.1] transforms.1: expected exactly one entry, found `rotate` and `flip`
        [transforms.2] transforms.2: `rotate` needs a value: `rotate: ..`
        [transforms.3] transforms.3: there is no choice `rotat` (did you mean `rotate`?)
        ");
    }

    #[test]
    fn values_are_checked_once_the_types_are_right() {
        let params = json!({ "epochs": 0, "lr": 1, "model": "lenet" });
        insta::assert_snapshot!(complaints(&params), @"[epochs] epochs: must be at least 1");
    }

    #[test]
    fn a_wrong_type_hides_neither_wrong_values_nor_other_wrong_types() {
        let params = json!({ "epochs": 0, "lr": "fast", "model": 3, "warmup": 5, "schedule": "linear",
            "program": 7, "shuffle": 1 });
        insta::assert_snapshot!(complaints(&params), @r#"
        [lr] lr: expected a number, found the text "fast"
        [model] model: expected one of `lenet`, `custom_net`, found the number 3
        [schedule] schedule: expected a map, found the text "linear"
        [program] program: expected a line or a list
        [shuffle] shuffle: expected true or false, found the number 1
        [epochs] epochs: must be at least 1
        "#);
        // What is compared with a value of a wrong type says nothing, nor does what is checked of it.
        let params = json!({ "epochs": "many", "lr": 1, "model": "lenet", "warmup": 5 });
        insta::assert_snapshot!(complaints(&params), @r#"[epochs] epochs: expected a whole number, found the text "many""#);
        let params = json!({ "epochs": 5, "lr": 1, "model": "lenet", "warmup": 5 });
        insta::assert_snapshot!(complaints(&params), @"[warmup] warmup: must be below epochs");
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let words =
            ["epochs", "lr", "model", "transforms", "schedule", "step", "rotate", "flip", "lenet", "?"];
        let word = proptest::sample::select(words.to_vec());
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            word.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            let list = proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from);
            let entry = (word.clone().prop_map(String::from), inner);
            let map = proptest::collection::vec(entry, 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect()));
            prop_oneof![list, map]
        })
    }

    proptest! {
        #[test]
        fn no_value_is_refused_without_a_reason(value in any_value()) {
            if let Err(complaints) = read_params(&value) {
                prop_assert!(!complaints.is_empty());
            }
        }
    }
}
