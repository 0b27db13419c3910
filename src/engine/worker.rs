//! Computes one stage in a thread of its own: claims its key and does the work. What it made is published elsewhere.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Stop;
use super::event::{Detail, Event, Observer, StageEvent};
use super::inputs::{Changed, Inputs};
use super::job::{Made, StoreJob};
use super::keep::{Computed, Impatient};
use super::key::KeyParts;
use super::planner::Planner;
use super::stage::{Growth, StageError};
use super::state::{Signal, State};
use crate::pipeline::StageId;
use crate::store::{self, Artifact, Aside, Claim, Digest, Folders, Record, Slot, Want};

/// How long to wait before asking again for a key that another process holds.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// The same for a key that another stage of this process holds.
const ASK_OURSELVES_AGAIN: Duration = Duration::from_millis(2);

/// How a stage that had to run ended.
pub(super) enum Ending {
    Made(Arc<Record>),
    Found(Arc<Record>),
    Failed(String),
    Interrupted,
}

impl From<StageError> for Ending {
    fn from(error: StageError) -> Self {
        match error {
            StageError::Interrupted => Ending::Interrupted,
            StageError::Failed(error) => Ending::Failed(error.to_string()),
        }
    }
}

/// Computes one stage in a thread of its own.
pub(super) struct Worker<'a> {
    pub(super) planner: &'a Planner<'a>,
    pub(super) folders: &'a Folders,
    pub(super) observer: &'a dyn Observer,
    pub(super) stop: &'a Stop,
    pub(super) impatient: &'a Impatient,
    pub(super) id: StageId,
    pub(super) state: State,
    pub(super) key: Digest,
    pub(super) parts: KeyParts,
    pub(super) inputs: BTreeMap<String, Artifact>,
}

impl<'a> Worker<'a> {
    /// Does the work, and tells observers as it goes on. Which state did the stage come to, and what was made?
    pub(super) fn work(mut self) -> (State, Result<Box<Computed<'a>>, Ending>) {
        let outcome = self.compute();
        (self.state, outcome)
    }

    fn change(&mut self, signal: Signal, detail: Detail) {
        self.state = self.state.after(signal);
        let stage = self.planner.experiment.pipeline.stage(self.id).name.clone();
        let (state, key) = (self.state, Some(self.key));
        self.observer.observe(&Event::Stage(StageEvent { stage, state, key, seconds: 0.0, detail }));
    }

    fn compute(&mut self) -> Result<Box<Computed<'a>>, Ending> {
        match self.wait_for_turn()? {
            Turn::Ours(slot) => Ok(Box::new(self.compute_for(slot)?)),
            Turn::Theirs(record) => Err(Ending::Found(Arc::from(record))),
        }
    }

    fn compute_for(&mut self, slot: Slot) -> Result<Computed<'a>, Ending> {
        self.change(Signal::Begun, Detail::None);
        let begun = Instant::now();
        let decl = self.planner.experiment.pipeline.stage(self.id);
        let identity = decl.stage.identity();
        let chain_key = identity.growth.map(|growth| self.parts.chain(&growth));
        let chain = chain_key.map(|key| self.planner.store.chain(&key));
        if let (Some(chain), true) = (&chain, self.planner.is_forced(self.id)) {
            // Whoever asks for it anew does not trust what was kept either.
            chain.clear().map_err(StageError::from)?;
        }
        let aside = self.planner.store.aside(&self.planner.experiment.pipeline.name, decl.name.as_str());
        aside.clear().map_err(StageError::from)?;
        let failed = |error| with_what_is_left(error, &aside, || slot.set_log_aside(&aside));
        let inputs = Inputs::new(self.planner.store, &self.inputs)
            .map_err(|changed| failed(self.refused(changed).into()))?;
        let job = StoreJob {
            store: self.planner.store,
            slot: &slot,
            folders: self.folders,
            stage: &decl.name,
            inputs,
            observer: self.observer,
            stop: self.stop,
            device: self.planner.device,
            chain: chain.clone(),
            aside: aside.clone(),
            made: Made::default().into(),
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| decl.stage.run(&job)));
        let bug = || StageError::message("stopped by a bug in stlpipe; the panic message says where");
        let outcome = outcome.unwrap_or_else(|_| Err(bug()));
        if let Err(error) = self.with_changed_input(outcome, &job.inputs) {
            return Err(failed(error));
        }
        let files = self.planner.digest_files(self.id, &identity);
        if files.as_ref() != Ok(&self.parts.files) {
            let message = "a file it reads changed while it ran, so nothing was kept; run it again";
            return Err(failed(StageError::message(message)));
        }
        let made = job.made.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut computed = Computed::new(slot, made, &self.parts, &decl.ports.outputs, aside)?;
        if let Some(Growth { bound: Some(_), .. }) = identity.growth {
            computed.spent = chain;
        }
        let record = &mut computed.record;
        record.chain = chain_key;
        record.reach = identity.growth.map(|growth| growth.length);
        record.seconds = begun.elapsed().as_secs_f64();
        record.started = seconds_since_1970().saturating_sub(record.seconds as u64);
        record.tool = concat!("stlpipe ", env!("CARGO_PKG_VERSION")).to_owned();
        Ok(computed)
    }

    /// How the work ended, given that what was computed from changed inputs is no result.
    fn with_changed_input(&self, outcome: Result<(), StageError>, inputs: &Inputs) -> Result<(), StageError> {
        let Err(changed) = inputs.check() else { return outcome };
        let refused = self.refused(changed);
        match outcome {
            Err(StageError::Failed(error)) if !error.is::<Changed>() => {
                Err(StageError::message(format!("{error}; {refused}")))
            }
            Err(StageError::Interrupted) => Err(StageError::Interrupted),
            Ok(()) | Err(StageError::Failed(_)) => Err(StageError::Failed(refused.into())),
        }
    }

    /// Moves an input that has wrong bytes to quarantine, so that nobody takes them for right ones.
    fn refused(&self, changed: Changed) -> Changed {
        // If it cannot be moved, the next run sees what it is.
        let _ = self.planner.store.quarantine(&changed.digest);
        changed
    }

    /// Claims the key, waiting for another process that may be computing it.
    fn wait_for_turn(&mut self) -> Result<Turn, StageError> {
        let experiment = self.planner.experiment;
        let purpose = format!("{} of {}", experiment.pipeline.stage(self.id).name, experiment.pipeline.name);
        let want = if self.planner.is_forced(self.id) { Want::Anew } else { Want::Result };
        let mut told = None;
        let mut waiting = None;
        loop {
            match self.planner.store.claim(&self.key, &purpose, want)? {
                Claim::Vacant(slot) => return Ok(Turn::Ours(slot)),
                Claim::Found(record) => return Ok(Turn::Theirs(record)),
                Claim::Held(_) if self.stop.is_requested() => return Err(StageError::Interrupted),
                Claim::Held(holder) if told.as_ref() != Some(&holder) => {
                    self.change(Signal::Held, Detail::Held(holder.clone()));
                    told = Some(holder);
                }
                Claim::Held(holder) if holder.pid == std::process::id() => {
                    waiting.get_or_insert_with(|| self.impatient.one_more());
                    std::thread::sleep(ASK_OURSELVES_AGAIN);
                }
                Claim::Held(_) => std::thread::sleep(ASK_AGAIN),
            }
        }
    }
}

/// A failure with the place of what it leaves: the log, for which there is a way to set it aside, and whatever the stage set
/// aside itself.
pub(super) fn with_what_is_left<T>(
    error: StageError,
    aside: &Aside,
    set_log_aside: impl FnOnce() -> Result<T, store::Error>,
) -> Ending {
    let StageError::Failed(error) = error else { return Ending::Interrupted };
    // Whether that can be kept or not, the failure is what is to be told.
    let _ = set_log_aside();
    let _ = aside.end_log(&error.to_string());
    Ending::Failed(kept_for_a_look(&error.to_string(), aside))
}

/// What is to be told of a failure, with what it left if it left anything.
pub(super) fn kept_for_a_look(failure: &str, aside: &Aside) -> String {
    let names = aside.names();
    if names.is_empty() {
        return failure.to_owned();
    }
    format!("{failure}\n  kept for a look: {} in {}", names.join(", "), aside.path().display())
}

enum Turn {
    Ours(Slot),
    Theirs(Box<Record>),
}

pub(super) fn seconds_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
