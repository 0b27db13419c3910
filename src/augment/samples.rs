//! A dataset as training and evaluation see it: samples of one size, reached by number and epoch. Whether a sample
//! is a stored image or drawn anew by a recipe shows nowhere else.

use super::{Error, Picture, Recipe, Transform};
use crate::dataset::random::{Purpose, Stream};
use crate::dataset::{Dataset, Fingerprint};

/// Samples that can be drawn in any order, from any number of threads.
pub struct Samples {
    dataset: Dataset,
    recipe: Option<Recipe>,
    /// Deterministic transforms that follow the recipe.
    then: Vec<Transform>,
    height: usize,
    width: usize,
}

impl Samples {
    /// The samples of a dataset: its images, or what its recipe makes of them.
    ///
    /// # Errors
    /// If the recipe makes no sense.
    pub fn new(dataset: Dataset) -> Result<Samples, Error> {
        match &dataset.manifest().recipe {
            None => {
                let (height, width) = (dataset.height(), dataset.width());
                Ok(Samples { dataset, recipe: None, then: Vec::new(), height, width })
            }
            Some(recipe) => {
                let recipe = serde_json::from_value(recipe.clone()).map_err(Error::Recipe)?;
                Samples::with_recipe(dataset, recipe)
            }
        }
    }

    /// What a recipe makes of the images of a dataset; a recipe of the dataset's own is ignored.
    ///
    /// # Errors
    /// If the recipe makes no sense.
    pub fn with_recipe(dataset: Dataset, recipe: Recipe) -> Result<Samples, Error> {
        if dataset.is_empty() && recipe.samples > 0 {
            return Err(Error::NoImages);
        }
        let mut size = (dataset.height(), dataset.width());
        for transform in &recipe.transforms {
            transform.check()?;
            size = transform.output_size(size.0, size.1);
        }
        Ok(Samples { dataset, recipe: Some(recipe), then: Vec::new(), height: size.0, width: size.1 })
    }

    /// The same samples, followed by transforms that do the same each time.
    ///
    /// # Errors
    /// If a transform draws at random or has a parameter out of range.
    pub fn with_transforms(mut self, transforms: &[Transform]) -> Result<Samples, Error> {
        for transform in transforms {
            transform.check()?;
            if !transform.is_deterministic() {
                return Err(Error::Random(transform.name()));
            }
            (self.height, self.width) = transform.output_size(self.height, self.width);
            self.then.push(transform.clone());
        }
        Ok(self)
    }

    /// How many samples an epoch has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.recipe.as_ref().map_or(self.dataset.len(), |recipe| recipe.samples)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The height of every sample, in pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// The width of every sample, in pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The names of the classes.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        self.dataset.classes()
    }

    /// The label of a sample, the same in every epoch.
    ///
    /// # Panics
    /// If there is no such sample.
    #[must_use]
    pub fn label(&self, index: usize) -> u8 {
        self.dataset.label(self.source(index))
    }

    /// The fingerprints of the images that the samples come from: sample `i` from that of number `i` modulo their
    /// number. Images that no sample comes from are not among them.
    #[must_use]
    pub fn origins(&self) -> Vec<Fingerprint> {
        self.dataset.origins(self.len().min(self.dataset.len()))
    }

    /// Draws a sample into `out` and returns its label. // out: (3, height, width)
    ///
    /// # Panics
    /// If there is no such sample, or `out` has another size.
    pub fn draw(&self, index: usize, epoch: u32, out: &mut [u8]) -> u8 {
        let source = self.source(index);
        let image = self.dataset.image(source);
        if self.recipe.is_none() && self.then.is_empty() {
            out.copy_from_slice(image);
        } else {
            let mut picture = Picture::new(image, self.dataset.height(), self.dataset.width());
            if let Some(recipe) = &self.recipe {
                recipe.apply(&mut picture, index, epoch);
            }
            // They draw nothing, so any stream does.
            let mut unused = Stream::new(0, Purpose::Augment, 0, 0);
            for transform in &self.then {
                transform.apply(&mut picture, &mut unused);
            }
            out.copy_from_slice(picture.pixels());
        }
        self.dataset.label(source)
    }

    fn source(&self, index: usize) -> usize {
        assert!(index < self.len(), "sample {index} of {}", self.len());
        index % self.dataset.len()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dataset::writer_tests::numbered_dataset;

    fn recipe(samples: usize, seed: u64) -> Recipe {
        let transforms =
            json!([{ "rotate": 45 }, { "resized-crop": 8 }, { "color-jitter": [0.3, 0.3, 0.3, 0.3] }]);
        Recipe { samples, transforms: serde_json::from_value(transforms).expect("parses"), seed }
    }

    fn drawn(samples: &Samples, index: usize, epoch: u32) -> Vec<u8> {
        let mut out = vec![0; 3 * samples.height() * samples.width()];
        samples.draw(index, epoch, &mut out);
        out
    }

    #[test]
    fn a_plain_dataset_gives_its_images() {
        let (_dir, dataset) = numbered_dataset(&[3, 1, 2], 4, 5);
        let samples = Samples::new(dataset).expect("is plain");
        assert_eq!((samples.len(), samples.height(), samples.width()), (3, 4, 5));
        assert_eq!(drawn(&samples, 2, 7), [2; 60]);
        assert_eq!([0, 1, 2].map(|i| samples.label(i)), [3, 1, 2]);
    }

    #[test]
    fn a_sample_depends_on_its_number_epoch_and_seed_but_not_on_how_many_there_are() {
        let samples = |count, seed| {
            let (dir, dataset) = numbered_dataset(&[0; 100], 12, 12);
            (dir, Samples::with_recipe(dataset, recipe(count, seed)).expect("makes sense"))
        };
        let drawn = |(_, samples): &(_, Samples), numbers: std::ops::Range<usize>, epoch| {
            numbers.flat_map(|i| drawn(samples, i, epoch)).collect::<Vec<_>>()
        };
        let (few, many, other_seed) = (samples(120, 1), samples(500, 1), samples(120, 2));
        assert_eq!(drawn(&few, 100..120, 3), drawn(&many, 100..120, 3));
        assert_ne!(drawn(&few, 100..120, 3), drawn(&few, 100..120, 4));
        assert_ne!(drawn(&few, 100..120, 3), drawn(&few, 0..20, 3));
        assert_ne!(drawn(&few, 100..120, 3), drawn(&other_seed, 100..120, 3));
    }

    #[test]
    fn sample_i_comes_from_image_i_modulo_their_number() {
        let labels: Vec<u8> = (0..10).collect();
        let (_dir, dataset) = numbered_dataset(&labels, 12, 12);
        let samples = Samples::with_recipe(dataset, recipe(35, 1)).expect("makes sense");
        let mut out = vec![0; 3 * 8 * 8];
        for i in 0..35 {
            assert_eq!(usize::from(samples.draw(i, 0, &mut out)), i % 10);
        }
    }

    #[test]
    fn the_order_and_the_threads_in_which_samples_are_drawn_change_nothing() {
        use rayon::prelude::*;
        let (_dir, dataset) = numbered_dataset(&[0; 10], 12, 12);
        let samples = Samples::with_recipe(dataset, recipe(64, 1)).expect("makes sense");
        let parallel: Vec<_> = (0..64).into_par_iter().map(|i| drawn(&samples, i, 2)).collect();
        let mut backwards: Vec<_> = (0..64).rev().map(|i| drawn(&samples, i, 2)).collect();
        backwards.reverse();
        assert_eq!(parallel, backwards);
    }

    #[test]
    fn evaluation_may_resize_but_not_draw() {
        let (_dir, dataset) = numbered_dataset(&[0; 3], 4, 6);
        let samples = Samples::new(dataset).expect("is plain");
        let resize = Transform::Resize(8.try_into().expect("not 0"));
        let samples = samples.with_transforms(&[resize]).expect("resizes");
        assert_eq!((samples.height(), samples.width()), (8, 12));
        assert_eq!(drawn(&samples, 1, 0), [1; 3 * 8 * 12]);
        let error = samples.with_transforms(&[Transform::Rotate(45.0)]).err().expect("refuses");
        assert!(error.to_string().starts_with("rotate draws at random"), "{error}");
    }

    #[test]
    fn samples_of_nothing_and_wrong_parameters_are_refused() {
        let (_dir, empty) = numbered_dataset(&[], 4, 4);
        assert!(matches!(Samples::with_recipe(empty, recipe(1, 1)), Err(Error::NoImages)));
        let (_dir, dataset) = numbered_dataset(&[0], 4, 4);
        let wrong = Recipe { samples: 1, transforms: vec![Transform::Rotate(181.0)], seed: 1 };
        assert!(matches!(Samples::with_recipe(dataset, wrong), Err(Error::Parameter { .. })));
    }
}
