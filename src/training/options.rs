//! What a training is told besides its network and data. It reads no files.

use super::schedule::Schedule;
use crate::nn::{Method, Optimizer, Trainable};

/// How to learn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// How often to go through the samples.
    pub epochs: u32,
    /// Images per step.
    pub batch: usize,
    /// The full learning rate.
    pub lr: f64,
    /// How much of each parameter is taken away at a step, times the learning rate, as the optimizer does it.
    pub weight_decay: f64,
    /// How parameters move against their gradients.
    pub optimizer: Method,
    /// For how many epochs the learning rate rises before the schedule begins; see [`Options::rate`].
    pub warmup: u32,
    /// How the learning rate changes after the warm-up.
    pub schedule: Schedule,
    /// How much of the running mean of the weights is kept at a step, if there is one; see `average.rs`.
    pub ema: Option<f64>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
            optimizer,
            warmup: _,
            schedule,
            ema,
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
            optimizer.problem().map(|message| Problem { option: "optimizer", message }),
            schedule.problem().map(|message| Problem { option: "schedule", message }),
            in_range("ema", ema.is_none_or(|keep| keep > 0.0 && keep < 1.0), "must be above 0 and below 1"),
            in_range(
                "label_smoothing",
                (0.0..1.0).contains(&label_smoothing),
                "must be at least 0 and below 1",
            ),
            in_range("patience", patience != Some(0), "must be at least 1"),
        ];
        checks.into_iter().flatten().collect()
    }

    /// The option that contradicts another.
    #[must_use]
    pub fn contradiction(&self) -> Option<Problem> {
        let message = "must be below epochs, or no epoch has the full learning rate";
        (self.warmup >= self.epochs.max(1)).then_some(Problem { option: "warmup", message })
    }

    /// An optimizer that has not yet seen a gradient.
    #[must_use]
    pub fn optimizer(&self) -> Optimizer {
        Optimizer::new(self.optimizer, self.weight_decay)
    }

    /// The learning rate of an epoch, counted from 1: of `w` epochs of warm-up, number `e` has `lr e / (w + 1)`;
    /// then the schedule begins, as if its first epoch were the one after them and its last one the last of all.
    ///
    /// That is PyTorch's `SequentialLR(o, [LinearLR(o, 1 / (w + 1), total_iters=w), schedule], milestones=[w])`.
    #[must_use]
    pub fn rate(&self, epoch: u32) -> f64 {
        let Options { lr, warmup, epochs, schedule, .. } = *self;
        if epoch <= warmup {
            lr * f64::from(epoch) / (f64::from(warmup) + 1.0)
        } else {
            schedule.rate(lr, epoch - warmup, epochs.saturating_sub(warmup))
        }
    }

    /// Whether what an epoch achieves depends on how many epochs there will be. Where it does not, a training goes
    /// on from the end of a shorter one; where it does, more epochs are another training from the start.
    #[must_use]
    pub fn depends_on_epochs(&self) -> bool {
        self.schedule.depends_on_epochs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(epochs: u32, warmup: u32, schedule: &str) -> Options {
        Options {
            epochs,
            batch: 10,
            lr: 0.1,
            weight_decay: 0.0,
            optimizer: Method::Adam,
            warmup,
            schedule: serde_yaml::from_str(schedule).expect("a schedule"),
            ema: None,
            label_smoothing: 0.0,
            seed: 0,
            patience: None,
            trainable: Trainable::All,
        }
    }

    #[test]
    fn every_option_out_of_range_is_named() {
        let options = Options {
            epochs: 0,
            batch: 1,
            lr: f64::NAN,
            weight_decay: -1.0,
            optimizer: Method::Sgd { momentum: 1.0, nesterov: false },
            warmup: 1,
            schedule: serde_yaml::from_str("{ step: 0 }").expect("a schedule"),
            ema: Some(1.0),
            label_smoothing: 1.0,
            seed: 0,
            patience: Some(0),
            trainable: Trainable::All,
        };
        let named: Vec<_> = options.problems().iter().map(|p| p.option).collect();
        let all = [
            "epochs",
            "batch",
            "lr",
            "weight_decay",
            "optimizer",
            "schedule",
            "ema",
            "label_smoothing",
            "patience",
        ];
        assert_eq!(named, all);
        assert_eq!(options.contradiction().map(|problem| problem.option), Some("warmup"));
        let right = self::options(6, 5, "constant");
        assert_eq!((right.problems(), right.contradiction()), (vec![], None));
    }

    /// PyTorch 2.14's rates, epoch by epoch:
    ///
    /// ```python
    /// o = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    /// main = ConstantLR(o, factor=1.0)  # StepLR(o, 2, 0.1), CosineAnnealingLR(o, 8 - 3)
    /// s = SequentialLR(o, [LinearLR(o, start_factor=1 / (3 + 1), total_iters=3), main], milestones=[3])
    /// for _ in range(8):
    ///     print(o.param_groups[0]["lr"]); o.step(); s.step()
    /// ```
    #[test]
    fn the_schedule_begins_after_the_warm_up_as_in_pytorch() {
        for (schedule, then) in [
            ("constant", [0.1, 0.1, 0.1, 0.1, 0.1]),
            ("{ step: 2 }", [0.1, 0.1, 0.01, 0.01, 0.001]),
            (
                "cosine",
                [
                    0.1,
                    0.090_450_849_718_747_38,
                    0.065_450_849_718_747_37,
                    0.034_549_150_281_252_63,
                    0.009_549_150_281_252_633,
                ],
            ),
        ] {
            let options = options(8, 3, schedule);
            let rates: Vec<f64> = (1..=8).map(|epoch| options.rate(epoch)).collect();
            let expected = [&[0.025, 0.05, 0.075], &then[..]].concat();
            assert!(rates.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-15), "{schedule}: {rates:?}");
        }
    }

    #[test]
    fn the_rates_depend_on_the_number_of_epochs_exactly_where_it_is_told() {
        for schedule in ["constant", "{ step: 2 }", "cosine"] {
            let (short, long) = (options(5, 2, schedule), options(9, 2, schedule));
            let differs = (1..=5).any(|epoch| short.rate(epoch) != long.rate(epoch));
            assert_eq!(short.depends_on_epochs(), differs, "{schedule}");
        }
    }
}
