//! A classifier judged on samples, in evaluation mode, by the images alone or by each with its mirror image. It
//! changes nothing.

use super::error::Error;
use super::loader::{for_each_batch, in_order};
use super::metrics::{Metrics, Tally};
use super::normalisation::Normalisation;
use crate::augment::Samples;
use crate::nn::{Batch, Classifier, StateDict, Values};

/// The draw that judging uses of samples that are drawn anew each epoch; training counts its epochs from 1.
const JUDGED_EPOCH: u32 = 0;

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The figures.
    pub metrics: Metrics,
    /// What each image was taken for, in the order of the samples.
    pub predictions: Vec<u8>,
    /// What the classifier thought of each image.
    pub logits: Vec<f32>, // (images, classes)
}

/// What of each image is shown to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Views {
    /// The image.
    One,
    /// The image and its mirror image. What is judged is the mean of the two softmax probabilities, as in Simonyan
    /// and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, section 3.2;
    /// its logarithm takes the place of the logits, of which it has the softmax.
    WithMirror,
}

impl Evaluation {
    /// The logits, and the labels of the samples they are of, as the bytes of a safetensors file: `logits` f32
    /// (images, classes) and `labels` i64 (images).
    #[must_use]
    pub fn to_safetensors(&self, samples: &Samples) -> Vec<u8> {
        let images = self.predictions.len();
        let labels = (0..images).map(|image| i64::from(samples.label(image))).collect();
        let mut tensors = StateDict::default();
        tensors.push(
            "logits".to_owned(),
            vec![images, samples.classes().len()],
            Values::F32(self.logits.clone()),
        );
        tensors.push("labels".to_owned(), vec![images], Values::I64(labels));
        tensors.to_safetensors()
    }
}

/// Judges a classifier on all samples. `after_batch` hears how many images are done, and may end it.
///
/// # Errors
/// If there are no samples, the network fails, or `after_batch` ends it.
pub fn evaluate(
    classifier: &Classifier,
    views: Views,
    samples: &Samples,
    normalisation: &Normalisation,
    batch: usize,
    mut after_batch: impl FnMut(usize) -> Result<(), Error>,
) -> Result<Evaluation, Error> {
    if samples.is_empty() {
        return Err(Error::Empty { what: "evaluation" });
    }
    let mut tally = Tally::new(classifier.architecture().classes);
    let mut all_logits = Vec::new();
    let batches = in_order(samples.len(), batch);
    for_each_batch(samples, normalisation, JUDGED_EPOCH, &batches, |batch| {
        let mut logits = classifier.logits(&batch)?; // (batch, classes)
        if views == Views::WithMirror {
            let mirrored = classifier.logits(&mirrored(&batch))?;
            logits = mean_of_softmax(&logits, &mirrored, classifier.architecture().classes);
        }
        tally.add(&logits, &batch.labels);
        all_logits.extend(logits);
        after_batch(tally.predictions().len())
    })?;
    let metrics = tally.metrics(samples.classes());
    Ok(Evaluation { metrics, predictions: tally.predictions().to_vec(), logits: all_logits })
}

/// The mirror images of a batch, left and right exchanged.
fn mirrored(batch: &Batch) -> Batch {
    let mut mirrored = batch.clone();
    mirrored.images.chunks_exact_mut(batch.width).for_each(<[f32]>::reverse);
    mirrored
}

/// log((softmax(a) + softmax(b)) / 2) of each row, without overflow. // (batch, classes), all of them
fn mean_of_softmax(a: &[f32], b: &[f32], classes: usize) -> Vec<f32> {
    let rows = a.chunks_exact(classes).zip(b.chunks_exact(classes));
    let mean = |(a, b): (&[f32], &[f32])| {
        let (a, b) = (log_softmax(a), log_softmax(b));
        a.into_iter()
            .zip(b)
            .map(|(a, b)| (log_sum_exp(&[a, b]) - std::f64::consts::LN_2) as f32)
            .collect::<Vec<_>>()
    };
    rows.flat_map(mean).collect()
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let logits: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    let sum = log_sum_exp(&logits);
    logits.into_iter().map(|logit| logit - sum).collect()
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + values.iter().map(|value| (value - most).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Activation, Architecture, Network};
    use crate::training::test_data::greys;

    #[test]
    fn the_mirror_image_has_left_and_right_exchanged() {
        let images = (0..12u8).map(f32::from).collect();
        let batch = Batch { images, labels: vec![0], height: 2, width: 2 };
        assert_eq!(mirrored(&batch).images, [1.0, 0.0, 3.0, 2.0, 5.0, 4.0, 7.0, 6.0, 9.0, 8.0, 11.0, 10.0]);
    }

    #[test]
    fn probabilities_are_averaged_not_logits() {
        let [near, far] = [0.9, 0.1].map(|p: f64| [p.ln() as f32 + 7.0, (1.0 - p).ln() as f32 + 7.0]);
        let mean = mean_of_softmax(&near, &far, 2);
        assert!(mean.iter().all(|log| (log.exp() - 0.5).abs() < 1e-6), "{mean:?}");
        // One view is certain, the other undecided: 3/4, where the mean of the logits would be nearly certain.
        let mean = mean_of_softmax(&[100.0, 0.0], &[0.0, 0.0], 2);
        assert!((mean[0].exp() - 0.75).abs() < 1e-6 && (mean[1].exp() - 0.25).abs() < 1e-6, "{mean:?}");
        assert!(mean_of_softmax(&[f32::NAN, 0.0], &[0.0, 0.0], 2)[0].is_nan());
    }

    #[test]
    fn images_that_are_their_own_mirror_images_are_judged_the_same() {
        let architecture =
            Architecture { network: Network::Lenet, activation: Activation::LeakyRelu, classes: 10 };
        let classifier = Classifier::new(&architecture, 1, crate::nn::Device::Cpu).expect("builds");
        let (_folder, dataset) = greys(6);
        let samples = Samples::new(dataset).expect("plain");
        let judged = |views| {
            evaluate(&classifier, views, &samples, &Normalisation::default(), 4, |_| Ok(())).expect("judged")
        };
        let (one, both) = (judged(Views::One), judged(Views::WithMirror));
        assert_eq!(one.predictions, both.predictions);
        assert!((one.metrics.loss - both.metrics.loss).abs() < 1e-6);
        let tensors = StateDict::from_safetensors(&one.to_safetensors(&samples)).expect("safetensors");
        assert_eq!(tensors.get("logits").map(|entry| entry.shape.clone()), Some(vec![6, 10]));
        let labels = (0..6).map(|image| i64::from(samples.label(image))).collect();
        assert_eq!(tensors.get("labels").map(|entry| entry.values.clone()), Some(Values::I64(labels)));
    }
}
