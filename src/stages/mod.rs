//! The built-in stages, one thin file per kind: each reads its parameters, names its ports and calls the folder
//! that knows how to do the work. A stage knows nothing of the plan, the store or the terminal.

pub mod augment;
mod dataset_port;
pub mod decode;
pub mod split;
pub mod synthesize;
#[cfg(test)]
pub(crate) mod test_job;
