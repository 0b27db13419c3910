//! Finds out what was renamed: which stage of the newest run a stage was that the run does not name, and which
//! pipeline one was that never ran. What follows from it is decided elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use super::Experiment;
use super::key::KeyParts;
use super::past::{Earlier, Nth, Past, are_alike, distance};
use super::stage::Device;
use crate::pipeline::{StageDecl, StageId, StageName};
use crate::store::{RunLog, Store};

/// Stages no longer in the pipeline that are compared with new ones.
const GONE: usize = 50;
/// Pipelines with the same stages that are compared with a new one.
const PIPELINES: usize = 20;

/// The stages that took the places of others, by the names of those.
pub(super) type Heirs = BTreeMap<String, StageId>;

impl Past<'_> {
    /// What the stage was called in the newest run, with its result then, if it was renamed since.
    pub(super) fn former_self(&self, stage: &StageName) -> Option<&(String, Earlier)> {
        self.renamed.get(stage)
    }

    /// What a stage of the newest run is called now, if it was renamed since.
    pub(super) fn successor(&self, gone: &str) -> Option<&StageName> {
        self.renamed.iter().find(|(_, (former, _))| former == gone).map(|(name, _)| name)
    }

    /// Finds the stages that were renamed since the newest run, and what each was then: those that are alike, and then
    /// those that took the place of one for all who read it.
    pub(super) fn find_renamed(&mut self) {
        self.renamed = self.find_alike();
        let is_gone = |name: &String| self.experiment.pipeline.id(name).is_none();
        if self.last.as_ref().is_some_and(|run| run.stages.keys().any(is_gone)) {
            let heirs = self.find_heirs();
            self.renamed.extend(heirs);
        }
    }

    /// The stages that took the place of one of the newest run, which is the former self of none yet.
    fn find_heirs(&self) -> Vec<(StageName, (String, Earlier))> {
        let Experiment { pipeline, .. } = self.experiment;
        let Some(run) = &self.last else { return Vec::new() };
        let heir = |(gone, id): (&String, &StageId)| {
            let StageDecl { name, kind, .. } = pipeline.stage(*id);
            // A stage that was left out for a while is itself.
            let is_taken = self.successor(gone).is_some()
                || self.former_self(name).is_some()
                || self.last_own(name).is_some();
            let then = if is_taken { None } else { self.result_in((0, run), gone) };
            then.filter(|then| then.parts.kind == *kind).map(|then| (name.clone(), (gone.clone(), then)))
        };
        self.heirs((0, run)).iter().take(GONE).filter_map(heir).collect()
    }

    /// Which stage took the place of each that is gone since a run: all that read it then, and still read anything there,
    /// read a stage that is new.
    pub(super) fn heirs(&self, (nth, run): Nth<'_>) -> Arc<Heirs> {
        let lock = || self.heirs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(heirs) = lock().get(&nth) {
            return Arc::clone(heirs);
        }
        let Experiment { pipeline, .. } = self.experiment;
        let mut places: BTreeMap<&str, BTreeSet<StageId>> = BTreeMap::new();
        for (name, entry) in &run.stages {
            let now = pipeline.id(name).or_else(|| pipeline.id(self.successor(name)?.as_str()));
            let Some(now) = now else { continue };
            for (port, source) in &entry.origins.inputs {
                let stage = source.split_once('.').map_or(source.as_str(), |(stage, _)| stage);
                if pipeline.id(stage).is_none()
                    && let Some(source) = pipeline.stage(now).inputs.get(port)
                {
                    places.entry(stage).or_default().insert(source.id);
                }
            }
        }
        let mut heirs: BTreeMap<StageId, Vec<&str>> = BTreeMap::new();
        for (gone, ids) in places {
            let mut ids = ids.into_iter();
            if let (Some(id), None) = (ids.next(), ids.next()) {
                heirs.entry(id).or_default().push(gone);
            }
        }
        let is_new = |id: StageId| !run.stages.contains_key(pipeline.stage(id).name.as_str());
        let one = |(id, gone): (StageId, Vec<&str>)| match gone.as_slice() {
            [gone] if is_new(id) && !were_beside(run, pipeline.stage(id).name.as_str(), gone) => {
                Some(((*gone).to_owned(), id))
            }
            _ => None,
        };
        let heirs: Arc<Heirs> = Arc::new(heirs.into_iter().filter_map(one).collect());
        lock().insert(nth, Arc::clone(&heirs));
        heirs
    }

    fn find_alike(&self) -> BTreeMap<StageName, (String, Earlier)> {
        let Experiment { pipeline, .. } = self.experiment;
        let Some(run) = &self.last else { return BTreeMap::new() };
        let gone = run.stages.keys().filter(|name| pipeline.id(name).is_none()).take(GONE);
        let gone: Vec<(&String, Earlier)> =
            gone.filter_map(|name| Some((name, self.result_in((0, run), name)?))).collect();
        if gone.is_empty() {
            return BTreeMap::new();
        }
        let is_new = |id: &StageId| !run.stages.contains_key(pipeline.stage(*id).name.as_str());
        let mut pairs = Vec::new();
        for id in pipeline.ids().filter(is_new) {
            let parts = parts_after(run, id, self.experiment, self.store, self.device);
            let inputs = &pipeline.stage(id).inputs;
            let name = &pipeline.stage(id).name;
            let own = self.last_own(name);
            let own = own.map_or(usize::MAX, |own| distance(&parts, &own.parts));
            for (at, (former, then)) in gone.iter().enumerate() {
                let edits = distance(&parts, &then.parts);
                // A stage that was left out for a while is no other if it is as much like itself.
                if are_alike(&parts, &then.parts) && edits < own && !were_beside(run, name.as_str(), former) {
                    // Of inputs that come from new stages the bytes are not known, but their ports are.
                    let read = &then.parts.inputs;
                    let ports = inputs.keys().filter(|port| !read.contains_key(*port)).count()
                        + read.keys().filter(|port| !inputs.contains_key(*port)).count();
                    pairs.push((edits, ports, id, at));
                }
            }
        }
        // The nearest first.
        pairs.sort_unstable();
        let mut taken = BTreeSet::new();
        let mut renamed = BTreeMap::new();
        for (_, _, id, at) in pairs {
            let name = &pipeline.stage(id).name;
            if !renamed.contains_key(name) && taken.insert(at) {
                let (former, then) = &gone[at];
                renamed.insert(name.clone(), ((*former).clone(), then.clone()));
            }
        }
        renamed
    }
}

/// Whether a run had both stages, although perhaps no result of one: then neither is another name of the other.
pub(super) fn were_beside(run: &RunLog, one: &str, other: &str) -> bool {
    run.had(one) && run.had(other)
}

/// The newest run of the pipeline that one was which never ran under its name: of those with which it shares three of four
/// stages, by name and nearly the same, the one that is most alike, or else the newest.
pub(super) fn former_run(experiment: &Experiment, store: &Store, device: Device) -> Option<RunLog> {
    let Experiment { pipeline, .. } = experiment;
    let are_most = |stages: usize| stages * 4 >= pipeline.stages.len() * 3;
    let edits = |run: &RunLog| {
        let (mut edits, mut alike) = (0, 0);
        for id in pipeline.ids() {
            let parts = parts_after(run, id, experiment, store, device);
            let entry = run.stages.get(pipeline.stage(id).name.as_str());
            let then = entry.and_then(|entry| Earlier::of(store.record(&entry.key)?));
            let then = then.filter(|then| are_alike(&parts, &then.parts));
            alike += usize::from(then.is_some());
            edits += then.map_or(parts.leaves().len(), |then| distance(&parts, &then.parts));
        }
        are_most(alike).then_some(edits)
    };
    let names_most = |run: &RunLog| {
        are_most(pipeline.stages.iter().filter(|decl| run.stages.contains_key(decl.name.as_str())).count())
    };
    let runs = store.newest_runs().into_iter().filter(names_most).take(PIPELINES);
    runs.filter_map(|run| Some((edits(&run)?, run))).min_by_key(|(edits, _)| *edits).map(|(_, run)| run)
}

/// The parts of a stage's key with the inputs that it would have had after a run, as far as the run had them: what has
/// changed before a stage since does not make it another.
fn parts_after(
    run: &RunLog,
    id: StageId,
    experiment: &Experiment,
    store: &Store,
    device: Device,
) -> KeyParts {
    let decl = experiment.pipeline.stage(id);
    let inputs = decl.inputs.iter().filter_map(|(port, source)| {
        let record = store.record(&run.stages.get(source.stage.as_str())?.key)?;
        Some((port.clone(), record.outputs.get(&source.port)?.digest))
    });
    let identity = decl.stage.identity();
    let files =
        identity.files.iter().filter_map(|(name, path)| Some((name.clone(), store.digest_of(path).ok()?)));
    let (inputs, files) = (inputs.collect(), files.collect());
    let kind = experiment.registry.kind(&decl.kind);
    KeyParts::new((kind.name, kind.version), identity, inputs, files, device)
}
