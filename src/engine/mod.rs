//! Turns a checked pipeline into results: keys, plan, states, the run loop and its events. It knows no
//! machine learning and no terminal.

mod agenda;
mod checkout;
mod crew;
mod event;
mod explain;
mod inputs;
mod job;
mod keep;
mod key;
mod logbook;
mod outlook;
mod outside;
mod past;
mod planner;
mod reason;
mod registry;
mod renamed;
mod run;
pub mod stage;
mod state;
#[cfg(test)]
mod tests;
mod unchanged;
mod worker;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

pub use agenda::Limits;
pub use checkout::Checkout;
pub use event::{Detail, Event, Observer, StageEvent};
pub use keep::peak_memory;
pub use key::{DeviceClass, Difference, KeyParts};
pub use outlook::{GoesOn, Outlook};
pub use outside::reject_unreadable_files;
pub use past::Earlier;
pub use planner::{Decision, Plan, Planner, Verdict};
pub use reason::{Cause, Causes, FileChange, InputChange, Reason};
pub use registry::Registry;
pub use run::{OnFailure, Summary, run};
pub use state::{Signal, State};
pub use unchanged::{Question, Settled};

use crate::graph::{self, Graph};
use crate::pipeline::{Draft, Pipeline, Problems, Setting, StageId};
use crate::store::Origins;
use stage::Stage;

/// A pipeline ready to be planned and run: checked, ordered, its stages read.
pub struct Experiment {
    /// The pipeline.
    pub pipeline: Pipeline<Box<dyn Stage>>,
    /// Its stages in order.
    pub graph: Graph,
    /// The kinds its stages are of.
    pub registry: Registry,
}

impl Experiment {
    /// Reads and checks a pipeline file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open(path: &Path, settings: &[Setting], registry: Registry) -> Result<Experiment, Problems> {
        Experiment::open_with(path, settings, registry, |_, _| {})
    }

    /// The same, with what `more` finds besides; it gets the graph unless there are cycles.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open_with(
        path: &Path,
        settings: &[Setting],
        registry: Registry,
        more: impl FnOnce(&mut Draft<Box<dyn Stage>>, Option<&Graph>),
    ) -> Result<Experiment, Problems> {
        let (pipeline, graph) = graph::load(path, settings, &registry, more)?;
        Ok(Experiment { pipeline, graph, registry })
    }

    /// Every stage.
    #[must_use]
    pub fn everything(&self) -> BTreeSet<StageId> {
        self.graph.order().iter().copied().collect()
    }

    /// Where a stage reads what its key knows by content alone.
    #[must_use]
    pub fn origins(&self, id: StageId) -> Origins {
        let decl = self.pipeline.stage(id);
        let inputs = decl.inputs.iter().map(|(port, source)| (port.clone(), source.to_string())).collect();
        Origins { inputs, params: decl.stage.origins() }
    }

    /// These stages and all that they need.
    #[must_use]
    pub fn with_ancestors(&self, stages: &[StageId]) -> BTreeSet<StageId> {
        let mut selection: BTreeSet<StageId> = stages.iter().copied().collect();
        for id in stages {
            selection.extend(self.graph.ancestors(*id));
        }
        selection
    }
}

/// A request to stop at the next safe point, raised once and never taken back.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Nobody has asked yet.
    #[must_use]
    pub const fn new() -> Stop {
        Stop(AtomicBool::new(false))
    }

    /// Asks the run to stop.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether somebody has asked.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
