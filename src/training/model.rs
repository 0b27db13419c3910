//! A model artifact: `model.safetensors` with PyTorch's names, and `model.json`, which says what network the
//! weights are for and what images it takes. It does not know where artifacts lie.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::normalisation::Normalisation;
use crate::nn::{Activation, Architecture, Classifier, Network, StateDict};

/// The file with the weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The file that describes them.
pub const CARD_FILE: &str = "model.json";

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
    /// Opens the artifact whose files `locate` finds by their names.
    ///
    /// # Errors
    /// If a file is missing, unreadable, or the weights are not those of the network.
    pub fn open(locate: impl Fn(&str) -> Option<PathBuf>) -> Result<Model, Error> {
        let read = |file: &'static str| {
            let unreadable = |problem: String| Error::Unreadable { file, problem };
            let path = locate(file).ok_or_else(|| unreadable("the model has no such file".to_string()))?;
            std::fs::read(path).map_err(|e| unreadable(e.to_string()))
        };
        let card: ModelCard = serde_json::from_slice(&read(CARD_FILE)?)
            .map_err(|e| Error::Unreadable { file: CARD_FILE, problem: e.to_string() })?;
        let state = StateDict::from_safetensors(&read(WEIGHTS_FILE)?)?;
        let classifier = Classifier::from_state(&card.architecture(), &state)?;
        Ok(Model { card, classifier })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
