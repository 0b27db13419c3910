//! What earlier runs left behind, as far as it explains the present: the last result of each stage, who made which
//! bytes, and results of the same kind. It reads no more than it is asked for, and decides nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock};

use super::Experiment;
use super::key::KeyParts;
use super::renamed::{Heirs, former_run};
use super::stage::Device;
use crate::pipeline::StageName;
use crate::store::{Digest, Origins, Record, RunEntry, RunLog, Store, Unfinished};

/// Logs of a pipeline that are searched, newest first; older ones explain nothing that anybody remembers.
const LOGS: usize = 50;
/// Results of one kind that are compared, newest first.
const COMPARED: usize = 50;

/// What is known of earlier runs of one pipeline, and of other results in the store.
pub(super) struct Past<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) store: &'a Store,
    pub(super) device: Device,
    /// The newest run of the pipeline; if it never ran, that of the one that it was before it was renamed.
    pub(super) last: Option<RunLog>,
    /// Whether failed attempts of the pipeline's stages have left anything.
    has_failures: bool,
    earlier: OnceLock<Vec<RunLog>>,
    /// What stages were in the newest run that have been renamed since.
    pub(super) renamed: BTreeMap<StageName, (String, Earlier)>,
    /// Which stages took the places of others since a run, once that is asked, by run.
    pub(super) heirs: Mutex<HashMap<usize, Arc<Heirs>>>,
    kinds: OnceLock<HashMap<String, Vec<Earlier>>>,
}

/// A result of an earlier run, with the parts of its key.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// The result.
    pub record: Record,
    /// The parts of its key.
    pub parts: KeyParts,
    /// Where what it came from was read, as far as the log says.
    pub origins: Origins,
    /// The run that it was looked up in, if it was in one.
    run: Option<usize>,
}

/// A run of the past: how many are newer, and its log.
pub(super) type Nth<'a> = (usize, &'a RunLog);

impl Earlier {
    /// A record with its parts; `None` if another version wrote it so that they cannot be read.
    #[must_use]
    pub fn of(record: Record) -> Option<Earlier> {
        let parts = record.identity.read().ok()?;
        Some(Earlier { record, parts, origins: Origins::default(), run: None })
    }
}

impl<'a> Past<'a> {
    pub(super) fn new(experiment: &'a Experiment, store: &'a Store, device: Device) -> Past<'a> {
        let last = store.last_run(&experiment.pipeline.name);
        let last = last.or_else(|| former_run(experiment, store, device));
        let has_failures = store.has_failures(&experiment.pipeline.name);
        let (earlier, renamed, heirs, kinds) = Default::default();
        let mut past = Past { experiment, store, device, last, has_failures, earlier, renamed, heirs, kinds };
        // Not when it is first asked for: hashing a file shares its work, and whoever takes a part may ask the same.
        past.find_renamed();
        past
    }

    /// The key of the stage's newest result, as the log of runs has it: that of the newest run that names the stage.
    pub(super) fn last_key(&self, stage: &str) -> Option<Digest> {
        self.last_entry(stage).map(|entry| entry.key)
    }

    fn last_entry(&self, stage: &str) -> Option<&RunEntry> {
        self.runs().find_map(|(_, run)| run.stages.get(stage))
    }

    /// Whether a run had a result of the stage under this key.
    pub(super) fn was_computed(&self, stage: &str, key: &Digest) -> bool {
        self.runs().any(|(_, run)| run.stages.get(stage).is_some_and(|entry| entry.key == *key))
    }

    /// What the pipeline was called when it last ran, if it has never run under its name.
    pub(super) fn former_pipeline(&self) -> Option<&str> {
        let name = &self.last.as_ref()?.pipeline;
        (*name != self.experiment.pipeline.name).then_some(name)
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
            let has_failed = *how == Unfinished::Failed && self.former_pipeline().is_none();
            has_failed.then(|| "nothing is left that says why".to_owned())
        })
    }

    /// The newest result of a stage; if it was renamed since the newest run, that under its former name.
    pub(super) fn last_result(&self, stage: &StageName) -> Option<Earlier> {
        let is_named = self.last.as_ref().is_some_and(|run| run.stages.contains_key(stage.as_str()));
        let former = if is_named { None } else { self.former_self(stage) };
        former.map(|(_, then)| then.clone()).or_else(|| self.last_own(stage))
    }

    /// The newest result of a stage under its name.
    pub(super) fn last_own(&self, stage: &StageName) -> Option<Earlier> {
        self.logged(self.last_entry(stage.as_str())?)
    }

    /// The run in which a stage got a result, and where the stage read what that came from: the run that the result was
    /// looked up in, so that all that led to another is told of one run, or else the newest. A stage that was renamed
    /// since has it under a name that is gone.
    pub(super) fn run_of(&self, stage: &StageName, result: &Earlier) -> Option<(Nth<'_>, &Origins)> {
        let is_it = |entry: &&RunEntry| entry.is_own() && entry.key == result.record.key;
        let is_gone = |name: &str| self.experiment.pipeline.id(name).is_none();
        let same = result.run.and_then(|nth| self.runs().nth(nth));
        same.into_iter().chain(self.runs()).find_map(|(nth, run)| {
            let own = run.stages.get(stage.as_str()).filter(is_it);
            let renamed = || run.stages.iter().find(|(name, entry)| is_it(entry) && is_gone(name));
            let entry = own.or_else(|| Some(renamed()?.1))?;
            Some(((nth, run), &entry.origins))
        })
    }

    /// Whether a stage was there beside another, of which a run had this result, in that run or in a later one, by when
    /// the other may have been renamed.
    pub(super) fn was_beside(&self, stage: &str, (nth, run): Nth<'_>, other: Option<&Earlier>) -> bool {
        let is_other = |(name, entry): (&String, &RunEntry)| {
            name != stage && other.is_some_and(|other| entry.key == other.record.key)
        };
        let in_later = |run: &RunLog| run.had(stage) && run.stages.iter().any(is_other);
        run.stages.contains_key(stage)
            || run.unfinished.contains_key(stage)
            || self.runs().take(nth).any(|(_, later)| in_later(later))
    }

    /// The result of a stage in a run.
    pub(super) fn result_in(&self, (nth, run): Nth<'_>, stage: &str) -> Option<Earlier> {
        let earlier = self.logged(run.stages.get(stage)?)?;
        Some(Earlier { run: Some(nth), ..earlier })
    }

    fn logged(&self, entry: &RunEntry) -> Option<Earlier> {
        let earlier = Earlier::of(self.store.record(&entry.key)?)?;
        Some(Earlier { origins: entry.origins.clone(), ..earlier })
    }

    /// Of the results of the same kind that serve a purpose the one whose key differs in the fewest parts, the newest of
    /// several. Inputs that are not known count for nothing.
    pub(super) fn nearest(&self, parts: &KeyParts, serves: impl Fn(&Earlier) -> bool) -> Option<&Earlier> {
        let known = self.of_kind(&parts.kind).iter().filter(|earlier| serves(earlier));
        known.min_by_key(|earlier| distance(parts, &earlier.parts))
    }

    /// The runs of the pipeline, newest first; of those before the last one none is read before it is asked for.
    fn runs(&self) -> impl Iterator<Item = Nth<'_>> {
        let name = self.former_pipeline().unwrap_or(&self.experiment.pipeline.name);
        let read = || self.store.last_runs(name, LOGS);
        let earlier = std::iter::once_with(move || self.earlier.get_or_init(read)).flatten().skip(1);
        self.last.iter().chain(earlier).enumerate()
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

/// Whether so little differs that it is the same stage, edited.
pub(super) fn are_alike(parts: &KeyParts, earlier: &KeyParts) -> bool {
    // Kind and version are always the same.
    let most = 1 + parts.leaves().len().saturating_sub(2) / 4;
    parts.kind == earlier.kind && distance(parts, earlier) <= most
}

/// How many parts differ, without those inputs that are not known.
pub(super) fn distance(parts: &KeyParts, earlier: &KeyParts) -> usize {
    let inputs = earlier.inputs.iter().filter(|(port, _)| parts.inputs.contains_key(*port));
    let inputs: BTreeMap<String, Digest> = inputs.map(|(port, digest)| (port.clone(), *digest)).collect();
    parts.differences(&KeyParts { inputs, ..earlier.clone() }).len()
}
