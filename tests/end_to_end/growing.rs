//! More epochs and more samples compute only what is new, and the results are those of computing all in one go.

use crate::incremental::EXPERIMENT;
use crate::workspace::Workspace;

/// The experiment with stored samples, set up to the stage that is grown.
fn experiment(settings: &[(&str, &str)]) -> Workspace {
    let mut ws = Workspace::new(EXPERIMENT);
    ws.set("augmented.redraw", "never");
    for (key, value) in settings {
        ws.set(key, value);
    }
    ws
}

/// The log lines of a stage in the last run.
fn log(said: &crate::workspace::Said) -> &str {
    &said.err
}

#[test]
fn more_epochs_train_only_those_and_the_rest_is_as_in_one_go() {
    let mut ws = experiment(&[("train.epochs", "2")]);
    ws.run_with(&["--stage", "train"]).ran([
        "archive",
        "images",
        "split",
        "augmented",
        "val_augmented",
        "train",
    ]);
    ws.set("train.epochs", "5");
    let said = ws.call(&["run", "pipeline.yaml", "--stage", "train"]).succeeds();
    assert!(log(&said).contains("going on after epoch 2"), "{said:#?}");
    assert!(!log(&said).contains("epoch 2/5") && log(&said).contains("epoch 3/5"), "{said:#?}");

    let straight = experiment(&[("train.epochs", "5")]);
    straight.run_with(&["--stage", "train"]);
    assert_eq!(ws.digests("train"), straight.digests("train"));

    // A shorter one that never ran before lies on the way: nothing is trained, and all is as if it had ended there.
    ws.set("train.epochs", "4");
    let said = ws.call(&["run", "pipeline.yaml", "--stage", "train"]).succeeds();
    let told = "taken from an earlier training: epoch 4, the last";
    assert!(log(&said).contains(told) && !log(&said).contains("epoch 4/4"), "{said:#?}");
    let straight = experiment(&[("train.epochs", "4")]);
    straight.run_with(&["--stage", "train"]);
    assert_eq!(ws.digests("train"), straight.digests("train"));

    // And back again: the records are there.
    ws.set("train.epochs", "5");
    ws.run_with(&["--stage", "train"]).ran([]);
}

#[test]
fn what_depends_on_the_number_of_epochs_is_trained_anew() {
    let mut ws = experiment(&[("train.epochs", "2"), ("train.schedule", "cosine")]);
    ws.run_with(&["--stage", "train"]);
    ws.set("train.epochs", "3");
    let said = ws.call(&["run", "pipeline.yaml", "--stage", "train"]).succeeds();
    assert!(log(&said).contains("epoch 1/3"), "{said:#?}");
}

#[test]
fn the_number_of_checkpoints_changes_no_result_and_bounds_the_disk() {
    let mut ws = experiment(&[("train.epochs", "4"), ("train.checkpoints", "0")]);
    ws.run_with(&["--stage", "train"]);
    assert_eq!(chains(&ws), 1, "only the last epoch");
    ws.set("train.checkpoints", "10");
    ws.run_with(&["--stage", "train"]).ran([]);
    ws.set("train.epochs", "6");
    ws.run_with(&["--stage", "train"]).ran(["train"]);
    assert_eq!(chains(&ws), 3, "epochs 4, 5 and 6");
    ws.set("train.checkpoints", "1").set("train.epochs", "7");
    ws.run_with(&["--stage", "train"]).ran(["train"]);
    assert_eq!(chains(&ws), 2, "every fourth, and the last");
    let ws = experiment(&[("train.epochs", "4"), ("train.checkpoints", "1")]);
    ws.run_with(&["--stage", "train"]);
    assert_eq!(chains(&ws), 2, "one besides the last");
}

#[test]
fn a_forced_training_starts_from_nothing() {
    let ws = experiment(&[("train.epochs", "2")]);
    ws.run_with(&["--stage", "train"]);
    let digests = ws.digests("train");
    let said = ws.call(&["run", "pipeline.yaml", "--stage", "train", "--force", "train"]).succeeds();
    assert!(log(&said).contains("epoch 1/2"), "{said:#?}");
    assert_eq!(ws.digests("train"), digests);
}

#[test]
fn more_samples_draw_only_those() {
    let mut ws = experiment(&[("augmented.samples", "2300")]);
    ws.run_with(&["--stage", "augmented"]);
    ws.set("augmented.samples", "4100");
    let said = ws.call(&["run", "pipeline.yaml", "--stage", "augmented"]).succeeds();
    assert!(log(&said).contains("2000 of 4100 samples were drawn before"), "{said:#?}");
    let straight = experiment(&[("augmented.samples", "4100")]);
    straight.run_with(&["--stage", "augmented"]);
    assert_eq!(ws.digests("augmented"), straight.digests("augmented"));
    ws.set("augmented.samples", "3000");
    ws.run_with(&["--stage", "augmented"]).ran(["augmented"]);
    let straight = experiment(&[("augmented.samples", "3000")]);
    straight.run_with(&["--stage", "augmented"]);
    assert_eq!(ws.digests("augmented"), straight.digests("augmented"));
}

/// What `status` expects of a stage.
fn expected_seconds(ws: &Workspace, stage: &str) -> serde_json::Value {
    let said = ws.call(&["status", "pipeline.yaml", "--json"]).succeeds();
    let plan: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let stages = plan["stages"].as_array().expect("a list");
    stages.iter().find(|told| told["stage"] == stage).expect("it is there")["estimated_seconds"].clone()
}

#[test]
fn a_training_that_was_taken_from_a_longer_one_ran_and_says_how_long_another_takes() {
    let mut ws = experiment(&[("train.epochs", "3")]);
    ws.run_with(&["--stage", "train"]);
    let pace = seconds_of(&ws) / 3.0;
    ws.set("train.epochs", "2");
    assert_eq!(expected_seconds(&ws, "train"), 0.0, "all epochs are there");
    ws.run_with(&["--stage", "train"]).ran(["train"]);
    // A training of its own takes what those epochs took.
    ws.set("train.lr", "0.002");
    let expected = expected_seconds(&ws, "train").as_f64().expect("it is known");
    assert!((expected / (2.0 * pace) - 1.0).abs() < 1e-6, "{expected} s, {pace} s per epoch");
    ws.set("train.lr", "0.001");
    let said =
        ws.call(&["run", "pipeline.yaml", "--stage", "train", "--force", "train", "--dry-run"]).succeeds();
    assert!(!said.out.contains("never ran"), "{said:#?}");
    // Nobody knows yet whether it goes on from what is kept.
    ws.set("augmented.samples", "48");
    assert!(expected_seconds(&ws, "train").is_f64(), "{:#?}", ws.call(&["status", "pipeline.yaml"]));
}

fn seconds_of(ws: &Workspace) -> f64 {
    let said = ws.call(&["why", "pipeline.yaml", "train", "--json"]).succeeds();
    let told: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    told["nearest"]["seconds"].as_f64().expect("a time")
}

/// How many ends of epochs are kept.
fn chains(ws: &Workspace) -> usize {
    ws.files("cache/chains").iter().filter(|file| file.ends_with("optimizer.safetensors")).count()
}
