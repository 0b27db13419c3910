//! Moves files that are not what they should be out of the way, to be looked at or deleted by people. What is right
//! stays where it is.

use std::fs::{self, File};
use std::path::Path;

use super::failpoint::failpoint;
use super::{Action, Digest, Error, Stamp, Store, hash_file};

impl Store {
    /// Moves a blob out of the way if its bytes are wrong. Right ones stay, also those that somebody else has put there
    /// since it was found wrong.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn quarantine(&self, digest: &Digest) -> Result<(), Error> {
        let dir = self.make_dir("quarantine")?;
        // Nobody else moves it between the look and the move, and nothing is ever put where something is.
        let lock = File::open(&dir).and_then(|folder| folder.lock().map(|()| folder));
        let _alone = lock.map_err(Error::at(Action::Lock, &dir))?;
        let (from, to) = (self.blob_path(digest), dir.join(digest.to_string()));
        if from.symlink_metadata().is_err() || stamp_if_right(&from, digest).is_some() {
            return Ok(());
        }
        fs::rename(&from, &to).map_err(Error::at(Action::Write, &to))?;
        failpoint("set aside", &to);
        Ok(())
    }

    /// Moves something inside the store out of the way, whatever it is.
    pub(super) fn set_aside(&self, inside: &Path) -> Result<(), Error> {
        let names: Vec<String> = inside.iter().map(|name| name.to_string_lossy().into_owned()).collect();
        let dir = self.make_dir("quarantine")?;
        // What was set aside before under that name stays.
        let free = (0..).map(|n| match n {
            0 => dir.join(names.join("-")),
            n => dir.join(format!("{}-{n}", names.join("-"))),
        });
        let to = free.into_iter().find(|to| to.symlink_metadata().is_err()).expect("some number is free");
        match fs::rename(self.root.join(inside), &to) {
            // Two findings may concern one folder.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(Error::at(Action::Write, &to))?,
        }
        failpoint("set aside", &to);
        Ok(())
    }
}

/// What the metadata of a file says, if it has the bytes of a digest.
pub(super) fn stamp_if_right(path: &Path, digest: &Digest) -> Option<Stamp> {
    let stamp = Stamp::of(path)?;
    let is_right = hash_file(path).is_ok_and(|found| found == *digest) && Stamp::of(path) == Some(stamp);
    is_right.then_some(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wrong_bytes_are_moved() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(dir.path());
        let digest = Digest::of(b"right");
        store.quarantine(&digest).expect("there is nothing");
        let path = store.blob_path(&digest);
        fs::create_dir_all(path.parent().expect("inside the store")).expect("writable");
        for (bytes, stays) in [(b"right", true), (b"wrong", false)] {
            fs::write(&path, bytes).expect("writable");
            store.quarantine(&digest).expect("writable");
            assert_eq!(path.exists(), stays);
        }
        assert_eq!(
            fs::read(store.root().join("quarantine").join(digest.to_string())).expect("there"),
            b"wrong"
        );
    }
}
