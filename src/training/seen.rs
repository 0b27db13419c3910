//! The images that a model has learnt from, as a set of fingerprints, and what of other samples is among them. It
//! knows nothing of where the images lie, nor what is to be done about an overlap.

use std::collections::BTreeSet;

use crate::augment::Samples;
use crate::dataset::Fingerprint;

/// A set of images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// In ascending order, each once.
    fingerprints: Vec<Fingerprint>,
}

/// Samples that come from images of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// How many different images of the samples are in the set.
    pub shared: usize,
    /// How many different images the samples come from.
    pub images: usize,
    /// The first sample that comes from one in the set.
    pub sample: usize,
    /// The image that it comes from.
    pub fingerprint: Fingerprint,
}

impl Seen {
    /// The set of these images, in whatever order and however often they come.
    #[must_use]
    pub fn new(mut fingerprints: Vec<Fingerprint>) -> Seen {
        fingerprints.sort_unstable();
        fingerprints.dedup();
        Seen { fingerprints }
    }

    /// The set of the images that samples come from.
    #[must_use]
    pub fn of(samples: &Samples) -> Seen {
        Seen::new(samples.origins())
    }

    /// The images of both sets.
    #[must_use]
    pub fn with(&self, other: &Seen) -> Seen {
        Seen::new([self.fingerprints.as_slice(), &other.fingerprints].concat())
    }

    /// What of the samples is in the set, if anything is.
    #[must_use]
    pub fn overlap(&self, samples: &Samples) -> Option<Overlap> {
        let origins = samples.origins();
        let in_set = |fingerprint: &Fingerprint| self.fingerprints.binary_search(fingerprint).is_ok();
        let sample = origins.iter().position(in_set)?;
        let images: BTreeSet<Fingerprint> = origins.iter().copied().collect();
        let shared = images.iter().filter(|fingerprint| in_set(fingerprint)).count();
        Some(Overlap { shared, images: images.len(), sample, fingerprint: origins[sample] })
    }

    /// The bytes of `seen.safetensors`: `fingerprints` u8 (images, 16). Equal sets give equal bytes.
    #[must_use]
    pub fn to_safetensors(&self) -> Vec<u8> {
        Fingerprint::to_safetensors(&self.fingerprints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::{Recipe, Transform};
    use crate::dataset::writer_tests::numbered_dataset;

    #[test]
    fn draws_are_recognised_by_the_images_they_come_from() {
        let (_dir, dataset) = numbered_dataset(&[0; 300], 8, 8); // image i equals image i + 251
        let seen = Seen::of(&Samples::new(dataset).expect("plain"));
        let (_dir, dataset) = numbered_dataset(&[0; 5], 8, 8);
        let resize = Transform::Resize(16.try_into().expect("not 0"));
        let recipe = Recipe { samples: 12, transforms: vec![resize], seed: 1 };
        let drawn = Samples::with_recipe(dataset, recipe).expect("makes sense");
        let overlap = seen.overlap(&drawn).expect("all of them");
        assert_eq!((overlap.shared, overlap.images, overlap.sample), (5, 5, 0));

        let (_dir, dataset) = numbered_dataset(&[0; 5], 8, 9);
        assert_eq!(seen.overlap(&Samples::new(dataset).expect("plain")), None);
    }

    #[test]
    fn sets_do_not_depend_on_order_or_repetition() {
        let image = |value| Fingerprint::of(&[value; 3], 1, 1);
        let (one, other) = (Seen::new(vec![image(3), image(1), image(3)]), Seen::new(vec![image(2)]));
        let both = Seen::new(vec![image(1), image(2), image(3)]);
        assert_eq!(one.with(&other), both);
        assert_eq!(other.with(&one).to_safetensors(), both.to_safetensors());
    }
}
