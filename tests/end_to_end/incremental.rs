//! A whole experiment on synthetic pictures: what runs after which edit, and that results depend on nothing else.

use crate::workspace::Workspace;

/// Synthetic archive to test accuracy, with a fine-tune, in a few seconds.
pub const EXPERIMENT: &str = r#"
name: tiny
vars: { samples: 32 }
stages:
  archive: { uses: synthesize, with: { train_per_class: 8, test_per_class: 2 } }
  images: { uses: decode, in: { archive: archive } }
  split: { uses: split, in: { images: images.train }, with: { parts: { train: 0.75, val: 0.25 }, seed: 1 } }
  augmented:
    uses: augment
    in: { images: split.train }
    with: { samples: "${vars.samples}", redraw: each-epoch, transforms: [ { resized-crop: 32 }, { hflip: 0.5 } ] }
  val_augmented:
    uses: augment
    in: { images: split.val }
    with: { samples: 16, transforms: [ { resized-crop: 32 } ] }
  train:
    uses: train
    in: { train: augmented, val: val_augmented }
    with: { model: lenet, epochs: 2, batch: 16, lr: 0.001, seed: 1 }
  tune:
    uses: fine-tune
    in: { model: train.model, train: augmented, val: val_augmented }
    with: { epochs: 1, batch: 16, lr: 0.0001, seed: 2 }
  test:
    uses: evaluate
    in: { model: tune.model, images: images.test }
    with: { transforms: [ { resize: 32 } ] }
"#;

const ALL: [&str; 8] = ["archive", "images", "split", "augmented", "val_augmented", "train", "tune", "test"];

#[test]
fn an_experiment_runs_once_and_an_edit_reruns_what_depends_on_it() {
    let mut ws = Workspace::new(EXPERIMENT);
    let ran = ws.run().ran(ALL);
    let accuracy = ran.metric("test", "accuracy");
    assert!((0.0..=1.0).contains(&accuracy), "accuracy {accuracy}");
    ws.run().ran([]).reused(ALL);

    ws.set("tune.lr", "0.0002");
    let ran = ws.run().ran(["tune", "test"]);
    assert_eq!(ran.reasons("tune"), ["tune.lr 0.0001 -> 0.0002 (--set tune.lr=0.0002)"]);

    ws.set("train.epochs", "2").set("val_augmented.redraw", "never");
    ws.run().ran([]);
    ws.set("vars.samples", "48");
    ws.run().ran(["augmented", "train", "tune", "test"]);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let digests = |threads: &str| {
        let ws = Workspace::new(EXPERIMENT);
        ws.run_with(&["--threads", threads]).ran(ALL);
        ALL.map(|stage| ws.digests(stage))
    };
    let one = digests("1");
    assert_eq!(one, digests("2"));
    assert_eq!(one, digests("3"));
}

#[test]
fn results_are_linked_under_their_names() {
    let ws = Workspace::new(EXPERIMENT);
    ws.run().ran(ALL);
    let predictions = ws.read("data/tiny/test/predictions.csv");
    assert!(predictions.starts_with("Id,Category\n") && predictions.lines().count() == 21, "{predictions}");
    assert!(ws.read("data/tiny/augmented/dataset/dataset.json").contains("\"recipe\""));
    assert_eq!(ws.read("data/tiny/train/history.jsonl").lines().count(), 2);
    assert!(ws.read("data/tiny/train/model/model.json").contains("\"lenet\""));
    assert!(ws.read("data/tiny/train/last/model.json").contains("\"lenet\""));
    ws.call(&["show", "pipeline.yaml", "train"]).succeeds().says([
        "EPOCH  LOSS",
        "IMAGES/S  SECONDS",
        "best",
    ]);
    let shown = ws.call(&["show", "pipeline.yaml", "train", "--json"]).succeeds().out;
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let second = &shown["history"][1];
    assert!(second["epoch"] == 2 && second["seconds"].is_number(), "{second}");
    ws.call(&["show", "pipeline.yaml", "val_augmented", "--png", "sheet.png"]).succeeds();
    assert!(std::fs::read(ws.path("sheet.png")).expect("written").starts_with(b"\x89PNG"));
}

#[test]
fn whatever_is_deleted_under_data_or_cache_comes_back() {
    let ws = Workspace::new(EXPERIMENT);
    ws.run().ran(ALL);
    let model = ws.digests("train");
    std::fs::remove_dir_all(ws.path("data")).expect("there");
    std::fs::remove_dir_all(ws.path("cache/views")).expect("there");
    ws.run().ran([]);
    assert!(ws.read("data/tiny/train/model/model.json").contains("\"lenet\""));
    std::fs::remove_dir_all(ws.path("cache/blobs")).expect("there");
    ws.run().ran(ALL);
    assert_eq!(ws.digests("train"), model);
}
