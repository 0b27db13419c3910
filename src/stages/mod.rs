//! The built-in stages, one thin file per kind: each reads its parameters, names its ports and calls the folder
//! that knows how to do the work. A stage knows nothing of the plan, the store or the terminal.

pub mod command;
pub mod download;
#[cfg(test)]
pub(crate) mod test_job;

use crate::engine::stage::StageKind;

/// All kinds, in the order in which help lists them.
#[must_use]
pub fn kinds() -> [&'static StageKind; 2] {
    [&download::KIND, &command::KIND]
}
