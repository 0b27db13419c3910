//! What `train`, `fine-tune` and `evaluate` promise, through their port to the engine.

use serde_json::{Value, json};

use super::test_job::TestJob;
use super::{evaluate, fine_tune, train};
use crate::engine::stage::{Job, ONLY_FILE, StageError, StageKind};
use crate::nn::StateDict;
use crate::training::test_data::greys_from;

const DATA: [(&str, usize); 2] = [("train", 25), ("val", 10)];

/// A job with a dataset bound to each of these ports, each with pictures of its own.
fn with_data(job: TestJob, ports: &[(&str, usize)]) -> TestJob {
    ports.iter().fold(job, |job, (port, count)| {
        let first = ["train", "val", "images"].iter().position(|known| known == port).expect("a known port");
        let (folder, _) = greys_from(80 * first, *count);
        let files: Vec<(String, Vec<u8>)> = std::fs::read_dir(&folder)
            .expect("a folder")
            .map(|entry| entry.expect("a file"))
            .map(|entry| {
                let name = entry.file_name().into_string().expect("a plain name");
                (name, std::fs::read(entry.path()).expect("a file"))
            })
            .collect();
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
        job.with_directory(port, &files)
    })
}

fn run(kind: &StageKind, params: &Value, job: &TestJob) -> Result<(), StageError> {
    (kind.read)(params).expect("the parameters are right").run(job)
}

fn trained(epochs: u32) -> TestJob {
    trained_with(&json!({ "model": "lenet", "epochs": epochs, "batch": 10 }))
}

fn trained_with(params: &Value) -> TestJob {
    let job = with_data(TestJob::new(), &DATA);
    run(&train::KIND, params, &job).expect("it trains");
    job
}

fn weights(job: &TestJob) -> StateDict {
    StateDict::from_safetensors(&job.bytes("model", "model.safetensors")).expect("weights")
}

#[test]
fn train_makes_a_model_that_says_what_it_is_and_a_line_per_epoch() {
    let job = trained(2);
    let card: Value = serde_json::from_slice(&job.bytes("model", "model.json")).expect("JSON");
    assert_eq!(
        (&card["network"], &card["activation"], &card["resolution"], &card["parameters"]),
        (&json!("lenet"), &json!("relu"), &json!([8, 8]), &json!(1_565_706))
    );
    assert_eq!(card["classes"].as_array().map(Vec::len), Some(10));
    let history = String::from_utf8(job.bytes("history", ONLY_FILE)).expect("text");
    assert_eq!(history.lines().count(), 2);
    assert_eq!(job.progress_told().last().map(|p| (p.done, p.total)), Some((40, Some(40))));
    let lines = job.log_lines();
    assert_eq!(lines.len(), 3, "one of each epoch, and with what they were computed");
    assert_eq!(lines[2], format!("computed with {}", crate::nn::instructions()));
    assert!(job.metrics()["val_loss"].is_finite());
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bytes() {
    let job = with_data(TestJob::new(), &DATA).interrupt_after(5);
    let params = json!({ "model": "lenet", "epochs": 2, "batch": 10 });
    assert!(matches!(run(&train::KIND, &params, &job), Err(StageError::Interrupted)));
    let job = job.interrupt_after(usize::MAX);
    run(&train::KIND, &params, &job).expect("it trains");
    assert_eq!(job.log_lines()[1], "going on after epoch 1");
    let series = job.series_told();
    assert_eq!((series["seconds"].len(), series["images_per_second"].len()), (2, 2));
    let straight = trained(2);
    for (port, file) in
        [("model", "model.safetensors"), ("last", "model.safetensors"), ("history", ONLY_FILE)]
    {
        assert!(job.bytes(port, file) == straight.bytes(port, file), "{port} {file} differs");
    }
}

#[test]
fn the_last_model_is_that_of_the_last_epoch_and_the_model_that_of_the_best() {
    // A rate that grows a hundredfold makes the second epoch worse, as the history confirms.
    let params = |epochs: u32| json!({ "model": "lenet", "epochs": epochs, "batch": 10, "schedule": { "step": 1, "gamma": 100 } });
    let (one, two) = (trained_with(&params(1)), trained_with(&params(2)));
    assert_eq!(two.metrics()["best_epoch"], 1.0);
    let weights = |job: &TestJob, port: &str| job.bytes(port, "model.safetensors");
    assert!(weights(&one, "last") == weights(&one, "model"), "the only epoch is the best and the last");
    assert!(weights(&two, "model") == weights(&one, "model"), "the best epoch is the first");
    assert!(weights(&two, "last") != weights(&two, "model"), "the last epoch is the second");
    assert_eq!(two.bytes("last", "model.json"), two.bytes("model", "model.json"));
}

#[test]
fn a_loss_that_runs_away_leaves_the_epoch_before_it_and_says_how_to_go_on() {
    let job = with_data(TestJob::new(), &DATA);
    let params =
        json!({ "model": "lenet", "epochs": 3, "batch": 10, "schedule": { "step": 1, "gamma": 1e30 } });
    let Err(StageError::Failed(error)) = run(&train::KIND, &params, &job) else { panic!("it must fail") };
    let kept =
        Job::link(&job, 1).expect("whole")["history.jsonl"].path.parent().expect("a folder").to_owned();
    let kept_is_told = format!("; the epoch before is kept in {}", kept.display());
    let told = error.to_string();
    assert!(
        told.starts_with("epoch 2, batch 2 of 2: the loss is ") && told.contains(&kept_is_told),
        "{told}"
    );
    assert!(told.ends_with("try an lr below 0.001, or a warmup longer than 0 epochs"), "{told}");
    let history = std::fs::read_to_string(kept.join("history.jsonl")).expect("the epoch is whole");
    assert_eq!(history.lines().count(), 1);
}

#[test]
fn optimizers_are_spelled_by_name_or_with_their_figures() {
    let read = |optimizer: &Value| {
        let params = json!({ "model": "lenet", "epochs": 1, "optimizer": optimizer });
        (train::KIND.read)(&params).map(|stage| stage.params()["optimizer"].clone())
    };
    for (spelled, canonical) in [
        (json!("adam"), json!("adam")),
        (json!("adamw"), json!("adamw")),
        (json!("sgd"), json!({ "sgd": { "momentum": 0.0, "nesterov": false } })),
        (json!({ "sgd": { "momentum": 0.9 } }), json!({ "sgd": { "momentum": 0.9, "nesterov": false } })),
    ] {
        assert_eq!(read(&spelled).expect("it is one"), canonical);
    }
    for (wrong, message) in [
        (json!("adamx"), "optimizer: there is no choice `adamx`"),
        (json!({ "sgd": { "momentun": 0.9 } }), "unknown parameter `optimizer.sgd.momentun`"),
        (json!({ "sgd": { "nesterov": true } }), "optimizer nesterov needs a momentum above 0, such as 0.9"),
    ] {
        let complaints = read(&wrong).expect_err("it is none");
        let told: Vec<_> = complaints.into_complaints().into_iter().map(|c| c.message).collect();
        assert_eq!(told, [message]);
    }
}

#[test]
fn a_damaged_checkpoint_is_told_and_the_one_before_it_is_taken() {
    let first = trained(2);
    let weights = &Job::link(&first, 2).expect("whole")["weights.safetensors"];
    std::fs::write(&weights.path, "damaged").expect("written");
    let job = grown(&first, &json!({ "model": "lenet", "epochs": 3, "batch": 10 }));
    let told = ["what was kept after epoch 2 is damaged, and not used", "going on after epoch 1"];
    assert_eq!(job.log_lines()[..2], told);
    assert_eq!(job.computed_told(), Some(2));
    assert!(results(&job) == results(&trained(3)));
}

/// A job on the chain of another.
fn grown(from: &TestJob, params: &Value) -> TestJob {
    let job = with_data(TestJob::new(), &DATA).with_chain_of(from);
    run(&train::KIND, params, &job).expect("it trains");
    job
}

fn results(job: &TestJob) -> Vec<Vec<u8>> {
    let files = [("model", "model.safetensors"), ("last", "model.safetensors"), ("history", ONLY_FILE)];
    files.map(|(port, file)| job.bytes(port, file)).into()
}

#[test]
fn more_epochs_train_only_those_and_fewer_none_at_all() {
    let params = |epochs: u32| json!({ "model": "lenet", "epochs": epochs, "batch": 10 });
    let three = trained(3);
    let five = grown(&three, &params(5));
    assert_eq!(five.computed_told(), Some(2));
    assert!(results(&five) == results(&trained(5)), "as if in one go");
    assert_eq!(five.series_told()["seconds"].len(), 5);
    let two = grown(&five, &params(2));
    assert_eq!(two.computed_told(), Some(0));
    assert!(results(&two) == results(&trained(2)), "as if it had ended there");
}

#[test]
fn fewer_epochs_train_on_from_the_nearest_one_kept_before() {
    let params = |epochs: u32| json!({ "model": "lenet", "epochs": epochs, "batch": 10, "checkpoints": 1 });
    let job = trained_with(&params(5));
    assert_eq!(Job::kept(&job).expect("readable"), [4, 5], "every fourth, and the last");
    let three = grown(&job, &params(3));
    assert_eq!(three.computed_told(), Some(3), "nothing was kept before");
    assert!(results(&three) == results(&trained(3)));
    assert_eq!(
        Job::kept(&three).expect("readable"),
        [3, 4, 5],
        "its last epoch is kept beside those of the longer"
    );
}

#[test]
fn less_patience_ends_where_it_would_have_ended() {
    // From the second epoch on, the rate makes everything worse.
    let params = |patience: Value| json!({ "model": "lenet", "epochs": 5, "batch": 10, "patience": patience, "schedule": { "step": 1, "gamma": 30 } });
    let patient = trained_with(&params(Value::Null));
    let impatient = grown(&patient, &params(json!(1)));
    let straight = trained_with(&params(json!(1)));
    assert_eq!(impatient.computed_told(), Some(0));
    assert!(results(&impatient) == results(&straight));
}

#[test]
fn fine_tuning_head_and_norm_leaves_the_convolutions_alone() {
    let first = trained(1);
    let job = with_data(TestJob::new(), &DATA).with_output_of("model", &first, "model");
    let params = json!({ "trainable": "head-and-norm", "epochs": 1, "batch": 10 });
    run(&fine_tune::KIND, &params, &job).expect("it trains");
    let (before, after) = (weights(&first), weights(&job));
    assert_eq!(before.get("layer_1.weight"), after.get("layer_1.weight"));
    assert_ne!(before.get("conv2_bn1.weight"), after.get("conv2_bn1.weight"));
    assert_ne!(before.get("fc_layer_1.weight"), after.get("fc_layer_1.weight"));
}

#[test]
fn evaluate_judges_at_any_resolution_and_names_each_prediction() {
    let model = trained(1);
    let job = with_data(TestJob::new(), &[("images", 12)]).with_output_of("model", &model, "model");
    run(&evaluate::KIND, &json!({ "transforms": [{ "resize": 16 }], "batch": 5 }), &job).expect("it runs");
    let metrics: Value = serde_json::from_slice(&job.bytes("metrics", ONLY_FILE)).expect("JSON");
    assert_eq!(metrics["images"], json!(12));
    assert_eq!(metrics["accuracy"].as_f64(), job.metrics().get("accuracy").copied());
    let predictions = String::from_utf8(job.bytes("predictions", ONLY_FILE)).expect("text");
    assert!(predictions.starts_with("Id,Category\n0,class "), "{predictions}");
    assert_eq!(predictions.lines().count(), 13);
    let logits = StateDict::from_safetensors(&job.bytes("logits", ONLY_FILE)).expect("safetensors");
    assert_eq!(logits.get("logits").map(|entry| entry.shape.clone()), Some(vec![12, 10]));
    let done: Vec<_> = job.progress_told().iter().map(|p| p.done).collect();
    assert_eq!(done, [5, 10, 12]);
}

#[test]
fn options_out_of_range_are_complained_about_before_anything_runs() {
    let params = json!({ "model": "lenet", "epochs": 0, "lr": -1, "schedule": { "step": 0 } });
    for (kind, params) in [
        (train::KIND, &params),
        (fine_tune::KIND, &json!({ "epochs": 0, "lr": -1, "schedule": { "step": 0 } })),
    ] {
        let complaints = (kind.read)(params).err().expect("complaints").into_complaints();
        let places: Vec<_> = complaints.iter().map(|c| c.path.join(".")).collect();
        assert_eq!(places, ["epochs", "lr", "schedule"]);
    }
}

/// The failure of a stage, in words.
fn failure(kind: &StageKind, params: &Value, job: &TestJob) -> String {
    match run(kind, params, job) {
        Err(StageError::Failed(error)) => error.to_string(),
        other => panic!("no failure: {other:?}"),
    }
}

#[test]
fn a_training_that_would_be_judged_by_what_it_learns_is_refused() {
    let train = with_data(TestJob::new(), &[("train", 25)]);
    let input = |port: &str| crate::engine::stage::Job::input(&train, port).cloned().expect("bound");
    let job = TestJob::new().with_input("train", input("train")).with_input("val", input("train"));
    let mut params = json!({ "model": "lenet", "epochs": 1, "batch": 10 });
    assert_eq!(
        failure(&train::KIND, &params, &job),
        "val: 25 of its 25 images are among those that the network learns from, such as that of sample 0, a \
         `class 0` (it is of the same image as sample 0 of `train`); make `train` and `val` of two parts of a \
         `split`, which keeps equal images together, or set `allow_overlap: true` to go on all the same"
    );
    params["allow_overlap"] = json!(true);
    run(&train::KIND, &params, &job).expect("it trains");
    assert!(job.log_lines()[0].starts_with("warning: val: 25 of its 25 images"), "{:?}", job.log_lines());
    assert_eq!(job.metrics()["overlap"], 25.0);
}

#[test]
fn a_model_remembers_what_it_and_the_model_before_it_have_learnt_from() {
    let first = trained(1);
    let params = json!({ "epochs": 1, "batch": 10 });
    let data = with_data(TestJob::new(), &[("train", 25), ("val", 10), ("images", 12)]);
    let input = |port: &str| crate::engine::stage::Job::input(&data, port).cloned().expect("bound");
    let job = |train: &str, val: &str| {
        TestJob::new()
            .with_output_of("model", &first, "model")
            .with_input("train", input(train))
            .with_input("val", input(val))
    };
    let told = failure(&fine_tune::KIND, &params, &job("images", "train"));
    assert!(told.contains("25 of its 25 images") && told.contains("has learnt from it before"), "{told}");

    let tuned = job("images", "val");
    run(&fine_tune::KIND, &params, &tuned).expect("it trains");
    for (learnt, count) in [("train", 25), ("images", 12)] {
        let job = TestJob::new().with_output_of("model", &tuned, "model").with_input("images", input(learnt));
        let told = failure(&evaluate::KIND, &json!({}), &job);
        assert!(told.starts_with(&format!("images: {count} of its {count} images are among")), "{told}");
        run(&evaluate::KIND, &json!({ "allow_overlap": true }), &job).expect("it judges");
        assert_eq!(job.metrics()["overlap"], f64::from(count));
    }
    let job = TestJob::new().with_output_of("model", &tuned, "model").with_input("images", input("val"));
    run(&evaluate::KIND, &json!({ "average_flips": true }), &job).expect("it judges");
    assert_eq!(job.metrics().get("overlap"), None);
}

#[test]
fn weights_from_a_file_are_the_model_of_the_port() {
    let model = trained(1);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("net.safetensors");
    std::fs::write(&path, model.bytes("model", "model.safetensors")).expect("written");
    let weights = |network: &str| json!({ "weights": path, "model": network });

    let from_port = with_data(TestJob::new(), &[("images", 12)]).with_output_of("model", &model, "model");
    run(&evaluate::KIND, &json!({}), &from_port).expect("it judges");
    let from_file = with_data(TestJob::new(), &[("images", 12)]);
    run(&evaluate::KIND, &weights("lenet"), &from_file).expect("it judges");
    for port in ["metrics", "predictions", "logits"] {
        assert_eq!(from_port.output(port).digest, from_file.output(port).digest, "{port}");
    }
    assert!(
        from_file.log_lines()[0].starts_with("nothing is known of the images"),
        "{:?}",
        from_file.log_lines()
    );

    let told = failure(&evaluate::KIND, &weights("custom_net"), &from_file);
    for part in
        ["net.safetensors: the weights do not fit", "missing: ", "layer_8.bias", "layer_1.weight is F32"]
    {
        assert!(told.contains(part), "{told}");
    }

    let tuned = with_data(TestJob::new(), &DATA);
    let mut params = weights("lenet");
    params["epochs"] = json!(1);
    params["batch"] = json!(10);
    run(&fine_tune::KIND, &params, &tuned).expect("it trains");
    let card: Value = serde_json::from_slice(&tuned.bytes("model", "model.json")).expect("JSON");
    assert_eq!((&card["network"], &card["classes"][9]), (&json!("lenet"), &json!("class 9")));
}

#[test]
fn weights_count_by_content_and_name_their_network() {
    let read = |params: Value| (evaluate::KIND.read)(&params).expect("the parameters are right");
    let identity = |params| read(params).identity();
    let [here, there] =
        ["a.safetensors", "b.safetensors"].map(|path| json!({ "weights": path, "model": "lenet" }));
    assert_eq!(identity(here.clone()).params, identity(there).params);
    let mut spelled = here.clone();
    spelled["activation"] = json!("relu");
    assert_eq!(identity(here.clone()), identity(spelled));
    assert_eq!(identity(here).files["weights"], std::path::Path::new("a.safetensors"));

    let told = |kind: &StageKind, params: Value| {
        let complaints = (kind.read)(&params).err().expect("complaints").into_complaints();
        complaints.into_iter().map(|c| c.message).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(
        told(&evaluate::KIND, json!({ "weights": "a" })),
        "weights: the network that they are of must be named"
    );
    assert_eq!(
        told(&fine_tune::KIND, json!({ "epochs": 1, "model": "lenet", "activation": "relu" })),
        "model: this goes with `weights`; the model at the input says what it is\n\
         activation: this goes with `weights`; the model at the input says what it is"
    );
}
