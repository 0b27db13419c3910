//! What can be said about a run before it: how much of its way was gone before, and how long the rest should take by
//! the times of earlier runs. Nothing is decided by it.

use super::key::KeyParts;
use super::past::{Earlier, Past, distance};
use super::stage::{Growth, Inputs, Ports};
use crate::store::Store;

/// What to expect of a stage that runs.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outlook {
    /// How long it should take, in seconds; `None` if nothing like it ever ran.
    pub seconds: Option<f64>,
    /// From where it goes on.
    pub goes_on: Option<GoesOn>,
    /// Why it cannot go on from a shorter result, if it might otherwise.
    pub anew: Option<&'static str>,
    /// Why it failed in the last run, if it did.
    pub failed: Option<String>,
    /// The pipeline with whose result it is compared, because its own never ran.
    pub compared_with: Option<String>,
}

/// From where on its way a result is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoesOn {
    /// What the way is counted in: the parameter that says how long it is, such as `epochs`.
    pub by: &'static str,
    /// How far earlier runs have gone.
    pub from: u64,
    /// How far it is to go, at most.
    pub to: u64,
}

impl std::fmt::Display for GoesOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let GoesOn { by, from, to } = self;
        if from == to {
            return write!(f, "takes all {to} {by} from earlier runs");
        }
        write!(f, "goes on after {from} of {to} {by}")
    }
}

impl Outlook {
    /// What to expect under these parts. `last` is the stage's own last result, `failed` why its last run
    /// failed.
    pub(super) fn new(
        store: &Store,
        past: &Past<'_>,
        (parts, start): (&KeyParts, Start),
        growth: Option<Growth>,
        ports: &Ports,
        (last, failed): (Option<&Earlier>, Option<String>),
    ) -> Outlook {
        let from = growth.filter(|_| start == Start::Kept).map_or(0, |growth| {
            let chain = store.chain(&parts.chain(&growth));
            let kept = chain.positions().unwrap_or_default().into_iter().rev();
            let mut usable = kept.filter(|position| *position <= growth.length);
            usable.find(|position| chain.is_untouched(*position)).unwrap_or(0)
        });
        let seconds = |earlier: &Earlier| seconds(earlier, growth.map(|growth| growth.length - from));
        // What a command does, only its own past can tell.
        let is_known_work = matches!(ports.inputs, Inputs::Fixed(_));
        let has_pace = |earlier: &Earlier| is_known_work && seconds(earlier).is_some();
        let nearest = || past.nearest(parts, has_pace).and_then(seconds);
        let has_other_length = |growth: &Growth| {
            let length = |parts: &KeyParts| parts.params.get(growth.by).cloned();
            last.is_some_and(|last| length(&last.parts) != length(parts))
        };
        Outlook {
            seconds: last.filter(|last| last.parts.kind == parts.kind).and_then(seconds).or_else(nearest),
            goes_on: growth.filter(|_| from > 0).map(|growth| GoesOn {
                by: growth.by,
                from,
                to: growth.length,
            }),
            anew: growth.filter(has_other_length).and_then(|growth| growth.bound),
            failed,
            compared_with: past
                .former_pipeline()
                .filter(|_| last.is_some_and(|last| distance(parts, &last.parts) > 0))
                .map(str::to_owned),
        }
    }
}

/// Where a computation starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// From what earlier runs kept on the way.
    Kept,
    /// From nothing; or nobody knows, because an input is not known yet.
    Nothing,
}

/// How long a part of a way should take, if that went at the pace of an earlier one; how long the whole took, if the
/// stage has no way.
fn seconds(earlier: &Earlier, units: Option<u64>) -> Option<f64> {
    match (units, earlier.record.computed) {
        (Some(0), _) => Some(0.0),
        (Some(_), Some(0)) => None,
        (Some(units), Some(computed)) => Some(earlier.record.seconds / computed as f64 * units as f64),
        _ => Some(earlier.record.seconds),
    }
}
