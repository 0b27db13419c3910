//! The list of files whose loss nobody else would notice: logs of runs, and memos about files outside. Nothing is
//! decided by it but whether one of them is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::record::list;
use super::{Action, Error, Store, sealed};

/// Which files there have been since they were last forgotten on purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    /// The names of the logs of each pipeline.
    pub(super) logs: BTreeMap<String, BTreeSet<String>>,
    /// The names of the memos.
    pub(super) memos: BTreeSet<String>,
}

impl Store {
    pub(super) fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    /// The index as it was last written; `None` if there is none, or not what was written.
    pub(super) fn index(&self) -> Option<Index> {
        sealed::read(&self.index_path())
    }

    /// What lies there now.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub(super) fn indexed_files(&self) -> Result<Index, Error> {
        let names = |dir: &Path| -> Result<BTreeSet<String>, Error> {
            Ok(list(dir)?.iter().filter_map(|path| name(path)).collect())
        };
        let mut logs = BTreeMap::new();
        for folder in list(&self.root.join("runs"))?.into_iter().filter(|path| path.is_dir()) {
            logs.extend(name(&folder).map(|pipeline| Ok((pipeline, names(&folder)?))).transpose()?);
        }
        Ok(Index { logs, memos: names(&self.root.join("seen"))? })
    }

    /// Adds what lies there now to the index.
    pub(super) fn extend_index(&self) -> Result<(), Error> {
        self.change_index(|index, now| {
            for (pipeline, names) in now.logs {
                index.logs.entry(pipeline).or_default().extend(names);
            }
            index.memos.extend(now.memos);
        })
    }

    /// Makes the index say what lies there now, whatever it said before.
    pub(super) fn renew_index(&self) -> Result<(), Error> {
        self.change_index(|index, now| *index = now)
    }

    /// Changes the index, given what lies there now; other processes wait meanwhile.
    pub(super) fn change_index(&self, change: impl FnOnce(&mut Index, Index)) -> Result<(), Error> {
        let dir = self.make_dir("runs")?;
        let lock = File::open(&dir).map_err(Error::at(Action::Lock, &dir))?;
        lock.lock().map_err(Error::at(Action::Lock, &dir))?;
        let before = self.index();
        let mut index = before.clone().unwrap_or_default();
        change(&mut index, self.indexed_files()?);
        if before.as_ref() == Some(&index) {
            return Ok(());
        }
        self.write_whole(&self.index_path(), &sealed::seal(&index))
    }
}

fn name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}
