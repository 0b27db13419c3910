//! What an interruption leaves behind: a store in which everything readable is right.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::workspace::Workspace;

const SLOW: &str = r#"
name: slow
stages:
  quick: { uses: command, with: { run: "echo quick > q.txt", outs: { q: q.txt } } }
  slow: { uses: command, in: { q: quick.q }, with: { run: "echo > $STARTED; sleep 30; echo slow > s.txt", env: [STARTED], outs: { s: s.txt } } }
"#;

/// Starts a run and waits until its slow stage is at work.
fn start(ws: &Workspace) -> Child {
    let started = ws.path("started");
    let child = Command::new(env!("CARGO_BIN_EXE_stlpipe"))
        .current_dir(ws.path(""))
        .args(["run", "pipeline.yaml"])
        .env("STARTED", &started)
        .stderr(Stdio::null())
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

#[test]
fn a_killed_run_is_gone_on_with() {
    let mut ws = Workspace::new(SLOW);
    let mut child = start(&ws);
    signal(&child, "-KILL");
    child.wait().expect("it ends");
    ws.set("slow.run", "echo slow > s.txt");
    ws.run().ran(["slow"]).reused(["quick"]);
    assert_eq!(ws.read("data/slow/slow/s.txt"), "slow\n");
}
