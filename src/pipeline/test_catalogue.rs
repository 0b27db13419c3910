//! A few kinds of stages for tests, so that the language can be tested without the real ones.

use serde::Deserialize;
use serde_json::Value;

use super::{
    AtLeast, Catalogue, Check, Complaint, Holds, InputPort, Inputs, Need, OutputPort, Ports, Refusal,
    read_params,
};

/// Knows `download`, `split`, `train` and `command`; a stage is its parameters, printed.
pub(crate) struct FewKinds;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Download {
    url: String,
    #[serde(default)]
    retries: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    parts: Vec<String>,
    /// How many samples each part has.
    #[serde(default)]
    each: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Train {
    #[serde(default)]
    epochs: u32,
    #[serde(default)]
    lr: f64,
    #[serde(default)]
    batch: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    run: String,
}

impl Check for Download {}
impl Check for Split {}
impl Check for Command {}
impl Check for Train {
    fn check(&self) -> Vec<Complaint> {
        let message = format!("lr: must not be negative, and {} is", self.lr);
        let complaint = Complaint { path: vec!["lr".into()], message, hint: None };
        if self.lr < 0.0 { vec![complaint] } else { vec![] }
    }
}

impl Catalogue for FewKinds {
    type Stage = String;

    fn kinds(&self) -> Vec<&'static str> {
        vec!["download", "split", "train", "command"]
    }

    fn read(&self, kind: &str, params: &Value) -> Result<(String, Ports), Refusal> {
        let needs = |ports: &[(&'static str, Holds, Need)]| {
            Inputs::Fixed(
                ports.iter().map(|&(name, holds, need)| InputPort::new(name, holds, need)).collect(),
            )
        };
        let output = |name: &str, holds| OutputPort::new(name, holds);
        let fixed = |inputs, outputs| Ports { inputs, outputs, named_by: None };
        Ok(match kind {
            "download" => {
                let ports = |_: &Download| fixed(needs(&[]), vec![output("file", Holds::File)]);
                let params = read_params(params, ports)?;
                (format!("{} {}", params.url, params.retries), ports(&params))
            }
            "split" => {
                let ports = |params: &Split| {
                    let part = |name| OutputPort { samples: params.each, ..output(name, Holds::Dataset) };
                    Ports {
                        inputs: needs(&[("archive", Holds::File, Need::Required)]),
                        outputs: params.parts.iter().map(|name| part(name)).collect(),
                        named_by: Some("parts"),
                    }
                };
                let params = read_params(params, ports)?;
                (format!("{params:?}"), ports(&params))
            }
            "train" => {
                let ports = |params: &Train| {
                    let full_batch = AtLeast { samples: params.batch, param: "batch" };
                    let dataset = |name| InputPort::new(name, Holds::Dataset, Need::Required);
                    let inputs = Inputs::Fixed(vec![
                        InputPort { at_least: Some(full_batch), ..dataset("train") },
                        dataset("val"),
                        InputPort::new("model", Holds::Model, Need::Optional),
                    ]);
                    fixed(inputs, vec![output("model", Holds::Model), output("history", Holds::File)])
                };
                let params = read_params(params, ports)?;
                (format!("epochs {} lr {}", params.epochs, params.lr), ports(&params))
            }
            _ => {
                let ports = |_: &Command| fixed(Inputs::Any, vec![output("out", Holds::Directory)]);
                let params = read_params(params, ports)?;
                let ports = ports(&params);
                (params.run, ports)
            }
        })
    }
}
