//! What a run tells while it goes on. The engine sends events; how they look is somebody else's business.

use std::collections::BTreeMap;

use super::outlook::Outlook;
use super::reason::Reason;
use super::stage::Progress;
use super::state::State;
use crate::pipeline::StageName;
use crate::store::{Digest, Holder};

/// Something worth telling about a run.
#[derive(Debug, Clone)]
pub enum Event {
    /// A stage came into another state.
    Stage(StageEvent),
    /// A running stage got on.
    Progress(StageName, Progress),
    /// A running stage said something worth keeping.
    Log(StageName, String),
    /// Something is not as it should be, but the run goes on.
    Warning(String),
}

/// A stage came into another state.
#[derive(Debug, Clone)]
pub struct StageEvent {
    /// The stage.
    pub stage: StageName,
    /// Its new state.
    pub state: State,
    /// Its key, once its inputs are known.
    pub key: Option<Digest>,
    /// How long it has run in this run.
    pub seconds: f64,
    /// What more there is to say about this state.
    pub detail: Detail,
}

/// What more there is to say about a stage's state.
#[derive(Debug, Clone)]
pub enum Detail {
    /// Nothing.
    None,
    /// Why it must run, and what to expect.
    ToRun(Vec<Reason>, Outlook),
    /// Why it does not run.
    Because(Reason),
    /// The run was interrupted before its turn came.
    NotBegun,
    /// Who computes the same key.
    Held(Holder),
    /// The figures of its result.
    Metrics(BTreeMap<String, f64>),
    /// What went wrong.
    Error(String),
}

/// Whoever wants to be told.
pub trait Observer: Sync {
    /// Takes an event. Called from several threads; must return soon.
    fn observe(&self, event: &Event);
}
