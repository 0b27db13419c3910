//! How samples are drawn from images: how many, through which transforms, from which seed. A sample depends on its
//! number, the epoch and these, never on how many there are or in which order they are drawn.

use serde::{Deserialize, Serialize};

use super::{Picture, Transform};
use crate::dataset::random::{Purpose, Stream};

/// The recipe of a dataset that is drawn anew in each epoch, as it stands in `dataset.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// How many samples an epoch has; sample `i` comes from image `i` modulo the number of images.
    pub samples: usize,
    /// What happens to each image, in this order.
    pub transforms: Vec<Transform>,
    /// Seeds the parameters of the transforms.
    pub seed: u64,
}

impl Recipe {
    /// Turns an image into sample number `sample` of an epoch.
    pub(super) fn apply(&self, picture: &mut Picture, sample: usize, epoch: u32) {
        let mut stream = Stream::new(self.seed, Purpose::Augment, sample as u64, epoch);
        for transform in &self.transforms {
            transform.apply(picture, &mut stream);
        }
    }
}
