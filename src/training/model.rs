//! A model artifact: `model.safetensors` with PyTorch's names, `model.json`, which says what network the weights
//! are for and what images it takes, and `seen.safetensors`, which images it has learnt from. It does not know where
//! artifacts lie.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::normalisation::Normalisation;
use super::seen::Seen;
use crate::dataset::Fingerprint;
use crate::nn::{self, Activation, Architecture, Classifier, Device, Network, StateDict};

/// The file with the weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The file that describes them.
pub const CARD_FILE: &str = "model.json";
/// The file with the fingerprints of the images that it has learnt from, in ascending order.
pub const SEEN_FILE: &str = "seen.safetensors";

/// The content of `model.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// The network.
    pub network: Network,
    /// What follows its convolutions.
    pub activation: Activation,
    /// The classes it tells apart, in the order of its logits.
    pub classes: Vec<String>,
    /// How its images are normalised.
    pub normalisation: Normalisation,
    /// Height and width of the images it was trained on; it takes others as well.
    pub resolution: [usize; 2],
    /// How many parameters it has.
    pub parameters: usize,
}

/// A trained classifier and what is known about it.
pub struct Model {
    /// What it is.
    pub card: ModelCard,
    /// The network with its weights.
    pub classifier: Classifier,
    /// What it has learnt from, as far as is known.
    pub seen: Seen,
}

impl ModelCard {
    /// The network that the weights are for.
    #[must_use]
    pub fn architecture(&self) -> Architecture {
        Architecture { network: self.network, activation: self.activation, classes: self.classes.len() }
    }

    /// Checks that data tells the same classes apart.
    ///
    /// # Errors
    /// If it does not; `what` data it is, `training` for example, is told.
    pub fn check_classes(&self, what: &'static str, found: &[String]) -> Result<(), Error> {
        if found == self.classes {
            return Ok(());
        }
        Err(Error::Classes {
            what,
            found: found.to_vec(),
            reference: "model",
            expected: self.classes.clone(),
        })
    }

    /// The bytes of `model.json`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("names and numbers can be written as JSON");
        json.push(b'\n');
        json
    }
}

impl Model {
    /// Opens the artifact whose files `locate` finds by their names, to compute on a device.
    ///
    /// # Errors
    /// If a file is missing, unreadable, or the weights are not those of the network.
    pub fn open(device: Device, locate: impl Fn(&str) -> Option<PathBuf>) -> Result<Model, Error> {
        let read = |file: &'static str| {
            let unreadable = |problem: String| Error::Unreadable { file, problem };
            let path = locate(file).ok_or_else(|| unreadable("the model has no such file".to_string()))?;
            std::fs::read(path).map_err(|e| unreadable(e.to_string()))
        };
        let card: ModelCard = serde_json::from_slice(&read(CARD_FILE)?)
            .map_err(|e| Error::Unreadable { file: CARD_FILE, problem: e.to_string() })?;
        let state = StateDict::from_safetensors(&read(WEIGHTS_FILE)?)?;
        let classifier = Classifier::from_state(&card.architecture(), &state, device)?;
        let seen = Fingerprint::from_safetensors(&read(SEEN_FILE)?)
            .map_err(|problem| Error::Unreadable { file: SEEN_FILE, problem })?;
        Ok(Model { card, classifier, seen: Seen::new(seen) })
    }
}

/// The network with weights from outside: a safetensors file with PyTorch's names, such as
/// `safetensors.torch.save_file(net.state_dict(), path)` makes.
///
/// # Errors
/// If the file cannot be read, is of another format, or does not fit the network; the message names every tensor
/// that is missing, unknown or misshapen.
pub fn load_weights(path: &Path, architecture: &Architecture, device: Device) -> Result<Classifier, Error> {
    let wrong = |problem: String| Error::Weights { path: path.to_owned(), problem };
    let bytes = std::fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let state = StateDict::from_safetensors(&bytes).map_err(|error| match error {
        nn::Error::NotSafetensors(_) => wrong(format!("{error}; {}", conversion(path, &bytes))),
        error => wrong(error.to_string()),
    })?;
    Classifier::from_state(architecture, &state, device).map_err(|error| wrong(error.to_string()))
}

/// How to make safetensors of what is no such file.
fn conversion(path: &Path, bytes: &[u8]) -> String {
    // What `torch.save` writes is a zip archive; before PyTorch 1.6 it was a pickle of protocol 2.
    let is_of_torch = bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"\x80\x02");
    let guess = if is_of_torch { "it looks like a file of `torch.save`" } else { "PyTorch writes one" };
    let (file, made) = (path.display(), path.with_extension("safetensors"));
    format!(
        "{guess}; with the state dict of the network in it, convert it with\n  import torch, safetensors.torch\n  \
         safetensors.torch.save_file(torch.load(\"{file}\", map_location=\"cpu\"), \"{}\")",
        made.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_are_no_safetensors_come_with_the_way_to_convert_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("net.pt");
        std::fs::write(&path, b"PK\x03\x04 and so on").expect("written");
        let architecture =
            Architecture { network: Network::Lenet, activation: Activation::Relu, classes: 10 };
        let told =
            |path: &Path| load_weights(path, &architecture, Device::Cpu).err().expect("refused").to_string();
        for part in
            ["net.pt: not a safetensors file", "looks like a file of `torch.save`", "save_file(torch.load("]
        {
            assert!(told(&path).contains(part), "{}", told(&path));
        }
        assert!(told(&folder.path().join("none")).contains("none: No such file"));
    }

    #[test]
    fn the_card_reads_like_a_description() {
        let card = ModelCard {
            network: Network::CustomNet,
            activation: Activation::LeakyRelu,
            classes: vec!["airplane".into(), "bird".into()],
            normalisation: Normalisation::default(),
            resolution: [80, 80],
            parameters: 1_899_274,
        };
        let value: serde_json::Value = serde_json::from_slice(&card.to_json()).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({
                "network": "custom_net",
                "activation": "leaky_relu(0.1)",
                "classes": ["airplane", "bird"],
                "normalisation": { "mean": [0.507, 0.487, 0.441], "std": [0.267, 0.256, 0.276] },
                "resolution": [80, 80],
                "parameters": 1_899_274
            })
        );
    }
}
