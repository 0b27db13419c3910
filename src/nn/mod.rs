//! From a batch of images to logits, and from a loss to new weights: the three networks on dfdx, which no
//! other folder imports. What it shows outside are plain structs; it knows no files, epochs or pipelines.

#[cfg(test)]
mod agreement_tests;
mod architecture;
mod awake;
mod batch;
mod classifier;
#[cfg(any(test, feature = "cuda"))]
mod composed;
#[cfg(test)]
mod composed_tests;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod error;
mod init;
mod kernels;
mod layers;
mod loss;
mod networks;
mod on_device;
mod optimizer;
mod parameters;
#[cfg(test)]
mod reference_tests;
mod state_dict;
mod tape;

/// The loops of the CPU, for `benches/` alone.
#[doc(hidden)]
pub use cpu::bench;

pub use architecture::{Activation, Architecture, Network};
pub use batch::{Batch, LEAST_SIDE};
pub use classifier::{Classifier, StepOptions, StepResult, Trainable};
pub use cpu::bench::Level as CpuLevel;
pub use cpu::instructions;
pub use device::{Device, Driver, Gpu, NoGpu, gpus, try_gpu};
pub use error::Error;
pub use optimizer::{Method, Optimizer};
pub use state_dict::{Entry, Mismatch, StateDict, Values};
