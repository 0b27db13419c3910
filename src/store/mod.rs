//! Keeps bytes by their digest and records by their key, so that whatever is readable is right: even after a
//! kill at any instant, and with other processes at work in the same directory. It knows no stages.
//!
//! ```text
//! cache/blobs/ab/ab12..     bytes, named by their blake3 digest, read-only
//! cache/records/cd/cd34..   one JSON file per key: what was computed, from what, and which blobs hold it
//! cache/views/ef/ef56../    one directory per directory artifact: names linked to blobs
//! cache/chains/cd/cd56../   what lies on the way to a result, for longer and shorter ones to go on from
//! cache/partial/cd34../     what a failed or interrupted computation of a key may go on from
//! cache/runs/<pipeline>/    which keys each run of a pipeline ended with
//! cache/answers/            plans of large pipelines in which nothing was left to do
//! cache/seen/               digests of files outside the store, by their path and stamp
//! cache/index.json          which logs and digests there are, so that a deleted one is missed
//! cache/quarantine/         what was found damaged
//! cache/trash/<time>/       what was collected, laid out like a store, until its grace period is over
//! cache/locks/, cache/tmp/  locks held by living processes; files being written
//! ```
//!
//! Small files carry a checksum of their own ([`sealed`]); `verify` reads everything, `repair` mends it, `collect`
//! finds what nobody needs and `sweep` moves it to the trash.

mod artifact;
mod aside;
mod blob;
mod chain;
mod collect;
#[cfg(test)]
mod collect_tests;
mod description;
mod digest;
mod error;
pub(crate) mod failpoint;
mod finding;
mod folders;
mod index;
mod live;
mod lock;
mod lock_file;
mod memo;
mod owners;
mod publish;
mod quarantine;
mod record;
mod remove;
mod repair;
mod rules;
mod runs;
mod sealed;
mod seen;
mod stamp;
mod survey;
mod syncing;
mod trash;
mod usage;
mod verify;
mod view;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use artifact::{Artifact, Blob, Form};
pub use aside::Aside;
pub use blob::{BlobWriter, TakenIn, Unnamed};
pub use chain::{Chain, Link};
pub use collect::{Collection, Item, What};
pub use description::Description;
pub use digest::Digest;
pub use error::{Action, Error, with_remedy};
pub use finding::{Finding, Mending, Report, Wrong};
pub use folders::Folders;
pub use live::{Alive, Killed, Living, Look};
pub use lock::{Claim, Holder, Slot, Want};
pub use owners::Owner;
pub use record::{Damage, Found, Record};
pub use repair::Repaired;
pub use rules::{Best, Rules};
pub use runs::{LoggedRun, Origins, Outcome, RunEntry, RunLog, Unfinished};
pub use seen::hash_file;
pub use stamp::Stamp;
pub use trash::{Bin, Swept};
pub use usage::{Share, Usage};

use failpoint::failpoint;
use lock_file::LockFiles;
use remove::{move_away, remove_tree};

/// A store: one directory, shared freely by any number of processes.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    lock_files: Arc<LockFiles>,
}

impl Store {
    /// The store in a directory, which need not exist yet; nothing is written before something is kept.
    #[must_use]
    pub fn at(root: &Path) -> Store {
        // Programs that run elsewhere are handed paths into the store.
        let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        Store { root, lock_files: Arc::default() }
    }

    /// The store in a directory that may be read: one that may not would look empty.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    pub fn open(root: &Path) -> Result<Store, Error> {
        let store = Store::at(root);
        for folder in ["", "records", "blobs", "chains", "runs"] {
            let folder = store.root.join(folder);
            match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => drop(outcome.map_err(Error::at(Action::Read, &folder))?),
            }
        }
        Ok(store)
    }

    /// The store's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where something lies that is named by a digest: in one of the 256 folders below a folder.
    fn sharded(&self, folder: &str, digest: &Digest, ending: &str) -> PathBuf {
        let digits = digest.digits();
        let name = str::from_utf8(&digits).expect("digits are text");
        let length = self.root.as_os_str().len() + folder.len() + ending.len() + 70;
        let mut path = PathBuf::with_capacity(length);
        path.push(&self.root);
        path.extend([folder, &name[..2], name]);
        let mut path = path.into_os_string();
        path.push(ending);
        path.into()
    }

    fn temporary(&self) -> Result<tempfile::NamedTempFile, Error> {
        // Readable by everyone the umask allows, since a store may be shared by a team.
        let mode = fs::Permissions::from_mode(0o644);
        let file =
            self.within("tmp", |dir| tempfile::Builder::new().permissions(mode.clone()).tempfile_in(dir));
        let dir = self.root.join("tmp");
        failpoint("file created", &dir);
        file.map_err(Error::at(Action::Write, &dir))
    }

    /// Does something in a folder of the store; only if that is not there it is made.
    fn within<T>(&self, name: &str, work: impl Fn(&Path) -> io::Result<T>) -> io::Result<T> {
        let dir = self.root.join(name);
        match work(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&dir)?;
                work(&dir)
            }
            outcome => outcome,
        }
    }

    fn make_dir(&self, name: impl AsRef<Path>) -> Result<PathBuf, Error> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).map_err(Error::at(Action::Write, &dir))?;
        Ok(dir)
    }

    /// Writes a small file so that it is there whole or not at all, even after a power cut.
    fn write_whole(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        use std::io::Write;
        let mut file = self.temporary()?;
        file.write_all(bytes).map_err(Error::at(Action::Write, path))?;
        failpoint("bytes written", path);
        file.as_file().sync_data().map_err(Error::at(Action::Write, path))?;
        failpoint("bytes synced", path);
        move_into_place(file, path)
    }

    /// Makes the names of blobs durable. Soon after something else was synced it takes no time where file systems keep
    /// a journal: what comes later there never lasts without what came before.
    fn sync_names<'a>(&self, blobs: impl IntoIterator<Item = &'a Blob>) -> Result<(), Error> {
        for folder in self.folders_of_blobs(blobs) {
            sync_dir(&folder)?;
            failpoint("names synced", &folder);
        }
        Ok(())
    }

    /// Removes a file or a folder with all that is in it, so that it is there whole or not at all whenever this ends.
    fn remove_whole(&self, path: &Path) -> Result<(), Error> {
        if path.symlink_metadata().is_err() {
            return Ok(());
        }
        let dir = self.make_dir("tmp")?;
        let aside = tempfile::tempdir_in(&dir).map_err(Error::at(Action::Write, &dir))?;
        match move_away(path, &aside.path().join("removed")) {
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(Error::at(Action::Write, path))?,
        }
        failpoint("moved away", path);
        remove_tree(aside.path()).map_err(Error::at(Action::Write, path))?;
        failpoint("removed", path);
        Ok(())
    }
}

/// Renames a finished temporary file to its name and makes the name durable.
fn move_into_place(file: tempfile::NamedTempFile, path: &Path) -> Result<(), Error> {
    let persist = |file: tempfile::NamedTempFile| file.persist(path).map(drop);
    let outcome = match persist(file) {
        Err(refused) if refused.error.kind() == io::ErrorKind::NotFound => {
            make_folder(path.parent().expect("every file of the store lies in a folder of the store"))?;
            persist(refused.file)
        }
        outcome => outcome,
    };
    outcome.map_err(|refused| Error::at(Action::Write, path)(refused.error))?;
    failpoint("renamed", path);
    sync_name(path)
}

/// Makes the name of a file durable.
fn sync_name(path: &Path) -> Result<(), Error> {
    sync_dir(path.parent().expect("every file of the store lies in a folder of the store"))?;
    failpoint("name synced", path);
    Ok(())
}

/// Makes a folder and those above it that are missing, and their names durable: what is synced inside a folder is lost
/// with the folder's own name.
fn make_folder(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = dir.parent().expect("the root of all folders is there");
    make_folder(above)?;
    match fs::create_dir(dir) {
        // Another process or thread was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => {}
        outcome => outcome.map_err(Error::at(Action::Write, dir))?,
    }
    failpoint("folder made", dir);
    match sync_dir(above) {
        // A folder above the store that may not be read cannot be synced.
        Err(error) if error.cause.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        outcome => outcome,
    }
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(Error::at(Action::Write, dir))
}
