//! The parameters that say how `train` and `fine-tune` learn, written once and given to both kinds. Serde's
//! `flatten` would do the same, but lose the places of mistakes and the names that are unknown.

/// Declares the parameters of a kind that learns: its own, and after them those of learning.
macro_rules! learning_params {
    ($(#[$about:meta])* struct $kind:ident {
        $($(#[$attribute:meta])* $own:ident: $type:ty,)*
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, ::serde::Serialize, ::serde::Deserialize, ::schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct $kind {
            $($(#[$attribute])* $own: $type,)*
            /// How often to go through the training samples.
            epochs: ::std::num::NonZero<u32>,
            /// Images per step.
            #[serde(default = "crate::stages::learning::defaults::batch")]
            batch: ::std::num::NonZero<usize>,
            /// The learning rate of the first epoch, or with a warm-up of the first one after it.
            #[serde(default = "crate::stages::learning::defaults::lr")]
            lr: f64,
            /// How much of each parameter counts as its gradient, or with `adamw` how much of it, times the learning
            /// rate, is taken away at each step.
            #[serde(default = "crate::stages::learning::defaults::weight_decay")]
            weight_decay: f64,
            /// What moves the parameters: `adam`, `adamw`, `sgd`, or `{ sgd: { momentum: 0.9, nesterov: true } }`.
            #[serde(default)]
            optimizer: crate::nn::Method,
            /// For how many epochs the learning rate rises evenly to `lr` before the schedule begins: of 4, the
            /// first has a fifth of `lr`, the fourth four fifths, the next all of it. The steps of a `step` schedule
            /// are counted from there, and `cosine` falls over the epochs that are left.
            #[serde(default)]
            warmup: u32,
            /// How the learning rate changes: `constant`, `cosine`, or `{ step: 100, gamma: 0.1 }`.
            #[serde(default)]
            schedule: crate::training::Schedule,
            /// Validate and keep a moving average of the weights, of which each step keeps this much, such as 0.999.
            /// Without: the weights themselves.
            #[serde(default)]
            ema: Option<f64>,
            /// How much of the target goes evenly to all classes, from 0 to below 1.
            #[serde(default)]
            label_smoothing: f64,
            /// Decides what is random: the order of the samples, and where nothing is trained yet the first weights.
            #[serde(default = "crate::stages::learning::defaults::seed")]
            seed: u64,
            /// Stop after this many epochs without a better validation loss. Without: never.
            #[serde(default)]
            patience: Option<::std::num::NonZero<u32>>,
            /// At most how many ends of epochs to keep for shorter and longer trainings to go on from, spread evenly over
            /// the training, besides the last one. Each takes up to four times the disk space of the weights. Changes no
            /// result.
            #[serde(default = "crate::stages::learning::defaults::checkpoints")]
            checkpoints: u32,
            /// Go on even if images of `val` are among those that the network learns from, or has learnt from before.
            #[serde(default)]
            allow_overlap: bool,
        }

        impl $kind {
            /// What the training loop is told.
            fn options(&self, trainable: crate::nn::Trainable) -> crate::training::Options {
                crate::training::Options {
                    epochs: self.epochs.get(),
                    batch: self.batch.get(),
                    lr: self.lr,
                    weight_decay: self.weight_decay,
                    optimizer: self.optimizer,
                    warmup: self.warmup,
                    schedule: self.schedule,
                    ema: self.ema,
                    label_smoothing: self.label_smoothing,
                    seed: self.seed,
                    patience: self.patience.map(::std::num::NonZero::get),
                    trainable,
                }
            }
        }
    };
}

pub(super) use learning_params;

/// What is assumed where the pipeline says nothing.
pub(super) mod defaults {
    use std::num::NonZero;

    pub fn batch() -> NonZero<usize> {
        const { NonZero::new(64).expect("not 0") }
    }

    pub fn lr() -> f64 {
        1e-3
    }

    pub fn weight_decay() -> f64 {
        1e-4
    }

    pub fn checkpoints() -> u32 {
        10
    }

    pub fn seed() -> u64 {
        1337
    }
}
