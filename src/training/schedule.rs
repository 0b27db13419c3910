//! The learning rate of each epoch, once the warm-up is over. It knows nothing but numbers.

use std::f64::consts::PI;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the learning rate changes from epoch to epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected `constant`, `cosine` or `{ step: EPOCHS, gamma: FACTOR }`")]
pub enum Schedule {
    /// A rule without figures.
    Named(Named),
    /// Times a factor after every so many epochs.
    Step(Step),
}

/// A rule without figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Named {
    /// The same in every epoch.
    Constant,
    /// Half a cosine, from the full rate towards 0 at the end; it depends on the number of epochs.
    Cosine,
}

/// Times a factor after every so many epochs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// After how many epochs.
    pub step: u32,
    /// The factor.
    #[serde(default = "tenth")]
    pub gamma: f64,
}

impl Default for Schedule {
    fn default() -> Schedule {
        Schedule::Named(Named::Constant)
    }
}

impl Schedule {
    /// Whether its rates depend on how many epochs there will be.
    #[must_use]
    pub fn depends_on_epochs(&self) -> bool {
        matches!(self, Schedule::Named(Named::Cosine))
    }

    /// The learning rate of an epoch, counted from 1, of `epochs`, both without the warm-up.
    #[must_use]
    pub fn rate(&self, base: f64, epoch: u32, epochs: u32) -> f64 {
        let passed = epoch - 1;
        match self {
            Schedule::Named(Named::Constant) => base,
            Schedule::Named(Named::Cosine) => {
                base * 0.5 * (1.0 + (PI * f64::from(passed) / f64::from(epochs)).cos())
            }
            Schedule::Step(Step { step, gamma }) => {
                // Multiplied one by one, since powers differ in their last bits between machines.
                (0..passed / step).fold(base, |rate, _| rate * gamma)
            }
        }
    }

    /// What is wrong with its figures.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Schedule::Step(Step { step: 0, .. }) => Some("step must be at least 1"),
            Schedule::Step(Step { gamma, .. }) if !(gamma.is_finite() && *gamma > 0.0) => {
                Some("gamma must be above 0")
            }
            Schedule::Named(_) | Schedule::Step(_) => None,
        }
    }
}

fn tenth() -> f64 {
    0.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: &str, epochs: u32) -> Vec<f64> {
        let schedule: Schedule = serde_yaml::from_str(schedule).expect("a schedule");
        (1..=epochs).map(|epoch| schedule.rate(0.1, epoch, epochs)).collect()
    }

    #[test]
    fn each_schedule_gives_its_rates() {
        assert_eq!(rates("constant", 3), [0.1, 0.1, 0.1]);
        let step = rates("{ step: 2 }", 5);
        let expected = [0.1, 0.1, 0.01, 0.01, 0.001];
        assert!(step.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{step:?}");
        // torch.optim.lr_scheduler.CosineAnnealingLR(T_max=4), eta_min 0.
        let cosine = rates("cosine", 4);
        let expected = [0.1, 0.085_355_339_059_327_38, 0.05, 0.014_644_660_940_672_627];
        assert!(cosine.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{cosine:?}");
    }

    #[test]
    fn figures_that_make_no_sense_are_refused() {
        for text in ["{ step: 0 }", "{ step: 1, gamma: 0 }", "{ step: 1, gamma: .nan }"] {
            let schedule: Schedule = serde_yaml::from_str(text).expect("a schedule");
            assert!(schedule.problem().is_some(), "{text}");
        }
        let error = serde_yaml::from_str::<Schedule>("linear").expect_err("no schedule");
        assert!(error.to_string().contains("`constant`, `cosine`"), "{error}");
    }
}
