//! From a batch of images to logits, and from a loss to new weights: the three networks on dfdx, which no
//! other folder imports. What it shows outside are plain structs; it knows no files, epochs or pipelines.

mod architecture;
mod batch;
mod classifier;
#[cfg_attr(not(any(test, feature = "cuda")), expect(dead_code, reason = "GPUs run it"))]
mod composed;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod error;
mod init;
mod kernels;
mod layers;
mod loss;
mod networks;
mod optimizer;
mod parameters;
#[cfg(test)]
mod reference_tests;
mod state_dict;

pub use architecture::{Activation, Architecture, Network};
pub use batch::Batch;
pub use classifier::{Classifier, StepOptions, StepResult, Trainable};
pub use error::Error;
pub use optimizer::{Method, Optimizer};
pub use state_dict::{Entry, Mismatch, StateDict, Values};
