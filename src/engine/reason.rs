//! Why a stage must run, as data with a sentence for each.

use std::fmt;

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
        /// Where the new value stands, unless it is a default.
        place: Option<Place>,
    },
    /// The stage is of another kind than in the last run.
    Kind {
        /// The former kind.
        old: String,
        /// The new kind.
        new: String,
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
    /// An input has other bytes than in the last run, or another stage's.
    Input {
        /// The input port.
        port: String,
        /// The stage and port it comes from.
        source: String,
    },
    /// A file outside the store is another than in the last run.
    File {
        /// What the file is to the stage.
        name: String,
        /// How it differs.
        change: FileChange,
    },
    /// A file outside the store cannot be read, so that there is no key and nothing to run.
    Unreadable {
        /// The path.
        path: String,
        /// What the system said.
        error: String,
    },
    /// The result was there and is damaged.
    Damaged(Damage),
    /// The result was there and is gone.
    Lost,
    /// A stage that it takes an input from will run.
    Upstream(StageName),
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
                let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
                write!(f, "{field} {} -> {}", word(old), word(new))?;
                match place {
                    None => Ok(()),
                    Some(Place::File { path, line, .. }) => write!(f, " ({}:{line})", path.display()),
                    Some(place) => write!(f, " ({place})"),
                }
            }
            Reason::Kind { old, new } => write!(f, "uses {old} -> {new}"),
            Reason::Version => f.write_str("computed differently by this version of stlpipe"),
            Reason::Device { old, new } => write!(f, "on another device: {old} -> {new}"),
            Reason::Input { port, source } => write!(f, "input {port} changed ({source})"),
            Reason::File { name, change } => match change {
                FileChange::Content => write!(f, "{name} has other content"),
                FileChange::Appeared => write!(f, "{name} is read from a local path now"),
                FileChange::Gone => write!(f, "{name} is no longer read from a local path"),
            },
            Reason::Unreadable { path, error } => write!(f, "{path}: {error}"),
            Reason::Damaged(damage) => write!(f, "output damaged: {damage}"),
            Reason::Lost => f.write_str("output lost: its record is no longer in the cache"),
            Reason::Upstream(stage) => write!(f, "depends on {stage}"),
        }
    }
}
