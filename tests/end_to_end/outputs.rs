//! What becomes of a stage's outputs: which of them are taken, under which names they are shown, and what a log is worth.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::workspace::Workspace;

fn one(run: &str, outs: &str) -> Workspace {
    Workspace::new(&format!(
        "name: one\nstages:\n  a: {{ uses: command, with: {{ run: {run}, outs: {outs} }} }}\n"
    ))
}

#[test]
fn a_pipe_among_the_outputs_fails_and_nobody_waits_for_it() {
    for (run, outs, named) in [
        ("mkfifo o", "{ o: o }", "`o`, in output `o`, is no plain file"),
        ("mkdir o; mkfifo o/p", "{ o: o/ }", "`o/p`, in output `o`, is no plain file"),
        ("mkfifo p; ln -s p o", "{ o: o }", "`o`, in output `o`, is no plain file"),
    ] {
        assert!(one(run, outs).run().failed(["a"]).error().contains(named), "{run}");
    }
}

#[test]
fn what_a_command_did_not_leave_is_told_by_its_name() {
    for (run, outs, told) in [
        ("ln -s nowhere o", "{ o: o }", "`o`, in output `o`, is a link to `nowhere`, which is not there"),
        ("mkdir o; ln -s x o/x", "{ o: o/ }", "`o/x`, in output `o`, is a link that leads to itself"),
        ("mkdir o; ln -s . o/x", "{ o: o/ }", "`o/x`, in output `o`, is a link to a folder that it lies in"),
        ("rm -rf $PWD", "{ o: o }", "the command removed the directory that it ran in"),
        ("[no-such-program]", "{ o: o }", "there is no program `no-such-program` in any folder of PATH"),
        ("[./none]", "{ o: o }", "`./none` cannot be started in the clean directory: No such file"),
    ] {
        let ran = one(run, outs).run().failed(["a"]);
        assert!(ran.error().contains(told), "{}", ran.error());
    }
}

#[test]
fn outputs_that_share_files_are_a_mistake() {
    for outs in ["{ o: o, p: ./o }", "{ o: d/, p: d/x }", "{ o: d/x, p: d/ }"] {
        one("'true'", outs)
            .call(&["run", "pipeline.yaml"])
            .exits(2)
            .says(["outs.p: shares files with outs.o", "name each file in one output alone"]);
    }
    one("mkdir d; echo > d/x; echo > d/xy", "{ o: d/x, p: d/xy }").run().ran(["a"]);
}

#[test]
fn files_of_one_name_are_shown_under_the_names_of_their_ports() {
    let ws = one("mkdir d e; echo 1 > d/o; echo 2 > e/o; echo 3 > f", "{ p: d/o, q: e/o, r: f }");
    ws.run().ran(["a"]);
    let shown = ["p", "q", "f"].map(|name| ws.read(&format!("data/one/a/{name}")));
    assert_eq!(shown, ["1\n", "2\n", "3\n"]);
}

#[test]
fn a_result_without_its_log_is_as_good() {
    for verifies in [false, true] {
        let ws = one("echo said; date +%N > o", "{ o: o }");
        ws.run().ran(["a"]);
        let made = ws.read("data/one/a/o");
        let is_log = |path: &std::path::PathBuf| fs::read(path).is_ok_and(|bytes| bytes == b"said\n");
        let log = ws.files("cache/blobs").into_iter().find(is_log).expect("a log");
        fs::remove_file(log).expect("there");
        if verifies {
            ws.call(&["cache", "verify"]).exits(1);
            ws.call(&["cache", "verify", "--repair"])
                .exits(0)
                .says(["log of a computation of a of one; forgotten", "nothing has to be computed again"]);
            ws.call(&["cache", "verify"]).exits(0);
        }
        ws.run().ran([]).reused(["a"]);
        assert_eq!(ws.read("data/one/a/o"), made);
        ws.call(&["cache", "verify"]).exits(0);
    }
}

#[test]
fn a_failed_attempt_comes_first_in_the_log() {
    let mut ws = one("echo good; echo > o", "{ o: o }");
    ws.run().ran(["a"]);
    ws.set("a.run", "echo bad; exit 1");
    let ran = ws.run().failed(["a"]);
    assert!(ran.error().contains("kept for a look: directory, log.txt in "), "{ran:#?}");
    let said = ws.call(&["show", "pipeline.yaml", "a", "--log"]).succeeds().out;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("-- the last attempt, which failed (") && lines[1] == "bad", "{said}");
    assert!(lines[2].starts_with("failed: "), "{said}");
    assert!(
        lines[3].starts_with("-- the last good result, from other params") && lines[4] == "good",
        "{said}"
    );
}

#[test]
fn links_of_stages_that_are_no_more_go_once_all_others_have_a_result() {
    let two = "name: two
stages:
  a: { uses: command, with: { run: echo 1 > o, outs: { o: o } } }
  b: { uses: command, with: { run: echo 2 > o, outs: { o: o } } }
";
    let ws = Workspace::new(two);
    ws.run().ran(["a", "b"]);
    fs::write(ws.path("data/two/mine"), "kept").expect("writable");
    ws.write("pipeline.yaml", two.replace("b:", "c:").replace("echo 2", "exit 3"));
    ws.run().failed(["c"]);
    assert_eq!(ws.read("data/two/b/o"), "2\n");
    ws.write("pipeline.yaml", two.replace("b:", "c:"));
    ws.run().ran([]);
    assert!(!ws.path("data/two/b").exists() && ws.path("data/two/mine").exists());
    assert_eq!(ws.read("data/two/c/o"), "2\n");
}

#[test]
fn what_a_killed_command_left_can_be_collected_at_once() {
    let ws = one("head -c 100000 /dev/zero > o; sleep 60", "{ o: o }");
    let mut running = ws.start();
    let has_grown =
        || ws.files("cache/tmp").iter().any(|path| path.metadata().is_ok_and(|file| file.len() == 100_000));
    while !has_grown() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    running.kill().expect("it runs");
    running.wait().expect("it ends");
    ws.call(&["cache", "gc"]).succeeds().says(["nothing to collect"]);
    ws.call(&["cache", "gc", "--older-than", "0", "--delete", "--grace", "0"])
        .succeeds()
        .says(["1 unfinished file"]);
    assert_eq!(ws.files("cache/tmp").len(), 0);
}

#[test]
fn a_copy_replaces_a_file_by_force_but_no_link_and_no_pipeline() {
    let ws = Workspace::new("extends: base.yaml\nname: g\n");
    ws.write(
        "base.yaml",
        "stages:
  a: { uses: command, with: { run: seq 1000 > o, outs: { o: o } } }
  b: { uses: command, with: { run: seq 5 > p, outs: { p: p } } }
",
    );
    ws.run().ran(["a", "b"]);
    let get = |to: &str| ws.call(&["get", "pipeline.yaml", "a.o", "--force", "-o", to]);
    get("data/g/b/p").exits(2).says(["data/g/b/p: is a link; remove it, or name another file"]);
    std::os::unix::fs::symlink("cache/nothing", ws.path("dangling")).expect("ours");
    get("dangling").exits(2).says(["dangling: is a link; remove it, or name another file"]);
    get("pipeline.yaml").exits(2).says(["pipeline.yaml: is a file of the pipeline; name another file"]);
    get("base.yaml").exits(2).says(["base.yaml: is a file of the pipeline; name another file"]);
    ws.write("old", "what was there");
    fs::set_permissions(ws.path("old"), fs::Permissions::from_mode(0o751)).expect("ours");
    ws.call(&["get", "pipeline.yaml", "a.o", "-o", "old"])
        .exits(2)
        .says(["old: exists already; --force replaces it"]);
    assert_eq!(ws.read("old"), "what was there");
    get("old").succeeds();
    get("old").succeeds();
    assert_eq!(fs::read_to_string(ws.path("old")).expect("a file").lines().count(), 1000);
    assert_eq!(fs::metadata(ws.path("old")).expect("there").permissions().mode() & 0o777, 0o751);
    let left = fs::read_dir(ws.path(".")).expect("a folder").flatten();
    assert!(!left.into_iter().any(|entry| entry.file_name().to_string_lossy().ends_with(".part")));
    ws.call(&["cache", "verify"]).succeeds();
    ws.run().reused(["a", "b"]);
}

#[test]
fn nothing_is_copied_into_the_store() {
    let ws = one("mkdir d; echo 1 > d/x; echo 2 > o", "{ o: o, d: d/ }");
    ws.run().ran(["a"]);
    let record = ws.files("cache/records").pop().expect("a record");
    let record = record.to_str().expect("text");
    let before = ws.count_files("cache");
    for (port, to) in [("a.o", record), ("a.o", "cache/o"), ("a.d", "data/../cache/records/d")] {
        let said = ws.call(&["get", "pipeline.yaml", port, "--force", "-o", to]).exits(2);
        said.says([&format!("{to}: lies in the cache; name a path elsewhere")]);
    }
    for data in ["cache", "cache/links", "data/../cache"] {
        let said = ws.call(&["run", "pipeline.yaml", "--data", data]).exits(2);
        said.says([&format!("--data {data}: lies in the cache; name a directory elsewhere")]);
    }
    assert_eq!(ws.count_files("cache"), before);
    ws.call(&["cache", "verify"]).succeeds();
}

#[test]
fn a_copy_goes_into_a_folder_that_is_there() {
    let ws = one("mkdir d; echo 1 > d/x; echo 2 > o", "{ o: o, d: d/ }");
    ws.run().ran(["a"]);
    let get = |port: &str, to: &str| ws.call(&["get", "pipeline.yaml", port, "-o", to]);
    for (port, to) in [("a.o", "copies/new/o"), ("a.d", "copies/new/d"), ("a.d", "copies/new/d/")] {
        let told = format!("{to}: there is no folder `copies/new`; make it first, or name another path");
        get(port, to).exits(2).says([&told]);
    }
    get("a.o", "pipeline.yaml/o").exits(2).says(["there is no folder `pipeline.yaml`"]);
    assert!(!ws.path("copies").exists());
    ws.write("copies/new/beside", "x");
    get("a.o", "copies/new/o").succeeds();
    get("a.d", "copies/new/d/").succeeds();
    assert_eq!((ws.read("copies/new/o"), ws.read("copies/new/d/x")), ("2\n".into(), "1\n".into()));
}

#[test]
fn a_picture_is_written_where_a_copy_may_be() {
    let ws = Workspace::new(
        "stages:
  a: { uses: synthesize, with: { train_per_class: 1, test_per_class: 1 } }
  d: { uses: decode, in: { archive: a } }
",
    );
    ws.run().ran(["a", "d"]);
    let draw = |words: &[&str]| ws.call(&[&["show", "pipeline.yaml", "d.test", "--png"], words].concat());
    ws.write("old.png", "what was there");
    draw(&["old.png"]).exits(2).says(["old.png: exists already; --force replaces it"]);
    assert_eq!(ws.read("old.png"), "what was there");
    draw(&["old.png", "--force"]).succeeds();
    draw(&["old.png", "--force"]).succeeds();
    draw(&["new.png"]).succeeds().says(["new.png  10 of 10 images"]);
    assert_eq!(fs::read(ws.path("old.png")).expect("a file"), fs::read(ws.path("new.png")).expect("a file"));
    std::os::unix::fs::symlink("old.png", ws.path("link.png")).expect("ours");
    for (to, told) in [
        ("link.png", "is a link; remove it, or name another file"),
        ("pipeline.yaml", "is a file of the pipeline; name another file"),
        ("data", "is a directory; name a file"),
        ("cache/sheet.png", "lies in the cache; name a path elsewhere"),
        ("data/pipeline/d/test/sheet.png", "lies in the cache; name a path elsewhere"),
        ("no/sheet.png", "there is no folder `no`; make it first, or name another path"),
    ] {
        draw(&[to, "--force"]).exits(2).says([&format!("{to}: {told}")]);
    }
    ws.call(&["cache", "verify"]).succeeds();
}
