//! What earlier runs left behind, as far as it explains the present: the last result of each stage, who made which
//! bytes, and results of the same kind. It reads no more than it is asked for, and decides nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use super::Experiment;
use super::key::KeyParts;
use crate::pipeline::{StageId, StageName};
use crate::store::{Digest, Record, RunEntry, RunLog, Store, Unfinished};

/// Logs of a pipeline that are searched, newest first; older ones explain nothing that anybody remembers.
const LOGS: usize = 50;
/// Results of one kind that are compared, newest first.
const COMPARED: usize = 50;
/// Stages no longer in the pipeline that are compared with a new one.
const RENAMED: usize = 50;

/// What is known of earlier runs of one pipeline, and of other results in the store.
pub(super) struct Past<'a> {
    experiment: &'a Experiment,
    store: &'a Store,
    /// The newest run of the pipeline.
    pub(super) last: Option<RunLog>,
    /// Whether failed attempts of the pipeline's stages have left anything.
    has_failures: bool,
    earlier: OnceLock<Vec<RunLog>>,
    /// Of each run that was asked for, newest first.
    makers: [OnceLock<Makers>; LOGS],
    gone: OnceLock<Vec<Earlier>>,
    kinds: OnceLock<HashMap<String, Vec<Earlier>>>,
}

/// The stages and ports that gave each bytes in a run.
type Makers = HashMap<Digest, Vec<(String, String)>>;

/// A result of an earlier run, with the parts of its key.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// The result.
    pub record: Record,
    /// The parts of its key.
    pub parts: KeyParts,
}

impl Earlier {
    /// A record with its parts; `None` if another version wrote it so that they cannot be read.
    #[must_use]
    pub fn of(record: Record) -> Option<Earlier> {
        let parts = record.identity.read().ok()?;
        Some(Earlier { record, parts })
    }
}

impl<'a> Past<'a> {
    pub(super) fn new(experiment: &'a Experiment, store: &'a Store) -> Past<'a> {
        let last = store.last_run(&experiment.pipeline.name);
        let has_failures = store.has_failures(&experiment.pipeline.name);
        let makers = [const { OnceLock::new() }; LOGS];
        let (earlier, gone, kinds) = Default::default();
        Past { experiment, store, last, has_failures, earlier, makers, gone, kinds }
    }

    /// The key of the stage's newest result, as the log of runs has it: that of the newest run that names the stage.
    pub(super) fn last_key(&self, stage: &str) -> Option<Digest> {
        let key = |run: &RunLog| run.stages.get(stage).map(|entry| entry.key);
        self.last.as_ref().and_then(key).or_else(|| self.earlier().iter().find_map(key))
    }

    /// Why the last attempt of the stage failed, if it did: what it left says so, or else the newest run.
    pub(super) fn failure(&self, stage: &str) -> Option<String> {
        let own = |run: &RunLog| run.stages.get(stage).is_some_and(RunEntry::is_own);
        if self.last.as_ref().is_some_and(own) {
            // What an attempt before that left is kept for a look.
            return None;
        }
        let why = || self.store.aside(&self.experiment.pipeline.name, stage).why();
        let left = if self.has_failures { why() } else { None };
        left.or_else(|| {
            let how = self.last.as_ref()?.unfinished.get(stage)?;
            (*how == Unfinished::Failed).then(|| "nothing is left that says why".to_owned())
        })
    }

    /// The newest result of a stage. If the newest run does not name it, one that has gone from the pipeline since may
    /// be so much alike that it must have been renamed: then whichever differs less.
    pub(super) fn last_result(&self, stage: &StageName, parts: &KeyParts) -> Option<Earlier> {
        let own = self.last_key(stage.as_str()).and_then(|key| Earlier::of(self.store.record(&key)?));
        if self.last.as_ref().is_some_and(|run| run.stages.contains_key(stage.as_str())) {
            return own;
        }
        let former = self.former_self(parts).cloned();
        own.into_iter().chain(former).min_by_key(|earlier| distance(parts, &earlier.parts))
    }

    /// The newest result of a stage that made these bytes on a port.
    pub(super) fn who_made(&self, id: StageId, port: &str, bytes: &Digest) -> Option<Earlier> {
        let name = self.experiment.pipeline.stage(id).name.as_str();
        let made = |key: Digest| {
            let record = self.store.record(&key)?;
            if record.outputs.get(port)?.digest != *bytes {
                return None;
            }
            Earlier::of(record)
        };
        if let Some(found) = self.last_key(name).and_then(made) {
            return Some(found);
        }
        let mut tried = self.last_key(name);
        self.earlier().iter().find_map(|run| {
            let key = run.stages.get(name)?.key;
            if tried == Some(key) {
                return None;
            }
            tried = Some(key);
            made(key)
        })
    }

    /// The key under which one stage made what another read when that got a result, as far as the log says.
    pub(super) fn key_read_by(&self, reader: StageId, result: &Digest, source: StageId) -> Option<Digest> {
        let run = &self.earlier()[self.run_of(reader, result)?];
        run.stages.get(self.experiment.pipeline.stage(source).name.as_str()).map(|entry| entry.key)
    }

    /// The stages and ports that gave these bytes in the run in which a stage read them for a result, or else in the last.
    pub(super) fn sources_of(&self, bytes: &Digest, reader: StageId, result: &Digest) -> &[(String, String)] {
        let runs = self.run_of(reader, result).into_iter().chain((!self.earlier().is_empty()).then_some(0));
        runs.filter_map(|run| self.makers_in(run).get(bytes)).next().map_or(&[], Vec::as_slice)
    }

    /// The newest run in which a stage got a result, by its place among them.
    fn run_of(&self, stage: StageId, result: &Digest) -> Option<usize> {
        let stage = self.experiment.pipeline.stage(stage).name.as_str();
        let has_result =
            |run: &RunLog| run.stages.get(stage).is_some_and(|entry| entry.is_own() && entry.key == *result);
        self.earlier().iter().position(has_result)
    }

    fn makers_in(&self, run: usize) -> &Makers {
        self.makers[run].get_or_init(|| {
            let mut makers = Makers::new();
            for (stage, entry) in &self.earlier()[run].stages {
                for (port, artifact) in self.store.record(&entry.key).into_iter().flat_map(|r| r.outputs) {
                    makers.entry(artifact.digest).or_default().push((stage.clone(), port));
                }
            }
            makers
        })
    }

    /// Of the results of the same kind that serve a purpose the one whose key differs in the fewest parts, the newest of
    /// several. Inputs that are not known count for nothing.
    pub(super) fn nearest(&self, parts: &KeyParts, serves: impl Fn(&Earlier) -> bool) -> Option<&Earlier> {
        let known = self.of_kind(&parts.kind).iter().filter(|earlier| serves(earlier));
        known.min_by_key(|earlier| distance(parts, &earlier.parts))
    }

    fn former_self(&self, parts: &KeyParts) -> Option<&Earlier> {
        let gone = self.gone.get_or_init(|| {
            let stages = self.last.iter().flat_map(|run| &run.stages);
            let gone = stages.filter(|(name, _)| self.experiment.pipeline.id(name).is_none());
            gone.take(RENAMED).filter_map(|(_, entry)| Earlier::of(self.store.record(&entry.key)?)).collect()
        });
        let alike = gone.iter().filter(|earlier| earlier.parts.kind == parts.kind);
        let nearest = alike.min_by_key(|earlier| distance(parts, &earlier.parts))?;
        // Kind and version are always the same.
        let most = 1 + parts.leaves().len().saturating_sub(2) / 4;
        (distance(parts, &nearest.parts) <= most).then_some(nearest)
    }

    fn earlier(&self) -> &[RunLog] {
        self.earlier.get_or_init(|| self.store.last_runs(&self.experiment.pipeline.name, LOGS))
    }

    /// The newest results of a kind, newest first.
    fn of_kind(&self, kind: &str) -> &[Earlier] {
        let kinds = self.kinds.get_or_init(|| {
            let mut records = self.store.records().unwrap_or_default();
            records.sort_by_key(|record| std::cmp::Reverse(record.started));
            let mut kinds: HashMap<String, Vec<Earlier>> = HashMap::new();
            for record in records {
                let kind = record.identity["kind"].as_str().unwrap_or_default().to_owned();
                let known = kinds.entry(kind).or_default();
                if known.len() < COMPARED {
                    known.extend(Earlier::of(record));
                }
            }
            kinds
        });
        kinds.get(kind).map_or(&[], Vec::as_slice)
    }
}

/// How many parts differ, without those inputs that are not known.
pub(super) fn distance(parts: &KeyParts, earlier: &KeyParts) -> usize {
    let inputs = earlier.inputs.iter().filter(|(port, _)| parts.inputs.contains_key(*port));
    let inputs: BTreeMap<String, Digest> = inputs.map(|(port, digest)| (port.clone(), *digest)).collect();
    parts.differences(&KeyParts { inputs, ..earlier.clone() }).len()
}
