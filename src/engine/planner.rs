//! Decides for every stage whether a result can be reused or it must run, and why. It writes nothing: dry
//! runs, `status` and the run loop all ask the same planner.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;

use rayon::prelude::*;

use super::Experiment;
use super::explain::{Explainer, Results};
use super::key::KeyParts;
use super::outlook::{Outlook, Start};
use super::past::{Earlier, Past, distance};
use super::reason::Reason;
use super::stage::{Device, Identity};
use crate::pipeline::{StageId, StageName};
use crate::store::{Digest, Found, Record, RunLog, Store};

/// So many stages at once are worth handing to several threads.
const MANY: usize = 16;

/// Answers for one pipeline, one store and one device.
pub struct Planner<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) store: &'a Store,
    pub(super) device: Device,
    explainer: Explainer<'a>,
    forced: BTreeSet<StageId>,
}

/// What is to be done about one stage.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Its key; `None` as long as an input is not known, or if a file cannot be read.
    pub key: Option<Digest>,
    /// The parts of its key, without the inputs that are not known; `None` if a file cannot be read.
    pub parts: Option<KeyParts>,
    /// Whether it runs.
    pub verdict: Verdict,
    /// What to expect if it runs.
    pub outlook: Outlook,
}

/// Whether a stage runs.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// This result is the right one.
    Reuse(Arc<Record>),
    /// It must run, for these reasons.
    Run(Vec<Reason>),
}

/// What is to be done about every stage, inputs before their users.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The stages and what is to be done about each.
    pub steps: Vec<(StageName, Decision)>,
}

impl Plan {
    /// What is to be done about the stages that run.
    pub fn stale(&self) -> impl Iterator<Item = &Decision> {
        self.steps.iter().map(|(_, decision)| decision).filter(|d| matches!(d.verdict, Verdict::Run(_)))
    }
}

impl<'a> Planner<'a> {
    /// A planner that compares with the last run of the pipeline.
    #[must_use]
    pub fn new(
        experiment: &'a Experiment,
        store: &'a Store,
        device: Device,
        forced: BTreeSet<StageId>,
    ) -> Planner<'a> {
        let explainer = Explainer::new(experiment, Past::new(experiment, store, device));
        Planner { experiment, store, device, explainer, forced }
    }

    /// What is to be done about the selected stages, as far as it can be said before anything runs.
    #[must_use]
    pub fn plan(&self, selection: &BTreeSet<StageId>) -> Plan {
        if selection.len() < MANY {
            return self.plan_here(selection);
        }
        // In one of the threads that share the work: any other would be woken after each wave.
        rayon::scope(|_| self.plan_here(selection))
    }

    fn plan_here(&self, selection: &BTreeSet<StageId>) -> Plan {
        let count = self.experiment.pipeline.stages.len();
        let mut results: Vec<Option<Arc<Record>>> = vec![None; count];
        let mut decisions: Vec<Option<Decision>> = vec![None; count];
        for wave in self.waves(selection) {
            for (id, decision) in self.decide_all(&wave, &results) {
                if let Verdict::Reuse(record) = &decision.verdict {
                    results[id.0] = Some(Arc::clone(record));
                }
                decisions[id.0] = Some(decision);
            }
        }
        let order = self.experiment.graph.order().iter();
        let steps = order.filter_map(|id| {
            Some((self.experiment.pipeline.stage(*id).name.clone(), decisions[id.0].take()?))
        });
        Plan { steps: steps.collect() }
    }

    /// What is to be done about stages that do not need each other.
    pub(super) fn decide_all(&self, ids: &[StageId], results: &Results) -> Vec<(StageId, Decision)> {
        let decide = |id: &StageId| (*id, self.decide(*id, results));
        if ids.len() < MANY {
            return ids.iter().map(decide).collect();
        }
        ids.par_iter().with_min_len(MANY / 2).map(decide).collect()
    }

    /// What is to be done about one stage, given the results of the stages before it.
    #[must_use]
    pub fn decide(&self, id: StageId, results: &Results) -> Decision {
        let decl = self.experiment.pipeline.stage(id);
        let mut inputs = BTreeMap::new();
        let mut upstream = BTreeSet::new();
        for (port, source) in &decl.inputs {
            match &results[source.id.0] {
                Some(record) => drop(inputs.insert(port.clone(), record.outputs[&source.port].digest)),
                None => drop(upstream.insert(source.id)),
            }
        }
        let identity = decl.stage.identity();
        let growth = identity.growth;
        let files = match self.digest_files(id, &identity) {
            Ok(files) => files,
            Err(unreadable) => {
                let (verdict, outlook) = (Verdict::Run(unreadable), Outlook::default());
                return Decision { key: None, parts: None, verdict, outlook };
            }
        };
        let kind = self.experiment.registry.kind(&decl.kind);
        let parts = KeyParts::new((kind.name, kind.version), identity, inputs, files, self.device);
        let key = upstream.is_empty().then(|| parts.key());
        let mut reasons = Vec::new();
        if self.forced.contains(&id) {
            reasons.push(Reason::Forced);
        }
        let found = match key.map_or(Found::Absent, |key| self.store.find(&key)) {
            Found::Whole(record) if reasons.is_empty() => {
                let (verdict, outlook) = (Verdict::Reuse(record.into()), Outlook::default());
                return Decision { key, parts: Some(parts), verdict, outlook };
            }
            found => found,
        };
        let last = self.explainer.past.last_result(&decl.name);
        match found {
            Found::Whole(_) => {}
            Found::Damaged(damage) => reasons.push(Reason::Damaged(damage)),
            Found::Absent => reasons.extend(self.absence(id, key, (&parts, last.as_ref()), results)),
        }
        let upstream = upstream.iter().map(|up| self.experiment.pipeline.stage(*up).name.clone());
        reasons.extend(upstream.map(Reason::Upstream));
        let is_forced = self.forced.contains(&id);
        let start = if key.is_some() && !is_forced { Start::Kept } else { Start::Nothing };
        let past = &self.explainer.past;
        let before = (last.as_ref(), past.failure(decl.name.as_str()));
        let outlook = Outlook::new(self.store, past, (&parts, start), growth, &decl.ports, before);
        Decision { key, parts: Some(parts), verdict: Verdict::Run(reasons), outlook }
    }

    /// Why there is no result of a key, as far as the key is known.
    fn absence(
        &self,
        id: StageId,
        key: Option<Digest>,
        (parts, last): (&KeyParts, Option<&Earlier>),
        results: &Results,
    ) -> Vec<Reason> {
        let stage = self.experiment.pipeline.stage(id).name.as_str();
        let last_key = self.last_key(stage);
        match last {
            _ if key.is_some() && last_key == key => vec![Reason::Lost],
            Some(last) if key == Some(last.record.key) => vec![Reason::Lost],
            Some(last) => self.explainer.changes(id, parts, last, results),
            // What was computed is known by the log, with a key that is not known yet only that it is gone.
            None if key.is_some_and(|key| self.explainer.past.was_computed(stage, &key)) => {
                vec![Reason::Lost]
            }
            None if last_key.is_some() => vec![if key.is_some() { Reason::Forgotten } else { Reason::Lost }],
            None => vec![Reason::FirstRun],
        }
    }

    /// The selected stages in groups: each needs only stages of groups before its own.
    fn waves(&self, selection: &BTreeSet<StageId>) -> Vec<Vec<StageId>> {
        let graph = &self.experiment.graph;
        let mut waves: Vec<Vec<StageId>> = Vec::new();
        let mut level = vec![0; self.experiment.pipeline.stages.len()];
        for id in graph.order().iter().filter(|id| selection.contains(id)) {
            let before = graph.needs(*id).into_iter().map(|need| level[need.0]).max();
            let wave = before.unwrap_or(0);
            if waves.len() == wave {
                waves.push(Vec::new());
            }
            waves[wave].push(*id);
            level[id.0] = wave + 1;
        }
        waves
    }

    /// What the stage was called in the newest run, if it was renamed since.
    pub(super) fn former_name(&self, stage: &StageName) -> Option<&str> {
        self.explainer.past.former_self(stage).map(|(name, _)| name.as_str())
    }

    /// The newest run of the pipeline.
    pub(super) fn last_run(&self) -> Option<&RunLog> {
        self.explainer.past.last.as_ref()
    }

    /// The key of the stage's newest result, as the log of runs has it.
    #[must_use]
    pub fn last_key(&self, stage: &str) -> Option<Digest> {
        self.explainer.past.last_key(stage)
    }

    /// The last result of a stage if it is whole, whatever the params and inputs it came from; of one that was renamed,
    /// that under its former name.
    #[must_use]
    pub fn last_good(&self, stage: &StageName) -> Option<Record> {
        match self.store.find(&self.explainer.past.last_result(stage)?.record.key) {
            Found::Whole(record) => Some(*record),
            Found::Damaged(_) | Found::Absent => None,
        }
    }

    /// Of all results of the same kind, the stage's own last one first, that whose key differs in the fewest parts.
    #[must_use]
    pub fn nearest(&self, stage: &StageName, parts: &KeyParts) -> Option<Earlier> {
        let past = &self.explainer.past;
        let last = past.last_result(stage).filter(|last| last.parts.kind == parts.kind);
        let others = past.nearest(parts, |_| true).cloned();
        last.into_iter().chain(others).min_by_key(|earlier| distance(parts, &earlier.parts))
    }

    /// Whether a stage is to run even if there is a result.
    #[must_use]
    pub(super) fn is_forced(&self, id: StageId) -> bool {
        self.forced.contains(&id)
    }

    /// The digests of the files outside the store, by name; or which cannot be read.
    pub(super) fn digest_files(
        &self,
        id: StageId,
        identity: &Identity,
    ) -> Result<BTreeMap<String, Digest>, Vec<Reason>> {
        let mut digests = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (name, path) in &identity.files {
            match self.store.digest_of(path) {
                Ok(digest) => drop(digests.insert(name.clone(), digest)),
                Err(error) => {
                    let place = self.experiment.place_of_file(id, path);
                    let error = match error.kind() {
                        ErrorKind::NotFound => {
                            "there is no such file; make it, or run first what makes it".to_owned()
                        }
                        _ => error.to_string(),
                    };
                    let path = path.display().to_string();
                    unreadable.push(Reason::Unreadable { path, error, place });
                }
            }
        }
        if unreadable.is_empty() { Ok(digests) } else { Err(unreadable) }
    }
}
