//! A record says what was computed under a key, and which blobs hold it. Looking one up includes the check
//! that its blobs are still what they were; a record whose blobs are not is no result.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Action, Artifact, Blob, Description, Digest, Error, Stamp, Store, hash_file, sealed};

/// What stands for the port of a record's log, which no port is named: names have no blanks.
pub(super) const LOG: &str = "what it said";

/// The layout of record files; another number is another layout, and no result.
const FORMAT: u32 = 2;

/// What was computed under a key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The layout of this file.
    format: u32,
    /// The key.
    pub key: Digest,
    /// The parts of the key, as whoever made it describes them.
    pub identity: Description,
    /// The results, by port.
    pub outputs: BTreeMap<String, Artifact>,
    /// Figures of the result, such as `accuracy`, by name.
    pub metrics: BTreeMap<String, f64>,
    /// What was measured of each part of the computation, such as the seconds of every epoch, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub series: BTreeMap<String, Vec<f64>>,
    /// The chain on which it lies, if it is a stop on a longer way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain: Option<Digest>,
    /// The position on that way that it lies at, or before which it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<u64>,
    /// How much of that way this computation went itself, in the units of its positions; the rest it found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub computed: Option<u64>,
    /// What was said during the computation, line by line, if anything was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Blob>,
    /// When the computation started, in seconds since 1970.
    pub started: u64,
    /// How long it took.
    pub seconds: f64,
    /// The largest resident memory of the process until its end, in bytes, if the system tells.
    pub peak_memory: Option<u64>,
    /// The version of stlpipe that computed it.
    pub tool: String,
}

impl Record {
    /// A record of this version's layout.
    #[must_use]
    pub fn new(key: Digest, identity: Value, outputs: BTreeMap<String, Artifact>) -> Record {
        Record {
            format: FORMAT,
            key,
            identity: identity.into(),
            outputs,
            metrics: BTreeMap::new(),
            series: BTreeMap::new(),
            chain: None,
            reach: None,
            computed: None,
            log: None,
            started: 0,
            seconds: 0.0,
            peak_memory: None,
            tool: String::new(),
        }
    }

    /// Whether a position of a chain lies on the way to it.
    #[must_use]
    pub fn has_passed(&self, chain: &Digest, position: u64) -> bool {
        self.chain == Some(*chain) && self.reach.is_none_or(|reach| position <= reach)
    }

    /// Its files: port, name and blob of each, those of the outputs first; the log's port is [`LOG`].
    pub fn blobs(&self) -> impl Iterator<Item = (&str, &str, &Blob)> {
        let outputs = self.outputs.iter().flat_map(|(port, artifact)| {
            artifact.files.iter().map(move |(name, blob)| (port.as_str(), name.as_str(), blob))
        });
        outputs.chain(self.log.iter().map(|blob| (LOG, "", blob)))
    }
}

/// What looking up a key found.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Nothing was computed under this key.
    Absent,
    /// A result, whole.
    Whole(Box<Record>),
    /// A result of which a blob is missing or has other bytes.
    Damaged(Damage),
}

/// What is wrong with a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The port of the artifact.
    pub port: String,
    /// The digest that the bytes should have.
    pub blob: Digest,
    /// Whether the file is there at all.
    pub missing: bool,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Damage { port, blob, missing } = self;
        let what = if *missing { "is missing" } else { "has other bytes than it should" };
        write!(f, "blob {} of `{port}` {what}", blob.short())
    }
}

impl Store {
    /// Looks a key up and checks that its blobs are what they were. Blobs are read only where their metadata
    /// has changed; if their bytes are right after all, the record is refreshed with the new metadata.
    #[must_use]
    pub fn find(&self, key: &Digest) -> Found {
        let Some(mut record) = self.record(key) else { return Found::Absent };
        let mut refreshed = false;
        let outputs = record.outputs.iter_mut();
        let outputs =
            outputs.flat_map(|(port, artifact)| artifact.files.values_mut().map(move |blob| (&**port, blob)));
        for (port, blob) in outputs {
            let damaged =
                |missing| Found::Damaged(Damage { port: port.to_owned(), blob: blob.digest, missing });
            match health(&self.blob_path(&blob.digest), blob) {
                Health::AsRecorded => {}
                Health::Moved(stamp) => {
                    blob.stamp = stamp;
                    refreshed = true;
                }
                Health::Missing => return damaged(true),
                Health::Changed => return damaged(false),
            }
        }
        // Without its log a result is as good.
        let mut damaged_log = None;
        if let Some(log) = record.log.as_mut() {
            match health(&self.blob_path(&log.digest), log) {
                Health::AsRecorded => {}
                Health::Moved(stamp) => {
                    log.stamp = stamp;
                    refreshed = true;
                }
                wrong => {
                    damaged_log = Some(log.digest).filter(|_| matches!(wrong, Health::Changed));
                    record.log = None;
                    refreshed = true;
                }
            }
        }
        if refreshed {
            // Only saves the next reader the reading: whoever may not write here reads again. While nothing is
            // being collected, so that it does not come back without its blobs.
            let _shared = self.keep_from_collection();
            if self.record_path(key).exists() {
                let _ = self.write_record(&record);
                let _ = damaged_log.map(|log| self.quarantine(&log));
            }
        }
        Found::Whole(Box::new(record))
    }

    /// The record of a key as it is written, without looking at its blobs; `None` if it cannot be read.
    #[must_use]
    pub fn record(&self, key: &Digest) -> Option<Record> {
        let record: Record = sealed::read(&self.record_path(key))?;
        (record.format == FORMAT && record.key == *key).then_some(record)
    }

    /// All readable records, in the order of their keys.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        for folder in list(&self.root.join("records"))? {
            for file in list(&folder)? {
                let name = file.file_name().and_then(|n| n.to_str()).unwrap_or_default();
                let key = name.strip_suffix(".json").and_then(|digits| digits.parse().ok());
                records.extend(key.and_then(|key| self.record(&key)));
            }
        }
        Ok(records)
    }

    pub(super) fn record_path(&self, key: &Digest) -> PathBuf {
        self.sharded("records", key, ".json")
    }

    /// Where it stands that the result of a key was lost, and that somebody has been told.
    pub(super) fn lost_path(&self, key: &Digest) -> PathBuf {
        self.sharded("records", key, ".lost")
    }

    /// Notes that the result of a key was lost, until there is one again.
    pub(super) fn mark_lost(&self, key: &Digest) -> Result<(), Error> {
        self.write_whole(&self.lost_path(key), &sealed::seal(&Lost { lost: *key }))
    }

    pub(super) fn is_marked_lost(&self, key: &Digest) -> bool {
        sealed::read(&self.lost_path(key)).is_some_and(|lost: Lost| lost.lost == *key)
    }

    pub(super) fn unmark_lost(&self, key: &Digest) -> Result<(), Error> {
        let path = self.lost_path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            outcome => outcome.map_err(Error::at(Action::Write, &path)),
        }
    }
}

impl Store {
    /// The blob as it looks now, if its bytes are right; they are read only where the metadata has changed.
    #[must_use]
    pub fn check_blob(&self, blob: &Blob) -> Option<Blob> {
        match health(&self.blob_path(&blob.digest), blob) {
            Health::AsRecorded => Some(*blob),
            Health::Moved(stamp) => Some(Blob { stamp, ..*blob }),
            Health::Missing | Health::Changed => None,
        }
    }
}

/// Whether the bytes of a file are still those of a blob. They are read only where the metadata has changed.
pub(super) fn health(path: &Path, blob: &Blob) -> Health {
    match Stamp::of(path) {
        None => Health::Missing,
        Some(now) if now == blob.stamp => Health::AsRecorded,
        Some(now) if now.bytes != blob.stamp.bytes => Health::Changed,
        Some(now) => match hash_file(path) {
            Ok(digest) if digest == blob.digest => Health::Moved(now),
            _ => Health::Changed,
        },
    }
}

#[derive(Serialize, Deserialize)]
struct Lost {
    lost: Digest,
}

/// What was found where a blob should be.
pub(super) enum Health {
    /// The file is as it was.
    AsRecorded,
    /// Its bytes are right, under other metadata.
    Moved(Stamp),
    /// There is no file.
    Missing,
    /// Its bytes are others.
    Changed,
}

/// The entries of a folder in the order of names; none if the folder is not there.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::at(Action::Read, dir))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(Error::at(Action::Read, dir))?.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    struct Fixture {
        _dir: tempfile::TempDir,
        store: Store,
        record: Record,
        blob: PathBuf,
    }

    fn published() -> Fixture {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(dir.path());
        let mut writer = store.write_blob().expect("writable");
        writer.write_all(b"result").expect("writable");
        let blob = writer.finish().expect("writable");
        let outputs = BTreeMap::from([("out".to_owned(), Artifact::file(blob))]);
        let record = Record::new(Digest::of(b"key"), Value::Null, outputs);
        store.write_record(&record).expect("writable");
        Fixture { blob: store.blob_path(&blob.digest), _dir: dir, store, record }
    }

    fn overwrite(path: &Path, bytes: &[u8]) {
        fs::remove_file(path).expect("there");
        fs::write(path, bytes).expect("writable");
    }

    #[test]
    fn a_published_record_is_found_whole() {
        let f = published();
        assert_eq!(f.store.find(&f.record.key), Found::Whole(Box::new(f.record.clone())));
        assert_eq!(f.store.records().expect("readable"), vec![f.record]);
        assert_eq!(f.store.find(&Digest::of(b"other")), Found::Absent);
    }

    #[test]
    fn a_blob_with_other_bytes_is_no_result() {
        let f = published();
        overwrite(&f.blob, b"resulT");
        let Found::Damaged(damage) = f.store.find(&f.record.key) else { panic!("taken for a result") };
        assert!(!damage.missing);
        fs::remove_file(&f.blob).expect("there");
        let Found::Damaged(damage) = f.store.find(&f.record.key) else { panic!("taken for a result") };
        assert!(damage.missing);
    }

    #[test]
    fn a_blob_copied_with_its_bytes_is_found_and_stamped_anew() {
        let f = published();
        overwrite(&f.blob, b"result");
        let Found::Whole(record) = f.store.find(&f.record.key) else { panic!("lost") };
        let stamp = record.outputs["out"].files[""].stamp;
        assert_eq!(Some(stamp), Stamp::of(&f.blob));
        assert_eq!(f.store.record(&f.record.key), Some(*record));
    }

    #[test]
    fn a_record_without_series_reads_and_writes_as_before_there_were_any() {
        let f = published();
        let text = fs::read_to_string(f.store.record_path(&f.record.key)).expect("there");
        assert!(!text.contains("series"), "{text}");
        let series = BTreeMap::from([("seconds".to_owned(), vec![0.1 + 0.2, 1e-9])]);
        let record = Record { series, ..f.record };
        f.store.write_record(&record).expect("writable");
        assert_eq!(f.store.record(&record.key), Some(record));
    }

    #[test]
    fn a_half_written_record_is_absent() {
        let f = published();
        let path = f.store.record_path(&f.record.key);
        let text = fs::read(&path).expect("there");
        fs::write(&path, &text[..text.len() / 2]).expect("writable");
        assert_eq!(f.store.find(&f.record.key), Found::Absent);
    }
}
