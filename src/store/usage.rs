//! What costs how much: every file of the store is counted once, for the stages that use it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::owners::Owners;
use super::survey::Part;
use super::{Digest, Error, Owner, Record, Store};

/// What the store's files cost.
#[derive(Debug, Default, Serialize)]
pub struct Usage {
    /// What each pipeline uses as a whole, and each stage of it.
    pub shares: Vec<Share>,
    /// The files that several stages use, counted once.
    pub shared: u64,
    /// Everything that no stage of a logged run uses, by what it is.
    pub others: BTreeMap<&'static str, u64>,
    /// All plain files.
    pub total: u64,
}

/// What a pipeline or a stage uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The pipeline.
    pub pipeline: String,
    /// The stage, or nothing for the pipeline as a whole.
    pub stage: Option<String>,
    /// How many results.
    pub results: usize,
    /// Bytes that nobody else uses: they would be freed if this alone were dropped.
    pub unique: u64,
    /// Bytes that others use as well.
    pub shared: u64,
}

impl Store {
    /// What costs how much.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn usage(&self) -> Result<Usage, Error> {
        let owners = Owners::of(&self.runs()?);
        let entries = self.survey()?;
        let mut users = Users { owners: &owners, blobs: BTreeMap::new(), chains: BTreeMap::new() };
        let mut results: BTreeMap<Owner, usize> = BTreeMap::new();
        for entry in &entries {
            let Part::Record(key) = entry.part else { continue };
            let Some(record) = self.record(&key) else { continue };
            owners.of_key(&key).into_iter().for_each(|owner| *results.entry(owner).or_default() += 1);
            for (_, _, blob) in record.blobs() {
                users.blobs.entry(blob.digest).or_default().insert(key);
            }
            if let Some(chain) = record.chain {
                users.chains.entry(chain).or_default().push(record);
            }
        }
        for entry in &entries {
            let Part::Link(chain, position) = entry.part else { continue };
            let Some(link) = self.chain(&chain).link(position).filter(|link| !link.own) else { continue };
            let keys = users.of_link(&chain, position);
            for blob in link.files.values() {
                users.blobs.entry(blob.digest).or_default().extend(&keys);
            }
        }
        let mut usage = Usage::default();
        let mut shares: BTreeMap<(String, Option<String>), (u64, u64)> = BTreeMap::new();
        for entry in &entries {
            usage.total += entry.bytes;
            let (owners, other) = users.of(&entry.part);
            if owners.is_empty() {
                *usage.others.entry(other).or_default() += entry.bytes;
                continue;
            }
            if owners.len() > 1 {
                usage.shared += entry.bytes;
            }
            let pipelines: BTreeSet<&String> = owners.iter().map(|owner| &owner.pipeline).collect();
            let mut add = |name: (String, Option<String>), alone: bool| {
                let share = shares.entry(name).or_default();
                *(if alone { &mut share.0 } else { &mut share.1 }) += entry.bytes;
            };
            pipelines.iter().for_each(|pipeline| add(((*pipeline).clone(), None), pipelines.len() == 1));
            for Owner { pipeline, stage } in &owners {
                add((pipeline.clone(), Some(stage.clone())), owners.len() == 1);
            }
        }
        let share = |((pipeline, stage), (unique, shared)): ((String, Option<String>), (u64, u64))| {
            let counted = results.iter().filter(|(owner, _)| {
                owner.pipeline == pipeline && stage.as_ref().is_none_or(|stage| owner.stage == *stage)
            });
            Share { results: counted.map(|(_, count)| count).sum(), pipeline, stage, unique, shared }
        };
        usage.shares = shares.into_iter().map(share).collect();
        Ok(usage)
    }
}

/// Who uses what.
struct Users<'a> {
    owners: &'a Owners,
    /// The keys of the results that hold each blob.
    blobs: BTreeMap<Digest, BTreeSet<Digest>>,
    /// The results on each chain.
    chains: BTreeMap<Digest, Vec<Record>>,
}

impl Users<'_> {
    /// The keys of the results that a position of a chain lies on the way to.
    fn of_link(&self, chain: &Digest, position: u64) -> BTreeSet<Digest> {
        let results = self.chains.get(chain).into_iter().flatten();
        results.filter(|record| record.has_passed(chain, position)).map(|record| record.key).collect()
    }

    /// The stages that use something, and what it is for if there are none.
    fn of(&self, part: &Part) -> (BTreeSet<Owner>, &'static str) {
        let of_keys = |keys: Option<&BTreeSet<Digest>>| self.owners.of_keys(keys.into_iter().flatten());
        match part {
            Part::Record(key) | Part::Lost(key) => (self.owners.of_key(key), "results that no run names"),
            Part::Blob(digest) => {
                let keys = self.blobs.get(digest);
                let what = if keys.is_some_and(|keys| !keys.is_empty()) {
                    "results that no run names"
                } else {
                    "files of no result"
                };
                (of_keys(keys), what)
            }
            Part::Link(chain, position) => {
                (of_keys(Some(&self.of_link(chain, *position))), "left by interrupted runs to go on from")
            }
            Part::Partial(_) => (BTreeSet::new(), "left by interrupted runs to go on from"),
            Part::Log(..) | Part::Index | Part::Memo | Part::Answer | Part::View(_) | Part::Fixture => {
                (BTreeSet::new(), "logs and lists")
            }
            Part::Temporary => (BTreeSet::new(), "unfinished files"),
            Part::Quarantined => (BTreeSet::new(), "quarantine"),
            Part::Aside => (BTreeSet::new(), "left by failures"),
            Part::Bin(_) => (BTreeSet::new(), "trash"),
            Part::Foreign => (BTreeSet::new(), "files that are not the store's"),
        }
    }
}
