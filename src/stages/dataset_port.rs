//! The dataset artifact as a stage meets it: opened from an input port, written to an output port. It connects the
//! engine's port to the dataset folder, which knows neither.

use crate::dataset::{Dataset, Destination};
use crate::engine::stage::{Job, OutputFile, StageError};

/// Opens the dataset bound to an input port.
///
/// # Errors
/// If the artifact is no dataset.
///
/// # Panics
/// If the port is not bound; the pipeline is checked for that before anything runs.
pub(super) fn open_dataset(job: &dyn Job, port: &str) -> Result<Dataset, StageError> {
    let input = job.input(port).expect("required ports are bound before a stage runs");
    Ok(Dataset::open(|file| input.path(file))?)
}

/// Opens the dataset bound to an input port, for a stage that needs stored images.
///
/// # Errors
/// If the artifact is no dataset, or draws its samples anew in each epoch.
pub(super) fn open_plain_dataset(job: &dyn Job, port: &str) -> Result<Dataset, StageError> {
    let dataset = open_dataset(job, port)?;
    if dataset.manifest().recipe.is_some() {
        let text = format!(
            "{port}: this dataset is drawn anew in each epoch and holds no samples of its own; take the images it \
             was made from, or make it with `redraw: never`"
        );
        return Err(StageError::message(text));
    }
    Ok(dataset)
}

/// An output port, as the place where the files of a dataset go.
pub(super) struct DatasetPort<'a> {
    pub(super) job: &'a dyn Job,
    pub(super) port: &'a str,
}

impl<'a> Destination for DatasetPort<'a> {
    type File = Box<dyn OutputFile + 'a>;
    type Error = StageError;

    fn create(&self, file: &str) -> Result<Self::File, StageError> {
        self.job.create(self.port, file)
    }

    fn finish(&self, file: Self::File) -> Result<(), StageError> {
        file.finish()
    }
}
