//! Small answers that somebody wants to find again instead of working them out. Losing one costs only that work.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Digest, Error, Stamp, Store, sealed};

impl Store {
    /// The answer remembered under a name, if it is whole.
    #[must_use]
    pub fn recall<T: DeserializeOwned>(&self, name: &Digest) -> Option<T> {
        sealed::read(&self.answers_dir().join(name.to_string()))
    }

    /// Remembers an answer under a name, in place of an earlier one.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn remember(&self, name: &Digest, answer: &impl Serialize) -> Result<(), Error> {
        self.write_whole(&self.answers_dir().join(name.to_string()), &sealed::seal(answer))
    }

    /// What the metadata of a key's record says now; `None` if it is not there.
    #[must_use]
    pub fn record_stamp(&self, key: &Digest) -> Option<Stamp> {
        Stamp::of(&self.record_path(key))
    }

    fn answers_dir(&self) -> std::path::PathBuf {
        self.root.join("answers")
    }
}
