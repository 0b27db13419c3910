//! The built-in stages, one thin file per kind: each reads its parameters, names its ports and calls the folder
//! that knows how to do the work. A stage knows nothing of the plan, the store or the terminal.

pub mod augment;
pub mod command;
mod dataset_port;
pub mod decode;
pub mod download;
pub mod evaluate;
pub mod fine_tune;
mod learn;
#[cfg(test)]
mod learn_tests;
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
    use crate::engine::{DeviceClass, KeyParts};

    /// The key of a stage of this kind and params, without inputs.
    fn key(kind: &StageKind, params: &Value) -> String {
        let stage = (kind.read)(params).unwrap_or_else(|complaints| panic!("{}: {complaints:?}", kind.name));
        let (inputs, files) = (BTreeMap::new(), BTreeMap::new());
        KeyParts::new((kind.name, kind.version), stage.identity(), inputs, files, DeviceClass::Cpu)
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
        download aa334f7a641c9149647a2172379f85f9a1f56a23a5af8c0f93c44f5bda325d3d
        synthesize 4cfb634f6241b62e8b13241ac0756020b82e71929081453f031398a591727383
        decode f737b45d8bf83b6f82836500df07f4bed2cfbac08e889ff4b9498a21ad3755a3
        split 0545a661c3e50c6a534ebfbeea54f948ad9fc01a5d8ff63ac82af63b6f1ce568
        augment 6abf7a1b0ff4556b33f3c2d835e308fcf667820d6077d936c83e1ca61b5565a5
        train 9b0efa2048d642aabd587e833d0cf432946056c25cbcee0157796d4d7c684382
        fine-tune 2955ffb97835e5b1f71d2711cfd5af04ad551ca294e5b3b8fdddba4af98d4b6f
        evaluate 0e5f22f5c00ebaa7f2d0b80f26006804e35d09a6a58c833719d606f47b03abbe
        command 97f55338fb916df650f2ee950f6e400a5e0e3195c191e2bb9bd988f9dd8b9bf8
        ");
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
