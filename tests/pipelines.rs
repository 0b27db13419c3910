//! The shipped pipelines are right, and say what the published experiments did.

use std::path::Path;

use serde_json::{Value, json};
use stlpipe::engine::{Experiment, Registry};
use stlpipe::stages;

fn open(name: &str) -> Experiment {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines").join(format!("{name}.yaml"));
    match Experiment::open(&path, &[], Registry::new(&stages::kinds())) {
        Ok(experiment) => experiment,
        Err(problems) => panic!("{problems}"),
    }
}

/// The parameters of a stage, defaults filled in.
fn params(experiment: &Experiment, stage: &str) -> Value {
    let id = experiment.pipeline.id(stage).unwrap_or_else(|| panic!("no stage {stage}"));
    experiment.pipeline.stage(id).stage.params()
}

#[test]
fn every_pipeline_is_named_after_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("pipelines") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.file_stem().expect("a name").to_str().expect("a plain name");
            assert_eq!(open(name).pipeline.name, name);
            seen += 1;
        }
    }
    assert_eq!(seen, 8);
}

#[test]
fn each_experiment_trains_as_published() {
    for (name, model, activation, samples, crop, batch, epochs, step) in [
        ("ver_2_2_lenet", "lenet", "relu", 40_000, 96, 64, 500, 100),
        ("ver_2_2_custom", "custom_net", "relu", 80_000, 96, 128, 500, 100),
        ("ver_2_2_leaky", "custom_net", "leaky_relu(0.1)", 80_000, 96, 128, 500, 100),
        ("ver_2_2_step50", "custom_net", "leaky_relu(0.1)", 80_000, 96, 128, 500, 50),
        ("ver_2_3", "custom_net", "leaky_relu(0.1)", 80_000, 80, 128, 200, 50),
        ("ver_2_4", "custom_net", "leaky_relu(0.1)", 80_000, 80, 256, 200, 50),
        ("ver_2_5", "resnext", "relu", 80_000, 70, 256, 500, 100),
    ] {
        let experiment = open(name);
        let train = params(&experiment, "train");
        assert_eq!(
            [
                &train["model"],
                &train["activation"],
                &train["batch"],
                &train["epochs"],
                &train["lr"],
                &train["weight_decay"]
            ],
            [&json!(model), &json!(activation), &json!(batch), &json!(epochs), &json!(0.001), &json!(0.0001)],
            "{name}"
        );
        assert_eq!(train["schedule"], json!({ "step": step, "gamma": 0.1 }), "{name}");
        for (stage, samples, redraw) in
            [("augmented", samples, "each-epoch"), ("val_augmented", samples / 4, "never")]
        {
            let augment = params(&experiment, stage);
            assert_eq!(
                (&augment["samples"], &augment["redraw"]),
                (&json!(samples), &json!(redraw)),
                "{name}"
            );
            assert_eq!(augment["transforms"][1], json!({ "resized-crop": crop }), "{name}");
        }
    }
}

#[test]
fn the_later_experiments_fine_tune_and_judge_at_120_pixels() {
    for (name, batch, epochs) in [("ver_2_3", 128, 100), ("ver_2_4", 256, 100), ("ver_2_5", 256, 200)] {
        let experiment = open(name);
        let tune = params(&experiment, "tune");
        assert_eq!((&tune["batch"], &tune["epochs"]), (&json!(batch), &json!(epochs)), "{name}");
        assert_eq!(tune["schedule"], json!({ "step": 50, "gamma": 0.1 }), "{name}");
        for stage in ["tune_augmented", "tune_val_augmented"] {
            assert_eq!(params(&experiment, stage)["transforms"][1], json!({ "resize": 120 }), "{name}");
        }
        assert_eq!(params(&experiment, "test")["transforms"], json!([{ "resize": 120 }]), "{name}");
    }
}
