//! What is told and kept when a stage fails, and what its next attempt is compared with.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::workspace::Workspace;

const PAIR: &str = r#"
name: pair
stages:
  first: { uses: command, with: { run: "echo 1 > o", outs: { o: o } } }
  second: { uses: command, in: { x: first }, with: { run: "cp in/x o", outs: { o: o } } }
"#;

const TRAINING: &str = "
name: training
stages:
  archive: { uses: synthesize, with: { train_per_class: 2, test_per_class: 2 } }
  images: { uses: decode, in: { archive: archive } }
  learnt: { uses: augment, in: { images: images.train }, with: { samples: 20, transforms: [ { resize: 32 } ] } }
  tested: { uses: augment, in: { images: images.test }, with: { samples: 20, transforms: [ { resize: 32 } ] } }
  train:
    uses: train
    in: { train: learnt, val: learnt }
    with: { model: lenet, epochs: 2, batch: 10 }
";

#[test]
fn a_renamed_stage_keeps_its_reason_and_its_last_result_until_it_has_one_again() {
    let ws = Workspace::new(PAIR);
    ws.run().ran(["first", "second"]);
    ws.write("pipeline.yaml", PAIR.replace("second:", "other:").replace("cp in/x o", "exit 3"));
    for _ in 0..2 {
        let reason = "other.run \"cp in/x o\" -> \"exit 3\" (pipeline.yaml:5)";
        ws.call(&["status", "pipeline.yaml"]).succeeds().says([reason]);
        ws.call(&["get", "pipeline.yaml", "other", "-o", "-"]).exits(1).says(["other.o --last -o PATH"]);
        assert_eq!(ws.call(&["get", "pipeline.yaml", "other", "-o", "-", "--last"]).succeeds().out, "1\n");
        ws.run().reused(["first"]).failed(["other"]);
    }
    ws.write("pipeline.yaml", PAIR.replace("second:", "other:"));
    ws.run().ran([]);
}

#[test]
fn a_result_that_cannot_be_kept_leaves_its_log() {
    let ws = Workspace::new(PAIR);
    let text = PAIR
        .replace("echo 1 > o", "echo said; seq 100 > o")
        .replace("cp in/x o", "echo $((6 * 7)); cp in/x o");
    ws.write("pipeline.yaml", &text);
    ws.run().ran(["first", "second"]);
    fs::remove_dir_all(ws.path("cache/records")).expect("ours");
    // Its output and its log have room, its record has not.
    let limited = Command::new("sh")
        .args(["-c", "ulimit -f 1; exec \"$0\" run pipeline.yaml", env!("CARGO_BIN_EXE_stlpipe")])
        .current_dir(ws.path(""))
        .output()
        .expect("sh exists");
    let said = String::from_utf8(limited.stderr).expect("UTF-8");
    assert_eq!(limited.status.code(), Some(1), "{said}");
    let (why, left) = ("ulimit -f", "kept for a look: log.txt in ");
    assert!(said.contains(why) && said.contains(left), "{said}");
    let log = fs::read_to_string(ws.path("cache/failed/pair/first/log.txt")).expect("a log");
    assert!(log.starts_with("said\nfailed: ") && log.contains(why), "{log}");
    assert_eq!(fs::read_dir(ws.path("cache/partial")).expect("there").count(), 0);
    ws.run().ran(["first", "second"]);
    assert!(!ws.path("cache/failed/pair/first").exists());
}

#[test]
fn why_a_stage_failed_ends_its_log_and_is_shown() {
    let ws = Workspace::new(PAIR);
    ws.write("pipeline.yaml", PAIR.replace("cp in/x o", "echo said; exit 3"));
    let log = ws.path("cache/failed/pair/second/log.txt");
    ws.run().failed(["second"]);
    assert!(
        fs::read_to_string(&log)
            .expect("a log")
            .starts_with("said\nfailed: `echo said; exit 3`: exit status: 3")
    );
    ws.call(&["show", "pipeline.yaml", "second"]).succeeds().says([
        "failed     in its last attempt: `echo said; exit 3`: exit status: 3",
        "which left directory, log.txt in ",
    ]);
    let again = ["first run", "failed last time: `echo said; exit 3`: exit status: 3"];
    ws.call(&["status", "pipeline.yaml"]).succeeds().says(again);
    ws.call(&["show", "pipeline.yaml", "--log"]).succeeds().says(["== second ==", "said"]);
    ws.call(&["run", "pipeline.yaml", "--stage", "first"]).succeeds();
    ws.call(&["status", "pipeline.yaml"]).succeeds().says(again);
    ws.write("pipeline.yaml", PAIR);
    ws.run().ran(["second"]);
    assert!(!log.exists());

    let ws = Workspace::new(TRAINING);
    ws.run().failed(["train"]);
    let log = fs::read_to_string(ws.path("cache/failed/training/train/log.txt")).expect("a log");
    assert!(log.starts_with("failed: val: 20 of its 20 images are among those"), "{log}");
}

#[test]
fn the_list_of_runs_names_what_failed_even_if_no_result_is_new() {
    let ws = Workspace::new(PAIR);
    ws.run().ran(["first", "second"]);
    ws.write("pipeline.yaml", PAIR.replace("cp in/x o", "exit 3"));
    let listed = || ws.call(&["runs", "pair"]).succeeds().out;
    for failures in 1..=2 {
        ws.run().failed(["second"]);
        let runs = listed();
        assert_eq!(runs.matches("pair~").count(), 1 + failures, "{runs}");
        assert!(runs.lines().nth(1).is_some_and(|newest| newest.ends_with("(second failed)")), "{runs}");
    }
    ws.call(&["compare", "pair~0", "pair~2"]).succeeds().says(["pair~0 (second failed)"]);
    ws.write("pipeline.yaml", PAIR);
    ws.run().reused(["first", "second"]);
    assert!(!listed().lines().nth(1).is_some_and(|newest| newest.contains("failed")));
    ws.call(&["status", "pipeline.yaml"]).succeeds().says(["nothing to do"]);
}

#[test]
fn what_is_not_begun_after_a_failure_says_so() {
    let ws = Workspace::new(
        "name: apart
stages:
  bad: { uses: command, with: { run: sleep 0.2; exit 1, outs: { o: o } } }
  good: { uses: command, with: { run: sleep 0.1; echo > o, outs: { o: o } } }
",
    );
    ws.call(&["run", "pipeline.yaml", "--jobs", "1"])
        .exits(1)
        .says(["good  skipped   since another stage failed; --keep-going runs it"]);
}

#[test]
fn a_forced_training_does_not_claim_to_go_on() {
    let pipeline = TRAINING.replace("val: learnt", "val: tested");
    let ws = Workspace::new(&pipeline);
    ws.run().ran(["archive", "images", "learnt", "tested", "train"]);
    let longer = ["--dry-run", "--set", "train.epochs=3"];
    let goes_on = |words: &[&str]| {
        let said = ws.call(&[&["run", "pipeline.yaml"], words].concat()).succeeds();
        [said.out, said.err].concat().contains("goes on after 2 of 3 epochs")
    };
    assert!(goes_on(&longer));
    assert!(!goes_on(&[&longer[..], &["--force", "train"]].concat()));
    fs::remove_dir_all(ws.path("cache/chains")).expect("there");
    assert!(!goes_on(&longer));
}

#[test]
fn what_lies_in_a_folder_of_deps_and_cannot_be_read_is_named() {
    let ws = Workspace::new(
        "name: deps
stages:
  a: { uses: command, with: { run: ls -R > o, deps: [folder], outs: { o: o } } }
",
    );
    fs::create_dir(ws.path("folder")).expect("writable");
    symlink("nowhere", ws.path("folder/link")).expect("writable");
    ws.call(&["run", "pipeline.yaml"])
        .exits(2)
        .says(["reads `folder/link`, and that is a link to `nowhere`, which is not there"]);
    fs::remove_file(ws.path("folder/link")).expect("there");
    symlink(".", ws.path("folder/loop")).expect("writable");
    let told = "reads `folder/loop`, and that is a link to a folder that it lies in";
    ws.call(&["run", "pipeline.yaml"]).exits(2).says([told]);
    fs::remove_file(ws.path("folder/loop")).expect("there");
    let made = std::process::Command::new("mkfifo").arg(ws.path("folder/pipe")).status().expect("it runs");
    assert!(made.success());
    ws.call(&["run", "pipeline.yaml"]).exits(2).says(["reads `folder/pipe`, and that is no plain file"]);
}

#[test]
fn paths_that_say_the_same_are_the_same() {
    let text = |dep: &str, out: &str| {
        format!(
            "name: paths\nstages:\n  a: {{ uses: command, with: {{ run: cat d > o, deps: [{dep}], outs: {{ o: {out} }} }} }}\n"
        )
    };
    let ws = Workspace::new(&text("d", "o"));
    ws.write("d", "1");
    ws.run().ran(["a"]);
    for (dep, out) in [("./d", "o"), ("d", "./o"), ("././d", ".//o")] {
        ws.write("pipeline.yaml", text(dep, out));
        ws.run().reused(["a"]);
    }
}

#[test]
fn a_cache_that_cannot_be_read_is_not_called_empty() {
    let ws = Workspace::new(PAIR);
    ws.write("file", "x");
    for command in ["status", "run", "why", "show", "get"] {
        let words = match command {
            "why" => vec![command, "pipeline.yaml", "first", "--cache", "file"],
            "get" => vec![command, "pipeline.yaml", "first", "-o", "x", "--cache", "file"],
            _ => vec![command, "pipeline.yaml", "--cache", "file"],
        };
        let said = ws.call(&words);
        assert!(said.err.contains("Not a directory"), "{command}: {}{}", said.out, said.err);
    }
}

#[test]
fn why_a_stage_could_not_begin_is_remembered() {
    let text = "name: gone
stages:
  first: { uses: command, with: { run: rm FILE; echo > o, outs: { o: o } } }
  second: { uses: command, in: { x: first }, with: { run: cp note o, deps: [note], outs: { o: o } } }
";
    let ws = Workspace::new("");
    ws.write("note", "x");
    ws.write("pipeline.yaml", text.replace("FILE", &ws.path("note").display().to_string()));
    let ran = ws.run().failed(["second"]);
    assert!(ran.error().contains("note: there is no such file; "), "{ran:#?}");
    assert!(ran.error().contains("kept for a look: log.txt in "), "{ran:#?}");
    ws.write("note", "x");
    let why = "failed last time: note: there is no such file; ";
    ws.call(&["status", "pipeline.yaml"]).succeeds().says([why]);
    ws.run().ran(["second"]);
    assert!(!ws.path("cache/failed/gone/second").exists());
}

#[test]
fn why_a_command_of_several_lines_failed_is_remembered_and_each_failure_is_listed() {
    let ws = Workspace::new("");
    for (code, word) in [(7, "one"), (8, "two")] {
        let text = format!(
            "name: lines\nstages:\n  a:\n    uses: command\n    with:\n      run: |\n        set -e\n        echo {word}\n        \
             exit {code}\n      outs: {{ o: o }}\n"
        );
        ws.write("pipeline.yaml", text);
        ws.run().failed(["a"]);
        let why = format!("failed last time: `set -e ...`: exit status: {code}");
        ws.call(&["status", "pipeline.yaml"]).succeeds().says([why.as_str()]);
    }
    let said = ws.call(&["runs", "lines"]).succeeds().out;
    assert_eq!(said.lines().skip(1).filter(|line| line.contains("failed")).count(), 2, "{said}");
}
