//! Several processes at work in one store: each key is computed once, whoever waits says for whom, and what is killed
//! takes nothing from the others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::workspace::Workspace;

/// Three stages that all pipelines share, and one of the pipeline's own; each says so in a file when it is done.
const PIPELINE: &str = r#"
name: NAME
stages:
  first: { uses: command, with: { run: "sleep 0.3; seq 1000 > o; echo first >> $DONE", env: [DONE], outs: { o: o } } }
  left: { uses: command, in: { x: first.o }, with: { run: "sleep 0.2; tac in/x > o; echo left >> $DONE", env: [DONE], outs: { o: o } } }
  right: { uses: command, in: { x: first.o }, with: { run: "mkdir d; sort in/x > d/o; echo right >> $DONE", env: [DONE], outs: { d: d/ } } }
  own: { uses: command, in: { l: left.o, r: right.d }, with: { run: "cat in/l in/r/o > o; echo OWN; echo own-OWN >> $DONE", env: [DONE], outs: { o: o } } }
"#;

fn pipeline(name: &str, own: &str) -> String {
    PIPELINE.replace("NAME", name).replace("OWN", own)
}

#[test]
fn several_processes_on_one_pipeline_do_the_work_once() {
    for processes in [2, 4, 8] {
        let ws = Workspace::new(&pipeline("same", "same"));
        let children: Vec<Child> = (0..processes).map(|_| start(&ws, "pipeline.yaml")).collect();
        let pids: Vec<u32> = children.iter().map(Child::id).collect();
        let told: Vec<String> = children.into_iter().map(succeeds).collect();
        let counts = counts(&ws);
        assert_eq!(counts.values().collect::<Vec<_>>(), [&1; 4], "{processes} processes: {counts:?}");

        let waits = |text: &&String| text.contains("waiting");
        assert!(told.iter().filter(waits).count() > 0, "{told:#?}");
        for line in told.iter().flat_map(|text| text.lines()).filter(|line| line.contains("waiting")) {
            let (stage, rest) = line.split_once("waiting").expect("just found");
            let names_a_process = pids.iter().any(|pid| rest.contains(&format!("for process {pid} ")));
            assert!(names_a_process && rest.contains(&format!("({} of same)", stage.trim())), "{line}");
        }
        ws.call(&["cache", "verify"]).succeeds();
    }
}

#[test]
fn pipelines_with_a_common_beginning_share_its_results() {
    for processes in [2, 4, 8] {
        let ws = Workspace::new("");
        let names: Vec<String> = (0..processes).map(|n| format!("p{n}")).collect();
        for name in &names {
            ws.write(&format!("{name}.yaml"), pipeline(name, name));
        }
        let children: Vec<Child> = names.iter().map(|name| start(&ws, &format!("{name}.yaml"))).collect();
        children.into_iter().for_each(|child| drop(succeeds(child)));
        let counts = counts(&ws);
        assert_eq!(counts.len(), 3 + processes, "{counts:?}");
        assert!(counts.values().all(|count| *count == 1), "{processes} processes: {counts:?}");
        let results: Vec<String> = names.iter().map(|name| ws.read(&format!("data/{name}/own/o"))).collect();
        assert!(results.iter().all(|result| *result == results[0] && result.lines().count() == 2000));
        ws.call(&["cache", "verify"]).succeeds();
    }
}

#[test]
fn what_some_are_killed_at_the_others_do() {
    for killed in [1, 3] {
        let ws = Workspace::new(&pipeline("same", "same"));
        ws.write("other.yaml", pipeline("other", "other"));
        let mut children: Vec<Child> = (0..killed + 4)
            .map(|n| start(&ws, if n % 2 == 0 { "pipeline.yaml" } else { "other.yaml" }))
            .collect();
        // The first are those that hold the keys.
        for mut child in children.drain(..killed) {
            std::thread::sleep(Duration::from_millis(150));
            child.kill().expect("ours");
            child.wait().expect("ours");
        }
        children.into_iter().for_each(|child| drop(succeeds(child)));
        let counts = counts(&ws);
        assert_eq!(counts.len(), 5, "{counts:?}");
        // The programs of a killed process may still have come to their end: there are two on two cores.
        assert!(counts.values().sum::<usize>() <= 5 + 2 * killed, "{counts:?}");
        assert_eq!(ws.read("data/same/own/o"), ws.read("data/other/own/o"));
        ws.call(&["cache", "verify"]).succeeds();
    }
}

#[test]
fn a_training_in_two_processes_is_done_once_and_gives_both_the_result() {
    let ws = Workspace::new(crate::incremental::EXPERIMENT);
    let children = [(); 4].map(|()| start(&ws, "pipeline.yaml"));
    let told = children.map(succeeds);
    let trained = told.iter().filter(|text| text.contains("epoch 2/2")).count();
    assert_eq!(trained, 1, "{told:#?}");
    let alone = Workspace::new(crate::incremental::EXPERIMENT);
    alone.run();
    assert_eq!(ws.digests("test"), alone.digests("test"));
}

fn done(ws: &Workspace) -> PathBuf {
    ws.path("done")
}

/// How often each stage was computed to its end.
fn counts(ws: &Workspace) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in ws.read("done").lines() {
        *counts.entry(line.to_owned()).or_default() += 1;
    }
    counts
}

fn start(ws: &Workspace, pipeline: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stlpipe"));
    command
        .current_dir(ws.path(""))
        .args(["run", pipeline, "--threads", "2"])
        .env("DONE", done(ws))
        .stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

/// Waits for the end and returns what was said.
#[track_caller]
fn succeeds(child: Child) -> String {
    let Output { status, stderr, .. } = child.wait_with_output().expect("ours");
    let said = String::from_utf8(stderr).expect("UTF-8");
    assert!(status.success(), "{status}: {said}");
    said
}
