//! Cross-entropy on class indices, with the gradient in closed form. Works on the few logits of a batch as
//! plain numbers, so it is the same on every device.
//!
//! With p = softmax(logits), target t = (1 - s) [class = label] + s / classes for a smoothing s:
//! loss = mean over samples of -sum(t ln p); d loss / d logits = (p - t) / batch. As
//! `torch.nn.CrossEntropyLoss(label_smoothing=s)`.

/// What a batch of logits is worth.
pub struct CrossEntropy {
    /// The mean over the samples.
    pub loss: f64,
    /// How many samples have their largest logit at their label (the first of equal ones counts).
    pub correct: usize,
    /// d loss / d logits.
    pub gradient: Vec<f32>, // (batch, classes)
}

/// Compares logits (batch, classes) with labels (batch).
pub fn cross_entropy(logits: &[f32], labels: &[u8], smoothing: f64) -> CrossEntropy {
    let classes = logits.len() / labels.len();
    let batch = labels.len() as f64;
    let mut result = CrossEntropy { loss: 0.0, correct: 0, gradient: Vec::with_capacity(logits.len()) };
    for (row, &label) in logits.chunks_exact(classes).zip(labels) {
        let label = usize::from(label);
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f64 = row.iter().map(|&z| f64::from(z - largest).exp()).sum();
        for (class, &z) in row.iter().enumerate() {
            let log_probability = f64::from(z - largest) - total.ln();
            let target = smoothing / classes as f64 + if class == label { 1.0 - smoothing } else { 0.0 };
            // 0 * -inf would be NaN where a class is both impossible and unwanted.
            if target > 0.0 {
                result.loss -= target * log_probability / batch;
            }
            result.gradient.push(((log_probability.exp() - target) / batch) as f32);
        }
        result.correct += usize::from(row.iter().position(|&z| z == largest) == Some(label));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_logits_cost_the_logarithm_of_the_classes() {
        for smoothing in [0.0, 0.1] {
            let result = cross_entropy(&[2.0; 8], &[1, 3], smoothing);
            assert!((result.loss - 4f64.ln()).abs() < 1e-12);
            assert_eq!(result.correct, 0, "the first of equal logits counts, and it is class 0");
        }
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let logits = [0.3, -1.2, 2.0, 0.0, 0.7, -0.1];
        let labels = [2, 0];
        for smoothing in [0.0, 0.2] {
            let gradient = cross_entropy(&logits, &labels, smoothing).gradient;
            for i in 0..logits.len() {
                let mut moved = logits;
                moved[i] += 1e-2;
                let above = cross_entropy(&moved, &labels, smoothing).loss;
                moved[i] -= 2e-2;
                let below = cross_entropy(&moved, &labels, smoothing).loss;
                assert!(((above - below) / 2e-2 - f64::from(gradient[i])).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_nan_logit_makes_the_loss_nan() {
        assert!(cross_entropy(&[f32::NAN, 0.0], &[0], 0.0).loss.is_nan());
    }
}
