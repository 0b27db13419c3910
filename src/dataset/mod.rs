//! Images and labels on disk: the STL-10 binary format, the dataset artifact, splits, and the random
//! streams that everything drawn at random comes from. It knows nothing of stages or networks.

mod error;
mod fingerprint;
mod manifest;
pub mod painter;
pub mod random;
mod reader;
mod shard;
pub mod split;
pub mod stl10;
pub mod transpose;
mod writer;

pub use error::{ArchiveProblem, Error};
pub use fingerprint::Fingerprint;
pub use manifest::{MANIFEST_FILE, Manifest, ORIGINS_FILE, SHARD_IMAGES, ShardEntry};
pub use reader::Dataset;
#[cfg(test)]
pub(crate) use writer::tests as writer_tests;
pub use writer::{DatasetWriter, Destination};

/// The label of an image whose class nobody has said.
pub const UNLABELED: u8 = u8::MAX;
