//! Why a stage must run, as data with a sentence for each. How a reason is found is known elsewhere.

use std::fmt;
use std::sync::Arc;

use crate::pipeline::{Place, StageName};
use crate::store::Damage;

/// Why a stage must run.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    /// No run of this pipeline has a result of this stage.
    FirstRun,
    /// The user asked for it.
    Forced,
    /// A parameter is another than in the last run.
    Param {
        /// The stage and the parameter's path, such as `train.lr`.
        field: String,
        /// The former value in JSON; `None` if it had none.
        old: Option<String>,
        /// The new value in JSON; `None` if it has none.
        new: Option<String>,
        /// Where the new value stands, unless it is a default; if there is none, what is around where it stood.
        place: Option<Place>,
    },
    /// An entry of a parameter has another name and the same value.
    Renamed {
        /// The stage and the entry's former path, such as `count.outs.n`.
        old: String,
        /// The same with its new name.
        new: String,
        /// Where that stands.
        place: Option<Place>,
    },
    /// A parameter is given as before and counts now, because another that stood for it is gone.
    Counts {
        /// The stage and the parameter's path, such as `archive.url`.
        field: String,
        /// Its value in JSON.
        value: String,
        /// Where that stands.
        place: Option<Place>,
    },
    /// A parameter is still given, but another stands for it now.
    Idle {
        /// The stage and the parameter's path, such as `archive.url`.
        field: String,
        /// The former value in JSON.
        old: String,
        /// Where it is given.
        place: Option<Place>,
    },
    /// The stage is of another kind than in the last run.
    Kind {
        /// The stage.
        stage: StageName,
        /// The former kind.
        old: String,
        /// The new kind.
        new: String,
        /// Where the new one stands.
        place: Option<Place>,
    },
    /// This version of stlpipe computes this kind of stage differently.
    Version,
    /// The last result is another class of device's.
    Device {
        /// The class that computed it.
        old: String,
        /// The class that is to compute now.
        new: String,
    },
    /// An input is another than in the last run.
    Input {
        /// The input port.
        port: String,
        /// How it differs.
        change: InputChange,
    },
    /// A file outside the store is another than in the last run.
    File {
        /// The parameter that names it, if it is still named.
        param: Option<String>,
        /// Its path, or what it is to the stage if it is no longer named.
        name: String,
        /// How it differs.
        change: FileChange,
        /// Where it is named, or what is around where it was.
        place: Option<Place>,
    },
    /// A file outside the store cannot be read, so that there is no key and nothing to run.
    Unreadable {
        /// The path.
        path: String,
        /// Why, and what helps if that is known.
        error: String,
        /// Where it is named.
        place: Option<Place>,
    },
    /// The result was there and is damaged.
    Damaged(Damage),
    /// The result was there and is gone.
    Lost,
    /// The key has never been computed, and the last result, which would tell why, has gone.
    Forgotten,
    /// A stage that it takes an input from will run.
    Upstream(StageName),
}

/// How an input differs from the last run's.
#[derive(Debug, Clone, PartialEq)]
pub enum InputChange {
    /// The last run had no such input.
    Bound {
        /// The stage and port it comes from.
        source: String,
        /// Where that stands.
        place: Option<Place>,
    },
    /// Only the last run had such an input.
    Unbound {
        /// What is around where it stood.
        place: Option<Place>,
    },
    /// It comes from elsewhere.
    Rebound {
        /// The former stage and port.
        old: String,
        /// The new stage and port.
        new: String,
        /// Where the new one stands.
        place: Option<Place>,
    },
    /// It has other bytes.
    Bytes {
        /// The stage and port it comes from.
        source: String,
        /// Why they are others, as far as that can be found out.
        causes: Causes,
    },
}

/// Why the bytes of an input are others: what changed before it, each told once.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Causes {
    /// The changes, in the order of stages; not too many.
    pub told: Arc<[Cause]>,
    /// How many there are besides.
    pub more: usize,
}

/// One change before an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// The stage that changed.
    pub stage: StageName,
    /// How; `None` if it made other bytes from the same key.
    pub reason: Option<Reason>,
}

/// How a file outside the store differs from the last run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChange {
    /// It has other bytes.
    Content,
    /// The last run read no such file.
    Appeared,
    /// Only the last run read such a file.
    Gone,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::FirstRun => f.write_str("first run"),
            Reason::Forced => f.write_str("forced"),
            Reason::Param { field, old, new, place } => {
                match (old, new) {
                    (Some(old), Some(new)) => write!(f, "{field} {old} -> {new}")?,
                    (None, new) => write!(f, "{field} added: {}", new.as_deref().unwrap_or("null"))?,
                    (Some(old), None) => write!(f, "{field} removed, was {old}")?,
                }
                match place {
                    None if new.is_some() => f.write_str(" (default)"),
                    place => write!(f, "{}", At(place.as_ref())),
                }
            }
            Reason::Renamed { old, new, place } => write!(f, "{old} -> {new}{}", At(place.as_ref())),
            Reason::Counts { field, value, place } => {
                write!(f, "{field} counts now: {value}{}", At(place.as_ref()))
            }
            Reason::Idle { field, old, place } => {
                write!(f, "{field} no longer counts, was {old}{}", At(place.as_ref()))
            }
            Reason::Kind { stage, old, new, place } => {
                write!(f, "{stage} uses {old} -> {new}{}", At(place.as_ref()))
            }
            Reason::Version => f.write_str("computed differently by this version of stlpipe"),
            Reason::Device { old, new } => write!(f, "on another device: {old} -> {new}"),
            Reason::Input { port, change } => match change {
                InputChange::Bound { source, place } => {
                    write!(f, "input {port} is new: {source}{}", At(place.as_ref()))
                }
                InputChange::Unbound { place } => {
                    write!(f, "input {port} is no longer bound{}", At(place.as_ref()))
                }
                InputChange::Rebound { old, new, place } => {
                    write!(f, "input {port}: {old} -> {new}{}", At(place.as_ref()))
                }
                InputChange::Bytes { source, causes } if causes.told.is_empty() => {
                    write!(f, "input {port} changed ({source})")
                }
                InputChange::Bytes { causes, .. } => write!(f, "input {port} changed: {causes}"),
            },
            Reason::File { param, name, change, place } => {
                if let Some(param) = param {
                    write!(f, "{param}: ")?;
                }
                let change = match change {
                    FileChange::Content => "has other content",
                    FileChange::Appeared => "was not read before",
                    FileChange::Gone => "is no longer read",
                };
                write!(f, "{name} {change}{}", At(place.as_ref()))
            }
            Reason::Unreadable { path, error, place } => {
                write!(f, "{path}: {error}{}", At(place.as_ref()))
            }
            Reason::Damaged(Damage { port, blob, missing: true }) => {
                write!(f, "output lost: blob {}.. missing ({port})", blob.short())
            }
            Reason::Damaged(Damage { port, blob, missing: false }) => {
                write!(f, "output damaged: blob {}.. has other bytes than it should ({port})", blob.short())
            }
            Reason::Lost => f.write_str("output lost: its record is no longer in the cache"),
            Reason::Forgotten => {
                f.write_str("never computed like this; the last result is no longer in the cache")
            }
            Reason::Upstream(stage) => write!(f, "depends on {stage}"),
        }
    }
}

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, cause) in self.told.iter().enumerate() {
            write!(f, "{}{cause}", if nth == 0 { "" } else { "; " })?;
        }
        if self.more > 0 { write!(f, "; and {} more", self.more) } else { Ok(()) }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cause { stage, reason } = self;
        match reason {
            // These name their stage.
            Some(
                reason @ (Reason::Param { .. }
                | Reason::Renamed { .. }
                | Reason::Counts { .. }
                | Reason::Idle { .. }
                | Reason::Kind { .. }),
            ) => write!(f, "{reason}"),
            Some(reason) => write!(f, "{stage}: {reason}"),
            None => write!(f, "{stage} made other bytes from the same inputs"),
        }
    }
}

/// A place in brackets, as a reason ends with it.
struct At<'a>(Option<&'a Place>);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => Ok(()),
            Some(Place::File { path, line, .. }) => write!(f, " ({}:{line})", path.display()),
            Some(place) => write!(f, " ({place})"),
        }
    }
}
