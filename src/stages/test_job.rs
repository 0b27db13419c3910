//! A [`Job`] for tests of stages: inputs and outputs are files in a temporary directory, and everything the
//! stage tells is kept for the test to look at. It knows no store, so nothing is reused or locked.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use crate::dataset::writer_tests::numbered_dataset;
use crate::dataset::{Dataset, MANIFEST_FILE};
use crate::engine::stage::{Device, Input, InputFile, Job, ONLY_FILE, OutputFile, Progress, StageError};

/// A job whose inputs a test has laid out by hand.
pub(crate) struct TestJob {
    dir: TempDir,
    inputs: BTreeMap<String, Input>,
    outputs: Mutex<BTreeMap<String, Input>>,
    progress: Mutex<Vec<Progress>>,
    log: Mutex<Vec<String>>,
    metrics: Mutex<BTreeMap<String, f64>>,
    series: Mutex<BTreeMap<String, Vec<f64>>>,
    chain: Mutex<BTreeMap<u64, BTreeMap<String, InputFile>>>,
    computed: Mutex<Option<u64>>,
    pause_points_left: AtomicUsize,
}

impl TestJob {
    /// A job without inputs.
    pub(crate) fn new() -> TestJob {
        TestJob {
            dir: TempDir::new().expect("tests have a temporary directory"),
            inputs: BTreeMap::new(),
            outputs: Mutex::default(),
            progress: Mutex::default(),
            log: Mutex::default(),
            metrics: Mutex::default(),
            series: Mutex::default(),
            chain: Mutex::default(),
            computed: Mutex::default(),
            pause_points_left: AtomicUsize::new(usize::MAX),
        }
    }

    /// Binds an input port to an artifact of one file.
    pub(crate) fn with_file(self, port: &str, bytes: &[u8]) -> TestJob {
        self.with_directory(port, &[(ONLY_FILE, bytes)])
    }

    /// Binds an input port to an artifact of these files.
    pub(crate) fn with_directory(self, port: &str, files: &[(&str, &[u8])]) -> TestJob {
        let dir = self.dir.path().join("in").join(port);
        let files = files.iter().map(|(name, bytes)| {
            let path = dir.join(disk_name(name));
            make_parent(&path).expect("the directory can be made");
            fs::write(&path, bytes).expect("the file can be written");
            ((*name).to_owned(), input_file(path).expect("the file can be read"))
        });
        let input = input(files.collect());
        self.with_input(port, input)
    }

    /// Binds an input port to what another job made; that job must outlive this one.
    pub(crate) fn with_output_of(self, port: &str, maker: &TestJob, made: &str) -> TestJob {
        let input = maker.output(made);
        self.with_input(port, input)
    }

    /// Binds an input port to any artifact.
    pub(crate) fn with_input(mut self, port: &str, input: Input) -> TestJob {
        self.inputs.insert(port.to_owned(), input);
        self
    }

    /// Finds on its way what another job kept there; that job must outlive this one.
    pub(crate) fn with_chain_of(self, other: &TestJob) -> TestJob {
        *self.chain.lock().expect("no test thread panicked") =
            other.chain.lock().expect("no test thread panicked").clone();
        self
    }

    /// Makes [`Job::interrupted`] turn true once it has been asked `n` times.
    pub(crate) fn interrupt_after(self, n: usize) -> TestJob {
        self.pause_points_left.store(n, Ordering::SeqCst);
        self
    }

    /// The artifact made at an output port, in the form in which another stage would get it.
    pub(crate) fn output(&self, port: &str) -> Input {
        let outputs = self.outputs.lock().expect("no test thread panicked");
        outputs.get(port).unwrap_or_else(|| panic!("nothing was made at port {port}")).clone()
    }

    /// The bytes of one file of an output.
    pub(crate) fn bytes(&self, port: &str, file: &str) -> Vec<u8> {
        let path = self.output(port).path(file).unwrap_or_else(|| panic!("{port} has no file {file:?}"));
        fs::read(path).expect("the file can be read")
    }

    /// Everything told through [`Job::progress`].
    pub(crate) fn progress_told(&self) -> Vec<Progress> {
        self.progress.lock().expect("no test thread panicked").clone()
    }

    /// Everything told through [`Job::log`].
    pub(crate) fn log_lines(&self) -> Vec<String> {
        self.log.lock().expect("no test thread panicked").clone()
    }

    /// Everything told through [`Job::metric`].
    pub(crate) fn metrics(&self) -> BTreeMap<String, f64> {
        self.metrics.lock().expect("no test thread panicked").clone()
    }

    /// Everything told through [`Job::series`].
    pub(crate) fn series_told(&self) -> BTreeMap<String, Vec<f64>> {
        self.series.lock().expect("no test thread panicked").clone()
    }

    /// What was told last through [`Job::computed`].
    pub(crate) fn computed_told(&self) -> Option<u64> {
        *self.computed.lock().expect("no test thread panicked")
    }

    /// Where what was set aside under a name lies.
    pub(crate) fn aside(&self, name: &str) -> PathBuf {
        self.dir.path().join("aside").join(name)
    }

    fn output_path(&self, port: &str, file: &str) -> Result<PathBuf, StageError> {
        let path = self.dir.path().join("out").join(port).join(disk_name(file));
        make_parent(&path)?;
        Ok(path)
    }
}

impl Job for TestJob {
    fn input(&self, port: &str) -> Option<&Input> {
        self.inputs.get(port)
    }

    fn inputs(&self) -> &BTreeMap<String, Input> {
        &self.inputs
    }

    fn device(&self) -> Device {
        Device::Cpu
    }

    fn create(&self, port: &str, file: &str) -> Result<Box<dyn OutputFile + '_>, StageError> {
        let path = self.output_path(port, file)?;
        Ok(Box::new(TestFile {
            out: File::create(&path)?,
            path,
            port: port.to_owned(),
            file: file.to_owned(),
            outputs: &self.outputs,
        }))
    }

    fn adopt(&self, port: &str, file: &str, path: &Path) -> Result<(), StageError> {
        let target = self.output_path(port, file)?;
        fs::copy(path, &target)?;
        add_output(&self.outputs, port, file, input_file(target)?);
        Ok(())
    }

    fn share(&self, port: &str, file: &str, from: &InputFile) -> Result<(), StageError> {
        add_output(&self.outputs, port, file, from.clone());
        Ok(())
    }

    fn kept(&self) -> Result<Vec<u64>, StageError> {
        Ok(self.chain.lock().expect("no test thread panicked").keys().copied().collect())
    }

    fn link(&self, position: u64) -> Option<BTreeMap<String, InputFile>> {
        let link = self.chain.lock().expect("no test thread panicked").get(&position)?.clone();
        link.values().all(|file| input_file(file.path.clone()).is_ok_and(|now| now == *file)).then_some(link)
    }

    fn keep(&self, position: u64, files: &[(&str, Vec<u8>)]) -> Result<(), StageError> {
        let mut link = BTreeMap::new();
        for (name, bytes) in files {
            let path = self.dir.path().join("chain").join(position.to_string()).join(name);
            make_parent(&path)?;
            fs::write(&path, bytes)?;
            link.insert((*name).to_owned(), input_file(path)?);
        }
        self.chain.lock().expect("no test thread panicked").insert(position, link);
        Ok(())
    }

    fn keep_output(&self, position: u64, port: &str, file: &str) -> Result<(), StageError> {
        let link = BTreeMap::from([(file.to_owned(), self.output(port).files[file].clone())]);
        self.chain.lock().expect("no test thread panicked").insert(position, link);
        Ok(())
    }

    fn forget(&self, position: u64) -> Result<(), StageError> {
        self.chain.lock().expect("no test thread panicked").remove(&position);
        Ok(())
    }

    fn computed(&self, units: u64) {
        *self.computed.lock().expect("no test thread panicked") = Some(units);
    }

    fn partial(&self) -> Result<PathBuf, StageError> {
        let dir = self.dir.path().join("partial");
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    fn lend_folder(&self) -> Result<PathBuf, StageError> {
        let lent = self.dir.path().join("lent");
        fs::create_dir_all(&lent)?;
        Ok(tempfile::tempdir_in(lent)?.keep())
    }

    fn give_back_folder(&self, folder: &Path, _kept: &str) {
        assert!(folder.starts_with(self.dir.path().join("lent")), "what is given back was lent");
    }

    fn set_aside(&self, name: &str, path: &Path) -> Result<(), StageError> {
        let target = self.aside(name);
        make_parent(&target)?;
        Ok(fs::rename(path, target)?)
    }

    fn progress(&self, progress: Progress) {
        self.progress.lock().expect("no test thread panicked").push(progress);
    }

    fn log(&self, line: &str) {
        self.log.lock().expect("no test thread panicked").push(line.to_owned());
    }

    fn metric(&self, name: &str, value: f64) {
        self.metrics.lock().expect("no test thread panicked").insert(name.to_owned(), value);
    }

    fn series(&self, name: &str, values: Vec<f64>) {
        self.series.lock().expect("no test thread panicked").insert(name.to_owned(), values);
    }

    fn interrupted(&self) -> bool {
        let left = self.pause_points_left.load(Ordering::SeqCst);
        if left > 0 && left < usize::MAX {
            self.pause_points_left.store(left - 1, Ordering::SeqCst);
        }
        left == 0
    }
}

/// Binds a port to a dataset of 8x8 images, every pixel of image `i` being `i` modulo 251.
pub(crate) fn numbered_images(job: TestJob, port: &str, labels: &[u8]) -> TestJob {
    let (dir, dataset) = numbered_dataset(labels, 8, 8);
    let shards = dataset.manifest().shards.iter().map(|shard| shard.file.as_str());
    let names: Vec<&str> = shards.chain([MANIFEST_FILE]).collect();
    let files: Vec<(&str, Vec<u8>)> = names
        .into_iter()
        .map(|name| (name, fs::read(dir.path().join(name)).expect("the file can be read")))
        .collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    job.with_directory(port, &files)
}

/// Opens the dataset made at an output port.
pub(crate) fn dataset_of(job: &TestJob, port: &str) -> Dataset {
    let output = job.output(port);
    Dataset::open(|file| output.path(file)).expect("is a dataset")
}

struct TestFile<'a> {
    out: File,
    path: PathBuf,
    port: String,
    file: String,
    outputs: &'a Mutex<BTreeMap<String, Input>>,
}

impl Write for TestFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl OutputFile for TestFile<'_> {
    fn finish(self: Box<Self>) -> Result<(), StageError> {
        add_output(self.outputs, &self.port, &self.file, input_file(self.path)?);
        Ok(())
    }
}

fn add_output(outputs: &Mutex<BTreeMap<String, Input>>, port: &str, file: &str, made: InputFile) {
    let mut outputs = outputs.lock().expect("no test thread panicked");
    let mut files = outputs.remove(port).map(|artifact| artifact.files).unwrap_or_default();
    files.insert(file.to_owned(), made);
    outputs.insert(port.to_owned(), input(files));
}

/// An artifact's digest covers the names and digests of its files.
fn input(files: BTreeMap<String, InputFile>) -> Input {
    let mut hasher = blake3::Hasher::new();
    for (name, file) in &files {
        hasher.update(format!("{name}\0{}\n", file.digest).as_bytes());
    }
    Input { digest: hasher.finalize().to_hex().to_string(), files }
}

fn input_file(path: PathBuf) -> io::Result<InputFile> {
    let bytes = fs::read(&path)?;
    Ok(InputFile { digest: blake3::hash(&bytes).to_hex().to_string(), bytes: bytes.len() as u64, path })
}

fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// The name on disk of an artifact's file.
fn disk_name(file: &str) -> &str {
    if file == ONLY_FILE { "only-file" } else { file }
}

mod tests {
    use super::*;
    use crate::engine::stage::Unit;

    #[test]
    fn an_output_of_one_job_is_an_input_of_the_next() {
        let first = TestJob::new().with_file("text", b"1");
        let text = first.input("text").and_then(|input| input.path(ONLY_FILE)).expect("it was bound");
        let mut file = first.create("numbers", "one").expect("creates");
        file.write_all(&fs::read(text).expect("reads")).expect("writes");
        file.finish().expect("finishes");
        assert_eq!(first.bytes("numbers", "one"), b"1");

        let second = TestJob::new().with_output_of("numbers", &first, "numbers");
        let path = second.input("numbers").and_then(|input| input.path("one")).expect("it was bound");
        assert_eq!(fs::read(path).expect("reads"), b"1");
    }

    #[test]
    fn it_is_interrupted_after_the_given_number_of_pause_points() {
        let job = TestJob::new().interrupt_after(2);
        assert!(job.pause_point().is_ok());
        assert!(job.pause_point().is_ok());
        assert!(matches!(job.pause_point(), Err(StageError::Interrupted)));
    }

    #[test]
    fn it_keeps_what_a_stage_tells() {
        let job = TestJob::new();
        let progress = Progress { done: 1, total: Some(2), unit: Unit::Steps, note: String::new() };
        job.progress(progress.clone());
        job.log("half way");
        job.metric("accuracy", 0.5);
        job.series("seconds", vec![1.0, 2.0]);
        assert_eq!(job.progress_told(), [progress]);
        assert_eq!(job.log_lines(), ["half way"]);
        assert_eq!(job.metrics()["accuracy"], 0.5);
        assert_eq!(job.series_told()["seconds"], [1.0, 2.0]);
    }
}
