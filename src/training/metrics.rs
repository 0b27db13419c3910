//! Logits and labels to accuracy, top-5 accuracy, loss, figures per class and a confusion matrix. Sums run in
//! the order of the images, so that the same images give the same bits.

use serde::{Deserialize, Serialize};

const TOP: usize = 5;

/// How well a model does on a set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// How many images.
    pub images: usize,
    /// The mean cross-entropy.
    pub loss: f64,
    /// The fraction of images whose largest logit is at their label.
    pub accuracy: f64,
    /// The fraction of images whose label is among the five largest logits.
    pub top5_accuracy: f64,
    /// One entry per class, in the order of the labels.
    pub classes: Vec<ClassMetrics>,
    /// How many images of each class (row) were taken for each class (column).
    pub confusion: Vec<Vec<usize>>,
}

/// How well a model does on one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// The class.
    pub class: String,
    /// How many images it has.
    pub images: usize,
    /// The fraction of its images that were taken for it; none without images.
    pub recall: Option<f64>,
    /// The fraction of images taken for it that are of it; none if no image was.
    pub precision: Option<f64>,
}

/// Counts that grow batch by batch.
#[derive(Debug, Clone)]
pub struct Tally {
    classes: usize,
    loss: f64,
    top5: usize,
    confusion: Vec<Vec<usize>>, // (label, prediction)
    predictions: Vec<u8>,
}

impl Tally {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(classes: usize) -> Tally {
        Tally { classes, loss: 0.0, top5: 0, confusion: vec![vec![0; classes]; classes], predictions: vec![] }
    }

    /// Counts the next images.
    ///
    /// # Panics
    /// If a label is no class, or there are not `classes` logits for each label.
    pub fn add(&mut self, logits: &[f32], labels: &[u8]) {
        assert_eq!(logits.len(), labels.len() * self.classes, "one logit per class and image");
        for (logits, label) in logits.chunks(self.classes).zip(labels) {
            let label = usize::from(*label);
            let prediction = largest(logits);
            self.loss += cross_entropy(logits, label);
            self.top5 += usize::from(rank(logits, label) < TOP);
            self.confusion[label][prediction] += 1;
            self.predictions.push(u8::try_from(prediction).expect("labels have 8 bits"));
        }
    }

    /// What each image so far was taken for.
    #[must_use]
    pub fn predictions(&self) -> &[u8] {
        &self.predictions
    }

    /// The mean loss of the images so far.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.loss / self.predictions.len() as f64
    }

    /// The figures of all images so far, their classes being called by these names.
    #[must_use]
    pub fn metrics(&self, names: &[String]) -> Metrics {
        let images = self.predictions.len();
        let right = |class: usize| self.confusion[class][class];
        let classes = names.iter().enumerate().map(|(class, name)| {
            let own: usize = self.confusion[class].iter().sum();
            let taken: usize = self.confusion.iter().map(|row| row[class]).sum();
            ClassMetrics {
                class: name.clone(),
                images: own,
                recall: fraction(right(class), own),
                precision: fraction(right(class), taken),
            }
        });
        let correct: usize = (0..self.classes).map(right).sum();
        Metrics {
            images,
            loss: self.loss(),
            accuracy: correct as f64 / images as f64,
            top5_accuracy: self.top5 as f64 / images as f64,
            classes: classes.collect(),
            confusion: self.confusion.clone(),
        }
    }
}

fn fraction(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The class with the largest logit; of equals the first.
fn largest(logits: &[f32]) -> usize {
    (1..logits.len()).fold(0, |best, class| if logits[class] > logits[best] { class } else { best })
}

/// How many classes come before this one, the largest logit first, and of equals the first class.
fn rank(logits: &[f32], class: usize) -> usize {
    let own = logits[class];
    logits.iter().enumerate().filter(|(other, l)| **l > own || (**l == own && *other < class)).count()
}

/// log(sum of exp(logits)) - the label's logit, without overflow.
fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let most = f64::from(logits[largest(logits)]);
    let sum: f64 = logits.iter().map(|l| (f64::from(*l) - most).exp()).sum();
    most + sum.ln() - f64::from(logits[label])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("class {i}")).collect()
    }

    #[test]
    fn a_small_case_counted_by_hand() {
        let mut tally = Tally::new(3);
        tally.add(&[2.0, 0.0, 1.0, 0.0, 3.0, 0.0], &[0, 0]);
        tally.add(&[0.0, 0.0, 1.0], &[2]);
        let metrics = tally.metrics(&names(3));
        assert_eq!(tally.predictions(), [0, 1, 2]);
        assert_eq!(metrics.confusion, [vec![1, 1, 0], vec![0, 0, 0], vec![0, 0, 1]]);
        assert_eq!((metrics.images, metrics.accuracy, metrics.top5_accuracy), (3, 2.0 / 3.0, 1.0));
        assert_eq!(metrics.classes[0].recall, Some(0.5));
        assert_eq!(
            metrics.classes[1],
            ClassMetrics { class: "class 1".into(), images: 0, recall: None, precision: Some(0.0) }
        );
        // torch.nn.functional.cross_entropy in f64 on the same three rows.
        assert!(
            (metrics.loss - (0.407_605_964_444 + 3.094_922_956_421 + 0.551_444_713_932) / 3.0).abs() < 1e-9,
            "{}",
            metrics.loss
        );
    }

    #[test]
    fn ties_go_to_the_first_class() {
        let mut tally = Tally::new(7);
        tally.add(&[1.0; 14], &[4, 5]);
        assert_eq!(tally.predictions(), [0, 0]);
        assert_eq!(tally.metrics(&names(7)).top5_accuracy, 0.5);
    }

    #[test]
    fn huge_logits_do_not_overflow() {
        assert_eq!(cross_entropy(&[1e30, 0.0], 0), 0.0);
        assert!((cross_entropy(&[0.0, -1e4], 1) - 1e4).abs() < 1e-6);
        assert!(cross_entropy(&[f32::NAN, 0.0], 1).is_nan());
    }

    #[test]
    fn batches_add_up_to_the_same_bits() {
        let logits: Vec<f32> = (0..300u16).map(|i| f32::from(i * 37 % 101) / 7.0).collect();
        let labels: Vec<u8> = (0..30).map(|i| i % 10).collect();
        let (mut whole, mut parts) = (Tally::new(10), Tally::new(10));
        whole.add(&logits, &labels);
        logits.chunks(70).zip(labels.chunks(7)).for_each(|(logits, labels)| parts.add(logits, labels));
        assert_eq!(whole.metrics(&names(10)), parts.metrics(&names(10)));
    }
}
