//! Kills the library between any two writes of its store, each time in a process of its own, and sees that the store is
//! right afterwards and that the next run ends with the results of an undisturbed one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::engine::stage::Device;
use crate::engine::{
    self, Checkout, Event, Experiment, Limits, Observer, OnFailure, Planner, Registry, State, Stop,
};
use crate::store::failpoint::{KILL_AT, TRACE};
use crate::store::{Digest, Rules, Store};

/// Every way to write but that of a training: files that are written, copied, moved and shared, directories, chains of
/// files that are shared.
const PIPELINE: &str = r#"
name: killed
stages:
  note: { uses: download, with: { url: "NOTE" } }
  words: { uses: command, in: { note: note }, with: { run: "mkdir -p d/e; cp in/note d/a; echo two > d/e/b", outs: { d: d/ } } }
  count: { uses: command, in: { d: words.d }, with: { run: "cat in/d/a in/d/e/b | wc -c > n", outs: { n: n } } }
  archive: { uses: synthesize, with: { train_per_class: 4, test_per_class: 1 } }
  images: { uses: decode, in: { archive: archive } }
  parts: { uses: split, in: { images: images.train }, with: { parts: { train: 0.5, val: 0.5 }, seed: 1 } }
  drawn: { uses: augment, in: { images: parts.train }, with: { samples: 1030, transforms: [ { resize: 8 } ] } }
  few: { uses: augment, in: { images: parts.train }, with: { samples: 16, redraw: each-epoch, transforms: [ { resized-crop: 16 } ] } }
  val: { uses: augment, in: { images: parts.val }, with: { samples: 8, transforms: [ { resize: 16 } ] } }
"#;

/// A training, whose chain has files of its own, and its test.
const TRAINING: &str = r#"
  train: { uses: train, in: { train: few, val: val }, with: { model: lenet, epochs: 2, batch: 8, seed: 1, checkpoints: 0 } }
  test: { uses: evaluate, in: { model: train.model, images: images.test }, with: { transforms: [ { resize: 16 } ] } }
"#;

/// About so many kills for each thing that is done to a store, besides the first and the last at each point.
const KILLS: usize = 8;
const ACT: &str = "STLPIPE_TEST_ACT";
const DIR: &str = "STLPIPE_TEST_DIR";

type Digests = BTreeMap<String, Vec<Digest>>;

#[test]
fn a_run_may_be_killed_between_any_two_writes() {
    let expected = digests(&Folder::new(finished).path);
    kill_everywhere("run", |dir| write_pipeline(dir, PIPELINE), |dir| assert_eq!(finish(dir), expected));
}

#[test]
fn a_training_may_be_killed_between_any_two_writes() {
    let prepared = Folder::new(finished);
    let begin = |dir: &Path| {
        copy(&prepared.path, dir);
        write_pipeline(dir, &format!("{PIPELINE}{TRAINING}"));
    };
    let undisturbed = Folder::new(begin);
    run(&undisturbed.path);
    let expected = digests(&undisturbed.path);
    // The rest is as in any run.
    kill_in("chains", "run", begin, |dir| assert_eq!(finish(dir), expected));
}

#[test]
fn a_run_that_meets_damage_may_be_killed_as_well() {
    let whole = Folder::new(finished);
    let expected = digests(&whole.path);
    let begin = |dir: &Path| {
        copy(&whole.path, dir);
        for stage in ["words", "images", "drawn"] {
            damage(&blob_of(dir, stage));
        }
    };
    kill_everywhere("run", begin, |dir| {
        // What nobody has looked at yet is still damaged.
        mend(dir);
        assert_eq!(finish(dir), expected);
    });
}

#[test]
fn mending_may_be_killed_between_any_two_writes() {
    let whole = Folder::new(finished);
    let expected = digests(&whole.path);
    let begin = |dir: &Path| {
        copy(&whole.path, dir);
        damage(&blob_of(dir, "count"));
        for folder in ["records", "runs", "views", "chains"] {
            damage(&last_file(&dir.join("cache").join(folder)));
        }
        fs::remove_file(dir.join("cache/index.json")).expect("there");
    };
    kill_everywhere("mend", begin, |dir| {
        mend(dir);
        assert_eq!(finish(dir), expected);
    });
}

#[test]
fn collecting_and_restoring_may_be_killed_between_any_two_writes() {
    let both = Folder::new(|dir| {
        write_pipeline(dir, &format!("{PIPELINE}{TRAINING}"));
        run(dir);
        write_pipeline(dir, &PIPELINE.replace("two", "three").replace("resize: 8", "resize: 9"));
        run(dir);
    });
    let expected = digests(&both.path);
    kill_everywhere(
        "collect",
        |dir| copy(&both.path, dir),
        |dir| {
            assert_eq!(finish(dir), expected);
            // Whatever was left half done is done by the next.
            collect(dir);
            assert_eq!(finish(dir), expected);
        },
    );
}

/// Does one thing to a store, and may be killed at it.
#[test]
#[ignore = "is run by the other tests of this file, in processes of their own"]
fn child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    match std::env::var(ACT).as_deref() {
        Ok("run") => run(&dir),
        Ok("mend") => mend(&dir),
        Ok("collect") => collect(&dir),
        other => panic!("no such act: {other:?}"),
    }
}

/// Has a child killed at one point after the other, in a new folder each time, and has each looked at.
fn kill_everywhere(act: &str, begin: impl Fn(&Path), check: impl Fn(&Path)) {
    kill_in("", act, begin, check);
}

/// The same, at the points in one folder of the store.
fn kill_in(place: &str, act: &str, begin: impl Fn(&Path), check: impl Fn(&Path)) {
    let folder = Folder::new(&begin);
    let trace = folder.path.join("trace");
    let ended = child_process(act, &folder.path).env(TRACE, &trace).status().expect("it starts");
    assert!(ended.success(), "{act} by itself: {ended}");
    let trace = fs::read_to_string(trace).expect("something was written");
    let mut killed = 0;
    let points = choose(&trace, place);
    for (count, name) in &points {
        let folder = Folder::new(&begin);
        let ended = child_process(act, &folder.path).env(KILL_AT, format!("{count} {name}")).status();
        let ended = ended.expect("it starts");
        assert!(ended.success() || ended.signal() == Some(9), "{act} at {name} {count}: {ended}");
        killed += usize::from(!ended.success());
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&folder.path)));
        assert!(told.is_ok(), "{act}, killed after {name}, reached for the {count}. time");
    }
    // Threads may come to a point less often than the first time.
    assert!(killed * 10 >= points.len() * 9, "{killed} of {}", points.len());
}

/// The first and the last time at each point in a folder, and some in between.
fn choose<'a>(trace: &'a str, place: &str) -> Vec<(usize, &'a str)> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    let mut points = Vec::new();
    for name in trace.lines().filter(|name| name.ends_with(place)) {
        let count = times.entry(name).or_default();
        *count += 1;
        points.push((*count, name));
    }
    let step = (points.len() / KILLS).max(1);
    let chosen = points.iter().enumerate();
    let chosen = chosen.filter(|(at, (count, name))| at % step == 0 || *count == 1 || *count == times[name]);
    chosen.map(|(_, point)| *point).collect()
}

fn child_process(act: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.args(["--exact", "kill_tests::child", "--ignored", "--nocapture"]);
    command.env(ACT, act).env(DIR, dir).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// After a kill: nothing is wrong, and the next run ends as if nothing had happened.
fn finish(dir: &Path) -> Digests {
    assert_right(dir);
    run(dir);
    assert_right(dir);
    digests(dir)
}

#[track_caller]
fn assert_right(dir: &Path) {
    let report = store(dir).verify(&|_, _| {}).expect("readable");
    assert!(report.findings.is_empty() && report.foreign.is_empty(), "{report:#?}");
}

fn run(dir: &Path) {
    let registry = Registry::new(&crate::stages::kinds());
    let experiment = Experiment::open(&dir.join("pipeline.yaml"), &[], registry).expect("it is right");
    let store = store(dir);
    let planner = Planner::new(&experiment, &store, Device::Cpu, BTreeSet::new());
    let (limits, checkout) = (Limits { jobs: 1, threads: 1 }, Checkout::new(&dir.join("data"), "killed"));
    let selection = experiment.everything();
    let summary =
        engine::run(&planner, &selection, limits, OnFailure::Stop, &checkout, &Silent, &Stop::new());
    let over = |(_, state): &(_, State)| matches!(state, State::Done | State::Reused);
    let summary = summary.expect("the store is writable");
    assert!(summary.stages.iter().all(over), "{summary:#?}");
}

fn mend(dir: &Path) {
    let store = store(dir);
    store.repair(&store.verify(&|_, _| {}).expect("readable")).expect("writable");
}

/// Moves the older run to the trash, puts it back, and deletes it for good.
fn collect(dir: &Path) {
    let store = store(dir);
    let newest = Rules { keep_runs: Some(1), older_than: Some(Duration::ZERO), ..Rules::default() };
    store.sweep(&newest, Duration::from_secs(3600), |_| vec!["the older".to_owned()]).expect("writable");
    for bin in store.bins().expect("readable") {
        drop(store.restore(&bin).expect("writable"));
    }
    store.sweep(&newest, Duration::ZERO, |_| Vec::new()).expect("writable");
}

fn finished(dir: &Path) {
    write_pipeline(dir, PIPELINE);
    run(dir);
}

fn write_pipeline(dir: &Path, text: &str) {
    let note = dir.join("note");
    if !note.exists() {
        fs::write(&note, "one").expect("writable");
        // A file changed within the last moments gets no memo.
        std::thread::sleep(Duration::from_millis(30));
    }
    let pipeline = dir.join("pipeline.yaml");
    // A copied folder has it under a second name.
    let _ = fs::remove_file(&pipeline);
    fs::write(pipeline, text.replace("NOTE", note.to_str().expect("plain"))).expect("writable");
}

/// What the last run ended with: the digests of all outputs of each stage.
fn digests(dir: &Path) -> Digests {
    let store = store(dir);
    let last = store.last_run("killed").expect("it was logged");
    let outputs = |key| store.record(key).expect("it is kept").outputs;
    let digests = |key| outputs(key).values().map(|artifact| artifact.digest).collect();
    last.stages.iter().map(|(stage, entry)| (stage.clone(), digests(&entry.key))).collect()
}

fn blob_of(dir: &Path, stage: &str) -> PathBuf {
    let store = store(dir);
    let last = store.last_run("killed").expect("it was logged");
    let record = store.record(&last.stages[stage].key).expect("it is kept");
    let (_, _, blob) = record.blobs().next().expect("it has files");
    store.blob_path(&blob.digest)
}

fn last_file(dir: &Path) -> PathBuf {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir).expect("there").map(|e| e.expect("readable").path()).collect();
    paths.sort();
    let last = paths.pop().expect("not empty");
    if last.is_dir() { last_file(&last) } else { last }
}

fn damage(path: &Path) {
    let is_link = path.is_symlink();
    fs::remove_file(path).expect("ours");
    if !is_link {
        fs::write(path, "damaged").expect("ours");
    }
}

/// Copies a folder by giving its files second names; the store writes new files and changes none.
fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-al").arg(from.join(".")).arg(to).status().expect("cp exists");
    assert!(copied.success());
}

fn store(dir: &Path) -> Store {
    Store::at(&dir.join("cache"))
}

/// A temporary folder, made ready for something.
struct Folder {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl Folder {
    fn new(begin: impl Fn(&Path)) -> Folder {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().to_owned();
        begin(&path);
        Folder { path, _dir: dir }
    }
}

struct Silent;

impl Observer for Silent {
    fn observe(&self, _: &Event) {}
}
