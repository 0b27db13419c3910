//! The `decode` stage: an STL-10 archive becomes one dataset per part, in one pass and without unpacking anything to
//! disk. What an archive looks like is known in the dataset folder.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::dataset_port::DatasetPort;
use crate::dataset::DatasetWriter;
use crate::dataset::stl10::{self, Part, SIDE, Visitor};
use crate::engine::stage::{
    Complaint, Cost, Holds, InputPort, Inputs, Job, Need, ONLY_FILE, OutputPort, Ports, Progress, Stage,
    StageError, StageKind, Unit, read_stage,
};
use crate::pipeline::Check;

/// What `uses: decode` means.
pub const KIND: StageKind = StageKind {
    name: "decode",
    version: 1,
    about: "Reads an STL-10 archive into datasets: train, test, and unlabeled on request.",
    schema: || schemars::schema_for!(Decode).to_value(),
    read: read_stage::<Decode>,
};

const ARCHIVE: &str = "archive";

/// Which parts of the archive to read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Decode {
    /// Whether to read the unlabelled images as well; the official archive has 100,000.
    #[serde(default)]
    unlabeled: bool,
}

impl Check for Decode {
    fn check(&self) -> Vec<Complaint> {
        vec![]
    }
}

impl Decode {
    fn parts(&self) -> &'static [Part] {
        if self.unlabeled { &[Part::Train, Part::Test, Part::Unlabeled] } else { &[Part::Train, Part::Test] }
    }
}

impl Stage for Decode {
    fn ports(&self) -> Ports {
        let output = |part: &Part| OutputPort::new(part.name(), Holds::Dataset);
        Ports {
            inputs: Inputs::Fixed(vec![InputPort::new(ARCHIVE, Holds::File, Need::Required)]),
            outputs: self.parts().iter().map(output).collect(),
            named_by: Some("unlabeled"),
        }
    }

    fn params(&self) -> Value {
        json!(self)
    }

    fn cost(&self) -> Cost {
        Cost::OneCore
    }

    fn run(&self, job: &dyn Job) -> Result<(), StageError> {
        let input = job.input(ARCHIVE).expect("required ports are bound before a stage runs");
        let file = input.files.get(ONLY_FILE).expect("a file artifact has one file");
        let read = Cell::new(0);
        let archive = Counted { inner: File::open(&file.path)?, read: &read };
        let mut datasets = Datasets {
            job,
            bytes_read: &read,
            bytes_total: file.bytes,
            writers: BTreeMap::new(),
            early_labels: BTreeMap::new(),
        };
        let classes = stl10::read(archive, self.parts(), &mut datasets)?;
        for writer in datasets.writers.into_values() {
            writer.finish(classes.clone())?;
        }
        Ok(())
    }
}

/// Writes what is read from the archive to the output ports.
struct Datasets<'a> {
    job: &'a dyn Job,
    bytes_read: &'a Cell<u64>,
    bytes_total: u64,
    writers: BTreeMap<Part, DatasetWriter<DatasetPort<'a>>>,
    /// Labels that came before their images.
    early_labels: BTreeMap<Part, Vec<u8>>,
}

impl Visitor for Datasets<'_> {
    type Error = StageError;

    fn begin(&mut self, part: Part, count: usize) -> Result<(), StageError> {
        let port = DatasetPort { job: self.job, port: part.name() };
        let mut writer = DatasetWriter::new(port, count, SIDE, SIDE);
        if let Some(labels) = self.early_labels.remove(&part) {
            writer.labels(&labels)?;
        }
        self.writers.insert(part, writer);
        Ok(())
    }

    fn images(&mut self, part: Part, pixels: &[u8]) -> Result<(), StageError> {
        self.writers.get_mut(&part).expect("a part begins before its images").images(pixels)
    }

    fn labels(&mut self, part: Part, labels: &[u8]) -> Result<(), StageError> {
        match self.writers.get_mut(&part) {
            Some(writer) => writer.labels(labels),
            None => {
                self.early_labels.insert(part, labels.to_vec());
                Ok(())
            }
        }
    }

    fn pause_point(&mut self) -> Result<(), StageError> {
        self.job.progress(Progress {
            done: self.bytes_read.get(),
            total: Some(self.bytes_total),
            unit: Unit::Bytes,
            note: String::new(),
        });
        self.job.pause_point()
    }
}

/// Counts the bytes that were read.
struct Counted<'a> {
    inner: File,
    read: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.read.set(self.read.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{UNLABELED, painter};
    use crate::stages::synthesize;
    use crate::stages::test_job::{TestJob, dataset_of};

    /// A job whose `archive` holds 30 training images, 10 test images and 5 unlabelled ones.
    fn job_with_archive() -> (TestJob, TestJob) {
        let maker = TestJob::new();
        let params = json!({ "train_per_class": 3, "test_per_class": 1, "unlabeled": 5 });
        (synthesize::KIND.read)(&params).expect("the parameters are right").run(&maker).expect("runs");
        let job = TestJob::new().with_output_of(ARCHIVE, &maker, "file");
        (maker, job)
    }

    fn decode(job: &TestJob, params: &Value) -> Result<(), StageError> {
        (KIND.read)(params).expect("the parameters are right").run(job)
    }

    #[test]
    fn a_synthetic_archive_becomes_datasets() {
        let (_maker, job) = job_with_archive();
        decode(&job, &json!({ "unlabeled": true })).expect("decodes");
        let (train, test) = (dataset_of(&job, "train"), dataset_of(&job, "test"));
        assert_eq!((train.len(), test.len(), train.height(), train.width()), (30, 10, 96, 96));
        assert_eq!(train.classes(), painter::CLASSES);
        assert_eq!((0..10).map(|i| test.label(i)).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(dataset_of(&job, "unlabeled").label(4), UNLABELED);

        let told = job.progress_told();
        assert_eq!(told.last().map(|p| Some(p.done) == p.total), Some(true), "{:?}", told.last());
    }

    #[test]
    fn unlabeled_images_have_a_port_on_request_only() {
        let ports = |params: Value| (KIND.read)(&params).expect("the parameters are right").ports().outputs;
        let names = |params: Value| ports(params).into_iter().map(|port| port.name).collect::<Vec<_>>();
        assert_eq!(names(json!({})), ["train", "test"]);
        assert_eq!(names(json!({ "unlabeled": true })), ["train", "test", "unlabeled"]);
    }

    #[test]
    fn it_stops_when_interrupted_and_tells_what_is_wrong_with_an_archive() {
        let (maker, job) = job_with_archive();
        assert!(matches!(decode(&job.interrupt_after(1), &json!({})), Err(StageError::Interrupted)));
        let archive = maker.bytes("file", ONLY_FILE);
        let job = TestJob::new().with_file(ARCHIVE, &archive[..archive.len() / 2]);
        let Err(StageError::Failed(error)) = decode(&job, &json!({})) else {
            panic!("half an archive is decoded")
        };
        assert!(error.to_string().starts_with("stl10_binary/train_X.bin: the archive ends"), "{error}");
    }
}
