//! What an interruption leaves behind: a store in which everything readable is right.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::workspace::Workspace;

const SLOW: &str = r#"
name: slow
stages:
  quick: { uses: command, with: { run: "echo quick > q.txt", outs: { q: q.txt } } }
  slow: { uses: command, in: { q: quick.q }, with: { run: "echo > $STARTED; sleep 30; echo slow > s.txt", env: [STARTED], outs: { s: s.txt } } }
  after: { uses: command, in: { s: slow.s }, with: { run: "cp in/s a.txt", outs: { a: a.txt } } }
"#;

/// A program that does not end when it is asked to, and says which process it is.
const STUBBORN: &str = r#"
name: stubborn
stages:
  stubborn: { uses: command, with: { run: "trap '' TERM; echo $$ > $STARTED.pid; mv $STARTED.pid $STARTED; sleep 60 & wait; sleep 60", env: [STARTED], outs: { s: s.txt } } }
"#;

/// Starts a run and waits until its slow stage is at work.
fn start(ws: &Workspace) -> Child {
    start_in(ws, &mut Command::new(env!("CARGO_BIN_EXE_stlpipe")))
}

fn start_in(ws: &Workspace, command: &mut Command) -> Child {
    let started = ws.path("started");
    let child = command
        .current_dir(ws.path(""))
        .args(["run", "pipeline.yaml"])
        .env("STARTED", &started)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let since = Instant::now();
    while !started.exists() {
        assert!(since.elapsed() < Duration::from_secs(30), "the slow stage never started");
        std::thread::yield_now();
    }
    child
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill exists");
    assert!(sent.success());
}

#[test]
fn ctrl_c_stops_soon_keeps_what_is_finished_and_exits_130() {
    let ws = Workspace::new(SLOW);
    let mut child = start(&ws);
    let since = Instant::now();
    signal(&child, "-INT");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(since.elapsed() < Duration::from_secs(10));
    assert_eq!(ws.count_files("cache/records"), 1);
    assert_eq!(ws.count_files("cache/locks"), 0);
    ws.call(&["show", "pipeline.yaml", "quick"]).succeeds().says(["up to date"]);
}

/// Waits for the end and returns the exit code and what was said.
fn end(mut child: Child) -> (Option<i32>, String) {
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
    (child.wait().expect("ours").code(), said)
}

#[test]
fn the_signals_of_batch_systems_and_closing_terminals_count_like_ctrl_c() {
    // Under nohup a hangup is to be ignored.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let is_ignored =
        ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|m| m & 1 == 1);
    for name in ["-TERM", "-HUP"].iter().take(if is_ignored { 1 } else { 2 }) {
        let ws = Workspace::new(SLOW);
        let child = start(&ws);
        signal(&child, name);
        let (code, said) = end(child);
        assert_eq!(code, Some(130), "{name}: {said}");
        assert!(said.contains("stopping at the next safe point"), "{said}");
        assert!(said.contains("1 ran, 1 interrupted, 1 not begun; what is finished is kept"), "{said}");
        assert!(!said.contains("after "), "{said}");
        ws.call(&["show", "pipeline.yaml", "quick"]).succeeds().says(["up to date"]);
    }
}

#[test]
fn each_run_that_was_stopped_is_listed() {
    let ws = Workspace::new(SLOW);
    for _ in 0..2 {
        let child = start(&ws);
        signal(&child, "-INT");
        assert_eq!(end(child).0, Some(130));
        std::fs::remove_file(ws.path("started")).expect("the slow stage was at work");
    }
    let runs = ws.call(&["runs", "slow"]).succeeds().out;
    assert_eq!(runs.matches("slow~").count(), 2, "{runs}");
}

#[test]
fn a_second_ctrl_c_stops_at_once_and_leaves_no_program_behind() {
    let ws = Workspace::new(STUBBORN);
    let child = start(&ws);
    let program = ws.read("started");
    let since = Instant::now();
    signal(&child, "-INT");
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, "-INT");
    let (code, said) = end(child);
    assert_eq!(code, Some(130), "{said}");
    assert!(said.contains("stopped at once"), "{said}");
    assert!(since.elapsed() < Duration::from_millis(1800), "without the grace of a polite stop");
    ws.call(&["runs"]).succeeds().says(["(killed)"]);
    // Its group has its number; `ps` lists no process of it but, for a moment, those that nobody has waited for.
    let alive = || {
        let ps = Command::new("ps").args(["-A", "-o", "pgid=,stat="]).output().expect("ps exists");
        let text = String::from_utf8(ps.stdout).expect("UTF-8");
        let mut words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        words.any(|words| words[0] == program.trim() && !words[1].starts_with('Z'))
    };
    while alive() {
        assert!(since.elapsed() < Duration::from_secs(30), "process group {program} still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn under_nohup_the_end_of_the_terminal_stops_nothing() {
    let pipeline = SLOW.replace("sleep 30", "until [ -e $STARTED.go ]; do sleep 0.01; done");
    let ws = Workspace::new(&pipeline);
    let mut shell = Command::new("sh");
    let child =
        start_in(&ws, shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_stlpipe")]));
    signal(&child, "-HUP");
    std::thread::sleep(Duration::from_millis(100));
    ws.write("started.go", "");
    let (code, said) = end(child);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_limit_on_the_size_of_files_is_told_and_the_next_run_goes_on() {
    let pipeline = r#"
stages:
  small: { uses: command, with: { run: "echo small > o", outs: { o: o } } }
  archive: { uses: synthesize, in: {}, with: { train_per_class: 20, test_per_class: 2 } }
"#;
    let ws = Workspace::new(pipeline);
    let limited = Command::new("sh")
        .args([
            "-c",
            "ulimit -f 100; exec \"$0\" run pipeline.yaml --keep-going",
            env!("CARGO_BIN_EXE_stlpipe"),
        ])
        .current_dir(ws.path(""))
        .output()
        .expect("sh exists");
    let said = String::from_utf8(limited.stderr).expect("UTF-8");
    assert_eq!(limited.status.code(), Some(1), "{said}");
    assert!(said.contains("ulimit -f") && said.contains("what is finished is kept"), "{said}");
    ws.call(&["cache", "verify"]).succeeds();
    ws.run().ran(["archive"]).reused(["small"]);
}

#[test]
fn a_killed_run_is_gone_on_with() {
    let mut ws = Workspace::new(SLOW);
    let mut child = start(&ws);
    signal(&child, "-KILL");
    child.wait().expect("it ends");
    ws.set("slow.run", "echo slow > s.txt");
    ws.run().ran(["slow", "after"]).reused(["quick"]);
    assert_eq!(ws.read("data/slow/slow/s.txt"), "slow\n");
}

#[test]
fn a_killed_run_is_listed_and_a_living_one_is_not() {
    let mut ws = Workspace::new(SLOW);
    let mut child = start(&ws);
    ws.call(&["runs"]).succeeds().says(["no runs in cache"]);
    signal(&child, "-KILL");
    child.wait().expect("it ends");
    ws.set("slow.run", "echo slow > s.txt");
    for ended in [false, true] {
        let said = ws.call(&["runs", "slow"]).succeeds().out;
        let lines: Vec<Vec<&str>> =
            said.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), if ended { 2 } else { 1 }, "{said}");
        assert!(!ended || lines[0][0] == "slow~0", "{said}");
        let killed = lines.last().expect("listed");
        assert!(killed[0] == "slow" && killed.ends_with(&["(killed)"]), "{said}");
        ws.call(&["run", "pipeline.yaml"]).succeeds();
    }
    let said = ws.call(&["runs", "slow", "--json"]).succeeds().out;
    let listed: Vec<serde_json::Value> = serde_json::from_str(&said).expect("JSON");
    let killed: Vec<bool> = listed.iter().map(|run| run["killed"].as_bool().expect("told")).collect();
    assert_eq!(killed, [false, true]);
}
