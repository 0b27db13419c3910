//! The port between the engine and the stages: what a stage tells about itself before it runs, and what it
//! is given while it runs. Nothing here knows the store, the plan or machine learning.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use crate::pipeline::{
    AtLeast, Complaint, Holds, InputPort, Inputs, Need, OutputPort, Ports, Refusal, Side,
};
use crate::pipeline::{Check, read_params};

/// A kind of stage: what `uses:` names.
pub struct StageKind {
    /// The name in `uses:`.
    pub name: &'static str,
    /// Raised whenever the same inputs and parameters would give other bytes than before; part of every key.
    pub version: u32,
    /// One sentence for help and the schema.
    pub about: &'static str,
    /// The JSON Schema of `with:`.
    pub schema: fn() -> Value,
    /// Reads `with:`, filling in defaults, or says everything that is wrong with it.
    pub read: ReadParams,
}

/// Makes a stage of its `with:` block.
pub type ReadParams = fn(&Value) -> Result<Box<dyn Stage>, Refusal>;

/// What makes a stage of a type of its `with:` block.
///
/// # Errors
/// All that is wrong with that.
pub fn read_stage<S: Stage + Check + DeserializeOwned + 'static>(
    params: &Value,
) -> Result<Box<dyn Stage>, Refusal> {
    Ok(Box::new(read_params(params, S::ports)?))
}

/// A stage whose parameters have been read and checked.
pub trait Stage: Send + Sync {
    /// Its ports under these parameters; asked even if something is wrong with some.
    fn ports(&self) -> Ports;

    /// All its parameters with defaults filled in, for people to look at.
    fn params(&self) -> Value;

    /// What, besides its inputs, its result depends on.
    fn identity(&self) -> Identity {
        Identity::of(self.params())
    }

    /// The parameters that only say where to find what counts by its content, such as a path, by name as they are given.
    fn origins(&self) -> BTreeMap<String, Value> {
        BTreeMap::new()
    }

    /// Whether its identity follows from its parameters alone, rather than from files or the environment as well.
    fn is_closed(&self) -> bool {
        self.identity().files.is_empty()
    }

    /// What it keeps busy while it runs.
    fn cost(&self) -> Cost;

    /// Does the work. Whatever was created but not finished when it fails is thrown away.
    ///
    /// # Errors
    /// [`StageError::Interrupted`] as soon as possible after [`Job::interrupted`] turns true; otherwise what
    /// went wrong, with the place first and the remedy last.
    fn run(&self, job: &dyn Job) -> Result<(), StageError>;
}

/// What a stage's result depends on, apart from its inputs, kind and version.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// The parameters that matter, defaults filled in.
    pub params: Value,
    /// Files outside the store, by a name that says what they are; they count by content, never by path.
    pub files: BTreeMap<String, PathBuf>,
    /// Whether the kind of device changes the result.
    pub device: DeviceUse,
    /// How the result grows out of shorter ones, if it does; that changes no result.
    pub growth: Option<Growth>,
}

impl Identity {
    /// Of a stage that depends on parameters alone.
    #[must_use]
    pub fn of(params: Value) -> Identity {
        Identity { params, files: BTreeMap::new(), device: DeviceUse::Irrelevant, growth: None }
    }
}

/// How a result lies on a way along which others lie, shorter and longer: a chain. A stage that grows keeps what it
/// passes ([`Job::keep`], [`Job::keep_output`]) and goes on from what was kept ([`Job::kept`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// The parameter that says how far the way goes, such as `epochs`.
    pub by: &'static str,
    /// How far it goes, at most.
    pub length: u64,
    /// The parameters that only say where to stop, `by` among them: the chain is named by the key without them. None
    /// if what lies on the way depends on its length, so that only this very result goes on from it.
    pub free: &'static [&'static str],
    /// Why there are no free parameters.
    pub bound: Option<&'static str>,
}

/// What computes the stages whose result [depends on it](DeviceUse::Computes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The CUDA device of this number.
    Cuda(usize),
}

/// Whether a result depends on the kind of device that computed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceUse {
    /// The same bytes on every device.
    Irrelevant,
    /// Computed on the run's device, so the key names its class.
    Computes,
}

/// What a stage keeps busy while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// Waits for a network or a disk.
    Waiting,
    /// One core.
    OneCore,
    /// Every core the run may use, through rayon's global pool.
    AllCores,
}

/// What a running stage may ask for.
pub trait Job: Sync {
    /// The artifact bound to an input port; `None` when an optional port was left out.
    fn input(&self, port: &str) -> Option<&Input>;

    /// All bound inputs, for stages whose ports the pipeline names.
    fn inputs(&self) -> &BTreeMap<String, Input>;

    /// What is to compute, for stages whose result depends on it.
    fn device(&self) -> Device;

    /// Starts a file of a directory artifact, or with [`ONLY_FILE`] the one file of a file artifact. It is
    /// hashed while it is written and counts once [`OutputFile::finish`] has returned.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn create(&self, port: &str, file: &str) -> Result<Box<dyn OutputFile + '_>, StageError>;

    /// Takes a finished file from the disk into the store. The source may be gone afterwards.
    ///
    /// # Errors
    /// If the file cannot be read or the store cannot be written.
    fn adopt(&self, port: &str, file: &str, path: &Path) -> Result<(), StageError>;

    /// Makes a file of an input a file of an output as well, without copying a byte.
    ///
    /// # Errors
    /// If the input has gone from the store.
    fn share(&self, port: &str, file: &str, from: &InputFile) -> Result<(), StageError>;

    /// The positions on the way to the result at which earlier runs kept something, ascending.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn kept(&self) -> Result<Vec<u64>, StageError>;

    /// The files kept at a position by name, if they are still whole.
    fn link(&self, position: u64) -> Option<BTreeMap<String, InputFile>>;

    /// Keeps files at a position for later runs to go on from, in place of what was there.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn keep(&self, position: u64, files: &[(&str, Vec<u8>)]) -> Result<(), StageError>;

    /// Keeps at a position that this finished file of an output is part of what is passed there.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn keep_output(&self, position: u64, port: &str, file: &str) -> Result<(), StageError>;

    /// Gives up what is kept at a position.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn forget(&self, position: u64) -> Result<(), StageError>;

    /// Tells how much of the way this run went itself, in the units of positions.
    fn computed(&self, units: u64);

    /// A directory of this key's own that outlives a failed or interrupted run and is removed after success.
    ///
    /// # Errors
    /// If it cannot be made.
    fn partial(&self) -> Result<PathBuf, StageError>;

    /// Lends a folder to work in that nobody else has meanwhile: empty, or as the last stage of its kind left it that
    /// gave one back.
    ///
    /// # Errors
    /// If it cannot be made.
    fn lend_folder(&self) -> Result<PathBuf, StageError>;

    /// Gives a folder back. All that is in it is removed but an empty directory of the name `kept`, if it is there.
    fn give_back_folder(&self, folder: &Path, kept: &str);

    /// Keeps a file or directory out of [`Job::partial`] or a lent folder for people to look at, under a name,
    /// because the stage is about to fail.
    ///
    /// # Errors
    /// If it cannot be moved.
    fn set_aside(&self, name: &str, path: &Path) -> Result<(), StageError>;

    /// Tells how far the stage is. Cheap enough to call for every batch.
    fn progress(&self, progress: Progress);

    /// Tells one line worth keeping, such as an epoch's result; it is kept with the result.
    fn log(&self, line: &str);

    /// Records a figure of the result, such as `accuracy`.
    fn metric(&self, name: &str, value: f64);

    /// Records a figure of each part of the work, such as the seconds of every epoch, in order. Unlike results it
    /// may differ from run to run, and it replaces what was told under the name before.
    fn series(&self, name: &str, values: Vec<f64>);

    /// Whether the stage should stop at the next safe point.
    fn interrupted(&self) -> bool;

    /// [`StageError::Interrupted`] if the stage should stop.
    ///
    /// # Errors
    /// Only that one.
    fn pause_point(&self) -> Result<(), StageError> {
        if self.interrupted() { Err(StageError::Interrupted) } else { Ok(()) }
    }
}

/// The file name to give for an artifact that is a single file.
pub const ONLY_FILE: &str = "";

/// A file being written into the store.
pub trait OutputFile: Write + Send {
    /// Closes the file, makes it durable and adds it to its artifact.
    ///
    /// # Errors
    /// If the disk refuses.
    fn finish(self: Box<Self>) -> Result<(), StageError>;
}

/// An artifact handed to a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The artifact's digest, in hexadecimal.
    pub digest: String,
    /// Its files by name; a file artifact has one, under [`ONLY_FILE`].
    pub files: BTreeMap<String, InputFile>,
}

impl Input {
    /// Where a file of the artifact lies, read-only.
    #[must_use]
    pub fn path(&self, file: &str) -> Option<PathBuf> {
        self.files.get(file).map(|f| f.path.clone())
    }
}

/// One file of an [`Input`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFile {
    /// Where it lies, read-only.
    pub path: PathBuf,
    /// The digest of its bytes, in hexadecimal.
    pub digest: String,
    /// Its size.
    pub bytes: u64,
}

/// How far a stage is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Units done.
    pub done: u64,
    /// Units in all, if known.
    pub total: Option<u64>,
    /// What is counted.
    pub unit: Unit,
    /// A short remark such as `epoch 3/20  loss 1.234`; may be empty.
    pub note: String,
}

/// What [`Progress`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as KiB, MiB and so on.
    Bytes,
    /// Images.
    Images,
    /// Steps of no particular kind.
    Steps,
}

/// Why a stage ended without a result.
#[derive(Debug)]
pub enum StageError {
    /// It was asked to stop, and did.
    Interrupted,
    /// It failed for this reason; the message has the place first and the remedy last.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl StageError {
    /// A failure told in words.
    pub fn message(text: impl Into<String>) -> StageError {
        StageError::Failed(text.into().into())
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for StageError {
    fn from(error: E) -> StageError {
        StageError::Failed(Box::new(error))
    }
}
