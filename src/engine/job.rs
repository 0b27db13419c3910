//! What a running stage gets: its inputs out of the store, and ways to write its outputs into it. The stage
//! sees only the [`Job`] trait; nothing it makes counts before the whole record is published.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Stop;
use super::event::{Event, Observer};
use super::inputs::{Inputs, input_file};
use super::stage::{Device, Input, InputFile, Job, OutputFile, Progress, StageError};
use crate::pipeline::StageName;
use crate::store::{Aside, Blob, BlobWriter, Chain, Folders, Slot, Store, TakenIn};

/// The job of one running stage.
pub(super) struct StoreJob<'a> {
    pub(super) store: &'a Store,
    pub(super) slot: &'a Slot,
    pub(super) folders: &'a Folders,
    pub(super) stage: &'a StageName,
    pub(super) inputs: Inputs,
    pub(super) observer: &'a dyn Observer,
    pub(super) stop: &'a Stop,
    pub(super) device: Device,
    /// The chain on which the result lies, for stages that grow.
    pub(super) chain: Option<Chain>,
    /// Where it leaves what is worth a look if it fails.
    pub(super) aside: Aside,
    pub(super) made: Mutex<Made>,
}

/// What a stage has made so far.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) files: BTreeMap<String, BTreeMap<String, Blob>>,
    /// Files that earlier runs kept on the way, by their place, as they looked when they were found whole.
    pub(super) kept: BTreeMap<PathBuf, Blob>,
    /// Files that have still to be hashed and made durable, with port and name.
    pub(super) taken: Vec<(String, String, TakenIn)>,
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) series: BTreeMap<String, Vec<f64>>,
    pub(super) computed: Option<u64>,
    /// What was said, in a file that can be read as well, once anything was.
    pub(super) log: Option<File>,
}

impl StoreJob<'_> {
    fn made(&self) -> MutexGuard<'_, Made> {
        // A panicking stage publishes nothing, so that a poisoned collection is never read.
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the log, which goes on where an interrupted run's ended.
    fn write_log(&self, line: &str) -> Result<(), StageError> {
        let made = &mut *self.made();
        let file = match &mut made.log {
            Some(file) => file,
            none => {
                none.insert(File::options().create(true).read(true).append(true).open(self.slot.log_path()?)?)
            }
        };
        Ok(writeln!(file, "{line}")?)
    }

    fn chain(&self) -> &Chain {
        self.chain
            .as_ref()
            .expect("a stage that keeps something on its way says in its identity that it grows")
    }

    fn add(&self, port: &str, file: &str, blob: Blob) {
        self.made().files.entry(port.to_owned()).or_default().insert(file.to_owned(), blob);
    }
}

impl Job for StoreJob<'_> {
    fn input(&self, port: &str) -> Option<&Input> {
        self.inputs.by_port.get(port)
    }

    fn inputs(&self) -> &BTreeMap<String, Input> {
        &self.inputs.by_port
    }

    fn device(&self) -> Device {
        self.device
    }

    fn create(&self, port: &str, file: &str) -> Result<Box<dyn OutputFile + '_>, StageError> {
        let writer = self.store.write_blob()?;
        Ok(Box::new(StoreFile { job: self, port: port.to_owned(), file: file.to_owned(), writer }))
    }

    fn adopt(&self, port: &str, file: &str, path: &Path) -> Result<(), StageError> {
        let taken = self.store.take_in(path)?;
        self.made().taken.push((port.to_owned(), file.to_owned(), taken));
        Ok(())
    }

    fn share(&self, port: &str, file: &str, from: &InputFile) -> Result<(), StageError> {
        // Not as it looks now: if it has been changed since, the result must not pass for whole.
        let blob = self.inputs.blob(&from.path).or_else(|| self.made().kept.get(&from.path).copied());
        self.add(port, file, blob.expect("only files of inputs and of the way are shared"));
        Ok(())
    }

    fn kept(&self) -> Result<Vec<u64>, StageError> {
        Ok(self.chain().positions()?)
    }

    fn link(&self, position: u64) -> Option<BTreeMap<String, InputFile>> {
        let files = self.chain().find(position)?;
        self.made().kept.extend(files.values().cloned());
        Some(files.into_iter().map(|(name, (path, blob))| (name, input_file(path, &blob))).collect())
    }

    fn keep(&self, position: u64, files: &[(&str, Vec<u8>)]) -> Result<(), StageError> {
        // What is kept outlives this run, whatever becomes of it.
        self.inputs.check()?;
        Ok(self.chain().keep(position, files)?)
    }

    fn keep_output(&self, position: u64, port: &str, file: &str) -> Result<(), StageError> {
        self.inputs.check()?;
        let blob = self.made().files.get(port).and_then(|files| files.get(file)).copied();
        let blob = blob.expect("only finished files are kept");
        Ok(self.chain().refer(position, BTreeMap::from([(file.to_owned(), blob)]))?)
    }

    fn forget(&self, position: u64) -> Result<(), StageError> {
        Ok(self.chain().remove(position)?)
    }

    fn computed(&self, units: u64) {
        self.made().computed = Some(units);
    }

    fn partial(&self) -> Result<PathBuf, StageError> {
        Ok(self.slot.partial()?)
    }

    fn lend_folder(&self) -> Result<PathBuf, StageError> {
        Ok(self.folders.lend()?)
    }

    fn give_back_folder(&self, folder: &Path, kept: &str) {
        self.folders.take_back(folder, kept);
    }

    fn progress(&self, progress: Progress) {
        self.observer.observe(&Event::Progress(self.stage.clone(), progress));
    }

    fn set_aside(&self, name: &str, path: &Path) -> Result<(), StageError> {
        Ok(self.aside.put(name, path)?)
    }

    fn log(&self, line: &str) {
        self.observer.observe(&Event::Log(self.stage.clone(), line.to_owned()));
        // A log that cannot be written is no reason to lose the result.
        let _ = self.write_log(line);
    }

    fn metric(&self, name: &str, value: f64) {
        self.made().metrics.insert(name.to_owned(), value);
    }

    fn series(&self, name: &str, values: Vec<f64>) {
        self.made().series.insert(name.to_owned(), values);
    }

    fn interrupted(&self) -> bool {
        self.stop.is_requested()
    }
}

struct StoreFile<'a> {
    job: &'a StoreJob<'a>,
    port: String,
    file: String,
    writer: BlobWriter,
}

impl Write for StoreFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

impl OutputFile for StoreFile<'_> {
    fn finish(self: Box<Self>) -> Result<(), StageError> {
        let StoreFile { job, port, file, writer } = *self;
        job.add(&port, &file, writer.finish()?);
        Ok(())
    }
}
