//! What can go wrong while learning or judging.

use std::path::PathBuf;

use crate::nn;

/// Why a training or an evaluation ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The observer asked for it.
    #[error("interrupted")]
    Interrupted,
    /// Not even one full batch.
    #[error(
        "batch {batch} is larger than the {samples} training samples; choose a smaller batch or more samples"
    )]
    BatchTooLarge {
        /// Images per batch.
        batch: usize,
        /// Images there are.
        samples: usize,
    },
    /// No images to judge by.
    #[error("the {what} data is empty")]
    Empty {
        /// Which data.
        what: &'static str,
    },
    /// Data and model, or two parts of the data, tell other classes apart.
    #[error("the {what} data has the classes {found:?}, but the {reference} has {expected:?}")]
    Classes {
        /// Which data.
        what: &'static str,
        /// Its classes.
        found: Vec<String>,
        /// What it was compared with.
        reference: &'static str,
        /// The classes of that.
        expected: Vec<String>,
    },
    /// The loss is no longer a number.
    #[error("epoch {epoch}, batch {batch} of {batches}: the loss is {loss}")]
    Diverged {
        /// The epoch, from 1.
        epoch: u32,
        /// The batch, from 1.
        batch: usize,
        /// Batches per epoch.
        batches: usize,
        /// NaN or infinity.
        loss: f64,
    },
    /// The validation loss is no longer a number.
    #[error("epoch {epoch}: the validation loss is {loss}")]
    DivergedInValidation {
        /// The epoch, from 1.
        epoch: u32,
        /// NaN or infinity.
        loss: f64,
    },
    /// A model or a checkpoint that cannot be read.
    #[error("{file}: {problem}")]
    Unreadable {
        /// Which file of it.
        file: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Weights from outside that are not those of the network.
    #[error("{}: {problem}", path.display())]
    Weights {
        /// Their file.
        path: PathBuf,
        /// What is wrong with them, and what to do.
        problem: String,
    },
    /// The network failed.
    #[error(transparent)]
    Network(#[from] nn::Error),
    /// The end of an epoch could not be kept.
    #[error("{0}")]
    Keeping(Box<dyn std::error::Error + Send + Sync>),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] std::io::Error),
}
