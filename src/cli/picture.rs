//! Pictures of artifacts: a contact sheet of a dataset, as its user would see it in training.

use std::path::Path;

use anyhow::Context;

use super::exit::Failure;
use crate::augment::{self, Samples};
use crate::dataset::Dataset;
use crate::engine::stage::{Holds, OutputPort};
use crate::store::{Artifact, Store};

/// Columns and rows of a sheet, for datasets that have as many images.
const COLUMNS: usize = 10;
const ROWS: usize = 10;

/// Draws images spread evenly over a dataset into a PNG file, and says what is on it.
pub(super) fn contact_sheet(
    store: &Store,
    port: &OutputPort,
    artifact: &Artifact,
    png: &Path,
) -> Result<String, Failure> {
    if port.holds != Holds::Dataset {
        let message = format!("`{}` is a {}; only datasets have pictures", port.name, port.holds.word());
        return Err(Failure::Usage(message));
    }
    let locate = |name: &str| artifact.files.get(name).map(|blob| store.blob_path(&blob.digest));
    let samples = Samples::new(Dataset::open(locate)?)?;
    let shown = samples.len().min(COLUMNS * ROWS);
    let pictures: Vec<_> = (0..shown).map(|i| samples.picture(i * samples.len() / shown, 1)).collect();
    let bytes = augment::contact_sheet(&pictures, COLUMNS)?;
    std::fs::write(png, bytes).with_context(|| format!("{}: cannot be written", png.display()))?;
    Ok(format!("{shown} of {} images, {} x {}", samples.len(), samples.height(), samples.width()))
}
