//! The shipped pipelines on real STL-10 images, where there are any.

use std::path::{Path, PathBuf};

use crate::workspace::Workspace;

/// The small archive of real images, or `None`, said aloud, where it is not there.
#[expect(clippy::print_stderr, reason = "a test says what it skips")]
fn mini_archive() -> Option<PathBuf> {
    let dir = std::env::var_os("STLPIPE_STL10_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/stl10"), PathBuf::from);
    let archive = dir.join("stl10_mini.tar.gz");
    if archive.exists() {
        return Some(archive);
    }
    eprintln!("skipped: no real images at {}; set STLPIPE_STL10_DIR", archive.display());
    None
}

/// A workspace in which a shipped pipeline runs on the small archive.
fn shipped(name: &str, archive: &Path) -> Workspace {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines").join(name);
    let mut ws = Workspace::new(&format!("extends: {}\nname: shipped\n", base.display()));
    ws.set("archive.url", archive.display()).set("archive.md5", "5fc561edd8c03c0cae10d3062415f205");
    ws
}

#[test]
fn ver_2_2_runs_on_real_images_and_an_edit_reruns_training_only() {
    let Some(archive) = mini_archive() else { return };
    let mut ws = shipped("ver_2_2_lenet.yaml", &archive);
    ws.set("augmented.samples", 32)
        .set("val_augmented.samples", 8)
        .set("train.epochs", 1)
        .set("train.batch", 16);
    let before = ["archive", "images", "split", "augmented", "val_augmented"];
    let ran = ws.run().ran(["archive", "images", "split", "augmented", "val_augmented", "train", "test"]);
    assert!((0.0..=1.0).contains(&ran.metric("test", "accuracy")));
    ws.run().ran([]);
    ws.set("train.lr", "0.0005");
    ws.run().ran(["train", "test"]).reused(before);
}

#[test]
fn ver_2_3_fine_tunes_at_120_pixels_on_real_images() {
    let Some(archive) = mini_archive() else { return };
    let mut ws = shipped("ver_2_3.yaml", &archive);
    for stage in ["augmented", "val_augmented", "tune_augmented", "tune_val_augmented"] {
        ws.set(&format!("{stage}.samples"), 8);
    }
    for stage in ["train", "tune"] {
        ws.set(&format!("{stage}.epochs"), 1).set(&format!("{stage}.batch"), 8);
    }
    let ran = ws.run();
    assert!(ran.metric("test", "accuracy") >= 0.0);
    assert!(ws.read("data/shipped/tune/model/model.json").contains("120"));
    ws.run().ran([]);
}
