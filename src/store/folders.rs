//! Folders to work in, lent again and again, because each that is made and removed makes the next ones dearer: ext4
//! without a journal passes over whatever was deleted in the last minutes, each time it looks for the number of a new file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{Action, Error, Store};

/// Folders inside the store's `tmp/` that are lent for a while; those given back are removed when this is dropped.
#[derive(Debug)]
pub struct Folders {
    store: Store,
    free: Mutex<Vec<PathBuf>>,
}

impl Store {
    /// Folders to lend; none is made before one is asked for.
    #[must_use]
    pub fn folders(&self) -> Folders {
        Folders { store: self.clone(), free: Mutex::default() }
    }
}

impl Folders {
    /// A folder that nobody else has. It is empty, or as the last one left it who gave it back.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn lend(&self) -> Result<PathBuf, Error> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let make = || {
            let dir = self.store.make_dir("tmp")?;
            let made = tempfile::Builder::new().prefix("run-").tempdir_in(&dir);
            Ok(made.map_err(Error::at(Action::Write, &dir))?.keep())
        };
        free.map_or_else(make, Ok)
    }

    /// Takes a folder back.
    pub fn take_back(&self, folder: &Path) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(folder.to_owned());
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        for folder in self.free.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // If one cannot be deleted it does no harm, and the next collection tries again.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_given_back_is_lent_again_and_one_that_was_not_stays_out() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(dir.path());
        let folders = store.folders();
        let (first, second) = (folders.lend().expect("writable"), folders.lend().expect("writable"));
        assert_ne!(first, second);
        folders.take_back(&first);
        assert_eq!(folders.lend().expect("writable"), first);
        folders.take_back(&second);
        drop(folders);
        assert!(first.exists() && !second.exists());
    }
}
