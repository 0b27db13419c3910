//! What a training is told besides its network and data. It reads no files.

use super::schedule::Schedule;
use crate::nn::{AdamOptions, Trainable};

/// How to learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// How often to go through the samples.
    pub epochs: u32,
    /// Images per step.
    pub batch: usize,
    /// The learning rate of the first epoch.
    pub lr: f64,
    /// How much of each parameter is added to its gradient.
    pub weight_decay: f64,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// How much of the target goes evenly to all classes.
    pub label_smoothing: f64,
    /// Decides the first weights and the order of the samples.
    pub seed: u64,
    /// How many epochs without a better validation loss to bear; without: all.
    pub patience: Option<u32>,
    /// Which parameters learn.
    pub trainable: Trainable,
}

/// An option out of its range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The option.
    pub option: &'static str,
    /// What must hold.
    pub message: &'static str,
}

impl Options {
    /// Every option out of its range.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let Options {
            epochs,
            batch,
            lr,
            weight_decay,
            schedule,
            label_smoothing,
            seed: _,
            patience,
            trainable: _,
        } = *self;
        let in_range = |option, fine: bool, message| (!fine).then_some(Problem { option, message });
        let checks = [
            in_range("epochs", epochs >= 1, "must be at least 1"),
            in_range("batch", batch >= 2, "must be at least 2, since batch norm compares images"),
            in_range("lr", lr.is_finite() && lr > 0.0, "must be above 0"),
            in_range("weight_decay", weight_decay.is_finite() && weight_decay >= 0.0, "must be 0 or above"),
            in_range(
                "label_smoothing",
                (0.0..1.0).contains(&label_smoothing),
                "must be at least 0 and below 1",
            ),
            in_range("patience", patience != Some(0), "must be at least 1"),
            schedule.problem().map(|message| Problem { option: "schedule", message }),
        ];
        checks.into_iter().flatten().collect()
    }

    /// Adam's constants.
    #[must_use]
    pub fn adam(&self) -> AdamOptions {
        AdamOptions { weight_decay: self.weight_decay, ..AdamOptions::default() }
    }

    /// The learning rate of an epoch, counted from 1.
    #[must_use]
    pub fn rate(&self, epoch: u32) -> f64 {
        self.schedule.rate(self.lr, epoch, self.epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_out_of_range_is_named() {
        let options = Options {
            epochs: 0,
            batch: 1,
            lr: f64::NAN,
            weight_decay: -1.0,
            schedule: Schedule::default(),
            label_smoothing: 1.0,
            seed: 0,
            patience: Some(0),
            trainable: Trainable::All,
        };
        let named: Vec<_> = options.problems().iter().map(|p| p.option).collect();
        assert_eq!(named, ["epochs", "batch", "lr", "weight_decay", "label_smoothing", "patience"]);
    }
}
