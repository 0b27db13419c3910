//! Says for whom a result was computed, as the logs of runs have it: the store itself knows no stages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::{Digest, LoggedRun};

/// A stage of a pipeline that ended with some result.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Owner {
    /// The pipeline's name.
    pub pipeline: String,
    /// The stage's name.
    pub stage: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.stage, self.pipeline)
    }
}

/// The owners of each key.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<Digest, BTreeSet<Owner>>);

impl Owners {
    /// Those of some runs.
    pub(super) fn of<'a>(runs: impl IntoIterator<Item = &'a LoggedRun>) -> Owners {
        let mut owners: BTreeMap<Digest, BTreeSet<Owner>> = BTreeMap::new();
        for run in runs {
            for (stage, entry) in &run.log.stages {
                let owner = Owner { pipeline: run.log.pipeline.clone(), stage: stage.clone() };
                owners.entry(entry.key).or_default().insert(owner);
            }
        }
        Owners(owners)
    }

    /// Those of a key.
    pub(super) fn of_key(&self, key: &Digest) -> BTreeSet<Owner> {
        self.0.get(key).cloned().unwrap_or_default()
    }

    /// Those of any of some keys.
    pub(super) fn of_keys<'a>(&self, keys: impl IntoIterator<Item = &'a Digest>) -> BTreeSet<Owner> {
        keys.into_iter().filter_map(|key| self.0.get(key)).flatten().cloned().collect()
    }

    /// The keys that have an owner.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Digest> {
        self.0.keys()
    }

    pub(super) fn is_logged(&self, key: &Digest) -> bool {
        self.0.contains_key(key)
    }
}
