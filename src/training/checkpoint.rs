//! Everything a training needs to go on after an epoch as if it had never stopped, in memory and as files. It
//! does not know when it is saved.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::error::Error;
use super::history::{self, Epoch};
use super::options::Options;
use crate::nn::{Adam, Architecture, Classifier, StateDict};

const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const BEST: &str = "best.safetensors";
const HISTORY: &str = "history.jsonl";

/// A training between two epochs.
pub struct Checkpoint {
    /// The network, with its running statistics.
    pub classifier: Classifier,
    /// The optimizer, with its moments and step count.
    pub adam: Adam,
    /// The weights of the best epoch so far, or the first ones before any epoch.
    pub best: StateDict,
    /// The epochs so far.
    pub history: Vec<Epoch>,
}

impl Checkpoint {
    /// A training before its first epoch.
    #[must_use]
    pub fn start(classifier: Classifier, options: &Options) -> Checkpoint {
        let best = classifier.state();
        Checkpoint { classifier, adam: Adam::new(options.adam()), best, history: Vec::new() }
    }

    /// How many epochs are done.
    #[must_use]
    pub fn epochs(&self) -> u32 {
        u32::try_from(self.history.len()).expect("epochs are counted in 32 bits")
    }

    /// Adds a finished epoch, and keeps its weights if it is the best so far.
    pub fn finish(&mut self, epoch: Epoch) {
        self.history.push(epoch);
        if history::best(&self.history).is_some_and(|best| best.epoch == epoch.epoch) {
            self.best = self.classifier.state();
        }
    }

    /// Whether nothing is left to do: all epochs are done, or patience is at an end.
    #[must_use]
    pub fn is_finished(&self, options: &Options) -> bool {
        let since_best = history::best(&self.history).map_or(0, |best| self.epochs() - best.epoch);
        self.epochs() >= options.epochs || options.patience.is_some_and(|patience| since_best >= patience)
    }

    /// Its files: their names and bytes.
    #[must_use]
    pub fn files(&self) -> [(&'static str, Vec<u8>); 4] {
        [
            (WEIGHTS, self.classifier.state().to_safetensors()),
            (OPTIMIZER, self.adam.state().to_safetensors()),
            (BEST, self.best.to_safetensors()),
            (HISTORY, history::to_jsonl(&self.history).into_bytes()),
        ]
    }

    /// Takes it back from its files.
    ///
    /// # Errors
    /// If a file is missing or not what [`Checkpoint::files`] gave.
    pub fn from_files(
        architecture: &Architecture,
        options: &Options,
        read: impl Fn(&str) -> io::Result<Vec<u8>>,
    ) -> Result<Checkpoint, Error> {
        let state = |file: &'static str| {
            StateDict::from_safetensors(&read(file)?)
                .map_err(|e| Error::Unreadable { file, problem: e.to_string() })
        };
        let history = String::from_utf8(read(HISTORY)?)
            .map_err(|e| Error::Unreadable { file: HISTORY, problem: e.to_string() })?;
        Ok(Checkpoint {
            classifier: Classifier::from_state(architecture, &state(WEIGHTS)?)?,
            adam: Adam::from_state(options.adam(), &state(OPTIMIZER)?)?,
            best: state(BEST)?,
            history: history::from_jsonl(&history)?,
        })
    }

    /// Saves it in a folder in the place of an older one; whoever looks finds either of them, whole.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let name = format!("epoch-{:06}", self.epochs());
        let unfinished = folder.join("unfinished");
        remove(&unfinished)?;
        fs::create_dir_all(&unfinished)?;
        for (file, bytes) in self.files() {
            let mut file = File::create(unfinished.join(file))?;
            file.write_all(&bytes)?;
            file.sync_all()?;
        }
        File::open(&unfinished)?.sync_all()?;
        remove(&folder.join(&name))?;
        fs::rename(&unfinished, folder.join(&name))?;
        File::open(folder)?.sync_all()?;
        for older in saved(folder)?.into_iter().filter(|saved| *saved != name) {
            remove(&folder.join(older))?;
        }
        Ok(())
    }

    /// The latest one saved in a folder, if there is any.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn load(
        folder: &Path,
        architecture: &Architecture,
        options: &Options,
    ) -> Result<Option<Checkpoint>, Error> {
        let Some(name) = saved(folder)?.pop() else { return Ok(None) };
        let read = |file: &str| fs::read(folder.join(&name).join(file));
        Checkpoint::from_files(architecture, options, read).map(Some)
    }
}

/// The names of saved checkpoints, the latest last.
fn saved(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("epoch-") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
