//! Everything a training needs to go on after an epoch as if it had never stopped, in memory and as files. It
//! does not know when and where they are kept.

use std::io;

use super::average;
use super::error::Error;
use super::history::{self, Epoch, Timing};
use super::options::Options;
use crate::nn::{Architecture, Classifier, Device, Optimizer, StateDict};

const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const AVERAGE: &str = "average.safetensors";
const BEST: &str = "best.safetensors";
const HISTORY: &str = "history.jsonl";
const TIMES: &str = "times.json";

/// A training between two epochs.
pub struct Checkpoint {
    /// The network, with its running statistics.
    pub classifier: Classifier,
    /// The optimizer, with what it remembers.
    pub optimizer: Optimizer,
    /// The moving average of the weights, if there is to be one, from the first step on.
    pub average: Option<StateDict>,
    /// The validated weights of the best epoch so far, or the first ones before any epoch.
    pub best: StateDict,
    /// The epochs so far.
    pub history: Vec<Epoch>,
    /// How long each of them took; nothing else depends on it.
    pub times: Vec<Timing>,
}

impl Checkpoint {
    /// A training before its first epoch.
    #[must_use]
    pub fn start(classifier: Classifier, options: &Options) -> Checkpoint {
        let best = classifier.state();
        Checkpoint {
            classifier,
            optimizer: options.optimizer(),
            average: None,
            best,
            history: Vec::new(),
            times: Vec::new(),
        }
    }

    /// How many epochs are done.
    #[must_use]
    pub fn epochs(&self) -> u32 {
        u32::try_from(self.history.len()).expect("epochs are counted in 32 bits")
    }

    /// The weights to validate and to keep: the average if there is one, or else those that learn.
    #[must_use]
    pub fn weights(&self) -> StateDict {
        self.average.clone().unwrap_or_else(|| self.classifier.state())
    }

    /// Takes the weights after a step into the average, if there is to be one.
    pub(super) fn follow(&mut self, options: &Options) {
        if let Some(decay) = options.ema {
            average::update(&mut self.average, self.classifier.state(), decay);
        }
    }

    /// Adds a finished epoch, and keeps its weights if it is the best so far.
    pub fn finish(&mut self, epoch: Epoch, timing: Timing) {
        self.history.push(epoch);
        self.times.push(timing);
        if history::best(&self.history).is_some_and(|best| best.epoch == epoch.epoch) {
            self.best = self.weights();
        }
    }

    /// Whether nothing is left to do: all epochs are done, or patience is at an end.
    #[must_use]
    pub fn is_finished(&self, options: &Options) -> bool {
        let since_best = history::best(&self.history).map_or(0, |best| self.epochs() - best.epoch);
        self.epochs() >= options.epochs || options.patience.is_some_and(|patience| since_best >= patience)
    }

    /// Whether a training with these options goes on beyond here or ends exactly here, rather than before.
    #[must_use]
    pub fn is_passed_by(&self, options: &Options) -> bool {
        let ends_before = |epochs: usize| {
            let history = &self.history[..epochs];
            history::best(history).is_some_and(|best| {
                options.patience.is_some_and(|patience| epochs - best.epoch as usize >= patience as usize)
            })
        };
        self.epochs() <= options.epochs && !(1..self.history.len()).any(ends_before)
    }

    /// Its files: their names and bytes, which are the same whenever the same training is at the same epoch.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let average = self.average.as_ref().map(|average| (AVERAGE, average.to_safetensors()));
        let others = [
            (WEIGHTS, self.classifier.state().to_safetensors()),
            (OPTIMIZER, self.optimizer.state().to_safetensors()),
            (BEST, self.best.to_safetensors()),
            (HISTORY, history::to_jsonl(&self.history).into_bytes()),
        ];
        others.into_iter().chain(average).collect()
    }

    /// The one file that differs from run to run: its name and bytes.
    #[must_use]
    pub fn times_file(&self) -> (&'static str, Vec<u8>) {
        (TIMES, serde_json::to_vec(&self.times).expect("numbers can be written as JSON"))
    }

    /// Takes it back from its files, to go on on a device.
    ///
    /// # Errors
    /// If a file is missing or not what [`Checkpoint::files`] and [`Checkpoint::times_file`] gave.
    pub fn from_files(
        architecture: &Architecture,
        options: &Options,
        device: Device,
        read: impl Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Checkpoint, Error> {
        let state = |file: &'static str| {
            StateDict::from_safetensors(&read(file)?)
                .map_err(|e| Error::Unreadable { file, problem: e.to_string() })
        };
        // A file holds its tensors by name; a classifier puts them into the network's order.
        let weights =
            |file, device| Classifier::from_state(architecture, &state(file)?, device).map_err(Error::from);
        let unreadable = |file, problem: String| Error::Unreadable { file, problem };
        let text = String::from_utf8(read(HISTORY)?).map_err(|e| unreadable(HISTORY, e.to_string()))?;
        let history = history::from_jsonl(&text)?;
        let times: Vec<Timing> =
            serde_json::from_slice(&read(TIMES)?).map_err(|e| unreadable(TIMES, e.to_string()))?;
        if times.len() != history.len() {
            let problem = format!("it has {} epochs, the history {}", times.len(), history.len());
            return Err(unreadable(TIMES, problem));
        }
        Ok(Checkpoint {
            classifier: weights(WEIGHTS, device)?,
            optimizer: Optimizer::from_state(options.optimizer, options.weight_decay, &state(OPTIMIZER)?)?,
            average: options
                .ema
                .map(|_| weights(AVERAGE, Device::Cpu))
                .transpose()?
                .map(|average| average.state()),
            best: state(BEST)?,
            history,
            times,
        })
    }
}
