//! What is told of all stages and runs at once, and how.

use serde_json::Value;

use crate::workspace::Workspace;

const PAIR: &str = r#"
name: pair
stages:
  first: { uses: command, with: { run: "echo said by first; echo 1 > o", outs: { o: o } } }
  second: { uses: command, in: { x: first }, with: { run: "cp in/x o", outs: { o: o }, env: [TOLD] } }
"#;

#[test]
fn all_stages_are_shown_as_one_json_document() {
    let ws = Workspace::new(PAIR);
    ws.run_with(&["--stage", "first"]).ran(["first"]);
    let said = ws.call(&["show", "pipeline.yaml", "--json"]).succeeds();
    let all: Value = serde_json::from_str(&said.out).expect("one document");
    assert_eq!(all["pipeline"], "pair");
    let stages = all["stages"].as_array().expect("a list");
    let told = |stage: &Value| (stage["stage"].clone(), stage["verdict"].clone());
    assert_eq!(
        stages.iter().map(told).collect::<Vec<_>>(),
        [("first".into(), "reuse".into()), ("second".into(), "run".into())]
    );
    let one = ws.call(&["show", "pipeline.yaml", "first", "--json"]).succeeds();
    assert_eq!(stages[0], serde_json::from_str::<Value>(&one.out).expect("one document"));
}

#[test]
fn all_logs_are_printed_under_the_names_of_their_stages() {
    let ws = Workspace::new(PAIR);
    ws.call(&["show", "pipeline.yaml", "--log"]).exits(2).says(["no stage of pair has a log yet"]);
    ws.run();
    let said = ws.call(&["show", "pipeline.yaml", "--log"]).succeeds();
    assert_eq!(said.out, "== first ==\nsaid by first\n");
}

#[test]
fn an_unknown_pipeline_has_no_runs_and_the_known_ones_are_named() {
    let ws = Workspace::new(PAIR);
    for words in [&["runs"][..], &["runs", "pair"], &["compare", "pair", "pair~1"]] {
        ws.call(words).exits(2).says(["cache: there is no cache; "]);
        ws.call(&[words, &["--cache", "nope"]].concat()).exits(2).says(["nope: there is no cache; "]);
    }
    std::fs::create_dir(ws.path("cache")).expect("made");
    ws.call(&["runs", "nobody"]).exits(2).says(["no run of `nobody` in cache; there are no runs at all"]);
    ws.call(&["runs"]).succeeds().says(["no runs in cache"]);
    ws.run();
    ws.call(&["runs", "pear"]).exits(2).says(["no run of `pear` in cache", "there are runs of pair"]);
    ws.call(&["runs", "pair"]).succeeds().says(["pair~0"]);
}

#[test]
fn several_reasons_are_told_on_lines_of_their_own() {
    let ws = Workspace::new(PAIR);
    ws.run().ran(["first", "second"]);
    ws.write(
        "pipeline.yaml",
        PAIR.replace("cp in/x o", "cat in/x > p").replace("{ o: o }, env", "{ o: p }, env"),
    );
    let said = ws.call(&["run", "pipeline.yaml"]).succeeds();
    let mut lines = said.err.lines();
    let first = lines.next().expect("a line");
    assert!(
        first.starts_with("second  to run    second.outs.o \"o\" -> \"p\" (pipeline.yaml:5)"),
        "{said:#?}"
    );
    let below = "                  second.run \"cp in/x o\" -> \"cat in/x > p\" (pipeline.yaml:5)";
    assert_eq!(lines.next(), Some(below), "{said:#?}");
}

#[test]
fn a_schedule_of_another_form_is_one_reason() {
    let mut ws = Workspace::new(crate::incremental::EXPERIMENT);
    ws.set("train.schedule", "{ step: 50 }").run_with(&["--stage", "train"]);
    ws.set("train.schedule", "cosine");
    let setting = "(--set train.schedule=cosine)";
    ws.call(&["status", "pipeline.yaml"])
        .succeeds()
        .says([&format!(r#"train.schedule {{"step":50,"gamma":0.1}} -> "cosine" {setting}"#)]);
}

#[test]
fn a_value_that_a_setting_changes_inside_is_placed_there() {
    let ws = Workspace::new(crate::incremental::EXPERIMENT);
    ws.run_with(&["--stage", "train"]);
    for (setting, reason) in [
        ("train.schedule.step=3", r#"train.schedule "constant" -> {"step":3,"gamma":0.1}"#),
        (
            "train.optimizer.sgd.momentum=0.5",
            r#"train.optimizer "adam" -> {"sgd":{"momentum":0.5,"nesterov":false}}"#,
        ),
    ] {
        let told = format!("{reason} (--set {setting})");
        ws.call(&["status", "pipeline.yaml", "--set", setting]).succeeds().says([&told]);
        ws.call(&["why", "pipeline.yaml", "train", "--set", setting]).succeeds().says([&told]);
    }
}

#[test]
fn one_file_is_told_in_the_singular() {
    let ws = Workspace::new(PAIR);
    ws.run();
    let stray = "0".repeat(64);
    ws.write(&format!("cache/blobs/00/{stray}"), "stray");
    ws.call(&["cache", "gc"]).succeeds().says(["1 file of no result"]);
}

#[test]
fn a_record_and_the_trash_are_told_to_programs_too() {
    let ws = Workspace::new(&PAIR.replace("cp in/x o", "cat in/x in/x > o"));
    ws.run().ran(["first", "second"]);
    ws.write("pipeline.yaml", PAIR);
    ws.run().ran(["second"]);
    let json = |words: &[&str], code: i32| -> Value {
        let said = ws.call(&[&["cache"], words, &["--json"]].concat()).exits(code);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:#?}"))
    };
    let first = ws.call(&["cache", "ls", "--json"]).succeeds().out;
    let record: Value = serde_json::from_str(first.lines().next().expect("a record")).expect("JSON");
    assert_eq!(json(&["show", record["key"].as_str().expect("digits")], 0), record);
    assert_eq!(json(&["show", "xyz"], 2)["event"], "error");

    assert_eq!(json(&["restore"], 0), serde_json::json!({ "trash": [], "bytes": 0 }));
    let id = json(&["gc", "--keep-runs", "1", "--delete"], 0)["trash"].clone();
    let list = json(&["restore"], 0);
    assert_eq!((&list["trash"][0]["id"], &list["bytes"]), (&id, &list["trash"][0]["bytes"]));
    assert_eq!(json(&["restore", "1"], 2)["event"], "error");
    let blob = ws.files("cache/trash").into_iter().find(|path| path.to_string_lossy().contains("/blobs/"));
    std::fs::remove_file(blob.expect("a blob")).expect("writable");
    let restored = json(&["restore", id.as_str().expect("a name")], 1);
    assert_eq!(restored["restored"], id);
    assert_eq!(restored["findings"][0]["wrong"], "is missing");
}
