//! The log of runs: which keys each run of a pipeline ended with. The newest entry is what an edit is
//! compared with.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::list;
use super::{Digest, Error, Store, sealed};

/// One run of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunLog {
    /// The pipeline's name.
    pub pipeline: String,
    /// When it started, in seconds since 1970.
    pub started: u64,
    /// How long it took.
    pub seconds: f64,
    /// The result that each stage ended with, by name.
    pub stages: BTreeMap<String, RunEntry>,
    /// How the run left those of its stages of which it got no result, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unfinished: BTreeMap<String, Unfinished>,
}

/// What became of one stage of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEntry {
    /// The key of its newest result: this run's, or an earlier one's if this run got none.
    pub key: Digest,
    /// Whose that result is.
    pub state: Outcome,
    /// Where the stage read what it came from; empty in the logs of earlier versions.
    #[serde(default, skip_serializing_if = "Origins::is_empty")]
    pub origins: Origins,
}

/// Where a stage read what its key knows by content alone. It matters to no result, but people know content by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origins {
    /// What is bound to each input port, as `stage.port`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// The parameters that say where something lies outside the store, as they were given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Value>,
}

impl Origins {
    fn is_empty(&self) -> bool {
        *self == Origins::default()
    }
}

/// How a run came by the newest result of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It computed it.
    Done,
    /// It was there.
    Reused,
    /// It got none: that of an earlier run is the newest.
    Earlier,
}

/// How a run left a stage of which it got no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unfinished {
    /// It was begun, and failed.
    Failed,
    /// It was begun, and the run was interrupted.
    Interrupted,
    /// It was not begun.
    Skipped,
}

impl RunEntry {
    /// The entry as a later run takes it over that gets no result of the stage.
    #[must_use]
    pub fn taken_over(self) -> RunEntry {
        RunEntry { state: Outcome::Earlier, ..self }
    }

    /// Whether the result is this run's own, computed or reused.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.state != Outcome::Earlier
    }
}

impl RunLog {
    /// A run that ended with these results and left no stage without.
    #[must_use]
    pub fn new(pipeline: &str, stages: BTreeMap<String, RunEntry>) -> RunLog {
        let pipeline = pipeline.to_owned();
        RunLog { pipeline, started: 0, seconds: 0.0, stages, unfinished: BTreeMap::new() }
    }

    /// Whether the pipeline surely had a stage then. One with an earlier result may have gone by that time.
    #[must_use]
    pub fn had(&self, stage: &str) -> bool {
        self.stages.get(stage).is_some_and(RunEntry::is_own) || self.unfinished.contains_key(stage)
    }

    /// The results that are the run's own, by stage.
    pub fn own(&self) -> impl Iterator<Item = (&String, &RunEntry)> {
        self.stages.iter().filter(|(_, entry)| entry.is_own())
    }

    /// Whether it ended with the same results as another, read from the same places, and left the same stages without.
    #[must_use]
    pub fn ended_like(&self, other: &RunLog) -> bool {
        let entries = |log: &RunLog| -> BTreeMap<String, RunEntry> {
            log.stages.iter().map(|(name, entry)| (name.clone(), entry.clone().taken_over())).collect()
        };
        self.pipeline == other.pipeline
            && self.unfinished == other.unfinished
            && entries(self) == entries(other)
    }

    /// Whether it got a result of every stage.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.unfinished.is_empty() && self.stages.values().all(RunEntry::is_own)
    }
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
    /// The newest run of a pipeline, of those whose log can be read.
    #[must_use]
    pub fn last_run(&self, pipeline: &str) -> Option<RunLog> {
        self.last_runs(pipeline, 1).pop()
    }

    /// So many of the newest runs of a pipeline, newest first, of those whose log can be read.
    #[must_use]
    pub fn last_runs(&self, pipeline: &str, count: usize) -> Vec<RunLog> {
        let logs = list(&self.runs_dir(pipeline)).unwrap_or_default();
        logs.iter().rev().filter_map(|path| sealed::read(path)).take(count).collect()
    }

    /// The newest run of every pipeline, newest first, of those whose log can be read.
    #[must_use]
    pub fn newest_runs(&self) -> Vec<RunLog> {
        let newest = |logs: Vec<PathBuf>| {
            logs.iter().rev().find_map(|path| Some((path.file_name()?.to_owned(), sealed::read(path)?)))
        };
        let folders = list(&self.root.join("runs")).unwrap_or_default();
        let mut runs: Vec<(OsString, RunLog)> =
            folders.iter().filter_map(|folder| newest(list(folder).ok()?)).collect();
        runs.sort_by(|(a, _), (b, _)| b.cmp(a));
        runs.into_iter().map(|(_, run)| run).collect()
    }

    /// The name of the newest log of a pipeline.
    #[must_use]
    pub fn newest_log(&self, pipeline: &str) -> Option<String> {
        Some(list(&self.runs_dir(pipeline)).ok()?.pop()?.file_name()?.to_str()?.to_owned())
    }

    /// All readable runs of all pipelines, in the order in which they ended.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn runs(&self) -> Result<Vec<LoggedRun>, Error> {
        let mut runs = Vec::new();
        for (pipeline, names) in self.indexed_files()?.logs {
            for name in names {
                let log = sealed::read(&self.log_path(&pipeline, &name));
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
        // Whoever collects moves logs that the index does not name any more.
        let _shared = self.keep_from_collection();
        if !self.index_path().exists() {
            // Logs without an index mean that it was deleted.
            self.extend_index()?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Twenty digits keep the order of time and of names the same.
        let name = format!("{:020}-{}.json", now.as_nanos(), std::process::id());
        self.write_whole(&self.log_path(&run.pipeline, &name), &sealed::seal(run))?;
        self.extend_index()
    }

    pub(super) fn log_path(&self, pipeline: &str, name: &str) -> PathBuf {
        self.runs_dir(pipeline).join(name)
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
            let stages = BTreeMap::from([(
                "train".to_owned(),
                RunEntry { key, state: Outcome::Done, origins: Origins::default() },
            )]);
            let run = RunLog { started: started.into(), ..RunLog::new(pipeline, stages) };
            store.log_run(&run).expect("writable");
        }
        assert_eq!(store.last_run("a").map(|run| run.started), Some(3));
        assert_eq!(store.last_run("b").map(|run| run.started), Some(2));
        let newest: Vec<u64> = store.last_runs("a", 2).iter().map(|run| run.started).collect();
        assert_eq!(newest, [3, 1]);
        let newest: Vec<u64> = store.newest_runs().iter().map(|run| run.started).collect();
        assert_eq!(newest, [3, 2]);
        let all: Vec<u64> = store.runs().expect("readable").iter().map(|run| run.log.started).collect();
        assert_eq!(all, [1, 2, 3]);
    }

    #[test]
    fn an_entry_that_says_nothing_of_origins_reads_and_writes_as_before_there_were_any() {
        let entry = RunEntry { key: Digest::of(b"key"), state: Outcome::Done, origins: Origins::default() };
        let text = format!(r#"{{"key":"{}","state":"done"}}"#, entry.key);
        assert_eq!(serde_json::to_string(&entry).expect("JSON"), text);
        assert_eq!(serde_json::from_str::<RunEntry>(&text).expect("an entry"), entry);
    }

    #[test]
    fn a_damaged_log_is_as_if_it_were_not_there() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(dir.path());
        for started in [1, 2] {
            let run = RunLog { started, seconds: 0.5, ..RunLog::new("a", BTreeMap::new()) };
            store.log_run(&run).expect("writable");
        }
        let newest = store.runs().expect("readable").pop().expect("two").name;
        let path = store.log_path("a", &newest);
        let text = std::fs::read_to_string(&path).expect("there").replace("0.5", "0.7");
        std::fs::write(&path, text).expect("writable");
        assert_eq!(store.last_run("a").map(|run| run.started), Some(1));
    }
}
