//! The store finds whatever is done to its files, and makes room without taking anything from anybody.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::workspace::Workspace;

/// Every kind of file: a directory with links, a file outside, chains with files of their own and without.
const KEPT: &str = r#"
name: kept
stages:
  words: { uses: command, with: { run: "mkdir d; cp note.txt d/a; printf two > d/b", deps: [note.txt], outs: { d: d/ } } }
  count: { uses: command, in: { d: words.d }, with: { run: "cat in/d/a in/d/b | wc -c > n", outs: { n: n } } }
  archive: { uses: synthesize, with: { train_per_class: 2, test_per_class: 1 } }
  images: { uses: decode, in: { archive: archive } }
  drawn: { uses: augment, in: { images: images.test }, with: { samples: 16, transforms: [ { resize: 16 } ] } }
  train: { uses: train, in: { train: drawn, val: drawn }, with: { model: lenet, epochs: 1, batch: 16, seed: 1, allow_overlap: true } }
"#;

const STAGES: [&str; 6] = ["words", "count", "archive", "images", "drawn", "train"];

fn kept() -> Workspace {
    let ws = Workspace::new(KEPT);
    ws.write("note.txt", "one");
    // A file changed within the last moments gets no memo.
    std::thread::sleep(Duration::from_millis(50));
    ws.run().ran(STAGES);
    ws
}

/// The plain files and links under a folder of the workspace.
fn files(ws: &Workspace, folder: &str) -> Vec<PathBuf> {
    fn add(dir: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.expect("readable").path();
            if path.is_dir() && !path.is_symlink() { add(&path, files) } else { files.push(path) }
        }
    }
    let mut found = Vec::new();
    add(&ws.path(folder), &mut found);
    found.sort();
    found
}

fn verify(ws: &Workspace, words: &[&str], code: i32) -> Value {
    let said = ws.call(&[&["cache", "verify", "--json"], words].concat()).exits(code);
    serde_json::from_str(&said.out).expect("JSON")
}

/// Writes other bytes over a file, without leaving a trace in its size and time.
fn flip(path: &Path) {
    let before = fs::metadata(path).expect("there").modified().expect("a time");
    let mut bytes = fs::read(path).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    overwrite(path, &bytes);
    set_time(path, before);
}

fn overwrite(path: &Path, bytes: &[u8]) {
    let mut permissions = fs::metadata(path).expect("there").permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "only a file of this test")]
    permissions.set_readonly(false);
    fs::set_permissions(path, permissions).expect("ours");
    fs::write(path, bytes).expect("writable");
}

fn set_time(path: &Path, time: SystemTime) {
    fs::File::options().write(true).open(path).and_then(|file| file.set_modified(time)).expect("ours");
}

/// Whether a blob is in no result any more: a training that is computed again tells other times in its log.
fn is_former_log(ws: &Workspace, path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).expect("text");
    path.starts_with(ws.path("cache/blobs"))
        && !ws.call(&["cache", "ls", "--json"]).succeeds().out.contains(name)
}

/// Whether a blob is the log of a stage's present result.
fn is_log(ws: &Workspace, path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).expect("text");
    let said = ws.call(&["show", "pipeline.yaml", "--json"]).succeeds();
    let shown: Value = serde_json::from_str(&said.out).expect("JSON");
    shown["stages"].as_array().expect("stages").iter().any(|stage| stage["log"]["digest"] == name)
}

fn names(stages: &Value) -> BTreeSet<String> {
    let stages = stages.as_array().expect("a list").iter();
    stages.map(|owner| owner["stage"].as_str().expect("a name").to_owned()).collect()
}

/// Does something to every file in turn; each time it is found and named, mended, and rebuilt alone.
fn found_mended_and_rebuilt(damage: impl Fn(&Path)) {
    let ws = kept();
    verify(&ws, &[], 0);
    let digests = STAGES.map(|stage| ws.digests(stage));
    let cache = ws.path("cache");
    let mut kinds = BTreeSet::new();
    for path in files(&ws, "cache") {
        if is_former_log(&ws, &path) {
            continue;
        }
        let is_link = path.is_symlink();
        // With one file of a link the whole link is set aside.
        if !is_link && fs::metadata(&path).map_or(0, |file| file.len()) == 0 {
            continue;
        }
        let name = path.strip_prefix(&cache).expect("inside").to_str().expect("text").to_owned();
        if is_link {
            fs::remove_file(&path).expect("ours");
        } else {
            damage(&path);
        }
        kinds.insert(name.split('/').next().expect("a folder").to_owned());

        let found = verify(&ws, &[], 1);
        let findings = found["findings"].as_array().expect("a list");
        let named = findings.iter().find(|finding| finding["file"] == *name);
        let named = named.unwrap_or_else(|| panic!("{name} is not in {found:#}"));
        if !["seen", "index.json"].iter().any(|ownerless| name.starts_with(ownerless)) {
            assert!(name.starts_with("runs/") || !names(&named["stages"]).is_empty(), "{name}: {found:#}");
        }
        let mended = verify(&ws, &["--repair"], 0);
        verify(&ws, &[], 0);

        let ran = ws.run();
        assert_eq!(ran.said.code, Some(0), "{name}: {ran:#?}");
        let summary = ran.events.last().expect("a summary");
        let again: BTreeSet<&str> =
            summary["ran"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        let lost = names(&mended["computed_again"]);
        assert!(again.iter().all(|stage| lost.contains(*stage)), "{name}: {again:?} of {lost:?}");
        assert_eq!(again.is_empty(), lost.is_empty(), "{name}: {again:?} of {lost:?}");
        verify(&ws, &[], 0);
    }
    let all = ["blobs", "chains", "index.json", "records", "runs", "seen", "views"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), all);
    assert_eq!(STAGES.map(|stage| ws.digests(stage)), digests);
}

#[test]
fn a_flipped_bit_is_found_in_every_file() {
    found_mended_and_rebuilt(flip);
}

#[test]
fn a_truncated_file_is_found_whichever_it_is() {
    found_mended_and_rebuilt(|path| {
        let bytes = fs::read(path).expect("readable");
        overwrite(path, &bytes[..bytes.len() - 1]);
    });
}

#[test]
fn an_emptied_file_is_found_whichever_it_is() {
    found_mended_and_rebuilt(|path| overwrite(path, b""));
}

#[test]
fn a_deleted_file_is_found_whichever_it_is() {
    found_mended_and_rebuilt(|path| fs::remove_file(path).expect("ours"));
}

#[test]
fn a_run_takes_no_file_whose_metadata_betrays_it() {
    let ws = kept();
    let digests = STAGES.map(|stage| ws.digests(stage));
    for path in files(&ws, "cache/blobs") {
        if is_former_log(&ws, &path) {
            continue;
        }
        let is_log = is_log(&ws, &path);
        flip(&path);
        let ran = ws.run();
        let summary = ran.events.last().expect("a summary");
        if is_log {
            // A result without its log is as good.
            assert_eq!(summary["ran"].as_array().map(Vec::len), Some(0), "{}: {ran:#?}", path.display());
            continue;
        }
        assert_ne!(summary["ran"].as_array().map(Vec::len), Some(0), "{}: {ran:#?}", path.display());
        assert_eq!(STAGES.map(|stage| ws.digests(stage)), digests);
    }
    verify(&ws, &[], 0);
}

#[test]
fn files_of_others_are_named_and_left_alone() {
    let ws = kept();
    ws.write("cache/notes.txt", "mine").write("cache/blobs/notes.txt", "mine");
    ws.call(&["cache", "verify", "--repair"])
        .succeeds()
        .says(["notes.txt: is not stlpipe's", "as it should be"]);
    assert_eq!(ws.read("cache/notes.txt"), "mine");
    ws.call(&["cache", "verify", "--cache", "nowhere"]).exits(2).says(["nowhere: there is no cache"]);
}

#[test]
fn a_cache_that_is_not_there_is_told_by_every_command_about_it() {
    let ws = Workspace::new(CHANGING);
    let told = "nowhere: there is no cache; `stlpipe run` makes one, and `--cache DIR` names another";
    for words in [&["ls"][..], &["show", "00"], &["verify"], &["du"], &["gc"], &["restore"]] {
        let said = ws.call(&[&["cache"], words, &["--cache", "nowhere"]].concat()).exits(2);
        assert_eq!((said.out.as_str(), said.err.trim_end()), ("", format!("error: {told}").as_str()));
    }
    for words in [&["ls"][..], &["show", "00"], &["verify"], &["du"], &["gc"], &["restore"]] {
        let said = ws.call(&[&["cache"], words, &["--json", "--cache", "nowhere"]].concat()).exits(2);
        let event: serde_json::Value = serde_json::from_str(&said.out).expect("one event");
        assert_eq!((&event["event"], &event["message"]), (&"error".into(), &told.into()));
    }
    assert!(!ws.path("nowhere").exists());
}

const CHANGING: &str = r#"
name: changing
stages:
  base: { uses: command, with: { run: "echo base > b", outs: { b: b } } }
  text: { uses: command, in: { b: base.b }, with: { run: "echo 1 > t", outs: { t: t } } }
"#;

fn trash(ws: &Workspace) -> String {
    let (bin, _) = ws
        .call(&["cache", "restore"])
        .succeeds()
        .out
        .split_once(' ')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("a list");
    bin
}

#[test]
fn what_is_damaged_in_the_trash_is_told_when_it_comes_back() {
    let mut ws = Workspace::new(CHANGING);
    for text in ["one", "two"] {
        ws.set("text.run", format!("echo {text} > t")).run();
    }
    ws.call(&["cache", "gc", "--keep-runs", "1", "--delete"]).succeeds();
    let blob = ws.files("cache/trash").into_iter().find(|path| path.to_string_lossy().contains("/blobs/"));
    fs::remove_file(blob.expect("a blob")).expect("writable");
    ws.call(&["cache", "restore", &trash(&ws)]).exits(1).says([
        "put back",
        "is missing",
        "not whole in the trash: 1 file; mend what is back with: stlpipe cache verify --repair --cache cache",
    ]);
    verify(&ws, &["--repair"], 0);
    ws.run().ran([]);
}

#[test]
fn what_is_collected_comes_back_whole() {
    let mut ws = Workspace::new(CHANGING);
    ws.call(&["cache", "gc"]).exits(2).says(["there is no cache"]);
    for text in ["one", "two", "three"] {
        ws.set("text.run", format!("echo {text} > t")).run();
    }
    ws.call(&["cache", "gc"]).succeeds().says(["nothing to collect"]);
    let before = files(&ws, "cache");
    ws.call(&["cache", "gc", "--keep-runs", "2"]).succeeds().says([
        "changing  text ",
        "keeps 2 of 3 runs",
        "nothing was changed",
    ]);
    assert_eq!(files(&ws, "cache"), before);

    ws.call(&["cache", "gc", "--older-than", "0", "--delete"])
        .succeeds()
        .says(["keeps 1 of 3 runs", "brings it back"]);
    verify(&ws, &[], 0);
    ws.run().ran([]);
    ws.call(&["cache", "restore", "1"]).exits(2).says(["the trash has no `1`; there are: "]);
    ws.call(&["cache", "restore", &trash(&ws)]).succeeds().says(["put back"]);
    verify(&ws, &[], 0);
    assert_eq!(files(&ws, "cache"), before);
    ws.set("text.run", "echo one > t").run().ran([]);

    // Without grace it is gone at once, and what is computed again is as before.
    ws.call(&["cache", "gc", "--keep-runs", "0", "--delete", "--grace", "0"]).succeeds().says(["freed"]);
    assert_eq!(
        ws.count_files("cache/blobs") + ws.count_files("cache/records") + ws.count_files("cache/trash"),
        0
    );
    verify(&ws, &[], 0);
    ws.run().ran(["base", "text"]);
}

#[test]
fn damage_in_the_trash_is_found_too() {
    let mut ws = Workspace::new(CHANGING);
    ws.run().ran(["base", "text"]);
    ws.set("text.run", "echo two > t").run().ran(["text"]);
    ws.call(&["cache", "gc", "--keep-runs", "1", "--delete"]).succeeds();
    for (number, path) in files(&ws, "cache/trash").into_iter().enumerate() {
        if number % 2 == 0 {
            flip(&path);
        } else {
            fs::remove_file(&path).expect("ours");
        }
        verify(&ws, &[], 1);
        verify(&ws, &["--repair"], 0);
        verify(&ws, &[], 0);
    }
    ws.call(&["cache", "restore", &trash(&ws)]).succeeds();
    ws.run().ran([]);
}

#[test]
fn every_byte_on_the_disk_is_somebodys() {
    let mut ws = kept();
    ws.set("train.epochs", "2").run().ran(["train"]);
    let said = ws.call(&["cache", "du", "--json"]).succeeds();
    let usage: Value = serde_json::from_str(&said.out).expect("JSON");
    let lengths = files(&ws, "cache").into_iter().filter(|path| !path.is_symlink());
    let on_disk: u64 = lengths.map(|path| fs::metadata(path).expect("there").len()).sum();
    assert_eq!(usage["total"], on_disk);
    let shares = usage["shares"].as_array().expect("a list").iter();
    let unique: u64 =
        shares.filter(|share| !share["stage"].is_null()).filter_map(|share| share["unique"].as_u64()).sum();
    let others: u64 = usage["others"].as_object().expect("a map").values().filter_map(Value::as_u64).sum();
    assert_eq!(unique + usage["shared"].as_u64().expect("a number") + others, on_disk);
    ws.call(&["cache", "du"]).succeeds().says(["PIPELINE  STAGE", "kept      (all)", "total in cache"]);
}

const HELD: &str = r#"
name: held
stages:
  base: { uses: command, with: { run: "mkdir d; echo base > d/b", outs: { d: d/ } } }
  wait: { uses: command, in: { d: base.d }, with: { run: "touch $HERE/started; until [ -e $HERE/go ]; do sleep 0.01; done; cat in/d/b > t", env: [HERE], outs: { t: t } } }
  last: { uses: command, in: { t: wait.t, d: base.d }, with: { run: "cat in/t in/d/b > l", outs: { l: l } } }
"#;

fn start(ws: &Workspace) -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_stlpipe"))
        .current_dir(ws.path(""))
        .args(["run", "pipeline.yaml"])
        .env("HERE", ws.path(""))
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let since = Instant::now();
    while !ws.path("started").exists() {
        assert!(since.elapsed() < Duration::from_secs(60), "the waiting stage never started");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn nothing_is_taken_from_a_living_run() {
    let ws = Workspace::new(HELD);
    ws.run_with(&["--stage", "base"]).ran(["base"]);
    let mut child = start(&ws);
    let gc = ["cache", "gc", "--keep-runs", "0", "--older-than", "0", "--delete", "--grace", "0"];
    ws.call(&gc).succeeds().says(["held (process ", "whatever it needs stays"]);
    assert_eq!((ws.count_files("cache/records"), ws.count_files("cache/blobs")), (1, 1));
    verify(&ws, &[], 0);
    ws.write("go", "");
    assert!(child.wait().expect("it ends").success());
    verify(&ws, &[], 0);
    assert_eq!(ws.read("data/held/last/l"), "base\nbase\n");
    assert_eq!(ws.count_files("cache/locks"), 0);
    ws.call(&gc).succeeds().says(["freed"]);
    assert_eq!(ws.count_files("cache/records"), 0);
}

#[test]
fn a_killed_run_holds_nothing() {
    let ws = Workspace::new(HELD);
    let mut child = start(&ws);
    child.kill().expect("ours");
    child.wait().expect("it ends");
    ws.write("go", "");
    verify(&ws, &[], 0);
    // What it has finished is left to the next run.
    ws.call(&["cache", "gc", "--delete"]).succeeds();
    assert_eq!((ws.count_files("cache/records"), ws.count_files("cache/locks")), (1, 0));
    ws.call(&["cache", "gc", "--older-than", "0", "--delete"]).succeeds().says(["a command of no run"]);
    assert_eq!(ws.count_files("cache/records"), 0);
    verify(&ws, &[], 0);
}

#[test]
fn rules_that_make_no_sense_are_refused() {
    let ws = kept();
    let gc = |words: &[&str]| ws.call(&[&["cache", "gc"], words].concat());
    gc(&["--keep-best", "1"]).exits(2).says(["--metric"]);
    gc(&["--keep-best", "1", "--metric", "acuracy"])
        .exits(2)
        .says(["no result has such a figure; there are: "]);
    gc(&["--older-than", "30"]).exits(2).says(["such as 30d"]);
    gc(&["--max-size", "20"]).exits(2).says(["such as 20GB"]);
    gc(&["--max-size", "20 XB"]).exits(2).says(["such as 20GB"]);
    gc(&["--max-size", "1B"]).succeeds().says(["what stays is", "more than 1 B"]);
}

#[test]
fn a_collection_keeps_the_logs_of_the_results_it_keeps() {
    let ws = kept();
    ws.call(&["cache", "gc", "--delete"]).succeeds();
    verify(&ws, &[], 0);
    ws.run().ran([]);
    ws.call(&["show", "pipeline.yaml", "train", "--log"]).succeeds().says(["epoch 1/1"]);
}

#[test]
fn a_failed_run_does_not_stand_for_the_good_one_before_it() {
    const PIPELINE: &str = r#"
name: p
stages:
  a: { uses: command, with: { run: "echo a > o", outs: { o: o } } }
  b: { uses: command, in: { a: a }, with: { run: "! grep bad in/a && cp in/a o", outs: { o: o } } }
"#;
    let mut ws = Workspace::new(PIPELINE);
    ws.run().ran(["a", "b"]);
    ws.set("a.run", "echo bad > o");
    ws.run().failed(["b"]);
    let runs = ws.call(&["runs", "--json"]).succeeds();
    let runs: Value = serde_json::from_str(&runs.out).expect("JSON");
    assert_eq!(
        (&runs[0]["stages"]["a"]["state"], &runs[0]["stages"]["b"]["state"]),
        (&"done".into(), &"earlier".into())
    );
    ws.call(&["runs"]).succeeds().says(["(b failed)"]);
    ws.call(&["cache", "gc", "--keep-runs", "1", "--delete"]).succeeds();
    ws.set("a.run", "echo a > o");
    ws.run().ran([]);
}

#[test]
fn failed_runs_do_not_push_out_the_run_that_tells_what_the_last_good_results_came_from() {
    const PIPELINE: &str = r#"
name: p
stages:
  a: { uses: command, with: { run: "echo a > o", outs: { o: o } } }
  b: { uses: command, in: { x: a }, with: { run: "cp in/x o", outs: { o: o } } }
"#;
    let ws = Workspace::new(PIPELINE);
    ws.run().ran(["a", "b"]);
    let broken = PIPELINE.replace("cp in/x o", "exit 1");
    ws.write("pipeline.yaml", &broken).run().failed(["b"]);
    ws.write("pipeline.yaml", broken.replace("echo a", "echo aa")).run().failed(["b"]);
    ws.call(&["cache", "gc", "--keep-runs", "1", "--delete"]).succeeds();
    ws.write("pipeline.yaml", PIPELINE.replace("echo a", "echo aa"));
    ws.call(&["status", "pipeline.yaml"])
        .succeeds()
        .says([r#"input x changed: a.run "echo a > o" -> "echo aa > o" (pipeline.yaml:4)"#]);
}

#[test]
fn a_missing_link_of_a_view_is_made_again_by_the_next_run() {
    let ws = kept();
    let link = files(&ws, "cache/views").remove(0);
    let target = fs::read_link(&link).expect("a link");
    fs::remove_file(&link).expect("ours");
    ws.run().ran([]);
    assert_eq!(fs::read_link(&link).expect("made again"), target);
    verify(&ws, &[], 0);
}
