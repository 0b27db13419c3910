//! Folders to work in, lent again and again, because each that is made and removed makes the next ones dearer: ext4
//! without a journal passes over whatever was deleted in the last minutes, each time it looks for the number of a new file.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::remove::remove_tree;
use super::{Action, Error, Store};

/// The mode of a folder that is lent, and of what is kept in it.
const MODE: u32 = 0o700;

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

    /// Takes a folder back, and removes all that is in it but an empty directory of the name `kept`, if that is there.
    pub fn take_back(&self, folder: &Path, kept: &str) {
        match clean(folder, kept) {
            Ok(()) => self.free.lock().unwrap_or_else(PoisonError::into_inner).push(folder.to_owned()),
            // What lies in its place, if anything, is not lent any more. If it cannot be deleted it does no harm.
            Err(_) => _ = remove_tree(folder).or_else(|_| fs::remove_file(folder)),
        }
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        for folder in self.free.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // If one cannot be deleted it does no harm, and the next collection tries again.
            let _ = remove_tree(folder);
        }
    }
}

/// Leaves nothing in a directory but, if it is there, one empty directory of this name. Both have the mode again that they had.
fn clean(directory: &Path, kept: &str) -> io::Result<()> {
    let metadata = fs::symlink_metadata(directory)?;
    if !metadata.is_dir() {
        // A link in its place leads to what is not ours to remove.
        return Err(io::ErrorKind::NotADirectory.into());
    }
    if metadata.mode() & 0o7777 != MODE {
        fs::set_permissions(directory, Permissions::from_mode(MODE))?;
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match (entry.file_type()?.is_dir(), entry.file_name() == kept) {
            (true, true) => clean(&entry.path(), "")?,
            (true, false) => remove_tree(&entry.path())?,
            (false, _) => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_that_was_given_back_is_lent_again_and_one_that_was_not_stays_out() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(dir.path());
        let folders = store.folders();
        let (first, second) = (folders.lend().expect("writable"), folders.lend().expect("writable"));
        assert_ne!(first, second);
        folders.take_back(&first, "in");
        assert_eq!(folders.lend().expect("writable"), first);
        folders.take_back(&second, "in");
        drop(folders);
        assert!(first.exists() && !second.exists());
    }

    #[test]
    fn what_is_taken_back_is_clean() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["left", "out/left", "in/port", "in/in/left", "in/dir/left"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("inside")).expect("made");
            fs::write(path, "x").expect("written");
        }
        symlink("/", folder.path().join("link")).expect("linked");
        for changed in ["in", ""] {
            fs::set_permissions(folder.path().join(changed), Permissions::from_mode(0o500)).expect("ours");
        }
        clean(folder.path(), "in").expect("cleaned");
        let left: Vec<_> =
            fs::read_dir(folder.path()).expect("there").map(|e| e.expect("there").file_name()).collect();
        assert_eq!(left, ["in"]);
        assert_eq!(fs::read_dir(folder.path().join("in")).expect("there").count(), 0);
        for place in [folder.path(), &folder.path().join("in")] {
            assert_eq!(fs::metadata(place).expect("there").mode() & 0o7777, MODE);
        }
    }

    #[test]
    fn what_lies_in_the_place_of_a_folder_is_removed_and_what_it_leads_to_stays() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = dir.path().join("file");
        fs::write(&file, "x").expect("written");
        let folders = Store::at(&dir.path().join("cache")).folders();
        for is_link in [true, false] {
            let place = folders.lend().expect("writable");
            fs::remove_dir(&place).expect("empty");
            if is_link { symlink(dir.path(), &place) } else { fs::write(&place, "x") }.expect("writable");
            folders.take_back(&place, "in");
            assert!(file.exists() && place.symlink_metadata().is_err());
            assert_ne!(folders.lend().expect("writable"), place);
        }
    }
}
