//! Bad input ends with a message that names the place and the remedy, the right exit code, and nothing
//! half-made that a later run would trust.

use std::io::Write;

use crate::incremental::EXPERIMENT;
use crate::workspace::{Said, Workspace};

/// The problems of a pipeline, none of which lets anything run.
#[track_caller]
fn problems<const N: usize>(pipeline: &str, texts: [&str; N]) {
    let ws = Workspace::new(pipeline);
    ws.call(&["run", "pipeline.yaml"]).exits(2).says(texts);
    assert_eq!(ws.count_files("cache") + ws.count_files("data"), 0);
}

#[test]
fn all_problems_of_a_pipeline_are_reported_together() {
    problems(
        &EXPERIMENT
            .replace("uses: decode", "uses: decoed")
            .replace("epochs: 2", "epocs: 2")
            .replace("batch: 16, lr: 0.0001", "batch: many, lr: 0.0001")
            .replace("images: images.test", "images: imagse.test"),
        [
            "decoed",
            "did you mean `decode`",
            "epocs",
            "did you mean `epochs`",
            "many",
            "imagse",
            "pipeline.yaml:",
        ],
    );
}

#[test]
fn all_wrong_values_of_one_stage_are_reported_together() {
    problems(
        r#"
stages:
  a:
    uses: command
    with:
      run: 5
      deps: [..]
      outs: { o: ../x, "a b": o }
      timeout: soon
      env: [A=B]
"#,
        [
            "run: expected a line",
            "`..` has no name",
            "outs.o: leaves",
            "\"a b\" cannot name an output",
            "timeout: expected a number",
            "`A=B` is no name",
            "6 problems found",
        ],
    );
    let wrong =
        "epochs: many, batch: -1, lr: 0, schedule: linear, optimizer: { sgd: { momentum: 2 } }, ema: 1,";
    let said = Workspace::new(&EXPERIMENT.replace("epochs: 2, batch: 16, lr: 0.001,", wrong));
    let said = said.call(&["run", "pipeline.yaml"]).exits(2);
    said.says([
        "epochs: expected a whole number, found the text",
        "batch: expected a whole number from 1",
        "lr must be above 0",
        "schedule: expected `constant`",
        "optimizer momentum must be",
        "ema must be",
        "6 problems found",
    ]);
}

#[test]
fn images_too_small_for_a_network_are_told_where_they_are_made() {
    for (right, wrong, texts) in [
        (
            "{ resized-crop: 32 }, { hflip: 0.5 }",
            "{ resized-crop: 3 }, { hflip: 0.5 }",
            [
                "`train` needs images of at least 8 x 8 pixels, and `augmented` makes them 3 wide or high",
                "yaml:11:",
            ],
        ),
        (
            "transforms: [ { resized-crop: 32 } ]",
            "transforms: [ { resized-crop: 32 }, { resize: 7 } ]",
            [
                "`tune` needs images of at least 8 x 8 pixels, and `val_augmented` makes them 7 wide or high",
                "yaml:15:",
            ],
        ),
        (
            "{ resize: 32 }",
            "{ resize: 5 }",
            [
                "the network needs images of at least 8 x 8 pixels, and this makes them 5 wide or high",
                "yaml:27:",
            ],
        ),
    ] {
        problems(&EXPERIMENT.replace(right, wrong), texts);
    }
    // What a network does not see may be as small as it likes.
    let between = EXPERIMENT.replace("[ { resized-crop: 32 } ]", "[ { resize: 3 }, { resize: 32 } ]");
    Workspace::new(&between).call(&["status", "pipeline.yaml"]).succeeds();
}

#[test]
fn a_cycle_is_reported_with_its_path() {
    problems(
        r#"
stages:
  a: { uses: command, in: { x: c.o }, with: { run: "true", outs: { o: o } } }
  b: { uses: command, in: { x: a.o }, with: { run: "true", outs: { o: o } } }
  c: { uses: command, in: { x: b.o }, with: { run: "true", outs: { o: o } } }
"#,
        ["cycle", "a -> b -> c -> a"],
    );
}

#[test]
fn values_out_of_range_name_the_parameter() {
    problems(&EXPERIMENT.replace("samples: 32", "samples: 0"), ["samples", "pipeline.yaml:"]);
    problems(&EXPERIMENT.replace("lr: 0.001,", "lr: -1,"), ["lr must be above 0"]);
    let mut ws = Workspace::new(EXPERIMENT);
    ws.set("train.schedule.step", 0);
    ws.call(&["run", "pipeline.yaml"])
        .exits(2)
        .says(["schedule step must be", "--> --set train.schedule.step=0"]);
    problems(&EXPERIMENT.replace("hflip: 0.5", "hflip: 1.5"), ["hflip"]);
}

#[test]
fn an_unknown_port_is_named_with_the_nearest() {
    problems(&EXPERIMENT.replace("images.train", "images.trian"), ["trian", "did you mean `images.train`?"]);
}

#[test]
fn a_missing_pipeline_file_is_a_mistake_on_the_command_line() {
    let ws = Workspace::new("");
    ws.call(&["run", "nothing.yaml"]).exits(2).says(["nothing.yaml", "there is no such file"]);
}

#[test]
fn a_missing_archive_is_named() {
    let ws = Workspace::new(&archive_pipeline("missing.tar.gz"));
    assert_file_is_missing(
        &ws,
        ["stage `archive` reads `missing.tar.gz`, and there is no such file", "--> pipeline.yaml:2:43"],
    );
}

/// `run`, a dry run and `status` refuse the pipeline in the same words, and nothing is made.
#[track_caller]
fn assert_file_is_missing<const N: usize>(ws: &Workspace, texts: [&str; N]) {
    for words in [&["run"][..], &["run", "--dry-run"], &["run", "--keep-going"], &["status"]] {
        ws.call(&[words, &["pipeline.yaml"]].concat()).exits(2).says(texts);
    }
    assert_eq!(ws.count_files("cache/records") + ws.count_files("data"), 0);
}

#[test]
fn a_missing_dependency_is_named_with_its_line_unless_it_is_left_out_or_may_still_be_made() {
    let pipeline = r#"
name: p
stages:
  other: { uses: command, with: { run: "echo other > o", outs: { o: o } } }
  copy:
    uses: command
    with:
      run: cat here.txt > o
      deps:
        - there.txt
        - here.txt
      outs: { o: o }
"#;
    let ws = Workspace::new(pipeline);
    ws.write("there.txt", "one");
    let place = "--> pipeline.yaml:11:11";
    assert_file_is_missing(&ws, ["stage `copy` reads `here.txt`, and there is no such file", place]);
    ws.run_with(&["--stage", "other"]).ran(["other"]);
    ws.write("here.txt", "one").run().ran(["copy"]);

    // What another stage or pipeline makes is looked for only when it is needed.
    let made = pipeline.replace("- here.txt", "- data/p/other/o");
    let ws = Workspace::new(&made.replace("cat here.txt", "cat data/p/other/o"));
    ws.write("there.txt", "one");
    let told =
        "data/p/other/o: there is no such file; make it, or run first what makes it (pipeline.yaml:11)";
    ws.call(&["status", "pipeline.yaml"]).succeeds().says([told]);
    let ran = ws.run_with(&["--stage", "copy"]).failed(["copy"]);
    assert!(ran.error().starts_with(told), "{}", ran.error());
    ws.run_with(&["--stage", "other"]).ran(["other"]);
    ws.run().ran(["copy"]);
}

#[test]
fn missing_files_and_unknown_stages_are_told_beside_all_other_problems() {
    let ws = Workspace::new(
        r#"
stages:
  reads: { uses: command, with: { run: "true", deps: [gone.txt], outs: { o: o } } }
  wrong: { uses: command, with: { run: "true", timeout: -1 } }
  after: { uses: command, in: { x: reads }, with: { run: "true" } }
"#,
    );
    let missing = "stage `reads` reads `gone.txt`, and there is no such file";
    let told = |words: &[&str]| {
        let said = ws.call(&[&["run", "pipeline.yaml"], words].concat()).exits(2);
        said.says(["timeout: must be", "--> pipeline.yaml:4:"]).err
    };
    assert!(told(&[]).contains(missing) && told(&[]).contains("2 problems found"));
    assert!(told(&["--stage", "after"]).contains(missing));
    let named = told(&["--stage", "wrong", "--stage", "afterr", "--force", "read"]);
    assert!(!named.contains(missing) && named.contains("3 problems found"), "{named}");
    assert!(named.contains("--> --stage afterr\n  = did you mean `after`?"), "{named}");
    assert!(named.contains("--> --force read\n  = did you mean `reads`?"), "{named}");
    // In a circle nobody knows what comes first.
    let pipeline = ws
        .read("pipeline.yaml")
        .replace("deps", "retries: 1, deps")
        .replace("reads: {", "reads: { in: { y: after },");
    ws.write("pipeline.yaml", pipeline);
    ws.call(&["status", "pipeline.yaml"]).exits(2).says([missing, "timeout: must be"]);
}

#[test]
fn what_comes_by_a_setting_is_blamed_on_it() {
    let place = |setting: &str, text: &str| {
        let ws = Workspace::new(EXPERIMENT);
        let said = ws.call(&["run", "pipeline.yaml", "--set", setting]).exits(2);
        said.says([text, &format!("--> --set {setting}\n")]);
    };
    place("vars.samples=many", "expected a whole number");
    place("vars.samples=0", "samples");
    place("train.lr=-1", "lr must be above 0");
    place("train.lrr=1", "did you mean `lr`?");
    place("augmented.transforms.1.hflop=1", "did you mean `hflip`?");
    place("split.parts.train=2", "parts");
    place("train.optimizer={ adam: {} }", "`adam` takes no value; write `adam` in place of the map");
    let parts = EXPERIMENT.replace("samples: 32", "samples: 32, url: a");
    let ws = Workspace::new(&parts.replace(
        "uses: synthesize, with: { train_per_class: 8, test_per_class: 2 }",
        "uses: download, with: { url: \"${vars.url}.tar.gz\" }",
    ));
    ws.call(&["status", "pipeline.yaml", "--set", "vars.url=b"])
        .exits(2)
        .says(["reads `b.tar.gz`", "--> --set vars.url=b"]);
}

#[test]
fn a_reference_inside_braces_wants_quotes() {
    problems(
        &EXPERIMENT.replace("\"${vars.samples}\"", "${vars.samples}"),
        ["not YAML", "inside `{ }` and `[ ]` put quotes around it: \"${vars.samples}\""],
    );
}

#[test]
fn numbers_and_folders_on_the_command_line_are_checked() {
    let ws = Workspace::new(EXPERIMENT);
    ws.write("file", "").write("photos/a.png", "");
    let refused = |words: &[&str], text: &str| {
        ws.call(&[&["run", "pipeline.yaml"], words].concat()).exits(2).says([text]);
    };
    refused(&["--jobs", "0"], "write a whole number from 1");
    refused(&["--threads", "x"], "write a whole number from 1");
    refused(&["--data", "file"], "--data file: that is a file; name a directory");
    refused(&["--cache", "photos"], "--cache photos: that directory is in use for something else");
    assert_eq!((ws.count_files("photos"), ws.count_files("cache")), (1, 0));
}

#[test]
fn programs_are_told_of_problems_too() {
    let ws = Workspace::new(&EXPERIMENT.replace("epochs: 2", "epocs: 2"));
    for words in [&["run"][..], &["status"], &["show"]] {
        let said = ws.call(&[words, &["pipeline.yaml", "--json"]].concat()).exits(2);
        let event: serde_json::Value = serde_json::from_str(&said.out).expect("one event");
        assert_eq!(
            (&event["event"], &event["message"]),
            (&"error".into(), &"2 problems found; nothing was run".into())
        );
        let problem = &event["problems"][1];
        assert_eq!(problem["place"], "pipeline.yaml:19:27");
        assert_eq!(problem["message"], "unknown parameter `epocs`");
        assert_eq!(problem["notes"][0], "did you mean `epochs`?");
        assert!(said.err.contains("unknown parameter `epocs`"), "{said:#?}");
    }
    std::fs::create_dir(ws.path("cache")).expect("made");
    let said = ws.call(&["runs", "nobody", "--json"]).exits(2);
    assert!(said.out.contains(r#""event":"error""#) && said.out.contains("no run of `nobody`"), "{said:#?}");
}

#[test]
fn programs_are_told_of_a_wrong_command_line_too() {
    let ws = Workspace::new(EXPERIMENT);
    let error = |words: &[&str]| {
        let said = ws.call(words).exits(2);
        assert!(said.err.starts_with("error: "), "{said:#?}");
        let event: serde_json::Value = serde_json::from_str(&said.out).expect("one event");
        assert_eq!((&event["event"], &event["problems"]), (&"error".into(), &serde_json::json!([])));
        event["message"].as_str().expect("a text").to_owned()
    };
    assert_eq!(
        error(&["run", "pipeline.yaml", "--json", "--jobs", "0"]),
        "invalid value '0' for '--jobs <N>': write a whole number from 1; without the option it is as many as \
         there are cores"
    );
    assert_eq!(
        error(&["status", "--json"]),
        "the following required arguments were not provided: <PIPELINE>"
    );
    assert_eq!(
        error(&["run", "pipeline.yaml", "--json", "--keep-goin"]),
        "unexpected argument '--keep-goin' found; tip: a similar argument exists: '--keep-going'"
    );
    assert_eq!(
        error(&["status", "pipeline.yaml", "--json", "--set", "train"]),
        "invalid value 'train' for '--set <KEY=VALUE>': `train` has no `=`; write STAGE.PARAMETER=VALUE or vars.NAME=VALUE"
    );
    assert_eq!(ws.call(&["status", "--jsn"]).exits(2).out, "");
    assert!(ws.call(&["run", "--json", "--help"]).succeeds().out.starts_with("Bring every result"));
}

#[test]
fn a_wrong_checksum_names_both_and_keeps_nothing() {
    let ws = Workspace::new(
        &archive_pipeline("a.tar.gz")
            .replace("a.tar.gz }", "a.tar.gz, md5: 00000000000000000000000000000000 }"),
    );
    ws.write("a.tar.gz", "hello");
    let ran = ws.run().failed(["archive"]);
    for part in ["00000000000000000000000000000000", "5d41402abc4b2a76b9719d911017c592"] {
        assert!(ran.error().contains(part), "{}", ran.error());
    }
    assert_eq!(
        ws.count_files("cache/blobs") + ws.count_files("cache/records") + ws.count_files("cache/tmp"),
        0
    );
}

#[test]
fn broken_archives_say_what_and_where() {
    let images = |n: usize| vec![7u8; n * 27_648];
    let names = "airplane bird car cat deer dog horse monkey ship truck".replace(' ', "\n");
    let ok: Vec<(&str, Vec<u8>)> = vec![
        ("class_names.txt", names.into_bytes()),
        ("train_X.bin", images(2)),
        ("train_y.bin", vec![1, 2]),
        ("test_X.bin", images(1)),
        ("test_y.bin", vec![1]),
    ];
    let with = |name: &str, bytes: Vec<u8>| {
        ok.iter().map(|(n, b)| (*n, if *n == name { bytes.clone() } else { b.clone() })).collect::<Vec<_>>()
    };
    assert_decode(&pack(&ok)).succeeds();
    let whole = pack(&ok);
    assert_decode(&whole[..whole.len() / 2]).exits(1).says(["truncated"]);
    assert_decode(b"not a gzip file").exits(1).says(["gzip"]);
    assert_decode(&pack(&with("train_y.bin", vec![0, 1]))).exits(1).says(["train_y.bin", "label 0"]);
    assert_decode(&pack(&with("train_y.bin", vec![1, 11]))).exits(1).says(["train_y.bin", "label 11"]);
    assert_decode(&pack(&with("train_y.bin", vec![1, 2, 2]))).exits(1).says(["train_y.bin", "3", "2"]);
    assert_decode(&pack(&with("test_X.bin", vec![0; 27_647]))).exits(1).says(["test_X.bin", "27648"]);
    assert_decode(&pack(&ok[..4])).exits(1).says(["test_y.bin"]);
}

#[test]
fn a_batch_larger_than_the_data_is_refused() {
    let ws = Workspace::new(&EXPERIMENT.replace("batch: 16, lr: 0.001", "batch: 33, lr: 0.001"));
    for words in
        [&["run", "pipeline.yaml"][..], &["run", "pipeline.yaml", "--dry-run"], &["status", "pipeline.yaml"]]
    {
        let remedy = "choose a batch of at most 32, or give `augmented` more samples";
        let place = "--> pipeline.yaml:19:45";
        ws.call(words).exits(2).says(["batch 33 is more than the 32 samples of `augmented`", place, remedy]);
    }
    assert_eq!(ws.count_files("cache") + ws.count_files("data"), 0);
    // How many samples a split has shows only when it was made; from then on it is told before anything runs.
    let mut ws = Workspace::new(&EXPERIMENT.replace("in: { train: augmented", "in: { train: split.train"));
    ws.set("train.batch", 64);
    let ran = ws.run().failed(["train"]);
    assert!(ran.error().contains("64") && ran.error().contains("60"), "{}", ran.error());
    for words in
        [&["run", "pipeline.yaml"][..], &["run", "pipeline.yaml", "--dry-run"], &["status", "pipeline.yaml"]]
    {
        let told = [
            "batch 64 is more than the 60 samples of `split.train`",
            "--> --set train.batch=64",
            "at most 60",
        ];
        ws.call(words).exits(2).says(told);
    }
    ws.call(&["show", "pipeline.yaml", "train"]).succeeds();
    ws.call(&["run", "pipeline.yaml", "--stage", "split"]).succeeds();
    ws.set("train.batch", 60);
    ws.call(&["status", "pipeline.yaml"]).succeeds().says(["train"]);
}

#[test]
fn an_unwritable_cache_is_named_with_the_remedy() {
    let ws = Workspace::new(EXPERIMENT);
    ws.write("file", "");
    ws.call(&["run", "pipeline.yaml", "--cache", "file/cache"]).exits(1).says(["file/cache", "--cache DIR"]);
}

fn archive_pipeline(url: &str) -> String {
    format!(
        "stages:\n  archive: {{ uses: download, with: {{ url: {url} }} }}\n  images: {{ uses: decode, in: {{ archive: archive }} }}\n"
    )
}

/// Decodes an archive; nothing of a broken one is kept as a result.
#[track_caller]
fn assert_decode(archive: &[u8]) -> Said {
    let ws = Workspace::new(&archive_pipeline("a.tar.gz"));
    ws.write("a.tar.gz", archive);
    let said = ws.call(&["run", "pipeline.yaml"]);
    let records = if said.code == Some(0) { 2 } else { 1 };
    assert_eq!(ws.count_files("cache/records"), records, "{said:#?}");
    said
}

/// A .tar.gz with these members below `stl10_binary/`.
fn pack(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive
            .append_data(&mut header, format!("stl10_binary/{name}"), bytes.as_slice())
            .expect("in memory");
    }
    let mut gzip = archive.into_inner().expect("in memory");
    gzip.flush().expect("in memory");
    gzip.finish().expect("in memory")
}
