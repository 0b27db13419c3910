//! What a failed computation leaves for people to look at: its log and whatever it had made. Nobody takes it for a
//! result, and the next attempt of the same stage clears it away.
//!
//! ```text
//! cache/failed/<pipeline>/<stage>/
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use super::remove::{move_away, remove_tree};
use super::{Action, Error, Store};

/// The name of a computation's log.
pub(super) const LOG: &str = "log.txt";

/// How the end of the log begins.
const WHY: &str = "failed: ";

/// The place for what one stage leaves when it fails.
#[derive(Debug, Clone)]
pub struct Aside {
    path: PathBuf,
}

impl Store {
    /// The place for what a stage leaves when it fails; it need not exist.
    #[must_use]
    pub fn aside(&self, pipeline: &str, stage: &str) -> Aside {
        Aside { path: self.failures(pipeline).join(stage) }
    }

    /// Whether any stage of a pipeline may have left something.
    #[must_use]
    pub fn has_failures(&self, pipeline: &str) -> bool {
        self.failures(pipeline).is_dir()
    }

    fn failures(&self, pipeline: &str) -> PathBuf {
        self.root.join("failed").join(pipeline)
    }
}

impl Aside {
    /// The names of what lies there now, in order; none if the last attempt did not fail.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().display().to_string()).collect();
        names.sort();
        names
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves a file or a directory of the store there, under a name.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn put(&self, name: &str, from: &Path) -> Result<(), Error> {
        let to = self.path.join(name);
        // What another process left there makes room; if it cannot be removed, the renaming says so.
        let _ = if to.is_dir() { remove_tree(&to) } else { fs::remove_file(&to) };
        fs::create_dir_all(&self.path)
            .and_then(|()| move_away(from, &to))
            .map_err(Error::at(Action::Write, &self.path))
    }

    /// Copies a log there that may have lost its name.
    ///
    /// # Errors
    /// If it cannot be read or the store cannot be written.
    pub fn copy_log(&self, mut from: File) -> Result<(), Error> {
        let path = self.path.join(LOG);
        fs::create_dir_all(&self.path)
            .and_then(|()| from.rewind())
            .and_then(|()| io::copy(&mut from, &mut File::create(&path)?))
            .map(drop)
            .map_err(Error::at(Action::Write, &path))
    }

    /// Ends the log there with why the computation failed.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn end_log(&self, why: &str) -> Result<(), Error> {
        let path = self.path.join(LOG);
        fs::create_dir_all(&self.path)
            .and_then(|()| OpenOptions::new().create(true).append(true).open(&path))
            .and_then(|mut log| writeln!(log, "{WHY}{why}"))
            .map_err(Error::at(Action::Write, &path))
    }

    /// What the failed computation said, if anything.
    #[must_use]
    pub fn log(&self) -> Option<Vec<u8>> {
        fs::read(self.path.join(LOG)).ok()
    }

    /// Why the computation failed, in its first line, as the log there says.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        let log = fs::read_to_string(self.path.join(LOG)).ok()?;
        let end = log.rfind(&format!("\n{WHY}")).map_or(&*log, |at| &log[at + 1..]);
        Some(end.lines().next()?.strip_prefix(WHY)?.to_owned())
    }

    /// Removes everything there.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn clear(&self) -> Result<(), Error> {
        match remove_tree(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.map_err(Error::at(Action::Write, &self.path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_aside_is_there_until_it_is_cleared_away() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let aside = Store::at(dir.path()).aside("ver_2_3", "train");
        aside.clear().expect("nothing to do");
        let file = dir.path().join("file");
        fs::write(&file, "half").expect("writable");
        aside.put("log.txt", &file).expect("writable");
        assert_eq!(aside.names(), ["log.txt"]);
        assert_eq!(fs::read(aside.path().join("log.txt")).expect("there"), b"half");
        for _ in 0..2 {
            let folder = dir.path().join("folder");
            fs::create_dir(&folder).expect("writable");
            fs::write(folder.join("x"), "x").expect("writable");
            aside.put("directory", &folder).expect("it replaces what was there");
        }
        aside.clear().expect("writable");
        assert_eq!(aside.names(), [""; 0]);
    }
}
