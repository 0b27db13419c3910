//! The epochs of a training as a table: what each achieved, out of its history, and how long it took, out of the
//! record. It does not know how they were trained.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::store::{Record, Store};
use crate::training::{Epoch, best, from_jsonl};

/// The output that holds a history.
const PORT: &str = "history";

/// Of a history longer than this only the ends are shown, and the best epoch.
const SHOWN_WHOLE: usize = 20;
const SHOWN_FIRST: usize = 5;
const SHOWN_LAST: usize = 10;

/// What a training did, epoch by epoch.
pub(super) struct History {
    epochs: Vec<Epoch>,
    series: BTreeMap<String, Vec<f64>>,
}

/// How much of a history to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Every epoch.
    Whole,
    /// If there are many, the first ones, the best one and the last ones.
    Ends,
}

impl History {
    /// The history among the outputs of a record, if there is one.
    pub(super) fn of(record: &Record, store: &Store) -> Option<History> {
        let file = record.outputs.get(PORT)?.files.get("")?;
        let text = std::fs::read_to_string(store.blob_path(&file.digest)).ok()?;
        // A user's own command may call any file a history.
        let epochs = from_jsonl(&text).ok().filter(|epochs| !epochs.is_empty())?;
        Some(History { epochs, series: record.series.clone() })
    }

    /// What to show of it when an output was asked for by name, or none was.
    pub(super) fn extent(port: Option<&str>) -> Extent {
        if port == Some(PORT) { Extent::Whole } else { Extent::Ends }
    }

    /// A row per epoch, with a header.
    pub(super) fn rows(&self, extent: Extent) -> Vec<Vec<String>> {
        let header =
            ["EPOCH", "LOSS", "ACCURACY", "VAL LOSS", "VAL ACCURACY", "LR", "IMAGES/S", "SECONDS", ""];
        let mut rows = vec![header.map(str::to_owned).to_vec()];
        let best = best(&self.epochs).map(|best| best.epoch);
        let mut hidden = false;
        for (index, epoch) in self.epochs.iter().enumerate() {
            let is_best = best == Some(epoch.epoch);
            if extent == Extent::Whole || is_best || self.is_near_an_end(index) {
                rows.push(self.row(index, epoch, if is_best { "best" } else { "" }));
                hidden = false;
            } else if !hidden {
                rows.push(vec!["..".to_owned()]);
                hidden = true;
            }
        }
        rows
    }

    /// An object per epoch, with every figure known of it.
    pub(super) fn to_json(&self) -> Value {
        let object = |(index, epoch): (usize, &Epoch)| {
            let mut object = json!(epoch);
            for (name, values) in &self.series {
                object[name] = json!(values.get(index));
            }
            object
        };
        self.epochs.iter().enumerate().map(object).collect()
    }

    fn is_near_an_end(&self, index: usize) -> bool {
        let count = self.epochs.len();
        count <= SHOWN_WHOLE || index < SHOWN_FIRST || index + SHOWN_LAST >= count
    }

    fn row(&self, index: usize, epoch: &Epoch, remark: &str) -> Vec<String> {
        let Epoch { epoch, train_loss, train_accuracy, val_loss, val_accuracy, lr } = *epoch;
        let percent = |share: f64| format!("{:.2} %", 100.0 * share);
        let measured = |name: &str, decimals: usize| {
            let value = self.series.get(name).and_then(|values| values.get(index));
            value.map(|value| format!("{value:.decimals$}")).unwrap_or_default()
        };
        vec![
            epoch.to_string(),
            format!("{train_loss:.4}"),
            percent(train_accuracy),
            format!("{val_loss:.4}"),
            percent(val_accuracy),
            format!("{lr:.1e}"),
            measured("images_per_second", 0),
            measured("seconds", 1),
            remark.to_owned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many epochs, of which the given one is the best.
    fn history(count: u32, best: u32) -> History {
        let epoch = |epoch: u32| Epoch {
            epoch,
            train_loss: 2.0,
            train_accuracy: 0.25,
            val_loss: 1.0 + f64::from(epoch.abs_diff(best)),
            val_accuracy: 0.5,
            lr: 1e-3,
        };
        let seconds = (1..=count).map(f64::from).collect();
        History {
            epochs: (1..=count).map(epoch).collect(),
            series: BTreeMap::from([("seconds".to_owned(), seconds)]),
        }
    }

    fn first_cells(rows: &[Vec<String>]) -> Vec<&str> {
        rows.iter().skip(1).map(|row| row[0].as_str()).collect()
    }

    #[test]
    fn an_epoch_is_a_row_of_what_it_achieved_and_how_long_it_took() {
        let rows = history(3, 2).rows(Extent::Ends);
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[2], ["2", "2.0000", "25.00 %", "1.0000", "50.00 %", "1.0e-3", "", "2.0", "best"]);
        assert_eq!(rows[3][8], "");
    }

    #[test]
    fn of_a_long_history_the_ends_and_the_best_epoch_are_shown() {
        let long = history(100, 50);
        let rows = long.rows(Extent::Ends);
        let ends = "1 2 3 4 5 .. 50 .. 91 92 93 94 95 96 97 98 99 100";
        assert_eq!(first_cells(&rows).join(" "), ends);
        assert_eq!(long.rows(Extent::Whole).len(), 101);
        assert_eq!(first_cells(&history(20, 1).rows(Extent::Ends)).len(), 20);
    }

    #[test]
    fn as_json_every_epoch_has_all_its_figures() {
        let json = history(2, 1).to_json();
        assert_eq!(
            (&json[1]["epoch"], &json[1]["val_loss"], &json[1]["seconds"]),
            (&json!(2), &json!(2.0), &json!(2.0))
        );
    }
}
