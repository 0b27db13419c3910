//! Keeps what stages computed, several results together: the disk takes little longer for many than for one. It runs nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::sync::Condvar;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::job::Made;
use super::key::KeyParts;
use super::stage::{Holds, ONLY_FILE, OutputPort, StageError};
use super::worker::{Ending, with_what_is_left};
use crate::pipeline::StageId;
use crate::store::{self, Artifact, Aside, Blob, Chain, Record, Slot, Store, TakenIn, Unnamed};

/// Stages that wait for the result of an equal in the same run, which therefore must not wait for others to be kept with.
#[derive(Default)]
pub(super) struct Impatient {
    count: AtomicUsize,
    /// Where the thread that keeps results waits.
    pub(super) to_keep: Condvar,
}

impl Impatient {
    /// Whether there are any.
    pub(super) fn are_there(&self) -> bool {
        self.count.load(Ordering::Relaxed) > 0
    }

    /// One more, until what is returned is dropped.
    pub(super) fn one_more(&self) -> impl Drop {
        struct One<'a>(&'a AtomicUsize);
        impl Drop for One<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.to_keep.notify_one();
        One(&self.count)
    }
}

/// What a stage computed, all of it in the store, but under no key yet.
pub(super) struct Computed<'a> {
    slot: Slot,
    /// Without its files.
    pub(super) record: Record,
    ports: &'a [OutputPort],
    /// The files that are blobs already, by port and name.
    files: Files,
    /// Those that are not, and for each its port and name; the log has none.
    unnamed: Vec<Unnamed>,
    places: Vec<Place>,
    rest: Rest,
    /// A chain from which nothing goes on once the result is kept.
    pub(super) spent: Option<Chain>,
}

type Files = BTreeMap<String, BTreeMap<String, Blob>>;
type Place = Option<(String, String)>;

/// What a result leaves if it cannot be kept.
struct Rest {
    log: Option<File>,
    aside: Aside,
}

impl Rest {
    /// A failure with the place of what it leaves.
    fn of(self, failure: StageError) -> Ending {
        with_what_is_left(failure, &self.aside, || self.log.map(|log| self.aside.copy_log(log)).transpose())
    }
}

impl<'a> Computed<'a> {
    /// Hashes what was made and has not been hashed.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(super) fn new(
        slot: Slot,
        made: Made,
        parts: &KeyParts,
        ports: &'a [OutputPort],
        aside: Aside,
    ) -> Result<Computed<'a>, Ending> {
        let Made { files, kept: _, taken, metrics, series, computed, log } = made;
        let rest = Rest { log, aside };
        let hashed = hash(taken, &slot).and_then(|hashed| Ok((hashed, serde_json::to_value(parts)?)));
        let ((unnamed, places), identity) = match hashed {
            Ok(hashed) => hashed,
            Err(error) => return Err(rest.of(error)),
        };
        let mut record = Record::new(slot.key(), identity, BTreeMap::new());
        (record.metrics, record.series, record.computed) = (metrics, series, computed);
        Ok(Computed { slot, record, ports, files, unnamed, places, rest, spent: None })
    }

    /// Gives the record its files, with these blobs for those that were not blobs yet.
    fn fill(&mut self, blobs: Result<Vec<Blob>, store::Error>) -> Result<(), StageError> {
        for (place, blob) in std::mem::take(&mut self.places).into_iter().zip(blobs?) {
            match place {
                Some((port, name)) => _ = self.files.entry(port).or_default().insert(name, blob),
                None => self.record.log = Some(blob),
            }
        }
        for port in self.ports {
            let made = self.files.remove(&port.name).unwrap_or_default();
            let artifact = match port.holds {
                Holds::File => made.get(ONLY_FILE).copied().map(Artifact::file),
                Holds::Directory | Holds::Dataset | Holds::Model => Some(Artifact::directory(made)),
            };
            let missing = || StageError::message(format!("the stage made no output `{}`", port.name));
            self.record.outputs.insert(port.name.clone(), artifact.ok_or_else(missing)?);
        }
        Ok(())
    }
}

/// Hashes files that were taken in, and the log, if there is one.
fn hash(
    taken: Vec<(String, String, TakenIn)>,
    slot: &Slot,
) -> Result<(Vec<Unnamed>, Vec<Place>), StageError> {
    let taken = taken.into_iter().map(|(port, name, taken)| (Some((port, name)), taken));
    let log = slot.take_log()?.map(|log| (None, log));
    let hashed = taken.chain(log).map(|(place, taken)| Ok((taken.hash()?, place)));
    Ok(hashed.collect::<Result<Vec<_>, StageError>>()?.into_iter().unzip())
}

/// What came of a result that was to be kept, and the seconds that it took to compute.
pub(super) type Kept = (StageId, f64, Ending);

/// Publishes results.
pub(super) fn keep(mut results: Vec<(StageId, Computed<'_>)>, store: &Store) -> Vec<Kept> {
    let unnamed = results.iter_mut().map(|(_, computed)| std::mem::take(&mut computed.unnamed)).collect();
    let peak_memory = peak_memory();
    let mut kept = Vec::new();
    let mut slots = Vec::new();
    let mut whole = Vec::new();
    for ((id, mut computed), blobs) in results.into_iter().zip(store.name_all(unnamed)) {
        match computed.fill(blobs) {
            Ok(()) => {
                let Computed { slot, mut record, rest, spent, .. } = computed;
                record.peak_memory = peak_memory;
                slots.push(slot);
                whole.push((id, record, rest, spent));
            }
            Err(error) => kept.push((id, 0.0, computed.rest.of(error))),
        }
    }
    let records = whole.iter().map(|(_, record, ..)| record);
    let published = store.publish_all(slots.into_iter().zip(records).collect());
    for ((id, record, rest, spent), outcome) in whole.into_iter().zip(published) {
        let seconds = record.seconds;
        let ending = match outcome {
            Ok(()) => {
                // If it cannot be deleted it does no harm.
                let _ = spent.map(|chain| chain.clear());
                Ending::Made(record.into())
            }
            Err(error) => rest.of(error.into()),
        };
        kept.push((id, seconds, ending));
    }
    kept
}

/// The largest resident memory of this process so far, in bytes, where the system tells.
#[must_use]
pub fn peak_memory() -> Option<u64> {
    // The system writes it anew for each call that reads a part of it.
    let mut start = [0; 4 << 10];
    let length = File::open("/proc/self/status").and_then(|mut file| file.read(&mut start)).ok()?;
    let status = str::from_utf8(&start[..length]).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
