//! The built-in stages, one thin file per kind: each reads its parameters, names its ports and calls the folder
//! that knows how to do the work. A stage knows nothing of the plan, the store or the terminal.

pub mod augment;
pub mod command;
mod dataset_port;
pub mod decode;
pub mod download;
pub mod split;
pub mod synthesize;
#[cfg(test)]
pub(crate) mod test_job;

use crate::engine::stage::StageKind;

/// All kinds, in the order in which help lists them.
#[must_use]
pub fn kinds() -> [&'static StageKind; 6] {
    [&download::KIND, &synthesize::KIND, &decode::KIND, &split::KIND, &augment::KIND, &command::KIND]
}
