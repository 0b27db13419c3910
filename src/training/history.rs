//! What each epoch achieved, one JSON line each, and apart from it how long each took: times among the lines would
//! make two trainings with the same result differ.

use serde::{Deserialize, Serialize};

use super::error::Error;

/// The name that error messages give the lines.
const FILE: &str = "history.jsonl";

/// One epoch. Losses are means over images, accuracies fractions between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Which one, from 1.
    pub epoch: u32,
    /// Over the epoch's batches, each before its step, by the weights that learn.
    pub train_loss: f64,
    /// Over the epoch's batches, each before its step, by the weights that learn.
    pub train_accuracy: f64,
    /// In evaluation mode at the end of the epoch, by the average of the weights if there is one.
    pub val_loss: f64,
    /// In evaluation mode at the end of the epoch, by the average of the weights if there is one.
    pub val_accuracy: f64,
    /// The learning rate.
    pub lr: f64,
}

/// How long an epoch took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Learning and validating, in seconds.
    pub seconds: f64,
    /// Images learnt from, per second of learning.
    pub images_per_second: f64,
}

/// The epoch with the least validation loss; of equals the first.
#[must_use]
pub fn best(history: &[Epoch]) -> Option<&Epoch> {
    history.iter().reduce(|best, epoch| if epoch.val_loss < best.val_loss { epoch } else { best })
}

/// The lines, in order.
#[must_use]
pub fn to_jsonl(history: &[Epoch]) -> String {
    let line = |epoch| serde_json::to_string(epoch).expect("numbers can be written as JSON") + "\n";
    history.iter().map(line).collect()
}

/// Reads the lines.
///
/// # Errors
/// If they are not what [`to_jsonl`] writes.
pub fn from_jsonl(text: &str) -> Result<Vec<Epoch>, Error> {
    let unreadable = |problem: String| Error::Unreadable { file: FILE, problem };
    let rows = text.lines().map(serde_json::from_str).collect::<Result<Vec<Epoch>, _>>();
    let rows = rows.map_err(|e| unreadable(e.to_string()))?;
    match rows.iter().zip(1..).find(|(row, epoch)| row.epoch != *epoch) {
        Some((row, epoch)) => Err(unreadable(format!("epoch {} stands where {epoch} should", row.epoch))),
        None => Ok(rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: u32, val_loss: f64) -> Epoch {
        Epoch {
            epoch,
            train_loss: 0.1 + 0.2,
            train_accuracy: 1.0 / 3.0,
            val_loss,
            val_accuracy: 0.5,
            lr: 1e-3,
        }
    }

    #[test]
    fn the_best_epoch_is_the_first_with_the_least_validation_loss() {
        let history = [epoch(1, 2.0), epoch(2, 1.0), epoch(3, 1.0), epoch(4, 1.5)];
        assert_eq!(best(&history).map(|e| e.epoch), Some(2));
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn lines_come_back_bit_for_bit() {
        let history: Vec<_> = (1..=1000).map(|i| epoch(i, f64::from(i).sqrt().exp())).collect();
        assert_eq!(from_jsonl(&to_jsonl(&history)).expect("readable"), history);
    }

    #[test]
    fn a_gap_is_noticed() {
        let text = to_jsonl(&[epoch(1, 2.0), epoch(3, 1.0)]);
        let error = from_jsonl(&text).expect_err("a gap").to_string();
        assert_eq!(error, "history.jsonl: epoch 3 stands where 2 should");
    }
}
