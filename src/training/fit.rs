//! The training loop. It takes its randomness from the options' seed, its data and its observer as arguments,
//! and leaves keeping and showing to the observer.

use std::time::Instant;

use super::checkpoint::Checkpoint;
use super::error::Error;
use super::evaluate::{Views, evaluate};
use super::history::{Epoch, Timing};
use super::loader::{for_each_batch, shuffled};
use super::normalisation::Normalisation;
use super::options::Options;
use crate::augment::Samples;
use crate::nn::StepOptions;

/// What to learn from and what to judge by.
pub struct Data {
    /// Drawn anew each epoch, if the samples say so.
    pub train: Samples,
    /// The same images each epoch.
    pub val: Samples,
    /// How pixels become numbers.
    pub normalisation: Normalisation,
}

/// Watches a training, and may stop it.
pub trait Observer {
    /// Whether to stop before the next batch.
    fn interrupted(&self) -> bool;

    /// Hears of each step.
    fn after_step(&mut self, step: &Step);

    /// Hears of each epoch, the last one in `checkpoint.history` and `checkpoint.times`; the place to keep it.
    ///
    /// # Errors
    /// If keeping it fails, which ends the training.
    fn after_epoch(&mut self, checkpoint: &Checkpoint) -> Result<(), Error>;
}

/// How far an epoch is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Which epoch, from 1.
    pub epoch: u32,
    /// Which of its batches, from 1.
    pub batch: usize,
    /// Batches per epoch.
    pub batches: usize,
    /// The mean loss of the epoch so far.
    pub loss: f64,
}

/// Trains until all epochs are done or patience is at an end.
///
/// # Errors
/// [`Error::Interrupted`]; [`Error::Diverged`]; or if data, network or disk do not allow it.
pub fn fit(
    mut state: Checkpoint,
    data: &Data,
    options: &Options,
    observer: &mut dyn Observer,
) -> Result<Checkpoint, Error> {
    check(&state, data, options)?;
    state.classifier.set_trainable(options.trainable);
    while !state.is_finished(options) {
        let start = Instant::now();
        let epoch = state.epochs() + 1;
        let lr = options.rate(epoch);
        let learnt = learn(
            &mut state,
            data,
            options,
            StepOptions { lr, label_smoothing: options.label_smoothing },
            observer,
        )?;
        let learning = start.elapsed();
        let averaged = match &state.average {
            Some(average) => Some(state.classifier.with_state(average)?),
            None => None,
        };
        let judge = averaged.as_ref().unwrap_or(&state.classifier);
        let judged = evaluate(judge, Views::One, &data.val, &data.normalisation, options.batch, |_| {
            if observer.interrupted() { Err(Error::Interrupted) } else { Ok(()) }
        })?;
        if !judged.metrics.loss.is_finite() {
            return Err(Error::DivergedInValidation { epoch, loss: judged.metrics.loss });
        }
        let achieved = Epoch {
            epoch,
            train_loss: learnt.loss / learnt.images as f64,
            train_accuracy: learnt.correct as f64 / learnt.images as f64,
            val_loss: judged.metrics.loss,
            val_accuracy: judged.metrics.accuracy,
            lr,
        };
        let images_per_second = learnt.images as f64 / learning.as_secs_f64().max(f64::EPSILON);
        state.finish(achieved, Timing { seconds: start.elapsed().as_secs_f64(), images_per_second });
        observer.after_epoch(&state)?;
    }
    Ok(state)
}

/// Sums over an epoch's images.
#[derive(Default)]
struct Learnt {
    images: usize,
    loss: f64,
    correct: usize,
}

/// One pass through the training samples.
fn learn(
    state: &mut Checkpoint,
    data: &Data,
    options: &Options,
    step: StepOptions,
    observer: &mut dyn Observer,
) -> Result<Learnt, Error> {
    let epoch = state.epochs() + 1;
    let batches = shuffled(data.train.len(), options.batch, options.seed, epoch);
    let mut learnt = Learnt::default();
    let mut batch = 0;
    for_each_batch(&data.train, &data.normalisation, epoch, &batches, |images| {
        if observer.interrupted() {
            return Err(Error::Interrupted);
        }
        batch += 1;
        let result = state.classifier.train_step(&images, &mut state.optimizer, &step)?;
        if !result.loss.is_finite() {
            return Err(Error::Diverged { epoch, batch, batches: batches.len(), loss: result.loss });
        }
        state.follow(options);
        learnt.images += images.len();
        learnt.loss += result.loss * images.len() as f64;
        learnt.correct += result.correct;
        let loss = learnt.loss / learnt.images as f64;
        observer.after_step(&Step { epoch, batch, batches: batches.len(), loss });
        Ok(())
    })?;
    Ok(learnt)
}

fn check(state: &Checkpoint, data: &Data, options: &Options) -> Result<(), Error> {
    let Data { train, val, normalisation: _ } = data;
    if val.is_empty() {
        return Err(Error::Empty { what: "validation" });
    }
    if options.batch > train.len() {
        return Err(Error::BatchTooLarge { batch: options.batch, samples: train.len() });
    }
    debug_assert_eq!(
        state.classifier.architecture().classes,
        train.classes().len(),
        "the network fits the data"
    );
    if train.classes() != val.classes() {
        return Err(Error::Classes {
            what: "validation",
            found: val.classes().to_vec(),
            reference: "training data",
            expected: train.classes().to_vec(),
        });
    }
    Ok(())
}
