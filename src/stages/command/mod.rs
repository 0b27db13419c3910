//! The `command` stage: any program of the user's, run in a clean directory that holds what it declares and
//! nothing else. What the program does is its own affair.

mod guard;
mod process;
#[cfg(test)]
mod tests;
mod tree;
mod workspace;

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command as Program;
use std::sync::LazyLock;
use std::time::Duration;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::process::kill_all as kill_all_programs;

use self::process::Cut;
use self::tree::{DiskError, files_below};
use self::workspace::{INPUTS, Workspace, is_directory, stays_inside};
use crate::engine::stage::{
    Complaint, Cost, Holds, Identity, Inputs, Job, OutputPort, Ports, Stage, StageError, StageKind,
    read_stage,
};
use crate::pipeline::{Check, NAME_RULE, is_name};

/// What `uses: command` means.
pub const KIND: StageKind = StageKind {
    name: "command",
    version: 1,
    about: "Runs a program in a clean directory and keeps the files it declares.",
    schema: || schemars::schema_for!(Command).to_value(),
    read: read_stage::<Command>,
};

/// What every program sees of the environment; none of it counts for the result.
const ALWAYS_SEEN: [&str; 3] = ["PATH", "HOME", "LANG"];
/// The shell that most commands are run by, looked for once.
static SHELL: LazyLock<PathBuf> = LazyLock::new(|| process::find_program("sh"));
/// The name under which the directory of a failed program is kept.
const WORKSPACE: &str = "directory";

/// The program, what it reads and what it makes. Inputs of the stage appear as `in/<port>`, and their full
/// paths in the environment as `STLPIPE_IN_<PORT>`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Command {
    /// A line for `sh -c`, or a list: a program and its arguments.
    run: Run,
    /// Files and directories that it reads; they count by content. They appear under the same relative path,
    /// or, when they lie elsewhere, under their last name.
    #[serde(default)]
    deps: Vec<PathBuf>,
    /// Its outputs: a port's name, and the path of a file or, with a `/` at the end, of a directory.
    #[serde(default)]
    outs: IndexMap<String, String>,
    /// Names of environment variables that it sees; their values count. PATH, HOME and LANG are always seen
    /// and never count.
    #[serde(default)]
    env: Vec<String>,
    /// Seconds after which it is ended and fails. Without: never.
    #[serde(default)]
    timeout: Option<f64>,
    /// How often to try again after a failure, each time in a new clean directory.
    #[serde(default)]
    retries: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a line for the shell, or a list with a program and its arguments")]
enum Run {
    /// A line for `sh -c`.
    Line(String),
    /// A program and its arguments.
    Program(Vec<String>),
}

impl Check for Command {
    fn check(&self) -> Vec<Complaint> {
        let complain = |path: &[&str], message: &str, hint: Option<&str>| Complaint {
            path: path.iter().map(ToString::to_string).collect(),
            message: message.to_string(),
            hint: hint.map(ToString::to_string),
        };
        let mut complaints = Vec::new();
        if self.run.words().first().is_none_or(|word| word.trim().is_empty()) {
            complaints.push(complain(&["run"], "run: there is nothing to run", None));
        }
        for (port, path) in &self.outs {
            if !is_name(port) {
                complaints.push(complain(
                    &["outs", port],
                    &format!("outs: {port:?} cannot name an output"),
                    Some(NAME_RULE),
                ));
            }
            if Path::new(&text(Path::new(path))).starts_with(INPUTS) {
                complaints.push(complain(
                    &["outs", port],
                    &format!("outs.{port}: `{path}` lies among the inputs of the stage"),
                    Some("let the command write it elsewhere; `in/` holds what it reads"),
                ));
            }
            let (wrong, hint) = if text(Path::new(path)).is_empty() {
                (
                    "names nothing in the clean directory",
                    "write the path of a file, or `NAME/` for a directory",
                )
            } else if !stays_inside(Path::new(path)) {
                ("leaves the clean directory", "write a path relative to the clean directory, without `..`")
            } else {
                continue;
            };
            complaints.push(complain(&["outs", port], &format!("outs.{port}: {wrong}"), Some(hint)));
        }
        for (at, path) in self.deps.iter().enumerate().filter(|(_, path)| path.file_name().is_none()) {
            let message = format!("deps: `{}` has no name of its own", path.display());
            complaints.push(complain(
                &["deps", &at.to_string()],
                &message,
                Some("name a file or a directory"),
            ));
        }
        for (at, name) in self.env.iter().enumerate() {
            if name.is_empty() || name.contains(['=', '\0']) {
                let message = format!("env: `{name}` is no name of an environment variable");
                complaints.push(complain(&["env", &at.to_string()], &message, None));
            }
        }
        if self.timeout.is_some_and(|seconds| Duration::try_from_secs_f64(seconds).is_err() || seconds == 0.0)
        {
            complaints.push(complain(&["timeout"], "timeout: must be a number of seconds above 0", None));
        }
        complaints
    }

    fn check_together(&self) -> Vec<Complaint> {
        let complain = |port: &str, message: String, hint: &str| Complaint {
            path: vec!["outs".to_owned(), port.to_owned()],
            message,
            hint: Some(hint.to_owned()),
        };
        let mut complaints = Vec::new();
        // Of the others it is known already that they are wrong.
        let outs: Vec<_> = self.outs.iter().filter(|(_, path)| stays_inside(Path::new(path))).collect();
        for (at, (port, path)) in outs.iter().enumerate() {
            if let Some((other, _)) = outs.iter().take(at).find(|(_, other)| share_files(path, other)) {
                let message = format!("outs.{port}: shares files with outs.{other}");
                complaints.push(complain(port, message, "name each file in one output alone"));
            }
            let out = text(Path::new(path));
            let is_inside = |dep: &PathBuf| Path::new(&text(place_of(dep))).starts_with(&out);
            if self.deps.iter().any(is_inside) {
                let message =
                    format!("outs.{port}: `{path}` is there before the command begins, as one of its deps");
                complaints.push(complain(port, message, "let the command write it under another name"));
            }
        }
        complaints
    }
}

impl Run {
    /// The words as the user wrote them.
    fn words(&self) -> Vec<&str> {
        match self {
            Run::Line(line) => vec![line],
            Run::Program(words) => words.iter().map(String::as_str).collect(),
        }
    }

    /// The words in one line: of more lines the first.
    fn in_short(&self) -> String {
        let text = self.words().join(" ");
        match text.trim().split_once('\n') {
            Some((first, _)) => format!("{first} ..."),
            None => text.trim().to_owned(),
        }
    }

    /// Why it cannot be started.
    fn unstartable(&self, error: &io::Error) -> String {
        let name = match self {
            Run::Line(_) => "sh",
            Run::Program(words) => words.first().map_or("", String::as_str),
        };
        if error.kind() == io::ErrorKind::NotFound && !name.contains('/') {
            return format!("there is no program `{name}` in any folder of PATH");
        }
        format!("`{name}` cannot be started in the clean directory: {error}")
    }

    fn program(&self) -> Program {
        let words = match self {
            Run::Line(line) => {
                let mut shell = Program::new(&*SHELL);
                shell.args(["-c", line]);
                return shell;
            }
            Run::Program(_) => self.words(),
        };
        let (first, rest) =
            words.split_first().expect("the words were checked when the parameters were read");
        let mut program = Program::new(process::find_program(first));
        program.args(rest);
        program
    }
}

impl Command {
    /// The declared files by their path in the clean directory. What cannot be listed stands for itself, so
    /// that whoever reads it next finds out why.
    fn dependencies(&self) -> BTreeMap<String, PathBuf> {
        let mut files = BTreeMap::new();
        for path in &self.deps {
            let name = place_of(path);
            if !path.is_dir() {
                files.insert(text(name), path.clone());
                continue;
            }
            match files_below(path) {
                Ok(below) => {
                    files.extend(below.into_iter().map(|(inner, file)| (text(&name.join(inner)), file)));
                }
                Err(DiskError { path: culprit, .. }) => {
                    let inner = culprit.strip_prefix(path).unwrap_or(&culprit).to_owned();
                    files.insert(text(&name.join(inner)), culprit);
                }
            }
        }
        files
    }

    fn environment(&self) -> BTreeMap<&str, Option<String>> {
        self.env.iter().map(|name| (name.as_str(), std::env::var(name).ok())).collect()
    }

    fn program(&self, workspace: &Workspace<'_>, job: &dyn Job) -> Result<Program, StageError> {
        let mut program = self.run.program();
        program.current_dir(workspace.path()).env_clear();
        let always = ALWAYS_SEEN.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        program.envs(always);
        program.envs(self.environment().into_iter().filter_map(|(name, value)| Some((name, value?))));
        for (port, input) in job.inputs() {
            let variable = format!("STLPIPE_IN_{}", port.to_uppercase().replace(['-', '.'], "_"));
            program.env(variable, workspace.link_in(port, input)?);
        }
        Ok(program)
    }

    /// Runs the program once, and takes its outputs.
    fn run_in(&self, workspace: &mut Workspace<'_>, job: &dyn Job) -> Result<(), Failure> {
        let outs: Vec<&str> = self.outs.values().map(String::as_str).collect();
        workspace.copy_in(&self.dependencies(), &outs)?;
        let mut program = self.program(workspace, job).map_err(Failure::Ours)?;
        let timeout = self.timeout.map(Duration::from_secs_f64);
        match process::run(&mut program, timeout, || job.interrupted(), |line| job.log(line)) {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(Failure::Theirs(status.to_string())),
            Err(Cut::Stopped) => return Err(Failure::Ours(StageError::Interrupted)),
            Err(Cut::TimedOut) => {
                let seconds = self.timeout.unwrap_or_default();
                return Err(Failure::Theirs(format!("took longer than {seconds} s and was ended")));
            }
            Err(Cut::Unstartable(error)) => return Err(Failure::Theirs(self.run.unstartable(&error))),
        }
        for (port, path) in &self.outs {
            let files = workspace.output(port, path).map_err(|error| Failure::Theirs(error.to_string()))?;
            for (name, file) in files {
                job.adopt(port, &name, &file).map_err(Failure::Ours)?;
            }
        }
        Ok(())
    }
}

/// Why an attempt came to nothing.
enum Failure {
    /// The program did not do what it should; another attempt may go better.
    Theirs(String),
    /// The disk or the user does not allow it.
    Ours(StageError),
}

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Failure {
        Failure::Ours(error.into())
    }
}

impl Stage for Command {
    fn ports(&self) -> Ports {
        let output = |(port, path): (&String, &String)| OutputPort {
            file_name: Path::new(path)
                .file_name()
                .filter(|_| !is_directory(path))
                .map(|name| name.display().to_string()),
            ..OutputPort::new(port, if is_directory(path) { Holds::Directory } else { Holds::File })
        };
        Ports { inputs: Inputs::Any, outputs: self.outs.iter().map(output).collect(), named_by: Some("outs") }
    }

    fn params(&self) -> Value {
        json!(self)
    }

    /// Time limit and retries decide whether there is a result, not what it is.
    fn identity(&self) -> Identity {
        let Command { run, deps: _, outs, env: _, timeout: _, retries: _ } = self;
        let outs: Map<String, Value> =
            outs.iter().map(|(port, path)| (port.clone(), tidy(path).into())).collect();
        let env: Map<String, Value> =
            self.environment().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
        let run = match run {
            Run::Line(line) => Value::from(line.as_str()),
            Run::Program(words) => Value::from(words.as_slice()),
        };
        let params = [("run", run), ("outs", outs.into()), ("env", env.into())];
        let params: Map<String, Value> =
            params.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        Identity { files: self.dependencies(), ..Identity::of(params.into()) }
    }

    fn origins(&self) -> BTreeMap<String, Value> {
        let deps = (!self.deps.is_empty()).then(|| ("deps".to_owned(), json!(self.deps)));
        deps.into_iter().collect()
    }

    fn is_closed(&self) -> bool {
        self.deps.is_empty() && self.env.is_empty()
    }

    fn cost(&self) -> Cost {
        Cost::OneCore
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        let attempts = u64::from(self.retries) + 1;
        for attempt in 1..=attempts {
            let mut workspace = Workspace::create(job)?;
            let what = match self.run_in(&mut workspace, job) {
                Ok(()) => return Ok(()),
                Err(Failure::Ours(error)) => return Err(error),
                Err(Failure::Theirs(what)) => what,
            };
            if attempt < attempts {
                job.log(&format!("attempt {attempt} of {attempts} failed: {what}"));
                continue;
            }
            // The program may have removed it, or put something in its place.
            if workspace.path().symlink_metadata().is_ok_and(|left| left.is_dir()) {
                job.set_aside(WORKSPACE, &workspace.keep())?;
            }
            let after =
                if attempts == 1 { String::new() } else { format!(" in the last of {attempts} attempts") };
            return Err(StageError::message(format!("`{}`: {what}{after}", self.run.in_short())));
        }
        unreachable!("there is at least one attempt")
    }
}

/// Where a declared file or directory appears in the clean directory.
fn place_of(dep: &Path) -> &Path {
    if stays_inside(dep) { dep } else { Path::new(dep.file_name().unwrap_or_default()) }
}

/// Whether one of two outputs lies within the other.
fn share_files(a: &str, b: &str) -> bool {
    let [a, b] = [a, b].map(|path| text(Path::new(path)));
    Path::new(&a).starts_with(&b) || Path::new(&b).starts_with(&a)
}

/// A path without `.` at its beginning or inside.
fn text(path: &Path) -> String {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    parts.collect::<PathBuf>().display().to_string()
}

/// A path as it is declared, without what it may begin with and mean nothing.
fn tidy(path: &str) -> &str {
    path.strip_prefix("./").map_or(path, |rest| tidy(rest.trim_start_matches('/')))
}
