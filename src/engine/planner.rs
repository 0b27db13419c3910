//! Decides for every stage whether a result can be reused or it must run, and why. It writes nothing: dry
//! runs, `status` and the run loop all ask the same planner.

use std::collections::{BTreeMap, BTreeSet};

use super::Experiment;
use super::key::{Difference, KeyParts};
use super::reason::{FileChange, Reason};
use super::stage::{Device, Identity};
use crate::pipeline::{StageId, StageName};
use crate::store::{Digest, Found, Record, RunLog, Store};

/// Answers for one pipeline, one store and one device.
pub struct Planner<'a> {
    pub(super) experiment: &'a Experiment,
    pub(super) store: &'a Store,
    pub(super) last: Option<RunLog>,
    pub(super) device: Device,
    forced: BTreeSet<StageId>,
}

/// What is to be done about one stage.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The parts of its key; `None` as long as an input is not known, or if a file cannot be read.
    pub parts: Option<KeyParts>,
    /// Whether it runs.
    pub verdict: Verdict,
}

/// Whether a stage runs.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// This result is the right one.
    Reuse(Box<Record>),
    /// It must run, for these reasons.
    Run(Vec<Reason>),
}

/// What is to be done about every stage, inputs before their users.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The stages and what is to be done about each.
    pub steps: Vec<(StageName, Decision)>,
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
        let last = store.last_run(&experiment.pipeline.name);
        Planner { experiment, store, last, device, forced }
    }

    /// What is to be done about the selected stages, as far as it can be said before anything runs.
    #[must_use]
    pub fn plan(&self, selection: &BTreeSet<StageId>) -> Plan {
        let mut results: Vec<Option<Record>> = vec![None; self.experiment.pipeline.stages.len()];
        let mut steps = Vec::with_capacity(selection.len());
        for id in self.experiment.graph.order().iter().filter(|id| selection.contains(id)) {
            let decision = self.decide(*id, &results);
            if let Verdict::Reuse(record) = &decision.verdict {
                results[id.0] = Some((**record).clone());
            }
            steps.push((self.experiment.pipeline.stage(*id).name.clone(), decision));
        }
        Plan { steps }
    }

    /// What is to be done about one stage, given the results of the stages before it.
    #[must_use]
    pub fn decide(&self, id: StageId, results: &[Option<Record>]) -> Decision {
        let decl = self.experiment.pipeline.stage(id);
        let mut inputs = BTreeMap::new();
        let mut upstream = BTreeSet::new();
        for (port, source) in &decl.inputs {
            let from = source.id;
            match &results[from.0] {
                Some(record) => drop(inputs.insert(port.clone(), record.outputs[&source.port].digest)),
                None => drop(upstream.insert(from)),
            }
        }
        let identity = decl.stage.identity();
        let files = match self.digest_files(&identity) {
            Ok(files) => files,
            Err(unreadable) => return Decision { parts: None, verdict: Verdict::Run(unreadable) },
        };
        let kind = self.experiment.registry.kind(&decl.kind);
        let parts = KeyParts::new((kind.name, kind.version), identity, inputs, files, self.device);
        let mut reasons = Vec::new();
        if self.forced.contains(&id) {
            reasons.push(Reason::Forced);
        }
        if !upstream.is_empty() {
            reasons.extend(self.changes(id, &parts, &upstream));
            reasons.extend(
                upstream.iter().map(|up| Reason::Upstream(self.experiment.pipeline.stage(*up).name.clone())),
            );
            return Decision { parts: None, verdict: Verdict::Run(reasons) };
        }
        let verdict = match self.store.find(&parts.key()) {
            Found::Whole(record) if reasons.is_empty() => Verdict::Reuse(Box::new(record)),
            Found::Whole(_) => Verdict::Run(reasons),
            Found::Damaged(damage) => {
                reasons.push(Reason::Damaged(damage));
                Verdict::Run(reasons)
            }
            Found::Absent => {
                reasons.extend(self.changes(id, &parts, &upstream));
                if reasons.is_empty() {
                    reasons.push(Reason::Lost);
                }
                Verdict::Run(reasons)
            }
        };
        Decision { parts: Some(parts), verdict }
    }

    /// The key of the stage's newest result, as the log of runs has it.
    #[must_use]
    pub fn last_key(&self, stage: &str) -> Option<Digest> {
        self.last.as_ref()?.stages.get(stage).map(|entry| entry.key)
    }

    /// Whether a stage is to run even if there is a result.
    #[must_use]
    pub(super) fn is_forced(&self, id: StageId) -> bool {
        self.forced.contains(&id)
    }

    /// The digests of the files outside the store, by name; or which cannot be read.
    pub(super) fn digest_files(&self, identity: &Identity) -> Result<BTreeMap<String, Digest>, Vec<Reason>> {
        let mut digests = BTreeMap::new();
        let mut unreadable = Vec::new();
        for (name, path) in &identity.files {
            match self.store.digest_of(path) {
                Ok(digest) => drop(digests.insert(name.clone(), digest)),
                Err(error) => {
                    let (path, error) = (path.display().to_string(), error.to_string());
                    unreadable.push(Reason::Unreadable { path, error });
                }
            }
        }
        if unreadable.is_empty() { Ok(digests) } else { Err(unreadable) }
    }

    /// How the parts differ from those of the last run; inputs from `upstream` are not known yet.
    fn changes(&self, id: StageId, parts: &KeyParts, upstream: &BTreeSet<StageId>) -> Vec<Reason> {
        let decl = self.experiment.pipeline.stage(id);
        let Some(last) = self.last_key(decl.name.as_str()) else {
            return if upstream.is_empty() { vec![Reason::FirstRun] } else { Vec::new() };
        };
        let earlier = self.store.record(&last);
        let Some(earlier) = earlier.and_then(|record| serde_json::from_value(record.identity).ok()) else {
            return vec![Reason::Lost];
        };
        let known = |difference: &Difference| match difference.path.strip_prefix("inputs.") {
            Some(port) => decl.inputs.get(port).is_some_and(|from| !upstream.contains(&from.id)),
            None => true,
        };
        parts.differences(&earlier).into_iter().filter(known).map(|d| self.reason(id, d)).collect()
    }

    fn reason(&self, id: StageId, difference: Difference) -> Reason {
        let decl = self.experiment.pipeline.stage(id);
        let Difference { path, old, new } = difference;
        if let Some(param) = path.strip_prefix("params.") {
            let steps: Vec<&str> = param.split('.').collect();
            let place = self.experiment.pipeline.place(&decl.name, &steps);
            return Reason::Param { field: format!("{}.{param}", decl.name), old, new, place };
        }
        if let Some(port) = path.strip_prefix("inputs.") {
            let source = decl.inputs.get(port).map_or("no longer bound".to_owned(), ToString::to_string);
            return Reason::Input { port: port.to_owned(), source };
        }
        if let Some(name) = path.strip_prefix("files.") {
            let change = match (&old, &new) {
                (None, _) => FileChange::Appeared,
                (_, None) => FileChange::Gone,
                _ => FileChange::Content,
            };
            return Reason::File { name: name.to_owned(), change };
        }
        match path.as_str() {
            "kind" => Reason::Kind { old: old.unwrap_or_default(), new: new.unwrap_or_default() },
            "device" => Reason::Device { old: old.unwrap_or_default(), new: new.unwrap_or_default() },
            _ => Reason::Version,
        }
    }
}
