//! The log of runs: which keys each run of a pipeline ended with. The newest entry is what an edit is
//! compared with.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::record::list;
use super::{Digest, Error, Store};

/// One run of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunLog {
    /// The pipeline's name.
    pub pipeline: String,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// How long it took.
    pub seconds: f64,
    /// What became of each stage, by name.
    pub stages: BTreeMap<String, RunEntry>,
}

/// What became of one stage of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// The key of its newest result: this run's, or an earlier one's if this run got none.
    pub key: Digest,
    /// How this run left it, such as `done` or `reused`.
    pub state: String,
}

/// A run as it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedRun {
    /// The name of its file; names are in the order in which runs ended.
    pub name: String,
    /// What it says.
    pub log: RunLog,
}

impl Store {
    /// The newest run of a pipeline.
    #[must_use]
    pub fn last_run(&self, pipeline: &str) -> Option<RunLog> {
        let newest = list(&self.runs_dir(pipeline)).ok()?.pop()?;
        serde_json::from_slice(&fs::read(newest).ok()?).ok()
    }

    /// All readable runs of all pipelines, in the order in which they ended.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn runs(&self) -> Result<Vec<LoggedRun>, Error> {
        let mut runs = Vec::new();
        for folder in list(&self.root.join("runs"))? {
            for file in list(&folder)? {
                let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
                let log = fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
                runs.extend(log.map(|log| LoggedRun { name, log }));
            }
        }
        runs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(runs)
    }

    /// Adds a run to the log.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn log_run(&self, run: &RunLog) -> Result<(), Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Twenty digits keep the order of time and of names the same.
        let name = format!("{:020}-{}.json", now.as_nanos(), std::process::id());
        let mut text = serde_json::to_vec_pretty(run).expect("a run has only text keys");
        text.push(b'\n');
        self.write_whole(&self.runs_dir(&run.pipeline).join(name), &text)
    }

    fn runs_dir(&self, pipeline: &str) -> PathBuf {
        self.root.join("runs").join(pipeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_run_of_a_pipeline_is_remembered() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(dir.path());
        assert_eq!(store.last_run("a"), None);
        for (pipeline, started) in [("a", 1), ("b", 2), ("a", 3)] {
            let key = Digest::of(&[started]);
            let stages = BTreeMap::from([("train".to_owned(), RunEntry { key, state: "done".to_owned() })]);
            let run = RunLog { pipeline: pipeline.to_owned(), started: started.into(), seconds: 0.5, stages };
            store.log_run(&run).expect("writable");
        }
        assert_eq!(store.last_run("a").map(|run| run.started), Some(3));
        assert_eq!(store.last_run("b").map(|run| run.started), Some(2));
        let all: Vec<u64> = store.runs().expect("readable").iter().map(|run| run.log.started).collect();
        assert_eq!(all, [1, 2, 3]);
    }
}
