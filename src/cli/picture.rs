//! Pictures of artifacts: a contact sheet of a dataset, as its user would see it in training.

use super::exit::Failure;
use crate::augment::{Picture, Samples, Tile, contact_sheet};
use crate::dataset::Dataset;
use crate::engine::stage::{Holds, OutputPort};
use crate::store::{Artifact, Store};

/// Columns and rows of a sheet, for datasets that have as many images.
const COLUMNS: usize = 10;
const ROWS: usize = 10;

/// Epochs count from 1; a dataset drawn afresh each epoch is shown as its first epoch will see it.
const FIRST_EPOCH: u32 = 1;

/// Draws images spread evenly over a dataset as the bytes of a PNG file, and says what is on it.
pub(super) fn draw_sheet(
    store: &Store,
    port: &OutputPort,
    artifact: &Artifact,
) -> Result<(Vec<u8>, String), Failure> {
    if port.holds != Holds::Dataset {
        let message = format!("`{}` is a {}; only datasets have pictures", port.name, port.holds.word());
        return Err(Failure::Usage(message));
    }
    let locate = |name: &str| artifact.files.get(name).map(|blob| store.blob_path(&blob.digest));
    let samples = Samples::new(Dataset::open(locate)?)?;
    let shown = samples.len().min(COLUMNS * ROWS);
    let mut pixels = vec![0; 3 * samples.height() * samples.width()];
    let tiles: Vec<Tile> = (0..shown)
        .map(|i| {
            let label = samples.draw(i * samples.len() / shown, FIRST_EPOCH, &mut pixels);
            let picture = Picture::new(&pixels, samples.height(), samples.width());
            Tile { picture, label: Some(label) }
        })
        .collect();
    let told = format!("{shown} of {} images, {} x {}", samples.len(), samples.height(), samples.width());
    Ok((contact_sheet(&tiles, COLUMNS), told))
}
