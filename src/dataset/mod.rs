//! Images and labels on disk: the STL-10 binary format, the dataset artifact, splits, and the random
//! streams that everything drawn at random comes from. It knows nothing of stages or networks.

pub mod random;
