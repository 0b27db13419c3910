//! The engine with stages that do next to nothing: in which order things happen, and what never does.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::stage::{
    Cost, Device, DeviceUse, Holds, Identity, Inputs, Job, ONLY_FILE, OutputPort, Ports, Stage, StageError,
    StageKind,
};
use super::*;
use crate::pipeline::StageName;
use crate::store::Store;

/// Writes its text and those of its inputs, or does what its text says.
struct Speak {
    text: String,
    cost: Cost,
}

const ONE: StageKind = StageKind {
    name: "one-core",
    version: 1,
    about: "",
    schema: || json!({}),
    read: |params| read(params, Cost::OneCore),
};

const ALL: StageKind = StageKind {
    name: "all-cores",
    version: 1,
    about: "",
    schema: || json!({}),
    read: |params| read(params, Cost::AllCores),
};

fn read(params: &Value, cost: Cost) -> Result<Box<dyn Stage>, stage::Refusal> {
    Ok(Box::new(Speak { text: params["text"].as_str().unwrap_or("").to_owned(), cost }))
}

/// Stages of this test binary that use all cores now; only one test uses them.
static ON_ALL_CORES: AtomicUsize = AtomicUsize::new(0);

impl Stage for Speak {
    fn ports(&self) -> Ports {
        let output = OutputPort::new("out", Holds::File);
        Ports { inputs: Inputs::Any, outputs: vec![output], named_by: None }
    }

    fn params(&self) -> Value {
        json!({ "text": self.text })
    }

    /// Stages on all cores compute on the run's device.
    fn identity(&self) -> Identity {
        let device = if self.cost == Cost::AllCores { DeviceUse::Computes } else { DeviceUse::Irrelevant };
        Identity { device, ..Identity::of(self.params()) }
    }

    fn cost(&self) -> Cost {
        self.cost
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        match self.text.as_str() {
            "panic" => panic!("on purpose"),
            "fail" => return Err(StageError::message("failed on purpose")),
            "nothing" => return Ok(()),
            "device" => {
                let mut file = job.create("out", ONLY_FILE)?;
                write!(file, "{:?}", job.device())?;
                return file.finish();
            }
            "wait" => {
                while !job.interrupted() {
                    std::thread::yield_now();
                }
                return Err(StageError::Interrupted);
            }
            _ => {}
        }
        if self.cost == Cost::AllCores {
            assert_eq!(ON_ALL_CORES.fetch_add(1, Ordering::SeqCst), 0, "two stages on all cores at once");
            std::thread::yield_now();
            ON_ALL_CORES.fetch_sub(1, Ordering::SeqCst);
        }
        let mut file = job.create("out", ONLY_FILE)?;
        file.write_all(self.text.as_bytes())?;
        for input in job.inputs().values() {
            file.write_all(&std::fs::read(&input.files[ONLY_FILE].path)?)?;
        }
        file.finish()
    }
}

/// Collects `stage state` lines, and asks to stop when a stage runs whose text is `wait`.
#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
    stop: Stop,
    stop_when_running: Option<&'static str>,
}

impl Observer for Told {
    fn observe(&self, event: &Event) {
        if let Event::Stage(StageEvent { stage, state, .. }) = event {
            self.lines.lock().unwrap().push(format!("{stage} {}", state.word()));
            if *state == State::Running && self.stop_when_running == Some(stage.as_str()) {
                self.stop.request();
            }
        }
    }
}

struct Bench {
    dir: tempfile::TempDir,
    device: Device,
}

impl Bench {
    fn new(pipeline: &str) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("p.yaml"), pipeline).unwrap();
        Bench { dir, device: Device::Cpu }
    }

    fn edit(&self, pipeline: &str) {
        std::fs::write(self.dir.path().join("p.yaml"), pipeline).unwrap();
    }

    fn open(&self, settings: &[&str]) -> Experiment {
        let settings: Vec<Setting> = settings.iter().map(|text| text.parse().unwrap()).collect();
        Experiment::open(&self.dir.path().join("p.yaml"), &settings, Registry::new(&[&ONE, &ALL])).unwrap()
    }

    fn store(&self) -> Store {
        Store::at(&self.dir.path().join("cache"))
    }

    /// The verdicts as `stage: reasons`, empty for what is reused.
    fn plan(&self, settings: &[&str]) -> Vec<String> {
        let (experiment, store) = (self.open(settings), self.store());
        let planner = Planner::new(&experiment, &store, self.device, BTreeSet::new());
        let told = |(name, decision): (StageName, Decision)| match decision.verdict {
            Verdict::Reuse(_) => format!("{name}:"),
            Verdict::Run(reasons) => {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                format!("{name}: {}", reasons.join(", "))
            }
        };
        planner.plan(&experiment.everything()).steps.into_iter().map(told).collect()
    }

    fn run(&self, settings: &[&str], on_failure: OnFailure, told: &Told) -> BTreeMap<String, State> {
        let (experiment, store) = (self.open(settings), self.store());
        let planner = Planner::new(&experiment, &store, self.device, BTreeSet::new());
        let checkout = Checkout::new(&self.dir.path().join("data"), "p");
        let limits = Limits { jobs: 4, threads: 4 };
        let everything = experiment.everything();
        let summary = run(&planner, &everything, limits, on_failure, &checkout, told, &told.stop).unwrap();
        summary.stages.into_iter().map(|(name, state)| (name.to_string(), state)).collect()
    }

    fn states<const N: usize>(&self, settings: &[&str], on_failure: OnFailure, expected: [(&str, State); N]) {
        let states = self.run(settings, on_failure, &Told::default());
        assert_eq!(states, expected.map(|(name, state)| (name.to_owned(), state)).into());
    }
}

const CHAIN: &str = "stages:
  a: { uses: one-core, with: { text: x } }
  b: { uses: one-core, in: { x: a }, with: { text: y } }
  c: { uses: one-core, in: { x: b }, with: { text: z } }
  d: { uses: one-core, with: { text: w } }
";

#[test]
fn a_plan_names_the_change_and_what_depends_on_it() {
    let bench = Bench::new(CHAIN);
    assert_eq!(
        bench.plan(&[]),
        ["a: first run", "b: first run, depends on a", "c: first run, depends on b", "d: first run"]
    );
    bench.run(&[], OnFailure::Stop, &Told::default());
    assert_eq!(bench.plan(&[]), ["a:", "b:", "c:", "d:"]);
    assert_eq!(
        bench.plan(&["b.text=q"]),
        ["a:", "b: b.text \"y\" -> \"q\" (--set b.text=q)", "c: depends on b", "d:"]
    );
    assert_eq!(
        bench.plan(&["a.text=q", "c.text=r"])[2],
        "c: c.text \"z\" -> \"r\" (--set c.text=r), depends on b"
    );
}

#[test]
fn each_stage_is_queued_runs_and_is_done_after_its_inputs() {
    let told = Told::default();
    Bench::new(CHAIN).run(&[], OnFailure::Stop, &told);
    let lines: Vec<String> =
        told.lines.into_inner().unwrap().into_iter().filter(|l| !l.starts_with('d')).collect();
    let expected: Vec<String> = ["a", "b", "c"]
        .iter()
        .flat_map(|stage| ["queued", "running", "done"].map(|state| format!("{stage} {state}")))
        .collect();
    let of_interest: Vec<String> = lines.into_iter().filter(|l| !l.ends_with("ready")).collect();
    assert_eq!(of_interest, expected);
}

#[test]
fn a_failure_skips_what_depends_on_it_and_nothing_else_if_told_to_keep_going() {
    use State::{Done, Failed, Skipped};
    let bench = Bench::new(CHAIN);
    for text in ["fail", "panic", "nothing"] {
        let setting = format!("a.text={text}");
        bench.run(&[], OnFailure::KeepGoing, &Told::default());
        let expected = [("a", Failed), ("b", Skipped), ("c", Skipped), ("d", State::Reused)];
        bench.states(&[&setting], OnFailure::KeepGoing, expected);
    }
    let fresh = Bench::new(CHAIN);
    fresh.states(
        &["b.text=fail"],
        OnFailure::KeepGoing,
        [("a", Done), ("b", Failed), ("c", Skipped), ("d", Done)],
    );
}

#[test]
fn what_is_up_to_date_behind_a_stage_that_ends_after_a_failure_is_reused() {
    let pipeline = "stages:
  a: { uses: one-core, with: { text: x } }
  b: { uses: one-core, in: { x: a }, with: { text: y } }
  c: { uses: one-core, in: { x: b }, with: { text: z } }
  d: { uses: one-core, with: { text: w } }
  e: { uses: one-core, in: { x: d }, with: { text: v } }
";
    let bench = Bench::new(pipeline);
    bench.run(&[], OnFailure::Stop, &Told::default());
    // Only the record of `a` is lost, so that `a` runs again and gives the same bytes.
    let (experiment, store) = (bench.open(&[]), bench.store());
    let planner = Planner::new(&experiment, &store, bench.device, BTreeSet::new());
    let key = planner.last_key("a").unwrap().to_string();
    std::fs::remove_file(store.root().join("records").join(&key[..2]).join(format!("{key}.json"))).unwrap();
    // `a` and `d` start together; `b` becomes known only after the failure, unless the disk is very fast.
    let states = bench.run(&["d.text=fail"], OnFailure::Stop, &Told::default());
    use State::{Done, Failed, Reused, Skipped};
    assert_eq!(["a", "b", "c", "d", "e"].map(|stage| states[stage]), [Done, Reused, Reused, Failed, Skipped]);
}

#[test]
fn an_interrupted_run_keeps_what_is_done_and_starts_nothing_more() {
    let bench = Bench::new(CHAIN);
    let told = Told { stop_when_running: Some("b"), ..Told::default() };
    let states = bench.run(&["b.text=wait"], OnFailure::Stop, &told);
    assert_eq!((states["a"], states["b"], states["c"]), (State::Done, State::Interrupted, State::Skipped));
    assert_eq!(bench.plan(&[])[0], "a:");
}

#[test]
fn stages_on_all_cores_run_one_at_a_time() {
    let stages: String =
        (0..20).map(|i| format!("  s{i}: {{ uses: all-cores, with: {{ text: t{i} }} }}\n")).collect();
    let states = Bench::new(&format!("stages:\n{stages}")).run(&[], OnFailure::Stop, &Told::default());
    assert!(states.values().all(|state| *state == State::Done), "{states:?}");
}

#[test]
fn a_result_of_one_device_is_never_taken_for_anothers() {
    let pipeline = "stages:
  a: { uses: one-core, with: { text: x } }
  b: { uses: all-cores, in: { x: a }, with: { text: device } }
  c: { uses: one-core, in: { x: b }, with: { text: z } }
";
    let mut bench = Bench::new(pipeline);
    let result = |bench: &Bench| std::fs::read_to_string(bench.dir.path().join("data/p/b/out")).unwrap();
    bench.run(&[], OnFailure::Stop, &Told::default());
    assert_eq!(result(&bench), "Cpu");
    bench.device = Device::Cuda(1);
    assert_eq!(bench.plan(&[]), ["a:", "b: on another device: cpu -> cuda", "c: depends on b"]);
    bench.run(&[], OnFailure::Stop, &Told::default());
    assert_eq!(result(&bench), "Cuda(1)");
    bench.device = Device::Cuda(0);
    assert_eq!(bench.plan(&[]), ["a:", "b:", "c:"], "one GPU's results stand for another's");
    bench.device = Device::Cpu;
    assert_eq!(bench.plan(&[]), ["a:", "b:", "c:"], "both are kept");
}

#[test]
fn where_the_log_does_not_reach_an_input_has_only_changed() {
    let bench = Bench::new(CHAIN);
    bench.run(&[], OnFailure::Stop, &Told::default());
    let edited = |nth: usize| {
        let other = format!("d.text=t{nth}");
        bench.run(&["a.text=q", "b.text=fail", &other], OnFailure::KeepGoing, &Told::default());
        bench.plan(&["a.text=q", &other])[1].clone()
    };
    assert_eq!(edited(0), "b: input x changed: a.text \"x\" -> \"q\" (--set a.text=q)");
    (1..50).for_each(|nth| drop(edited(nth)));
    assert_eq!(edited(50), "b: input x changed (a.out)");
}

#[test]
fn where_the_log_does_not_say_what_was_read_an_input_has_only_changed() {
    let bench = Bench::new(CHAIN);
    bench.run(&[], OnFailure::Stop, &Told::default());
    let store = bench.store();
    let mut log = store.last_run("p").unwrap();
    log.stages.values_mut().for_each(|entry| entry.origins = Origins::default());
    std::fs::remove_dir_all(store.root().join("runs/p")).unwrap();
    store.log_run(&log).unwrap();
    let edited = ["a.text=q", "b.text=fail"];
    bench.run(&edited, OnFailure::Stop, &Told::default());
    assert_eq!(bench.plan(&["a.text=q"])[1], "b: input x changed (a.out)");
}

#[test]
fn lost_records_are_told_as_far_as_the_log_has_their_keys() {
    let bench = Bench::new(CHAIN);
    bench.run(&["a.text=old"], OnFailure::Stop, &Told::default());
    bench.run(&[], OnFailure::Stop, &Told::default());
    std::fs::remove_dir_all(bench.store().root().join("records")).unwrap();
    let lost = "output lost: its record is no longer in the cache";
    let told = |first: &str| {
        [
            format!("a: {first}"),
            format!("b: {lost}, depends on a"),
            format!("c: {lost}, depends on b"),
            format!("d: {lost}"),
        ]
    };
    assert_eq!(bench.plan(&[]), told(lost));
    assert_eq!(bench.plan(&["a.text=old"]), told(lost));
    let never = "never computed like this; the last result is no longer in the cache";
    assert_eq!(bench.plan(&["a.text=new"]), told(never));
}

#[test]
fn a_stage_that_was_left_out_of_a_run_is_compared_with_its_last_result() {
    let bench = Bench::new(CHAIN);
    bench.run(&[], OnFailure::Stop, &Told::default());
    bench.edit(&CHAIN.replace("  d: ", "  # d: "));
    bench.run(&["a.text=q"], OnFailure::Stop, &Told::default());
    bench.edit(CHAIN);
    let settings = ["a.text=q", "d.text=v"];
    assert_eq!(bench.plan(&settings)[3], "d: d.text \"w\" -> \"v\" (--set d.text=v)");
    let (experiment, store) = (bench.open(&settings), bench.store());
    let planner = Planner::new(&experiment, &store, bench.device, BTreeSet::new());
    let (name, decision) = planner.plan(&experiment.everything()).steps.pop().unwrap();
    assert!(decision.outlook.seconds.is_some(), "the time that it took");
    assert!(planner.last_good(&name).is_some());
}
