//! Lets whoever collects know what living runs need. A run writes the keys it looks up into a file that it holds
//! locked as long as it lives; looking up and collecting exclude each other, so that a key is either kept for the
//! run that found it, or found to be gone.
//!
//! ```text
//! cache/locks/               locked as a folder: shared by whoever looks up, alone by whoever collects
//! cache/locks/run-<pid>-<n>  one line about a living run, then the keys it needs, one a line
//! ```

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::failpoint::failpoint;
use super::record::list;
use super::{Action, Digest, Error, Store};

const PREFIX: &str = "run-";

/// A run that is under way, as it tells others about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alive {
    /// Its process.
    pub pid: u32,
    /// The pipeline's name.
    pub pipeline: String,
    /// When it started, in nanoseconds since 1970.
    pub started: i64,
}

/// A run whose process was killed before it ended, and that nobody has cleared away yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Killed {
    /// The pipeline's name.
    pub pipeline: String,
    /// When it started, in seconds since 1970.
    pub started: u64,
}

/// A run that is under way, as it knows itself. What it has looked up is kept until this is dropped.
#[derive(Debug)]
pub struct Living {
    store: Store,
    alive: Alive,
    told: Mutex<Told>,
}

/// How others are told.
#[derive(Debug)]
enum Told {
    /// Nobody has been told anything yet.
    Nothing,
    /// By a file, which is locked.
    File(PathBuf, File),
    /// No file could be written, so that nothing is to be collected at all.
    Folder { _lock: Option<File> },
}

/// The right to look up keys, during which nothing is collected.
#[derive(Debug)]
pub struct Look<'a> {
    living: &'a Living,
    pins: RefCell<String>,
    lock: Option<File>,
}

/// The right to collect, during which nothing is looked up.
#[derive(Debug)]
pub(super) struct Collecting {
    _lock: File,
}

/// What living runs need.
#[derive(Debug, Default)]
pub struct Needs {
    /// The runs.
    pub runs: Vec<Alive>,
    /// The keys they have looked up.
    pub keys: BTreeSet<Digest>,
}

impl Needs {
    /// Whatever was written after this moment, in nanoseconds since 1970, may be needed; `None` if no run lives.
    #[must_use]
    pub fn since(&self) -> Option<i64> {
        // A file's times come from a clock that is some milliseconds behind.
        const SLACK: i64 = 1_000_000_000;
        self.runs.iter().map(|run| run.started.saturating_sub(SLACK)).min()
    }
}

impl Store {
    /// Registers a run of a pipeline. Nothing is written before it looks something up.
    #[must_use]
    pub fn enter(&self, pipeline: &str) -> Living {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started = i64::try_from(now.as_nanos()).unwrap_or(0);
        let alive = Alive { pid: std::process::id(), pipeline: pipeline.to_owned(), started };
        Living { store: self.clone(), alive, told: Mutex::new(Told::Nothing) }
    }

    /// Keeps everything from being collected until it is dropped; `None` if there is nothing to collect yet.
    #[must_use]
    pub fn keep_from_collection(&self) -> Option<File> {
        let folder = File::open(self.root.join("locks")).ok()?;
        folder.lock_shared().ok()?;
        Some(folder)
    }

    /// Waits until nobody looks anything up, and lets nobody do so until it is dropped.
    pub(super) fn keep_from_looking(&self) -> Result<Collecting, Error> {
        let dir = self.make_dir("locks")?;
        let lock = File::open(&dir).and_then(|folder| folder.lock().map(|()| folder));
        Ok(Collecting { _lock: lock.map_err(Error::at(Action::Lock, &dir))? })
    }

    /// What living runs need.
    ///
    /// # Errors
    /// If it cannot be found out.
    pub(super) fn needs(&self) -> Result<Needs, Error> {
        let mut needs = Needs::default();
        for path in list(&self.root.join("locks"))?.iter().filter(|path| is_run(path)) {
            let Ok(file) = File::open(path) else { continue };
            if file.try_lock().is_ok() {
                // Its process is gone.
                continue;
            }
            let text = fs::read_to_string(path).map_err(Error::at(Action::Read, path))?;
            let mut lines = text.lines();
            let alive = lines.next().and_then(|line| serde_json::from_str(line).ok());
            // Of a run that says nothing readable, everything may be needed.
            let unknown = || Alive { pid: 0, pipeline: String::new(), started: i64::MIN };
            needs.runs.push(alive.unwrap_or_else(unknown));
            needs.keys.extend(lines.filter_map(|line| line.parse::<Digest>().ok()));
        }
        Ok(needs)
    }

    /// The runs of which nothing is left but what they told others while they lived, newest first.
    ///
    /// # Errors
    /// If it cannot be found out.
    pub fn killed_runs(&self) -> Result<Vec<Killed>, Error> {
        let mut killed = Vec::new();
        for path in list(&self.root.join("locks"))?.iter().filter(|path| is_run(path)) {
            let Ok(file) = File::open(path) else { continue };
            // Shared, so that two who look do not take each other for the run.
            if file.try_lock_shared().is_err() {
                continue;
            }
            let text = fs::read_to_string(path).unwrap_or_default();
            let alive = text.lines().next().and_then(|line| serde_json::from_str::<Alive>(line).ok());
            killed.extend(alive.map(|Alive { pipeline, started, .. }| Killed {
                pipeline,
                started: u64::try_from(started).unwrap_or(0) / 1_000_000_000,
            }));
        }
        killed.sort_by_key(|run| std::cmp::Reverse(run.started));
        Ok(killed)
    }

    /// Removes what dead runs have left among the locks.
    pub(super) fn forget_the_dead(&self) -> Result<(), Error> {
        for path in list(&self.root.join("locks"))? {
            let Ok(file) = File::open(&path) else { continue };
            if file.try_lock().is_ok() {
                fs::remove_file(&path).map_err(Error::at(Action::Write, &path))?;
            }
        }
        Ok(())
    }
}

impl Living {
    /// Starts looking up keys; waits as long as somebody collects.
    #[must_use]
    pub fn look(&self) -> Look<'_> {
        let lock = self.store.keep_from_collection().or_else(|| {
            // What cannot be written cannot be collected either.
            self.store.make_dir("locks").ok()?;
            self.store.keep_from_collection()
        });
        Look { living: self, pins: RefCell::default(), lock }
    }

    /// Writes down that the keys of these lines are needed.
    fn tell(&self, pins: &str, lock: Option<File>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Told::Nothing = *told {
            *told =
                self.introduce().map_or(Told::Folder { _lock: None }, |(path, file)| Told::File(path, file));
        }
        let written = match &mut *told {
            Told::File(_, file) => file.write_all(pins.as_bytes()).is_ok(),
            Told::Nothing | Told::Folder { .. } => false,
        };
        if !written {
            if let Told::File(path, _) = &*told {
                let _ = fs::remove_file(path);
            }
            // A store that cannot be written, or is full: its folder stays locked for as long as this run lives.
            *told = Told::Folder { _lock: lock };
        }
        failpoint("keys told", &self.store.root.join("locks"));
    }

    fn introduce(&self) -> Option<(PathBuf, File)> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (path, mut file) = loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = self.store.root.join("locks").join(format!("{PREFIX}{}-{number}", self.alive.pid));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) if file.try_lock().is_ok() => break (path, file),
                // Somebody takes it for a dead run's, and removes it.
                Ok(_) => {}
                // A run had the same number that was killed, or has it in another container.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(_) => return None,
            }
        };
        let mut line = serde_json::to_vec(&self.alive).expect("has only text keys");
        line.push(b'\n');
        if file.write_all(&line).is_err() {
            // A full disk must not fill up with these as well.
            let _ = fs::remove_file(path);
            return None;
        }
        Some((path, file))
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        if let Told::File(path, _) = &*self.told.get_mut().unwrap_or_else(PoisonError::into_inner) {
            let _ = fs::remove_file(path);
            failpoint("run forgotten", path);
        }
    }
}

impl Look<'_> {
    /// Has the result of a key kept, whether it is there already or comes to be.
    pub fn pin(&self, key: Option<&Digest>) {
        if let Some(key) = key {
            let mut pins = self.pins.borrow_mut();
            pins.push_str(&key.to_string());
            pins.push('\n');
        }
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        let pins = self.pins.take();
        if !pins.is_empty() && self.lock.is_some() {
            self.living.tell(&pins, self.lock.take());
        }
    }
}

fn is_run(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(dir.path());
        store.make_dir("locks").expect("writable");
        (dir, store)
    }

    #[test]
    fn what_a_run_has_looked_up_is_needed_until_it_is_over() {
        let (_dir, store) = store();
        let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
        let living = store.enter("ver_2_3");
        assert_eq!(store.needs().expect("readable").since(), None, "it has looked up nothing");
        for key in [one, two] {
            living.look().pin(Some(&key));
        }
        let needs = store.needs().expect("readable");
        assert_eq!(needs.keys, BTreeSet::from([one, two]));
        assert_eq!(needs.runs, std::slice::from_ref(&living.alive));
        assert!(needs.since() < Some(living.alive.started));
        assert_eq!(store.killed_runs().expect("readable"), []);
        drop(living);
        assert_eq!(store.needs().expect("readable").keys.len(), 0);
        assert_eq!(fs::read_dir(store.root().join("locks")).expect("there").count(), 0);
    }

    #[test]
    fn a_dead_run_needs_nothing_and_is_forgotten() {
        let (_dir, store) = store();
        let path = store.root().join("locks/run-1-0");
        fs::write(&path, format!("{{}}\n{}\n", Digest::of(b"key"))).expect("writable");
        assert!(store.needs().expect("readable").runs.is_empty());
        store.forget_the_dead().expect("writable");
        assert!(!path.exists());
    }

    #[test]
    fn a_killed_run_is_known_until_it_is_forgotten_even_if_another_has_its_number() {
        let (_dir, store) = store();
        for number in 0..1000 {
            let path = store.root().join(format!("locks/run-{}-{number}", std::process::id()));
            fs::write(path, r#"{"pid":1,"pipeline":"a","started":7000000000}"#).expect("writable");
        }
        let living = store.enter("b");
        living.look().pin(Some(&Digest::of(b"key")));
        assert_eq!(store.needs().expect("readable").runs.len(), 1);
        let killed = store.killed_runs().expect("readable");
        assert_eq!(killed, vec![Killed { pipeline: "a".to_owned(), started: 7 }; 1000]);
        store.forget_the_dead().expect("writable");
        assert_eq!(store.killed_runs().expect("readable"), []);
    }

    #[test]
    fn looking_up_and_collecting_exclude_each_other() {
        let (_dir, store) = store();
        let living = store.enter("ver_2_3");
        let look = living.look();
        let folder = File::open(store.root().join("locks")).expect("there");
        assert!(folder.try_lock().is_err());
        drop(look);
        folder.try_lock().expect("nobody looks anything up");
    }
}
