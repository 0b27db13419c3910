//! How parameters move, spoken in the words of a pipeline file. It moves nothing.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How parameters move against their gradients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[schemars(transform = allow_bare_sgd)]
pub enum Method {
    /// Adam, as `torch.optim.Adam`: weight decay is added to the gradient; betas 0.9 and 0.999, eps 1e-8.
    #[default]
    Adam,
    /// AdamW, as `torch.optim.AdamW`: the same, but weight decay shrinks the parameters themselves.
    Adamw,
    /// Gradient descent, as `torch.optim.SGD`: weight decay is added to the gradient. Alone, `sgd` has no momentum.
    Sgd {
        /// How much of the steps before goes on, from 0 to below 1.
        #[serde(default)]
        momentum: f64,
        /// Whether to look ahead, as Nesterov's momentum does.
        #[serde(default)]
        nesterov: bool,
    },
}

impl Method {
    /// What is kept of earlier gradients for each parameter, by PyTorch's names.
    pub(super) fn buffers(self) -> &'static [&'static str] {
        match self {
            Method::Adam | Method::Adamw => &["exp_avg", "exp_avg_sq"],
            Method::Sgd { .. } => &["momentum_buffer"],
        }
    }

    /// What is wrong with its figures.
    #[must_use]
    pub fn problem(self) -> Option<&'static str> {
        match self {
            Method::Sgd { momentum, .. } if !(0.0..1.0).contains(&momentum) => {
                Some("momentum must be at least 0 and below 1")
            }
            Method::Sgd { momentum: 0.0, nesterov: true } => {
                Some("nesterov needs a momentum above 0, such as 0.9")
            }
            Method::Adam | Method::Adamw | Method::Sgd { .. } => None,
        }
    }
}

/// The language reads a choice whose parameters all have defaults from its name alone.
fn allow_bare_sgd(schema: &mut Schema) {
    if let Some(Value::Array(choices)) = schema.get_mut("oneOf") {
        choices.push(json!({ "description": "The same as `{ sgd: {} }`.", "const": "sgd" }));
    }
}
