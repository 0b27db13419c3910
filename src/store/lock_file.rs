//! Locked files that lock one key after the other: a file is made and locked once, and then a key is locked by giving the
//! file the key's name besides its own, and freed by taking it away. A new file for each key would make all other new
//! files dearer: ext4 without a journal passes over whatever was deleted in the last minutes each time it looks for a number.
//!
//! It knows no keys and no results, only paths.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::failpoint::failpoint;

/// Files that this process has locked and that lock nothing at present. They are removed when this is dropped.
#[derive(Debug, Default)]
pub(super) struct LockFiles {
    free: Mutex<Vec<Spare>>,
}

/// A locked file under the name that it keeps.
#[derive(Debug)]
struct Spare {
    path: PathBuf,
    file: File,
    /// How many bytes it has.
    length: usize,
}

/// A path that is the name of a file locked by this process, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    by: By,
}

#[derive(Debug)]
enum By {
    /// It is a further name of this file.
    Spare(Option<Spare>, Arc<LockFiles>),
    /// It is the only name of this file.
    Own { _file: File },
}

impl LockFiles {
    /// Locks a path and writes a text there for others to read; `None` if somebody else has it.
    ///
    /// # Errors
    /// If the folder is not there, or cannot be written.
    pub(super) fn lock(self: &Arc<LockFiles>, path: &Path, text: &[u8]) -> io::Result<Option<Lock>> {
        let mut spare = self.take(path.parent().expect("a lock lies in a folder"))?;
        if let Err(error) = spare.write(text) {
            // A full disk must not fill up with these as well.
            let _ = fs::remove_file(&spare.path);
            return Err(error);
        }
        if fs::hard_link(&spare.path, path).is_ok() {
            failpoint("lock taken", path);
            let by = By::Spare(Some(spare), Arc::clone(self));
            return Ok(Some(Lock { path: path.to_owned(), by }));
        }
        // Somebody has it, or was killed while he had it. Or else the file system knows no further names.
        self.give_back(spare);
        let Some(file) = try_lock(path)? else { return Ok(None) };
        failpoint("lock taken", path);
        file.set_len(0)?;
        file.write_all_at(text, 0)?;
        failpoint("holder written", path);
        Ok(Some(Lock { path: path.to_owned(), by: By::Own { _file: file } }))
    }

    fn take(&self, dir: &Path) -> io::Result<Spare> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if let Some(spare) = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(spare);
        }
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = dir.join(format!("spare-{}-{number}", std::process::id()));
            // One that is there already may be a killed process's that had the same number, and have a key's name as well.
            let file = match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            // Until it is locked, somebody may take it for a dead run's, and remove it.
            if file.try_lock().is_ok() && has_name(&file, &path)? {
                failpoint("lock file made", &path);
                return Ok(Spare { path, file, length: 0 });
            }
        }
    }

    fn give_back(&self, spare: Spare) {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(spare);
    }
}

impl Spare {
    /// Leaves this text in the file, and blanks where a longer one ended: to cut a file takes longer than to write it.
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let mut text = text.to_vec();
        text.resize(text.len().max(self.length), b' ');
        self.length = text.len();
        self.file.write_all_at(&text, 0)
    }
}

impl Drop for LockFiles {
    fn drop(&mut self) {
        for spare in self.free.get_mut().unwrap_or_else(PoisonError::into_inner) {
            // While it is locked, as all names of locked files are removed.
            let _ = fs::remove_file(&spare.path);
            failpoint("lock file removed", &spare.path);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While the lock is held: whoever opened the file before will see that its name has gone, and open anew.
        let has_gone = fs::remove_file(&self.path).is_ok();
        failpoint("lock removed", &self.path);
        if let By::Spare(spare, files) = &mut self.by {
            // A file that kept the key's name would lock that key together with the next.
            spare.take().filter(|_| has_gone).into_iter().for_each(|spare| files.give_back(spare));
        }
    }
}

/// Locks the file of that name, which is made if there is none; `None` if somebody else has it.
fn try_lock(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) => {}
        }
        // The former holder removes the file's name; a lock on a file without a name protects nothing.
        if has_name(&file, path)? {
            return Ok(Some(file));
        }
    }
}

/// Whether a path leads to a file.
fn has_name(file: &File, path: &Path) -> io::Result<bool> {
    let mine = file.metadata()?;
    Ok(fs::metadata(path).is_ok_and(|named| named.ino() == mine.ino() && named.dev() == mine.dev()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("there").file_name().into_string();
        fs::read_dir(dir).expect("there").map(|entry| name(entry).expect("text")).collect()
    }

    #[test]
    fn one_file_locks_one_path_after_the_other_and_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let files = Arc::new(LockFiles::default());
        let inode = |name: &str| fs::metadata(dir.path().join(name)).expect("there").ino();
        let mut inodes = Vec::new();
        for (name, text) in [("a", "a long text"), ("b", "short")] {
            let lock = files.lock(&dir.path().join(name), text.as_bytes()).expect("writable").expect("free");
            assert_eq!(fs::read_to_string(dir.path().join(name)).expect("there").trim_end(), text);
            inodes.push(inode(name));
            drop(lock);
            assert!(!dir.path().join(name).exists());
        }
        assert_eq!(inodes[0], inodes[1]);
        drop(files);
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn a_path_is_locked_once_whoever_asks() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a");
        let (ours, theirs) = (Arc::new(LockFiles::default()), Arc::new(LockFiles::default()));
        let lock = ours.lock(&path, b"ours").expect("writable").expect("free");
        for files in [&ours, &theirs] {
            assert!(files.lock(&path, b"second").expect("writable").is_none());
        }
        assert_eq!(fs::read(&path).expect("there"), b"ours");
        drop(lock);
        assert!(theirs.lock(&path, b"theirs").expect("writable").is_some());
    }

    #[test]
    fn what_a_killed_holder_left_is_free_and_so_is_a_path_when_the_spare_file_has_lost_its_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a");
        fs::write(&path, "left by somebody with a long name").expect("writable");
        let files = Arc::new(LockFiles::default());
        for _ in 0..2 {
            let lock = files.lock(&path, b"mine").expect("writable").expect("free");
            assert_eq!(fs::read(&path).expect("there"), b"mine");
            drop(lock);
            names(dir.path()).iter().for_each(|name| fs::remove_file(dir.path().join(name)).expect("there"));
        }
    }

    #[test]
    fn what_a_killed_process_of_the_same_number_left_is_not_used_again() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a");
        fs::write(&path, "left").expect("writable");
        for number in 0..1000 {
            let spare = dir.path().join(format!("spare-{}-{number}", std::process::id()));
            fs::hard_link(&path, spare).expect("writable");
        }
        let files = Arc::new(LockFiles::default());
        assert!(files.lock(&path, b"mine").expect("writable").is_some());
    }
}
