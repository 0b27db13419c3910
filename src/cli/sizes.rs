//! Datasets that are there already, held to what the stages that are to read them need. What parameters alone say of
//! sizes is known before, when the pipeline is read.

use std::collections::HashMap;
use std::fs;

use super::exit::Failure;
use crate::dataset::{MANIFEST_FILE, Manifest};
use crate::engine::stage::{AtLeast, Inputs};
use crate::engine::{Experiment, Plan, Verdict};
use crate::pipeline::{Problems, Source, StageId};
use crate::store::{Artifact, Store};

/// Whether any stage needs some size of a dataset of which only the store can tell it.
pub(super) fn matter(experiment: &Experiment) -> bool {
    experiment.pipeline.ids().any(|id| needs(experiment, id).next().is_some())
}

/// Refuses stages that will run and need more samples than the datasets have that they are to read.
pub(super) fn check(experiment: &Experiment, plan: &Plan, store: &Store) -> Result<(), Failure> {
    let verdicts: HashMap<&str, &Verdict> =
        plan.steps.iter().map(|(name, decision)| (name.as_str(), &decision.verdict)).collect();
    let mut problems = Vec::new();
    for id in experiment.pipeline.ids() {
        let decl = experiment.pipeline.stage(id);
        if !matches!(verdicts.get(decl.name.as_str()), Some(Verdict::Run(_))) {
            continue;
        }
        for (source, least) in needs(experiment, id) {
            let Some(Verdict::Reuse(record)) = verdicts.get(source.stage.as_str()) else { continue };
            let samples = record.outputs.get(&source.port).and_then(|dataset| samples(dataset, store));
            if let Some((message, remedy)) =
                samples.and_then(|there| least.too_few(there, &source.to_string()))
            {
                let mut problem = experiment.pipeline.problem_of_param(&decl.name, &[least.param], message);
                problem.note(remedy);
                problems.push(problem);
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::Pipeline(Problems::from_iter(problems))) }
}

/// What a stage reads that must have some size, where the parameters do not say which size it has.
fn needs(experiment: &Experiment, id: StageId) -> impl Iterator<Item = (&Source, AtLeast)> {
    let decl = experiment.pipeline.stage(id);
    let ports = match &decl.ports.inputs {
        Inputs::Fixed(ports) => ports.as_slice(),
        Inputs::Any => &[],
    };
    let needed = ports.iter().filter_map(|port| Some((decl.inputs.get(port.name)?, port.at_least?)));
    needed.filter(|(source, _)| {
        let mut outputs = experiment.pipeline.stage(source.id).ports.outputs.iter();
        outputs.any(|output| output.name == source.port && output.samples.is_none())
    })
}

/// How many samples a dataset has, if it stores them; of those that are drawn anew the parameters say it.
fn samples(dataset: &Artifact, store: &Store) -> Option<u64> {
    let manifest = fs::read(store.blob_path(&dataset.files.get(MANIFEST_FILE)?.digest)).ok()?;
    let manifest = Manifest::from_json(&manifest).ok().filter(|manifest| manifest.recipe.is_none())?;
    Some(manifest.count as u64)
}
