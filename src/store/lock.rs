//! One lock per key: whoever comes second learns who is at work. Only the holder of a key's lock that found
//! no result gets the slot through which a record can be published.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::aside::LOG;
use super::failpoint::failpoint;
use super::lock_file::Lock;
use super::{Action, Aside, Digest, Error, Found, Record, Store, TakenIn};

/// The answer to asking for a key.
#[derive(Debug)]
pub enum Claim {
    /// There is a result already.
    Found(Box<Record>),
    /// There is none, and this is the right to make it.
    Vacant(Slot),
    /// Somebody else is making it.
    Held(Holder),
}

/// Who holds a key's lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// What it says it is doing, such as `train of ver_2_3`.
    pub purpose: String,
}

/// Whether a claim is content with an existing result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// An existing result will do.
    Result,
    /// It is to be computed again.
    Anew,
}

/// The right to publish the record of one key, held until it is used or dropped.
#[derive(Debug)]
pub struct Slot {
    store: Store,
    key: Digest,
    path: PathBuf,
    _lock: Lock,
}

impl Store {
    /// Asks for a key without waiting. Blobs found to be damaged are moved to quarantine before the slot is
    /// handed out.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn claim(&self, key: &Digest, purpose: &str, want: Want) -> Result<Claim, Error> {
        let name = key.to_string();
        let path = self.root.join("locks").join(&name);
        let holder = Holder { pid: std::process::id(), purpose: purpose.to_owned() };
        let text = serde_json::to_vec(&holder).expect("a holder has only text keys");
        let lock = loop {
            let lock = self.within("locks", |dir| self.lock_files.lock(&dir.join(&name), &text));
            if let Some(lock) = lock.map_err(Error::at(Action::Lock, &path))? {
                break lock;
            }
            if let Some(holder) = read_holder(&path) {
                return Ok(Claim::Held(holder));
            }
        };
        let slot = Slot { store: self.clone(), key: *key, path, _lock: lock };
        match self.find(key) {
            Found::Whole(record) if want == Want::Result => Ok(Claim::Found(record)),
            Found::Damaged(damage) => {
                self.quarantine(&damage.blob)?;
                Ok(Claim::Vacant(slot))
            }
            Found::Whole(_) | Found::Absent => Ok(Claim::Vacant(slot)),
        }
    }
}

impl Slot {
    /// The key whose record may be published.
    #[must_use]
    pub fn key(&self) -> Digest {
        self.key
    }

    /// A directory of this key's own, kept until a record is published.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn partial(&self) -> Result<PathBuf, Error> {
        self.store.make_dir(self.partial_path())
    }

    /// Where the log of the computation is written; it lies in [`Slot::partial`].
    ///
    /// # Errors
    /// If that cannot be made.
    pub fn log_path(&self) -> Result<PathBuf, Error> {
        Ok(self.partial()?.join(LOG))
    }

    /// The log that was written, if any was.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn take_log(&self) -> Result<Option<TakenIn>, Error> {
        let partial = self.store.root.join(self.partial_path());
        let path = partial.join(LOG);
        if !path.exists() {
            return Ok(None);
        }
        let taken = self.store.take_in(&path)?;
        remove_if_empty(&partial);
        Ok(Some(taken))
    }

    /// Moves the log that was written, if any was, to what a failure leaves, and removes the directory it lay in if nothing
    /// else does.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn set_log_aside(&self, aside: &Aside) -> Result<(), Error> {
        let partial = self.store.root.join(self.partial_path());
        let path = partial.join(LOG);
        if path.exists() {
            aside.put(LOG, &path)?;
        }
        remove_if_empty(&partial);
        Ok(())
    }

    /// Publishes the record of this slot's key alone: see [`Store::publish_all`].
    ///
    /// # Errors
    /// If the store cannot be written.
    ///
    /// # Panics
    /// If the record is of another key.
    pub fn publish(self, record: &Record) -> Result<(), Error> {
        let store = self.store.clone();
        store.publish_all(vec![(self, record)]).pop().expect("one for each")
    }

    /// What there is to do when the record has been published.
    pub(super) fn end(self) {
        failpoint("record published", &self.path);
        // What it might have gone on from is of no use any more; if it cannot be deleted it does no harm.
        let partial = self.store.root.join(self.partial_path());
        let _ = fs::remove_dir_all(&partial);
        failpoint("removed", &partial);
    }

    fn partial_path(&self) -> PathBuf {
        PathBuf::from("partial").join(self.key.to_string())
    }
}

/// Removes a directory of which nobody expects anything any more, unless something lies in it.
fn remove_if_empty(dir: &Path) {
    let _ = fs::remove_dir(dir);
}

/// What the holder wrote about itself, once it has come to that; `None` if it holds the lock no longer.
fn read_holder(path: &Path) -> Option<Holder> {
    for _ in 0..100 {
        match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            text => {
                if let Some(holder) = text.ok().and_then(|text| serde_json::from_slice(&text).ok()) {
                    return Some(holder);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Some(Holder { pid: 0, purpose: "another process".to_owned() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(dir.path());
        (dir, store)
    }

    fn claim(store: &Store, want: Want) -> Claim {
        store.claim(&Digest::of(b"key"), "train of ver_2_3", want).expect("writable")
    }

    #[test]
    fn the_second_claim_learns_who_is_first() {
        let (_dir, store) = store();
        let Claim::Vacant(slot) = claim(&store, Want::Result) else { panic!("nobody has it") };
        let Claim::Held(holder) = claim(&store, Want::Result) else { panic!("it is held") };
        assert_eq!(holder, Holder { pid: std::process::id(), purpose: "train of ver_2_3".to_owned() });
        drop(slot);
        assert!(matches!(claim(&store, Want::Result), Claim::Vacant(_)));
    }

    #[test]
    fn what_one_published_the_next_finds() {
        let (_dir, store) = store();
        let Claim::Vacant(slot) = claim(&store, Want::Result) else { panic!("nobody has it") };
        let partial = slot.partial().expect("writable");
        let record = Record::new(slot.key(), Value::Null, BTreeMap::new());
        slot.publish(&record).expect("writable");
        assert!(!partial.exists());
        assert!(matches!(claim(&store, Want::Result), Claim::Found(found) if *found == record));
        assert!(matches!(claim(&store, Want::Anew), Claim::Vacant(_)));
    }

    #[test]
    fn the_partial_directory_outlives_a_slot_that_published_nothing() {
        let (_dir, store) = store();
        let Claim::Vacant(slot) = claim(&store, Want::Result) else { panic!("nobody has it") };
        fs::write(slot.partial().expect("writable").join("half"), b"x").expect("writable");
        drop(slot);
        let Claim::Vacant(slot) = claim(&store, Want::Result) else { panic!("nobody has it") };
        assert!(slot.partial().expect("writable").join("half").exists());
    }

    #[test]
    fn of_many_threads_one_at_a_time_holds_a_key() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let (_dir, store) = store();
        let (inside, taken) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        if let Claim::Vacant(slot) = claim(&store, Want::Result) {
                            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                            taken.fetch_add(1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            drop(slot);
                        }
                    }
                });
            }
        });
        assert!(taken.load(Ordering::SeqCst) > 0);
    }
}
