//! Programs of `command` stages when the process that started them is killed.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::workspace::Workspace;

/// Its program and a child of that heed no request to end. By the time their numbers can be read, the program has been
/// at work for a while: it is not about a kill in the very instant of starting it.
const STUBBORN: &str = r#"
stages:
  stubborn: { uses: command, with: { run: "trap '' TERM HUP; sleep 60 & sleep 0.3; echo $$ $! > $NUMBERS.new; mv $NUMBERS.new $NUMBERS; wait", env: [NUMBERS], outs: { o: o } } }
"#;

#[test]
fn a_killed_run_takes_its_programs_along() {
    let ws = Workspace::new(STUBBORN);
    let numbers = ws.path("numbers");
    let mut child = Command::new(env!("CARGO_BIN_EXE_stlpipe"))
        .current_dir(ws.path(""))
        .args(["run", "pipeline.yaml"])
        .env("NUMBERS", &numbers)
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let since = Instant::now();
    let soon = |what: &str| assert!(since.elapsed() < Duration::from_secs(60), "{what}");
    while !numbers.exists() {
        soon("the stage never started");
        std::thread::yield_now();
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    for number in ws.read("numbers").split_whitespace() {
        // Whoever inherited it may not have collected it yet; then it has no command line any more.
        while fs::read(format!("/proc/{number}/cmdline")).is_ok_and(|words| !words.is_empty()) {
            soon("a program still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
