//! A dataset for tests that is small, and that a network can learn.

use tempfile::TempDir;

use crate::dataset::writer_tests::Folder;
use crate::dataset::{Dataset, DatasetWriter};

const SIDE: usize = 8;
const GREYS_PER_CLASS: u8 = 25;

/// Plain grey pictures, to be sorted by brightness into ten classes, and the folder they lie in.
pub(crate) fn greys(count: usize) -> (TempDir, Dataset) {
    greys_from(0, count)
}

/// The same, leaving the first pictures of the series out. No two of 250 in a row are equal.
pub(crate) fn greys_from(first: usize, count: usize) -> (TempDir, Dataset) {
    let shades = 10 * usize::from(GREYS_PER_CLASS);
    let greys: Vec<u8> = (first..first + count).map(|i| (i * 97 % shades) as u8).collect();
    let labels: Vec<u8> = greys.iter().map(|grey| grey / GREYS_PER_CLASS).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = DatasetWriter::new(Folder(folder.path().into()), count, SIDE, SIDE);
    for grey in greys {
        writer.images(&[grey; 3 * SIDE * SIDE]).expect("written");
    }
    writer.labels(&labels).expect("written");
    writer.finish((0..10).map(|class| format!("class {class}")).collect()).expect("written");
    let dataset = Dataset::open(|file| Some(folder.path().join(file))).expect("a dataset");
    (folder, dataset)
}
