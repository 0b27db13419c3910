//! Looks at every file of the store and finds what is not as it should be: bytes by their digest, small files by
//! their checksum, missing files by whatever names them. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::owners::Owners;
use super::record::LOG;
use super::seen::Seen;
use super::survey::{Entry, Part};
use super::{
    Artifact, Blob, Digest, Error, Finding, Form, Link, LoggedRun, Mending, Record, Report, RunLog, Stamp,
    Store, Wrong, hash_file, sealed,
};

impl Store {
    /// Reads everything; `progress` is told how many bytes of how many have been read.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn verify(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<Report, Error> {
        // What is collected meanwhile would be missed.
        let _shared = self.keep_from_collection();
        // Logs before what they name: what is written meanwhile is there by the time it is looked for.
        let runs = self.runs()?;
        let entries = self.survey()?;
        let mut check = Check::new(self, &runs, &entries);
        check.logs(&entries);
        check.memos(&entries)?;
        check.records(&entries);
        check.blobs(&entries, progress);
        check.views();
        check.links(&entries);
        check.trash(&entries);
        check.forget_regained();
        let Check { mut findings, files, bytes, .. } = check;
        findings.sort_by(|a, b| a.file.cmp(&b.file));
        let foreign = entries.into_iter().filter(|entry| entry.part == Part::Foreign);
        Ok(Report { findings, foreign: foreign.map(|entry| entry.path).collect(), files, bytes })
    }
}

/// A verification under way.
struct Check<'a> {
    store: &'a Store,
    owners: Owners,
    records: BTreeMap<Digest, Record>,
    /// Keys whose results are known to be lost.
    lost: BTreeSet<Digest>,
    /// The keys of the results that lie on a chain.
    chains: BTreeMap<Digest, BTreeSet<Digest>>,
    /// Blobs that are damaged or missing.
    bad: BTreeSet<Digest>,
    findings: Vec<Finding>,
    files: usize,
    bytes: u64,
}

impl<'a> Check<'a> {
    fn new(store: &'a Store, runs: &[LoggedRun], entries: &[Entry]) -> Check<'a> {
        let owners = Owners::of(runs);
        let keys = entries.iter().filter_map(|entry| match entry.part {
            Part::Record(key) => Some(key),
            _ => None,
        });
        let records: BTreeMap<_, _> = keys.filter_map(|key| Some((key, store.record(&key)?))).collect();
        let mut chains: BTreeMap<Digest, BTreeSet<Digest>> = BTreeMap::new();
        for record in records.values() {
            if let Some(chain) = record.chain {
                chains.entry(chain).or_default().insert(record.key);
            }
        }
        let lost = entries.iter().filter_map(|entry| match entry.part {
            Part::Lost(key) if store.is_marked_lost(&key) => Some(key),
            _ => None,
        });
        Check {
            store,
            owners,
            lost: lost.collect(),
            records,
            chains,
            bad: BTreeSet::new(),
            findings: Vec::new(),
            files: 0,
            bytes: 0,
        }
    }

    fn find(
        &mut self,
        file: &Path,
        holds: impl Into<String>,
        wrong: Wrong,
        mending: Mending,
    ) -> &mut Finding {
        let file = file.strip_prefix(self.store.root()).unwrap_or(file).to_owned();
        let (owners, lost) = (BTreeSet::new(), BTreeSet::new());
        self.findings.push(Finding { file, holds: holds.into(), owners, wrong, mending, lost });
        self.findings.last_mut().expect("just added")
    }

    fn count(&mut self, entry: &Entry) {
        self.files += 1;
        self.bytes += entry.bytes;
    }

    fn logs(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Part::Log(pipeline, name) = &entry.part else { continue };
            self.count(entry);
            let log: Option<RunLog> = sealed::read(&self.store.log_path(pipeline, name));
            if log.is_none_or(|log| log.pipeline != *pipeline) {
                self.find_log(pipeline, &entry.path, Wrong::Changed, Mending::SetAside(entry.path.clone()));
            }
        }
    }

    fn find_log(&mut self, pipeline: &str, path: &Path, wrong: Wrong, mending: Mending) {
        let keys: Vec<Digest> = self.owners.keys().copied().collect();
        let of_pipeline = self.owners.of_keys(&keys).into_iter().filter(|owner| owner.pipeline == pipeline);
        let owners = of_pipeline.collect();
        self.find(path, "log of a run with results", wrong, mending).owners = owners;
    }

    fn memos(&mut self, entries: &[Entry]) -> Result<(), Error> {
        for entry in entries.iter().filter(|entry| entry.part == Part::Memo) {
            self.count(entry);
            if sealed::read::<Seen>(&self.store.root().join(&entry.path)).is_none() {
                let aside = Mending::SetAside(entry.path.clone());
                self.find(&entry.path, "digest of a file outside the store", Wrong::Changed, aside);
            }
        }
        for entry in entries.iter().filter(|entry| entry.part == Part::Answer) {
            self.count(entry);
            if sealed::read::<serde::de::IgnoredAny>(&self.store.root().join(&entry.path)).is_none() {
                let aside = Mending::SetAside(entry.path.clone());
                self.find(&entry.path, "remembered plan", Wrong::Changed, aside);
            }
        }
        let Some(index) = self.store.index() else {
            let path = self.store.index_path();
            let is_there = path.exists();
            if is_there || entries.iter().any(|entry| matches!(entry.part, Part::Log(..))) {
                let wrong = if is_there { Wrong::Changed } else { Wrong::Missing };
                self.find(&path, "list of logs", wrong, Mending::Relist);
            }
            return Ok(());
        };
        let now = self.store.indexed_files()?;
        for (pipeline, names) in &index.logs {
            for name in names.iter().filter(|name| !now.logs.get(pipeline).is_some_and(|n| n.contains(*name)))
            {
                let path = self.store.log_path(pipeline, name);
                self.find_log(pipeline, &path, Wrong::Missing, Mending::Relist);
            }
        }
        for name in index.memos.difference(&now.memos) {
            let path = self.store.root().join("seen").join(name);
            self.find(&path, "digest of a file outside the store", Wrong::Missing, Mending::Forget);
        }
        Ok(())
    }

    fn records(&mut self, entries: &[Entry]) {
        for entry in entries {
            let (key, what) = match entry.part {
                Part::Record(key) if !self.records.contains_key(&key) => (key, "record"),
                Part::Lost(key) if !self.lost.contains(&key) => (key, "note of a loss"),
                Part::Record(_) | Part::Lost(_) => {
                    self.count(entry);
                    continue;
                }
                _ => continue,
            };
            self.count(entry);
            let owners = self.owners.of_key(&key);
            let aside = Mending::SetAside(entry.path.clone());
            let finding = self.find(&entry.path, what, Wrong::Changed, aside);
            (finding.owners, finding.lost) = (owners, BTreeSet::from([key]));
        }
        let store = self.store;
        let missing = |key: &&Digest| !store.record_path(key).exists() && !self.lost.contains(key);
        let missing: Vec<Digest> = self.owners.keys().filter(missing).copied().collect();
        for key in missing {
            let owners = self.owners.of_key(&key);
            let finding = self.find(&store.record_path(&key), "record", Wrong::Missing, Mending::Note);
            (finding.owners, finding.lost) = (owners, BTreeSet::from([key]));
        }
    }

    fn blobs(&mut self, entries: &[Entry], progress: &(dyn Fn(u64, u64) + Sync)) {
        let blobs: Vec<(&Entry, Digest)> = entries
            .iter()
            .filter_map(|entry| match entry.part {
                Part::Blob(digest) => Some((entry, digest)),
                _ => None,
            })
            .collect();
        let total = blobs.iter().map(|(entry, _)| entry.bytes).sum();
        let done = AtomicU64::new(0);
        let check = |(entry, digest): &(&Entry, Digest)| {
            let wrong = wrong_bytes(&self.store.root().join(&entry.path), digest);
            progress(done.fetch_add(entry.bytes, Ordering::Relaxed) + entry.bytes, total);
            wrong
        };
        let verdicts: Vec<Option<Wrong>> = blobs.par_iter().map(check).collect();
        for ((entry, digest), wrong) in blobs.iter().zip(verdicts) {
            self.count(entry);
            if let Some(wrong) = wrong {
                self.find_blob(digest, &entry.path, wrong, Mending::SetAside(entry.path.clone()));
            }
        }
        let named = self.records.values().filter(|record| !self.lost.contains(&record.key));
        let digests = named.flat_map(|record| record.blobs().map(|(_, _, blob)| blob.digest));
        let missing: BTreeSet<Digest> =
            digests.filter(|digest| Stamp::of(&self.store.blob_path(digest)).is_none()).collect();
        for digest in missing {
            self.find_blob(&digest, &self.store.blob_path(&digest), Wrong::Missing, Mending::Note);
        }
    }

    fn find_blob(&mut self, digest: &Digest, path: &Path, wrong: Wrong, mending: Mending) {
        let mut holds = BTreeSet::new();
        let (mut lost, mut logs) = (BTreeSet::new(), BTreeSet::new());
        for record in self.records.values() {
            for (port, name, _) in record.blobs().filter(|(_, _, blob)| blob.digest == *digest) {
                if port == LOG {
                    logs.insert(record.key);
                    continue;
                }
                lost.insert(record.key);
                holds.insert(if name.is_empty() { port.to_owned() } else { format!("{port}: {name}") });
            }
        }
        let holds: Vec<String> = holds.into_iter().collect();
        let holds = match (holds.is_empty(), logs.is_empty()) {
            (true, true) => "in no result".to_owned(),
            (true, false) => "log of a computation".to_owned(),
            (false, _) => format!("output {}", holds.join(", ")),
        };
        let owners = self.owners.of_keys(lost.union(&logs));
        self.bad.insert(*digest);
        let finding = self.find(path, holds, wrong, mending);
        (finding.owners, finding.lost) = (owners, lost);
    }

    fn views(&mut self) {
        let mut views: BTreeMap<Digest, (Artifact, BTreeSet<Digest>)> = BTreeMap::new();
        for record in self.records.values().filter(|record| !self.lost.contains(&record.key)) {
            for artifact in record.outputs.values().filter(|artifact| artifact.form == Form::Directory) {
                let view =
                    views.entry(artifact.digest).or_insert_with(|| (artifact.clone(), BTreeSet::new()));
                view.1.insert(record.key);
            }
        }
        for (artifact, keys) in views.into_values() {
            let owners = self.owners.of_keys(&keys);
            for (path, wrong) in self.store.wrong_links(&artifact) {
                let remake = Mending::Remake(Box::new(artifact.clone()));
                self.find(&path, "link to a file of a result", wrong, remake).owners = owners.clone();
            }
        }
    }

    fn links(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Part::Link(chain, position) = entry.part else { continue };
            self.count(entry);
            for (file, wrong) in self.wrong_files(&chain, position) {
                let keys = self.chains.get(&chain).cloned().unwrap_or_default();
                let owners = self.owners.of_keys(&keys);
                let what = format!("position {position} on the way to a result");
                self.find(&entry.path.join(file), what, wrong, Mending::SetAside(entry.path.clone()))
                    .owners = owners;
            }
        }
    }

    fn wrong_files(&self, key: &Digest, position: u64) -> Vec<(String, Wrong)> {
        let chain = self.store.chain(key);
        let path = chain.link_path(position);
        let Some(link) = chain.link(position) else {
            let is_given_up = path.parent().is_none_or(|folder| !folder.exists());
            let wrong = if path.exists() { Wrong::Changed } else { Wrong::Missing };
            return if is_given_up { Vec::new() } else { vec![("link.json".to_owned(), wrong)] };
        };
        let Link { own, files } = &link;
        let wrong = |(name, blob): (&String, &Blob)| {
            let path = chain.place(position, &link, name, blob);
            let wrong = if *own {
                wrong_bytes(&path, &blob.digest)
            } else {
                (self.bad.contains(&blob.digest) || !path.exists()).then_some(Wrong::Broken)
            };
            wrong.map(|wrong| (if *own { name.clone() } else { "link.json".to_owned() }, wrong))
        };
        let wrong: Vec<(String, Wrong)> = files.iter().filter_map(wrong).collect();
        // A run may have given it up, or kept something else in its place, meanwhile.
        let is_same = || chain.link(position).as_ref() == Some(&link);
        if wrong.is_empty() || is_same() { wrong } else { self.wrong_files(key, position) }
    }

    fn trash(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Part::Bin(id) = &entry.part else { continue };
            self.count(entry);
            for (path, wrong) in self.store.wrong_in_trash(id) {
                let mending =
                    if wrong == Wrong::Missing { Mending::Relist } else { Mending::SetAside(path.clone()) };
                self.find(&path, "thrown away", wrong, mending);
            }
        }
    }

    /// Of results that are there again, the loss need not be known any longer.
    fn forget_regained(&self) {
        for key in &self.lost {
            let whole = |record: &Record| {
                record.blobs().all(|(_, _, blob)| {
                    !self.bad.contains(&blob.digest) && self.store.blob_path(&blob.digest).exists()
                })
            };
            if self.records.get(key).is_some_and(whole) {
                // A store that cannot be written is only looked at.
                let _ = self.store.unmark_lost(key);
            }
        }
    }
}

/// What is wrong with the bytes of a file that should have this digest.
pub(super) fn wrong_bytes(path: &Path, digest: &Digest) -> Option<Wrong> {
    match hash_file(path) {
        Ok(found) if found == *digest => None,
        Ok(_) => Some(Wrong::Changed),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Wrong::Missing),
        Err(error) => Some(Wrong::Unreadable(error.to_string())),
    }
}
