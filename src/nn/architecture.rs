//! Which network, spoken in the words of a pipeline file. Knows nothing of tensors.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A network and its options: what a stored model must say besides its weights.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// The shape of the network.
    pub network: Network,
    /// What follows the convolutions.
    #[serde(default)]
    pub activation: Activation,
    /// How many classes it tells apart.
    pub classes: usize,
}

/// The networks of the STL-10 experiments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Four convolutions, 1,565,706 parameters.
    Lenet,
    /// Eight convolutions, 1,899,274 parameters.
    CustomNet,
    /// Twelve grouped bottlenecks, 1,939,530 parameters.
    Resnext,
}

/// What follows the convolutions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Activation {
    /// max(x, 0).
    #[default]
    #[serde(rename = "relu")]
    Relu,
    /// max(x, x / 10).
    #[serde(rename = "leaky_relu(0.1)")]
    LeakyRelu,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_spelled_as_in_the_pipeline_file() {
        let text = r#"{"network":"custom_net","activation":"leaky_relu(0.1)","classes":10}"#;
        let custom_net =
            Architecture { network: Network::CustomNet, activation: Activation::LeakyRelu, classes: 10 };
        assert_eq!(serde_json::to_string(&custom_net).unwrap(), text);
        assert_eq!(serde_json::from_str::<Architecture>(text).unwrap(), custom_net);
    }
}
