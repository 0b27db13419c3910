//! What can go wrong with a network, its weights or a batch.

use super::device::NoGpu;
use super::state_dict::Mismatch;

/// Why a network could not be built, loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The networks are compiled for one number of classes.
    #[error("networks tell {supported} classes apart, not {asked}")]
    Classes {
        /// What the caller wanted.
        asked: usize,
        /// What there is.
        supported: usize,
    },
    /// The images leave nothing for the last layers.
    #[error("images of {height} x {width} pixels are too small; the networks need {least} x {least}")]
    TooSmall {
        /// Rows of the batch.
        height: usize,
        /// Columns of the batch.
        width: usize,
        /// The least side of an image.
        least: usize,
    },
    /// The batch contradicts itself.
    #[error("a batch of {labels} labels at {height} x {width} pixels holds {values} values")]
    Batch {
        /// How many labels it has.
        labels: usize,
        /// Rows it claims.
        height: usize,
        /// Columns it claims.
        width: usize,
        /// Numbers it holds.
        values: usize,
    },
    /// A label beyond the last class.
    #[error("label {label} of sample {sample} is not below {classes}, the number of classes")]
    Label {
        /// The label.
        label: u8,
        /// Its place in the batch.
        sample: usize,
        /// The number of classes.
        classes: usize,
    },
    /// The weights are those of another network.
    #[error("the weights do not fit the network: {0}")]
    Mismatch(Mismatch),
    /// The bytes are no safetensors file.
    #[error("not a safetensors file: {0}")]
    NotSafetensors(String),
    /// Tensors of a type that would not survive becoming f32, each with its type.
    #[error("{}; weights are F32, F16 or BF16, and counters I64: save `net.float().state_dict()`", .0.join(", "))]
    Types(Vec<String>),
    /// The tensors are no optimizer's state.
    #[error("the weights cannot be read: {0}")]
    Unreadable(String),
    /// The GPU asked for cannot be used.
    #[error(transparent)]
    NoGpu(#[from] NoGpu),
    /// The device failed, most likely for want of memory.
    #[error("the device failed: {0}")]
    Device(String),
}
