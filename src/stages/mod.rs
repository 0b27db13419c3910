//! The built-in stages, one thin file per kind: each reads its parameters, names its ports and calls the folder
//! that knows how to do the work. A stage knows nothing of the plan, the store or the terminal.

pub mod augment;
mod checkpoints;
pub mod command;
mod dataset_port;
pub mod decode;
pub mod download;
pub mod evaluate;
pub mod fine_tune;
mod learn;
#[cfg(test)]
mod learn_tests;
mod learning;
mod model_port;
mod overlap;
pub mod split;
pub mod synthesize;
#[cfg(test)]
pub(crate) mod test_job;
pub mod train;

use crate::engine::stage::StageKind;

/// All kinds, in the order in which help lists them.
#[must_use]
pub fn kinds() -> [&'static StageKind; 9] {
    [
        &download::KIND,
        &synthesize::KIND,
        &decode::KIND,
        &split::KIND,
        &augment::KIND,
        &train::KIND,
        &fine_tune::KIND,
        &evaluate::KIND,
        &command::KIND,
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::engine::KeyParts;
    use crate::engine::stage::Device;

    /// The key of a stage of this kind and params, without inputs.
    fn key(kind: &StageKind, params: &Value) -> String {
        let stage = (kind.read)(params).unwrap_or_else(|complaints| panic!("{}: {complaints:?}", kind.name));
        let (inputs, files) = (BTreeMap::new(), BTreeMap::new());
        KeyParts::new((kind.name, kind.version), stage.identity(), inputs, files, Device::Cpu)
            .key()
            .to_string()
    }

    /// A changed line throws away everybody's results of that kind: only with a raised version, and a reason.
    #[test]
    fn keys_are_what_they_were() {
        let samples: [(&StageKind, Value); 9] = [
            (&download::KIND, json!({"url": "https://example.org/a.tar.gz"})),
            (&synthesize::KIND, json!({})),
            (&decode::KIND, json!({})),
            (&split::KIND, json!({"parts": {"train": 0.8, "val": 0.2}})),
            (
                &augment::KIND,
                json!({"samples": 10, "transforms": [{"rotate": 45}, {"color-jitter": [0.3, 0.3, 0.3, 0.3]}]}),
            ),
            (&train::KIND, json!({"model": "lenet", "epochs": 5})),
            (&fine_tune::KIND, json!({"epochs": 5})),
            (&evaluate::KIND, json!({"transforms": [{"resize": 120}]})),
            (&command::KIND, json!({"run": "true", "outs": {"o": "o"}})),
        ];
        let keys: Vec<String> =
            samples.iter().map(|(kind, params)| format!("{} {}", kind.name, key(kind, params))).collect();
        insta::assert_snapshot!(keys.join("\n"), @r"
        download 2c7ecc26643cf2302a814192fd8d0e8e7d58f15f8566cce5059a3a59cf504a00
        synthesize 3baccc52304407e9e26beecf0d7865a57f80e87135e599012d8d418376be1c67
        decode 84cf7dfbd3f8b414ed998dc06294ad142ba30e76a00a5906d9a166019dc395f0
        split 08ee8682e93ea9169517080c18f0410a069c65277d3f232c6e0df9e56befd87c
        augment 759bee251a1df3263b98323d417aa1a604f09132fb4c79fa17f9c73593fb54f3
        train a9250e0ae3fc5640598604570c2554a0dfca9bd0c65b60517e912982ff305de3
        fine-tune 49bcf44e7f16c026712a9c2140994f949799ed7f61dc80613686abcb64e09594
        evaluate a32aa86039218ac4503ca32547a3178c59de4ca75eee0f2f961008c4af503e85
        command f77964124f2280bb13f5d5629883bca9ae49e7ad78589c02aa97d90f68f8f729
        ");
    }

    #[test]
    fn a_whole_number_is_told_with_the_least_that_is_right() {
        let from = |kind: &StageKind, params: Value| {
            let complaints = (kind.read)(&params).err().expect("complains").into_complaints();
            let told: Vec<String> = complaints.into_iter().map(|complaint| complaint.message).collect();
            told.join("; ")
        };
        for (kind, params, name, least) in [
            (&download::KIND, json!({ "url": "x", "size": -1 }), "size", 0),
            (&synthesize::KIND, json!({ "train_per_class": -1 }), "train_per_class", 1),
            (&synthesize::KIND, json!({ "test_per_class": 0 }), "test_per_class", 1),
            (&synthesize::KIND, json!({ "unlabeled": -1 }), "unlabeled", 0),
            (&augment::KIND, json!({ "samples": -1, "transforms": [] }), "samples", 1),
            (
                &augment::KIND,
                json!({ "samples": 1, "transforms": [{ "resize": -1 }] }),
                "transforms.0.resize",
                1,
            ),
            (&train::KIND, json!({ "model": "lenet", "epochs": -1 }), "epochs", 1),
            (&train::KIND, json!({ "model": "lenet", "epochs": 1, "batch": -1 }), "batch", 1),
            (&train::KIND, json!({ "model": "lenet", "epochs": 1, "warmup": -1 }), "warmup", 0),
            (&train::KIND, json!({ "model": "lenet", "epochs": 1, "checkpoints": -1 }), "checkpoints", 0),
            (&fine_tune::KIND, json!({ "epochs": 1, "patience": -1 }), "patience", 1),
            (&evaluate::KIND, json!({ "batch": -1 }), "batch", 1),
            (&command::KIND, json!({ "run": "true", "retries": -1 }), "retries", 0),
        ] {
            let told = from(kind, params);
            let expected = format!("{name}: expected a whole number from {least}");
            assert!(told.starts_with(&expected), "{}: {told}", kind.name);
        }
    }

    #[test]
    fn a_stage_of_wrong_parameters_can_be_asked_for_its_ports() {
        let values = [
            json!(null),
            json!(-1),
            json!(""),
            json!("s3://x"),
            json!([[]]),
            json!({ "": {} }),
            json!(1e300),
        ];
        for kind in kinds() {
            let schema = (kind.schema)();
            for param in schema["properties"].as_object().expect("a map of parameters").keys() {
                for value in &values {
                    let read = (kind.read)(&json!({ param: value, "unknown": 1 }));
                    let refused = read.err().expect("one is unknown");
                    assert!(refused.ports.inputs.is_some(), "{}.{param}: {value}", kind.name);
                }
            }
        }
    }

    #[test]
    fn defaults_spelled_out_change_no_key() {
        for kind in kinds() {
            let params = match kind.name {
                "download" => json!({"url": "https://example.org/a.tar.gz"}),
                "split" => json!({"parts": {"train": 0.8, "val": 0.2}}),
                "augment" => json!({"samples": 10, "transforms": [{"rotate": 45}]}),
                "train" => json!({"model": "lenet", "epochs": 5}),
                "fine-tune" => json!({"epochs": 5}),
                "command" => json!({"run": "true"}),
                _ => json!({}),
            };
            let spelled = (kind.read)(&params).unwrap_or_else(|c| panic!("{}: {c:?}", kind.name)).params();
            assert_eq!(key(kind, &params), key(kind, &spelled), "{}", kind.name);
        }
    }
}
