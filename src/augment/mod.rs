//! Image transforms with torchvision's semantics on Pillow's arithmetic, and the random choice of their
//! parameters. It turns a dataset into samples, and knows nothing of stages or networks.

mod bytes;
mod color;
mod contact_sheet;
mod crop;
mod flip;
mod hue;
mod jitter;
mod picture;
mod recipe;
#[cfg(test)]
mod reference_tests;
mod resize;
mod rotate;
mod samples;
mod transform;

pub use contact_sheet::{Tile, contact_sheet};
pub use picture::Picture;
pub use recipe::Recipe;
pub use samples::Samples;
pub use transform::Transform;

/// Why samples cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The recipe in the manifest is none that this version understands.
    #[error("dataset.json: recipe: {0}")]
    Recipe(serde_json::Error),
    /// A recipe asks for samples of nothing.
    #[error("dataset.json: there are no images to draw samples from")]
    NoImages,
    /// A transform that draws at random was given where results must be certain.
    #[error("{0} draws at random; here only transforms that always do the same make sense, such as resize")]
    Random(&'static str),
    /// A transform's parameter is out of range.
    #[error("{name}: {problem}")]
    Parameter {
        /// The transform.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}
