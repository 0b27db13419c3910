//! What reruns after which edit, on pipelines of small shell commands.

use crate::workspace::Workspace;

/// `words` -> `upper` -> `count`, and `other`, which depends on nothing.
const CHAIN: &str = r#"
name: chain
stages:
  words: { uses: command, with: { run: "printf 'one two' > words.txt", outs: { text: words.txt } } }
  upper: { uses: command, in: { text: words.text }, with: { run: "tr a-z A-Z < in/text > upper.txt", outs: { text: upper.txt } } }
  count: { uses: command, in: { text: upper.text }, with: { run: "wc -c < in/text > n.txt", outs: { n: n.txt } } }
  other: { uses: command, with: { run: "echo other > o.txt", outs: { o: o.txt } } }
"#;

#[test]
fn a_second_run_has_nothing_to_do() {
    let ws = Workspace::new(CHAIN);
    ws.run().ran(["words", "upper", "count", "other"]);
    ws.run().ran([]).reused(["words", "upper", "count", "other"]);
    ws.call(&["run", "pipeline.yaml"]).succeeds().says(["nothing to do: all 4 stages are up to date"]);
    assert_eq!(ws.read("data/chain/count/n.txt").trim(), "7");
}

#[test]
fn an_edit_reruns_the_stage_and_what_lies_behind_it() {
    let mut ws = Workspace::new(CHAIN);
    ws.run().ran(["words", "upper", "count", "other"]);
    ws.set("words.run", "printf 'one two three' > words.txt");
    let status = ws.call(&["status", "pipeline.yaml"]).succeeds();
    status.says([
        "words.run \"printf 'one two' > words.txt\" -> \"printf 'one two three' > words.txt\"",
        "depends on words",
        "3 of 4 stages to run",
    ]);
    ws.run().ran(["words", "upper", "count"]).reused(["other"]);
    assert_eq!(ws.read("data/chain/count/n.txt").trim(), "13");
}

#[test]
fn the_same_bytes_again_stop_the_wave() {
    let mut ws = Workspace::new(CHAIN);
    ws.run().ran(["words", "upper", "count", "other"]);
    ws.set("words.run", "printf 'one '  > words.txt; printf two >> words.txt");
    ws.run().ran(["words"]).reused(["upper", "count", "other"]);
}

#[test]
fn comments_order_quotes_and_names_rerun_nothing() {
    let ws = Workspace::new(CHAIN);
    ws.run().ran(["words", "upper", "count", "other"]);
    ws.write(
        "pipeline.yaml",
        r#"# the same work, told otherwise
name: renamed
stages:
  another: { with: { outs: { o: 'o.txt' }, run: echo other > o.txt }, uses: command }
  last: { uses: command, in: { text: middle.text }, with: { run: 'wc -c < in/text > n.txt', outs: { n: n.txt } } }
  middle: { uses: command, in: { text: first.text }, with: { run: "tr a-z A-Z < in/text > upper.txt", outs: { text: upper.txt } } }
  first:
    uses: command
    with:
      outs: { text: words.txt }
      run: "printf 'one two' > words.txt"
"#,
    );
    ws.run().ran([]).reused(["another", "last", "middle", "first"]);
}

#[test]
fn a_reason_names_field_values_and_line() {
    let ws = Workspace::new(CHAIN);
    ws.run().ran(["words", "upper", "count", "other"]);
    ws.write("pipeline.yaml", CHAIN.replace("echo other > o.txt", "echo another > o.txt"));
    let ran = ws.run().ran(["other"]);
    let expected = "other.run \"echo other > o.txt\" -> \"echo another > o.txt\" (pipeline.yaml:7)";
    assert_eq!(ran.reasons("other"), [expected]);
}

#[test]
fn forcing_runs_again_and_stage_limits_the_run() {
    let ws = Workspace::new(CHAIN);
    ws.run_with(&["--stage", "upper"]).ran(["words", "upper"]);
    ws.run_with(&["--force", "words"]).ran(["words", "count", "other"]).reused(["upper"]);
    ws.call(&["run", "pipeline.yaml", "--force", "wrods"]).exits(2).says(["did you mean `words`?"]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let ws = Workspace::new(CHAIN);
    ws.call(&["run", "pipeline.yaml", "--dry-run"]).succeeds().says(["first run", "4 of 4 stages to run"]);
    assert_eq!(ws.count_files("cache") + ws.count_files("data"), 0);
}

#[test]
fn a_failure_stops_the_run_unless_it_keeps_going() {
    let mut ws = Workspace::new(CHAIN);
    ws.set("upper.run", "echo broken >&2; exit 3");
    let ran = ws.run_with(&["--jobs", "1"]).failed(["upper"]);
    assert!(ran.error().contains("broken"), "{}", ran.error());
    ws.run_with(&["--keep-going"]).failed(["upper"]);
    ws.call(&["show", "pipeline.yaml", "other"]).succeeds().says(["up to date"]);
}

#[test]
fn a_failed_stage_leaves_its_former_result_in_place() {
    let mut ws = Workspace::new(CHAIN);
    ws.run().ran(["words", "upper", "count", "other"]);
    ws.set("count.run", "echo wrong > n.txt; exit 1");
    ws.run().failed(["count"]);
    assert_eq!(ws.read("data/chain/count/n.txt").trim(), "7");
    ws.call(&["show", "pipeline.yaml", "count"])
        .succeeds()
        .says(["will run", "the last good result of count"]);
    ws.call(&["get", "pipeline.yaml", "count", "-o", "n.txt"])
        .exits(1)
        .says(["get pipeline.yaml count.n --last -o PATH"]);
    ws.call(&["get", "pipeline.yaml", "count", "-o", "n.txt", "--last"]).succeeds();
    assert_eq!(ws.read("n.txt").trim(), "7");
    ws.set("count.run", "wc -c < in/text > n.txt");
    ws.run().ran([]);
}

#[test]
fn two_processes_do_the_work_once() {
    let pipeline = r#"
stages:
  slow: { uses: command, with: { run: "sleep 1; echo x >> $COUNTER; echo done > d.txt", outs: { d: d.txt }, env: [COUNTER] } }
"#;
    let ws = Workspace::new(pipeline);
    let counter = ws.path("counter");
    // Every test of this program has its own workspace; the variable only names a file in it.
    let run = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_stlpipe"))
            .current_dir(ws.path(""))
            .env("COUNTER", &counter)
            .args(["run", "pipeline.yaml"])
            .status()
            .expect("the program starts")
    };
    std::thread::scope(|scope| {
        let first = scope.spawn(run);
        let second = scope.spawn(run);
        assert!(first.join().expect("no panic").success() && second.join().expect("no panic").success());
    });
    assert_eq!(ws.read("counter"), "x\n");
}

#[test]
fn an_artifact_is_copied_out() {
    let ws = Workspace::new(CHAIN);
    ws.call(&["get", "pipeline.yaml", "count.n", "-o", "copy.txt"]).exits(1).says(["stlpipe run"]);
    ws.run().ran(["words", "upper", "count", "other"]);
    ws.call(&["get", "pipeline.yaml", "count.n", "-o", "copy.txt"]).succeeds();
    assert_eq!(ws.read("copy.txt").trim(), "7");
    ws.call(&["cache", "ls"]).succeeds().says(["4 results in cache"]);
}

#[test]
fn a_changed_dependency_counts_by_its_content() {
    let pipeline = r#"
stages:
  copy: { uses: command, with: { run: "cp script.sh o.txt", deps: [script.sh], outs: { o: o.txt } } }
"#;
    let ws = Workspace::new(pipeline);
    ws.write("script.sh", "one");
    ws.run().ran(["copy"]);
    ws.write("script.sh", "one");
    ws.run().ran([]);
    ws.write("script.sh", "two");
    ws.run().ran(["copy"]);
}

#[test]
fn independent_stages_run_at_the_same_time() {
    // Each waits for the other to have begun.
    let pipeline = r#"
stages:
  a: { uses: command, with: { run: "touch $HERE/a; until [ -e $HERE/b ]; do sleep 0.01; done; echo > o", env: [HERE], outs: { o: o }, timeout: 20 } }
  b: { uses: command, with: { run: "touch $HERE/b; until [ -e $HERE/a ]; do sleep 0.01; done; echo > o", env: [HERE], outs: { o: o }, timeout: 20 } }
"#;
    let ws = Workspace::new(pipeline);
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_stlpipe"))
        .current_dir(ws.path(""))
        .env("HERE", ws.path(""))
        .args(["run", "pipeline.yaml", "--threads", "2"])
        .output()
        .expect("the program starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn the_graph_is_drawn_as_text_dot_and_mermaid() {
    let ws = Workspace::new(CHAIN);
    let draw = |format: &str| ws.call(&["graph", "pipeline.yaml", "--format", format]).succeeds().out;
    insta::assert_snapshot!(draw("text"), @r"
    words  command
    upper  command  text <- words.text
    count  command  text <- upper.text
    other  command
    ");
    insta::assert_snapshot!(draw("dot"), @r#"
    digraph "chain" {
      rankdir=LR;
      node [shape=box];
      "words" [label="words\ncommand"];
      "upper" [label="upper\ncommand"];
      "count" [label="count\ncommand"];
      "other" [label="other\ncommand"];
      "words" -> "upper" [label="text"];
      "upper" -> "count" [label="text"];
    }
    "#);
    insta::assert_snapshot!(draw("mermaid"), @r#"
    flowchart LR
      s0["words<br>command"]
      s1["upper<br>command"]
      s2["count<br>command"]
      s3["other<br>command"]
      s0 -->|"text"| s1
      s1 -->|"text"| s2
    "#);
}

#[test]
fn a_closed_stderr_stops_nothing() {
    let ws = Workspace::new(CHAIN);
    let mut shell = std::process::Command::new("sh");
    let run = format!("{} run pipeline.yaml 2>/dev/full", env!("CARGO_BIN_EXE_stlpipe"));
    assert!(shell.current_dir(ws.path("")).args(["-c", &run]).status().expect("sh exists").success());
    ws.run().ran([]);
}

#[test]
fn a_skipped_stage_says_because_of_which() {
    let mut ws = Workspace::new(CHAIN);
    ws.set("upper.run", "exit 3");
    ws.call(&["run", "pipeline.yaml"]).exits(1).says(["count  skipped   depends on upper"]);
}

#[test]
fn a_dry_run_can_be_json() {
    let ws = Workspace::new(CHAIN);
    let said = ws.call(&["run", "pipeline.yaml", "--dry-run", "--json"]).succeeds();
    let plan: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(plan["stages"][1]["reasons"][1], "depends on words");
}

#[test]
fn showing_a_stale_stage_tells_its_params_from_those_of_the_last_result() {
    let mut ws = Workspace::new(CHAIN);
    ws.run().ran(["words", "upper", "count", "other"]);
    ws.set("other.run", "echo another > o.txt");
    let shown = ws.call(&["show", "pipeline.yaml", "other"]).succeeds().out;
    let (new, last) = shown.split_once("the last good result of other").expect("both are shown");
    assert!(new.contains("echo another > o.txt") && !new.contains("made"), "{shown}");
    assert!(last.contains("echo other > o.txt") && last.contains("made"), "{shown}");
}

#[test]
fn a_file_goes_to_standard_output_on_request() {
    let ws = Workspace::new(CHAIN);
    ws.run().ran(["words", "upper", "count", "other"]);
    assert_eq!(ws.call(&["get", "pipeline.yaml", "upper", "-o", "-"]).succeeds().out, "ONE TWO");
}

#[test]
fn a_setting_without_a_value_is_a_mistake() {
    let ws = Workspace::new(CHAIN);
    ws.call(&["run", "pipeline.yaml", "--set", "other.run="]).exits(2).says(["other.run=null"]);
}

#[test]
fn a_gpu_that_cannot_be_used_is_a_clear_mistake() {
    let ws = Workspace::new(CHAIN);
    ws.call(&["run", "pipeline.yaml", "--device", "cuda:0"])
        .exits(2)
        .says(["--device cuda:0: ", "`--device cpu` always works"]);
    ws.call(&["run", "pipeline.yaml", "--device", "gpu"]).exits(2).says(["write `auto`, `cpu` or `cuda:0`"]);
    ws.run_with(&["--device", "cpu"]).ran(["words", "upper", "count", "other"]);
}

#[test]
fn what_was_made_from_a_file_that_changed_meanwhile_is_not_kept() {
    let pipeline = r#"
stages:
  copy: { uses: command, with: { run: "cat f > o; echo more >> $HERE/f", deps: [f], env: [HERE], outs: { o: o } } }
"#;
    let ws = Workspace::new(pipeline);
    ws.write("f", "one");
    let run = || {
        std::process::Command::new(env!("CARGO_BIN_EXE_stlpipe"))
            .current_dir(ws.path(""))
            .env("HERE", ws.path(""))
            .args(["run", "pipeline.yaml"])
            .output()
            .expect("the program starts")
    };
    let first = run();
    assert_eq!(first.status.code(), Some(1));
    let told = String::from_utf8_lossy(&first.stderr).into_owned();
    assert!(told.contains("a file it reads changed while it ran"), "{told}");
    assert_eq!(ws.count_files("cache/records"), 0);
}

#[test]
fn doctor_looks_at_machine_store_and_gpus() {
    let ws = Workspace::new(CHAIN);
    ws.call(&["doctor"]).succeeds().says(["stlpipe 0.1.0", "core", "cache (to be made): on ", "cuda"]);
    let said = ws.call(&["doctor", "--json", "--cache", "cache"]).succeeds();
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["usable"], true);
    assert_eq!(told["findings"][0]["topic"], "version");
    ws.call(&["doctor", "--cache", "pipeline.yaml"]).exits(1).says([
        "PROBLEM",
        "--cache DIR",
        "1 problem found",
    ]);
}

#[test]
fn bench_prints_one_line_of_json() {
    let ws = Workspace::new("");
    ws.write("file", [7; 5000]);
    let train = ["--model", "resnext", "--size", "32", "--batch", "4", "--steps", "1", "--threads", "1"];
    for (words, figure) in [
        ([&["train"][..], &train].concat(), "images_per_second"),
        ([&["evaluate"][..], &train].concat(), "seconds_per_step"),
        (["augment", "--images", "20"].into(), "images_per_second"),
        (["hash", "file"].into(), "bytes_per_second"),
    ] {
        let said = ws.call(&[&["bench"][..], &words].concat()).succeeds();
        let line: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
        assert_eq!(line["bench"], words[0]);
        assert!(line[figure].as_f64().is_some_and(|figure| figure > 0.0), "{line}");
        assert!(line["peak_rss_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{line}");
    }
    let plain = [&["bench", "evaluate", "--cpu-level", "plain"][..], &train].concat();
    ws.call(&plain).succeeds().says(["\"instructions\":\"no vector instructions\""]);
    let there = [&["bench", "train", "--device", "cpu"][..], &train].concat();
    ws.call(&there).succeeds().says(["\"device\":\"cpu\""]);
    let nowhere = [&["bench", "train", "--device", "cuda:99"][..], &train].concat();
    ws.call(&nowhere).exits(2).says(["`--device cpu` always works"]);
    ws.call(&["run", "pipeline.yaml", "--cpu-level", "sse"])
        .exits(2)
        .says(["write `avx512`, `avx2` or `plain`"]);
    ws.call(&["bench", "train", "--model", "lenett"])
        .exits(2)
        .says(["[possible values: lenet, custom_net, resnext]"]);
}
