//! The built-in stages, one thin file per kind: each reads its parameters, names its ports and calls the folder
//! that knows how to do the work. A stage knows nothing of the plan, the store or the terminal.

pub mod augment;
pub mod command;
mod dataset_port;
pub mod decode;
pub mod download;
pub mod evaluate;
pub mod fine_tune;
mod learn;
#[cfg(test)]
mod learn_tests;
pub mod split;
pub mod synthesize;
#[cfg(test)]
pub(crate) mod test_job;
pub mod train;

use crate::engine::stage::StageKind;

/// All kinds, in the order in which help lists them.
#[must_use]
pub fn kinds() -> [&'static StageKind; 9] {
    [
        &download::KIND,
        &synthesize::KIND,
        &decode::KIND,
        &split::KIND,
        &augment::KIND,
        &train::KIND,
        &fine_tune::KIND,
        &evaluate::KIND,
        &command::KIND,
    ]
}
