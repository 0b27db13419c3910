//! What `train` and `fine-tune` share: datasets in, the training loop with the job as its observer, a model
//! and its history out. Where the first weights come from is their difference.

use std::io::Write;
use std::num::NonZero;

use super::checkpoints::Checkpoints;
use crate::augment::Samples;
use crate::dataset::Dataset;
use crate::engine::stage::{
    AtLeast, Complaint, Device, Holds, InputPort, Job, Need, ONLY_FILE, OutputPort, Progress, StageError,
    Unit,
};
use crate::nn::{self, Architecture, Classifier, LEAST_SIDE};
use crate::training::{
    CARD_FILE, Checkpoint, Data, Epoch, Error, ModelCard, Normalisation, Observer, Options, Problem,
    SEEN_FILE, Seen, Step, Timing, WEIGHTS_FILE, best, fit, to_jsonl,
};

const TRAIN: &str = "train";
const VAL: &str = "val";
const MODEL: &str = "model";
const LAST: &str = "last";
const HISTORY: &str = "history";

/// Where the data comes in: images that the networks can take, and of those to learn from a full batch.
pub(super) fn data_ports(batch: NonZero<usize>) -> [InputPort; 2] {
    let port = |name| InputPort {
        least_side: Some(LEAST_SIDE as u64),
        ..InputPort::new(name, Holds::Dataset, Need::Required)
    };
    let full_batch = AtLeast { samples: batch.get() as u64, param: "batch" };
    [InputPort { at_least: Some(full_batch), ..port(TRAIN) }, port(VAL)]
}

/// Where the model of the best epoch, that of the last one and their history go out.
pub(super) fn outputs() -> Vec<OutputPort> {
    let model = |name: &str| OutputPort::new(name, Holds::Model);
    vec![
        model(MODEL),
        model(LAST),
        OutputPort { file_name: Some("history.jsonl".to_string()), ..OutputPort::new(HISTORY, Holds::File) },
    ]
}

/// What is wrong with an option, as the language tells it.
pub(super) fn complaint(problem: Problem) -> Complaint {
    Complaint {
        path: vec![problem.option.to_string()],
        message: format!("{} {}", problem.option, problem.message),
        hint: None,
    }
}

/// The samples bound to a port.
pub(super) fn samples(job: &dyn Job, port: &str) -> Result<Samples, StageError> {
    let input = job.input(port).expect("the plan binds every required port");
    let told = |error: &dyn std::error::Error| StageError::message(format!("the {port} data: {error}"));
    let dataset = Dataset::open(|file| input.path(file)).map_err(|e| told(&e))?;
    Samples::new(dataset).map_err(|e| told(&e))
}

/// What the job computes on, in the words of the networks.
pub(super) fn device(job: &dyn Job) -> nn::Device {
    match job.device() {
        Device::Cpu => nn::Device::Cpu,
        Device::Cuda(number) => nn::Device::Gpu(number),
    }
}

/// The data bound to the ports.
pub(super) fn data(job: &dyn Job) -> Result<Data, StageError> {
    Ok(Data { train: samples(job, TRAIN)?, val: samples(job, VAL)?, normalisation: Normalisation::default() })
}

/// Trains from the first weights, or from the end of an epoch that an earlier run kept. `seen` is what the network
/// will have learnt from.
pub(super) fn learn(
    checkpoints: &Checkpoints<'_>,
    data: &Data,
    seen: &Seen,
    architecture: &Architecture,
    first: impl FnOnce() -> Result<Classifier, Error>,
) -> Result<(), StageError> {
    let Checkpoints { job, options, keep: _ } = *checkpoints;
    let state = match checkpoints.latest(architecture)? {
        Some(saved) => {
            let epochs = saved.epochs();
            job.log(&if saved.is_finished(options) {
                format!("taken from an earlier training: epoch {epochs}, the last")
            } else {
                format!("going on after epoch {epochs}")
            });
            saved
        }
        None => Checkpoint::start(first().map_err(told)?, options),
    };
    let found = state.epochs();
    let end =
        fit(state, data, options, &mut Watch { checkpoints }).map_err(|error| stopped(error, checkpoints))?;
    job.computed(u64::from(end.epochs() - found));
    if job.device() == Device::Cpu && end.epochs() > found {
        // Not in the key: they decide about the last bits alone.
        job.log(&format!("computed with {}", nn::instructions()));
    }
    let best = best(&end.history).expect("there is at least one epoch");
    if let Some(patience) = options.patience.filter(|_| end.epochs() < options.epochs) {
        job.log(&format!(
            "stopped early after epoch {}: the validation loss was never lower than after epoch {} (patience: {patience})",
            end.epochs(),
            best.epoch
        ));
    }
    let took = end.times.last().expect("each epoch took its time");
    job.metric("best_epoch", f64::from(best.epoch));
    job.metric("val_loss", best.val_loss);
    job.metric("val_accuracy", best.val_accuracy);
    job.metric("images_per_second", took.images_per_second);
    let card = ModelCard {
        network: architecture.network,
        activation: architecture.activation,
        classes: data.train.classes().to_vec(),
        normalisation: data.normalisation,
        resolution: [data.train.height(), data.train.width()],
        parameters: end.classifier.parameter_count(),
    };
    let of_each = |measured: fn(&Timing) -> f64| end.times.iter().map(measured).collect();
    job.series("images_per_second", of_each(|timing| timing.images_per_second));
    job.series("seconds", of_each(|timing| timing.seconds));
    for (port, weights) in [(MODEL, &end.best), (LAST, &end.weights())] {
        write(job, port, WEIGHTS_FILE, &weights.to_safetensors())?;
        write(job, port, CARD_FILE, &card.to_json())?;
        write(job, port, SEEN_FILE, &seen.to_safetensors())?;
    }
    write(job, HISTORY, ONLY_FILE, to_jsonl(&end.history).as_bytes())
}

/// Writes a whole file of an output.
pub(super) fn write(job: &dyn Job, port: &str, file: &str, bytes: &[u8]) -> Result<(), StageError> {
    let mut output = job.create(port, file)?;
    output.write_all(bytes)?;
    output.finish()
}

/// An error of the training as the engine wants it.
pub(super) fn told(error: Error) -> StageError {
    match error {
        Error::Interrupted => StageError::Interrupted,
        error => error.into(),
    }
}

/// What ended the training, as the engine wants it; where its loss ran away, with what is kept and how to go on.
fn stopped(error: Error, checkpoints: &Checkpoints<'_>) -> StageError {
    if !matches!(error, Error::Diverged { .. } | Error::DivergedInValidation { .. }) {
        return told(error);
    }
    let kept = match checkpoints.place() {
        Some(epoch) => {
            format!("the epoch before is kept in {}, but going on from it ends here again", epoch.display())
        }
        None => "no epoch was finished".to_string(),
    };
    let Options { lr, warmup, .. } = checkpoints.options;
    StageError::message(format!(
        "{error}; {kept}: try an lr below {lr}, or a warmup longer than {warmup} epochs"
    ))
}

/// Tells the job how the training goes, and keeps each epoch.
struct Watch<'a> {
    checkpoints: &'a Checkpoints<'a>,
}

impl Observer for Watch<'_> {
    fn interrupted(&self) -> bool {
        self.checkpoints.job.interrupted()
    }

    fn after_step(&mut self, step: &Step) {
        let Step { epoch, batch, batches, loss } = *step;
        let Checkpoints { job, options, keep: _ } = self.checkpoints;
        let images = |epochs: u32, batch: usize| {
            (u64::from(epochs) * batches as u64 + batch as u64) * options.batch as u64
        };
        let note = format!("epoch {epoch}/{}  loss {loss:.3}", options.epochs);
        let (done, total) = (images(epoch - 1, batch), Some(images(options.epochs, 0)));
        job.progress(Progress { done, total, unit: Unit::Images, note });
    }

    fn after_epoch(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let Checkpoints { job, options, keep: _ } = self.checkpoints;
        self.checkpoints.keep(checkpoint).map_err(|error| match error {
            StageError::Interrupted => Error::Interrupted,
            StageError::Failed(error) => Error::Keeping(error),
        })?;
        let Checkpoint { history, times, .. } = checkpoint;
        let (epoch, timing) =
            history.last().zip(times.last()).expect("an epoch has just been finished, and took its time");
        job.log(&line(epoch, options.epochs, timing));
        Ok(())
    }
}

fn line(row: &Epoch, epochs: u32, timing: &Timing) -> String {
    let Epoch { epoch, train_loss, train_accuracy, val_loss, val_accuracy, lr } = *row;
    format!(
        "epoch {epoch}/{epochs}  loss {train_loss:.4} ({:.2} %)  val {val_loss:.4} ({:.2} %)  lr {lr:.1e}  \
         {:.0} images/s  {:.1} s",
        100.0 * train_accuracy,
        100.0 * val_accuracy,
        timing.images_per_second,
        timing.seconds,
    )
}
