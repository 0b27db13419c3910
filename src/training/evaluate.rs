//! A classifier judged on samples, in evaluation mode. It changes nothing.

use super::error::Error;
use super::loader::{for_each_batch, in_order};
use super::metrics::{Metrics, Tally};
use super::normalisation::Normalisation;
use crate::augment::Samples;
use crate::nn::Classifier;

/// The draw that judging uses of samples that are drawn anew each epoch; training counts its epochs from 1.
const JUDGED_EPOCH: u32 = 0;

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The figures.
    pub metrics: Metrics,
    /// What each image was taken for, in the order of the samples.
    pub predictions: Vec<u8>,
}

/// Judges a classifier on all samples. `after_batch` hears how many images are done, and may end it.
///
/// # Errors
/// If there are no samples, the network fails, or `after_batch` ends it.
pub fn evaluate(
    classifier: &Classifier,
    samples: &Samples,
    normalisation: &Normalisation,
    batch: usize,
    mut after_batch: impl FnMut(usize) -> Result<(), Error>,
) -> Result<Evaluation, Error> {
    if samples.is_empty() {
        return Err(Error::Empty { what: "evaluation" });
    }
    let mut tally = Tally::new(classifier.architecture().classes);
    let batches = in_order(samples.len(), batch);
    for_each_batch(samples, normalisation, JUDGED_EPOCH, &batches, |batch| {
        let logits = classifier.logits(&batch)?; // (batch, classes)
        tally.add(&logits, &batch.labels);
        after_batch(tally.predictions().len())
    })?;
    let metrics = tally.metrics(samples.classes());
    Ok(Evaluation { metrics, predictions: tally.predictions().to_vec() })
}
