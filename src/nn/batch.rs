//! Normalised images with their labels, as the loader hands them to a network.

use super::error::Error;

/// The least side of an image that leaves something for the last layers.
pub const LEAST_SIDE: usize = 8;

/// Images of one size, with their labels.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Normalised values, row-major.
    pub images: Vec<f32>, // (batch, 3, height, width)
    /// The classes, from 0.
    pub labels: Vec<u8>, // (batch)
    /// Rows of each image.
    pub height: usize,
    /// Columns of each image.
    pub width: usize,
}

impl Batch {
    /// The number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Refuses what no network could take.
    pub(super) fn check(&self, classes: usize) -> Result<(), Error> {
        let Batch { images, labels, height, width } = self;
        if labels.is_empty() || images.len() != labels.len() * 3 * height * width {
            return Err(Error::Batch {
                labels: labels.len(),
                height: *height,
                width: *width,
                values: images.len(),
            });
        }
        if *height < LEAST_SIDE || *width < LEAST_SIDE {
            return Err(Error::TooSmall { height: *height, width: *width, least: LEAST_SIDE });
        }
        match labels.iter().enumerate().find(|&(_, &label)| usize::from(label) >= classes) {
            Some((sample, &label)) => Err(Error::Label { label, sample, classes }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(labels: Vec<u8>, side: usize) -> Batch {
        Batch { images: vec![0.0; labels.len() * 3 * side * side], labels, height: side, width: side }
    }

    #[test]
    fn a_batch_is_refused_when_empty_small_or_beyond_the_classes() {
        assert!(batch(vec![0, 9], 8).check(10).is_ok());
        assert!(matches!(batch(vec![], 8).check(10), Err(Error::Batch { .. })));
        assert!(matches!(batch(vec![0], 7).check(10), Err(Error::TooSmall { .. })));
        assert!(matches!(batch(vec![0, 10], 8).check(10), Err(Error::Label { sample: 1, label: 10, .. })));
        let torn = Batch { height: 9, ..batch(vec![0], 8) };
        assert!(matches!(torn.check(10), Err(Error::Batch { .. })));
    }
}
