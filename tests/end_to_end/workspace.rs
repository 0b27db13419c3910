//! A directory of its own with a pipeline file, in which a test runs the program and asks what it did.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

pub struct Workspace {
    dir: tempfile::TempDir,
    settings: BTreeMap<String, String>,
}

impl Workspace {
    /// A workspace with this text in `pipeline.yaml`.
    pub fn new(pipeline: &str) -> Workspace {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let workspace = Workspace { dir, settings: BTreeMap::new() };
        workspace.write("pipeline.yaml", pipeline);
        workspace
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Workspace {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("inside the workspace")).expect("writable");
        fs::write(path, text).expect("writable");
        self
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Adds `--set key=value` to every later call.
    #[expect(clippy::needless_pass_by_value, reason = "numbers read better without a reference")]
    pub fn set(&mut self, key: &str, value: impl ToString) -> &mut Workspace {
        self.settings.insert(key.to_owned(), value.to_string());
        self
    }

    /// Calls the program in the workspace; settings are added if the words name the pipeline.
    pub fn call(&self, words: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stlpipe"));
        command.current_dir(self.dir.path()).args(words);
        if words.contains(&"pipeline.yaml") {
            for (key, value) in &self.settings {
                command.arg("--set").arg(format!("{key}={value}"));
            }
        }
        Said::from(command.output().expect("the program starts"))
    }

    /// `stlpipe run pipeline.yaml`, in the background.
    pub fn start(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stlpipe"));
        command.current_dir(self.dir.path()).args(["run", "pipeline.yaml"]).stderr(Stdio::null());
        command.spawn().expect("the program starts")
    }

    /// `stlpipe run pipeline.yaml --json`.
    pub fn run(&self) -> Ran {
        self.run_with(&[])
    }

    /// The same with further arguments.
    pub fn run_with(&self, words: &[&str]) -> Ran {
        let said = self.call(&[&["run", "pipeline.yaml", "--json"], words].concat());
        let events: Vec<Value> = said
            .out
            .lines()
            .map(|line| serde_json::from_str(line).expect("one JSON event per line"))
            .collect();
        Ran { said, events }
    }

    /// The digests of all outputs of a stage, by port.
    pub fn digests(&self, stage: &str) -> BTreeMap<String, String> {
        let said = self.call(&["show", "pipeline.yaml", stage, "--json"]).succeeds();
        let shown: Value = serde_json::from_str(&said.out).expect("JSON");
        let outputs = shown["outputs"].as_object().expect("outputs").iter();
        outputs
            .map(|(port, out)| (port.clone(), out["digest"].as_str().expect("a digest").to_owned()))
            .collect()
    }

    /// How many files there are under a folder.
    pub fn count_files(&self, folder: &str) -> usize {
        self.files(folder).len()
    }

    /// All files under a folder.
    pub fn files(&self, folder: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path(folder)) else { return Vec::new() };
        let paths = entries.map(|entry| entry.expect("readable").path());
        let below = |path: PathBuf| {
            let inside = path.strip_prefix(self.dir.path()).ok().and_then(Path::to_str).map(str::to_owned);
            if path.is_dir() { self.files(&inside.expect("a plain name")) } else { vec![path] }
        };
        paths.flat_map(below).collect()
    }
}

/// What the program said and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }
}

impl Said {
    #[track_caller]
    pub fn succeeds(self) -> Said {
        self.exits(0)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// All these texts stand in what was said.
    #[track_caller]
    pub fn says<const N: usize>(self, texts: [&str; N]) -> Said {
        for text in texts {
            assert!(self.out.contains(text) || self.err.contains(text), "{text:?} is not in {self:#?}");
        }
        self
    }
}

/// A run and its events.
#[derive(Debug)]
pub struct Ran {
    pub said: Said,
    pub events: Vec<Value>,
}

impl Ran {
    #[track_caller]
    fn names(&self, field: &str) -> Vec<&str> {
        let summary = self.events.iter().find(|event| event["event"] == "summary");
        let summary = summary.unwrap_or_else(|| panic!("no summary in {self:#?}"));
        summary[field].as_array().expect("a list").iter().map(|name| name.as_str().expect("a name")).collect()
    }

    /// Exactly these stages ran, in any order, and none failed.
    #[track_caller]
    pub fn ran<const N: usize>(self, stages: [&str; N]) -> Ran {
        assert_eq!(self.said.code, Some(0), "{self:#?}");
        assert_same(self.names("ran"), stages);
        self
    }

    /// Exactly these stages were reused.
    #[track_caller]
    pub fn reused<const N: usize>(self, stages: [&str; N]) -> Ran {
        assert_same(self.names("reused"), stages);
        self
    }

    /// Exactly these stages failed, and the exit code says so.
    #[track_caller]
    pub fn failed<const N: usize>(self, stages: [&str; N]) -> Ran {
        assert_eq!(self.said.code, Some(1), "{self:#?}");
        assert_same(self.names("failed"), stages);
        self
    }

    /// The error of the stage that failed.
    #[track_caller]
    pub fn error(&self) -> &str {
        let mut errors = self.events.iter().filter_map(|event| event["error"].as_str());
        errors.next().unwrap_or_else(|| panic!("no error in {self:#?}"))
    }

    /// Why a stage ran.
    #[track_caller]
    pub fn reasons(&self, stage: &str) -> Vec<&str> {
        let event = self.events.iter().find(|event| event["stage"] == stage && event["reasons"].is_array());
        let event = event.unwrap_or_else(|| panic!("{stage} did not run in {self:#?}"));
        event["reasons"].as_array().expect("a list").iter().filter_map(Value::as_str).collect()
    }

    /// A figure of a stage's result.
    #[track_caller]
    pub fn metric(&self, stage: &str, name: &str) -> f64 {
        let mut figures =
            self.events.iter().filter(|e| e["stage"] == stage).filter_map(|e| e["metrics"][name].as_f64());
        figures.next().unwrap_or_else(|| panic!("{stage} has no {name} in {self:#?}"))
    }
}

#[track_caller]
fn assert_same<const N: usize>(mut found: Vec<&str>, stages: [&str; N]) {
    let mut stages = stages.to_vec();
    found.sort_unstable();
    stages.sort_unstable();
    assert_eq!(found, stages);
}
