//! The arguments that every command about a pipeline takes, and what they open.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::exit::Failure;
use super::words::nearest;
use crate::engine::stage::{Device, Stage};
use crate::engine::{Checkout, Experiment, Planner, Question, Registry, reject_unreadable_files};
use crate::graph::Graph;
use crate::pipeline::{Draft, Setting, StageId};
use crate::stages;
use crate::store::Store;

/// Which pipeline, with which settings, in which store.
#[derive(Debug, clap::Args)]
pub(super) struct PipelineArgs {
    /// The pipeline file.
    pub pipeline: PathBuf,
    /// Override a value, such as `train.epochs=5` or `vars.copies=2`; `null` removes it.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<Setting>,
    #[command(flatten)]
    pub folders: Folders,
}

/// Where results are kept and shown.
#[derive(Debug, clap::Args)]
pub(super) struct Folders {
    /// The store of all results.
    #[arg(long, value_name = "DIR", default_value = "cache")]
    pub cache: PathBuf,
    /// Where links to the results are made.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

impl Folders {
    pub(super) fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.cache)?)
    }

    /// Refuses folders in which a run had better not write.
    pub(super) fn are_ours(&self) -> Result<(), Failure> {
        let Folders { cache, data } = self;
        if data.exists() && !data.is_dir() {
            let message =
                format!("--data {}: that is a file; name a directory for links to results", data.display());
            return Err(Failure::Usage(message));
        }
        let place = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
        if let (Ok(links), Ok(store)) = (place(data), place(cache))
            && links.starts_with(store)
        {
            let message = format!("--data {}: lies in the cache; name a directory elsewhere", data.display());
            return Err(Failure::Usage(message));
        }
        if Store::at(&self.cache).is_of_others() {
            let message = format!(
                "--cache {}: that directory is in use for something else; name an empty or a new one, or a store",
                cache.display()
            );
            return Err(Failure::Usage(message));
        }
        Ok(())
    }
}

impl PipelineArgs {
    /// Reads and checks the pipeline. It is kept until the process ends, which spares taking it apart.
    pub(super) fn open(&self) -> Result<&'static Experiment, Failure> {
        self.open_with(|_, _| {})
    }

    /// The same for a run of these stages and what they need, or of all if none is named: they have to be there, and the
    /// files that they read.
    pub(super) fn open_to_run(
        &self,
        stages: &[String],
        forced: &[String],
    ) -> Result<&'static Experiment, Failure> {
        self.open_with(|draft, graph| {
            for (option, names) in [("--stage", stages), ("--force", forced)] {
                for name in names.iter().filter(|name| draft.id(name).is_none()).collect::<BTreeSet<_>>() {
                    draft.reject_name(format!("{option} {name}"), name);
                }
            }
            let with_needs =
                |id: StageId| graph.map(|graph| graph.ancestors(id)).into_iter().flatten().chain([id]);
            let selection = if stages.is_empty() {
                (0..draft.stage_count()).map(StageId).collect()
            } else {
                stages.iter().filter_map(|name| draft.id(name)).flat_map(with_needs).collect()
            };
            reject_unreadable_files(draft, &selection, &self.folders.data);
        })
    }

    fn open_with(
        &self,
        more: impl FnOnce(&mut Draft<Box<dyn Stage>>, Option<&Graph>),
    ) -> Result<&'static Experiment, Failure> {
        let registry = Registry::new(&stages::kinds());
        let experiment = Experiment::open_with(&self.pipeline, &self.settings, registry, more);
        Ok(Box::leak(Box::new(experiment.map_err(Failure::Pipeline)?)))
    }

    /// The question whether anything is left to do, for memory to answer.
    pub(super) fn question<'a>(&'a self, device: Device, registry: &'a Registry) -> Question<'a> {
        let PipelineArgs { pipeline, settings, folders } = self;
        Question { pipeline, settings, device, registry, data: &folders.data }
    }

    pub(super) fn checkout(&self, experiment: &Experiment) -> Checkout {
        Checkout::new(&self.folders.data, &experiment.pipeline.name)
    }
}

/// The stage of that name, or a message with the nearest one.
pub(super) fn find_stage(experiment: &Experiment, name: &str) -> Result<StageId, Failure> {
    experiment.pipeline.id(name).ok_or_else(|| {
        let names = experiment.pipeline.stages.iter().map(|decl| decl.name.as_str());
        let hint = nearest(name, names);
        Failure::Usage(format!("{} has no stage `{name}`{hint}", experiment.pipeline.file.display()))
    })
}

/// A planner with nothing forced, for commands that only look.
pub(super) fn look<'a>(experiment: &'a Experiment, store: &'a Store, device: Device) -> Planner<'a> {
    Planner::new(experiment, store, device, BTreeSet::new())
}
