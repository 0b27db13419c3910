//! What becomes of a stage whose input does not stay what it was, although inputs are the store's own files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::workspace::Workspace;

/// Waits for a file that another stage makes.
const AWAIT: &str = "await() { until [ -e FLAGS/$1 ]; do sleep 0.01; done; }; ";

/// A pipeline whose stages tell each other by files how far they are.
fn signalling(stages: &str) -> Workspace {
    let ws = Workspace::new("");
    ws.write("flags/begun", "");
    let flags = ws.path("flags").display().to_string();
    let text = format!("name: s\nstages:\n{stages}").replace("AWAIT", AWAIT).replace("FLAGS", &flags);
    ws.write("pipeline.yaml", text);
    ws
}

#[test]
fn a_command_that_changes_its_input_makes_no_result() {
    let mut ws = Workspace::new(
        r#"
stages:
  a: { uses: command, with: { run: "mkdir d; echo good > d/x", outs: { d: d/ } } }
  b: { uses: command, in: { d: a }, with: { run: "chmod u+w in/d/x; echo evil > in/d/x; cp in/d/x o", outs: { o: o } } }
"#,
    );
    let ran = ws.run().failed(["b"]);
    assert!(ran.error().contains("its input `d` was changed while it ran"), "{ran:#?}");
    let evil = |path: &std::path::PathBuf| fs::read(path).is_ok_and(|bytes| bytes == b"evil\n");
    assert!(!ws.files("data").iter().any(evil), "nobody is shown the wrong bytes");
    ws.set("b.run", "cp in/d/x o");
    ws.run().ran(["a", "b"]);
    assert_eq!(ws.read("data/pipeline/b/o"), "good\n");
}

#[test]
fn what_read_a_changed_input_that_was_made_right_again_makes_no_result() {
    let ws = signalling(
        r#"
  a: { uses: command, with: { run: "echo A > o", outs: { o: o } } }
  b: { uses: command, in: { x: a }, with: { timeout: 30, run: "AWAIT await reading; chmod u+w in/x; echo B >> in/x; touch FLAGS/changed; await right; echo b > o", outs: { o: o } } }
  r: { uses: command, in: { x: a }, with: { timeout: 30, run: "AWAIT touch FLAGS/reading; await changed; wc -c < in/x > o; touch FLAGS/read; await right", outs: { o: o } } }
  again: { uses: command, with: { timeout: 30, run: "AWAIT await read; echo A > o", outs: { o: o } } }
  right: { uses: command, in: { x: again }, with: { run: "touch FLAGS/right; echo > o", outs: { o: o } } }
"#,
    );
    ws.run_with(&["--jobs", "8", "--threads", "8"]).failed(["b", "r"]).reused([]);
    assert!(!ws.path("data/s/r").exists(), "it has read what was never there");
    ws.run_with(&["--stage", "r"]).ran(["r"]).reused(["a"]);
    assert_eq!(ws.read("data/s/r/o"), "2\n");
    ws.call(&["cache", "verify"]).succeeds();
}

#[test]
fn a_changed_input_is_refused_by_what_begins_after_the_change() {
    let ws = signalling(
        r#"
  a: { uses: command, with: { run: "echo A > o", outs: { o: o } } }
  b: { uses: command, in: { x: a }, with: { timeout: 30, run: "AWAIT chmod u+w in/x; echo B > in/x; touch FLAGS/changed; sleep 1; echo b > o", outs: { o: o } } }
  gate: { uses: command, with: { timeout: 30, run: "AWAIT await changed; echo > o", outs: { o: o } } }
  r: { uses: command, in: { x: a, gate: gate }, with: { timeout: 30, run: "cat in/x > o", outs: { o: o } } }
"#,
    );
    let ran = ws.run_with(&["--jobs", "8", "--threads", "8", "--keep-going"]).failed(["b", "r"]);
    let refused = ran.events.iter().find(|event| event["stage"] == "r" && event["error"].is_string());
    let error = refused.expect("it failed")["error"].as_str().expect("text").to_owned();
    assert!(error.contains("its input `x` was changed before it began"), "{error}");
    ws.run_with(&["--stage", "r"]).ran(["a", "r"]).reused(["gate"]);
    assert_eq!(ws.read("data/s/r/o"), "A\n");
}

#[test]
fn an_input_that_was_changed_and_put_back_makes_no_result() {
    let ws = Workspace::new(
        r#"
name: s
stages:
  a: { uses: command, with: { run: "echo A > o", outs: { o: o } } }
  b: { uses: command, in: { x: a }, with: { run: "cp -p in/x x; chmod u+w in/x; echo B > in/x; cat in/x > o; cp -p x in/x", outs: { o: o } } }
"#,
    );
    let ran = ws.run().failed(["b"]);
    assert!(ran.error().contains("its input `x` was changed while it ran"), "{ran:#?}");
    ws.call(&["cache", "verify"]).succeeds();
}

#[test]
fn a_failure_names_the_changed_input_as_well() {
    let ws = Workspace::new(
        r#"
name: s
stages:
  a: { uses: command, with: { run: "echo A > o", outs: { o: o } } }
  b: { uses: command, in: { x: a }, with: { run: "chmod u+w in/x; echo B > in/x; exit 3", outs: { o: o } } }
"#,
    );
    let ran = ws.run().failed(["b"]);
    let told = ran.error().contains("exit status: 3; its input `x` was changed while it ran");
    assert!(told && ran.error().contains("kept for a look: directory, log.txt"), "{ran:#?}");
}

#[test]
fn a_training_whose_input_is_changed_keeps_no_epoch_from_then_on() {
    let ws = Workspace::new(
        "
name: t
stages:
  archive: { uses: synthesize, with: { train_per_class: 1, test_per_class: 1 } }
  images: { uses: decode, in: { archive: archive } }
  train: { uses: train, in: { train: images.train, val: images.test }, with: { model: lenet, epochs: 5000, batch: 10 } }
",
    );
    let epochs = || {
        let links = ws.files("cache/chains").into_iter().filter(|path| path.ends_with("link.json"));
        let position =
            |path: &std::path::PathBuf| -> Option<u64> { path.parent()?.file_name()?.to_str()?.parse().ok() };
        links.filter_map(|path| position(&path)).max().unwrap_or(0)
    };
    let mut child = ws.start();
    let since = Instant::now();
    while epochs() == 0 {
        assert!(since.elapsed() < Duration::from_secs(100), "no epoch was kept");
        std::thread::sleep(Duration::from_millis(10));
    }
    let file = ws.path("data/t/images/train/dataset.json");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("ours");
    let mut file = fs::File::options().append(true).open(file).expect("writable");
    file.write_all(b"\n").expect("writable");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    assert!(epochs() < 5000);
    let log = ws.read("cache/failed/t/train/log.txt");
    assert!(log.contains("failed: its input `train` was changed while it ran"), "{log}");
    ws.run_with(&["--stage", "images"]).ran(["images"]);
}
