//! What the loop promises: it learns, it goes on where it stopped bit for bit, it stops when it must.

use std::io;

use tempfile::TempDir;

use super::test_data::greys;
use super::*;
use crate::augment::Samples;
use crate::nn::{Activation, Architecture, Classifier, Device, Method, Network, Trainable};

const TOOK: Timing = Timing { seconds: 1.0, images_per_second: 10.0 };

const LENET: Architecture =
    Architecture { network: Network::Lenet, activation: Activation::Relu, classes: 10 };

/// [`greys`] to learn from and to judge by.
struct Greys {
    data: Data,
    _folders: [TempDir; 2],
}

impl Greys {
    fn new(train: usize, val: usize) -> Greys {
        let of = |count: usize| {
            let (folder, dataset) = greys(count);
            (folder, Samples::new(dataset).expect("samples"))
        };
        let ((a, train), (b, val)) = (of(train), of(val));
        Greys { data: Data { train, val, normalisation: Normalisation::default() }, _folders: [a, b] }
    }

    fn fit(&self, options: &Options, observer: &mut Recorder) -> Result<Checkpoint, Error> {
        let classifier = Classifier::new(&LENET, options.seed, Device::Cpu).expect("a network");
        fit(Checkpoint::start(classifier, options), &self.data, options, observer)
    }
}

/// A file of a checkpoint: its name and bytes.
type File = (&'static str, Vec<u8>);

/// Stops after so many steps, and keeps the files of each epoch.
struct Recorder {
    steps_left: usize,
    steps: Vec<Step>,
    kept: Vec<Vec<File>>,
}

impl Recorder {
    fn new() -> Recorder {
        Recorder { steps_left: usize::MAX, steps: Vec::new(), kept: Vec::new() }
    }

    /// The last kept checkpoint.
    fn reload(&self, options: &Options) -> Checkpoint {
        let files = self.kept.last().expect("an epoch was finished");
        let read = |name: &str| {
            let file = files.iter().find(|(known, _)| *known == name);
            file.map(|(_, bytes)| bytes.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
        };
        Checkpoint::from_files(&LENET, options, Device::Cpu, read).expect("readable")
    }
}

impl Observer for Recorder {
    fn interrupted(&self) -> bool {
        self.steps.len() >= self.steps_left
    }

    fn after_step(&mut self, step: &Step) {
        self.steps.push(*step);
    }

    fn after_epoch(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        self.kept.push(checkpoint.files().into_iter().chain([checkpoint.times_file()]).collect());
        Ok(())
    }
}

fn options(epochs: u32) -> Options {
    Options {
        epochs,
        batch: 10,
        lr: 1e-3,
        weight_decay: 1e-4,
        optimizer: Method::Adam,
        warmup: 0,
        schedule: Schedule::default(),
        ema: None,
        label_smoothing: 0.0,
        seed: 7,
        patience: None,
        trainable: Trainable::All,
    }
}

#[test]
fn it_learns_to_tell_greys_apart() {
    let greys = Greys::new(120, 40);
    let mut recorder = Recorder::new();
    let end = greys.fit(&options(4), &mut recorder).expect("it trains");
    let (first, last) = (end.history[0], end.history[3]);
    assert!(last.train_loss < 0.7 * first.train_loss, "{first:?} {last:?}");
    assert!(best(&end.history).expect("four epochs").val_accuracy > 0.3, "{:?}", end.history);
    assert_eq!(recorder.steps.len(), 48);
    assert_eq!(recorder.steps[47].loss, last.train_loss);
}

#[test]
fn a_training_goes_on_bit_for_bit_where_it_was_stopped() {
    let greys = Greys::new(25, 10);
    let straight = greys.fit(&options(4), &mut Recorder::new()).expect("it trains");

    // Two steps per epoch: this stops in the middle of the third.
    let mut stopped = Recorder { steps_left: 5, ..Recorder::new() };
    assert!(matches!(greys.fit(&options(4), &mut stopped), Err(Error::Interrupted)));
    let saved = stopped.reload(&options(4));
    assert_eq!(saved.epochs(), 2);
    let times = saved.times.clone();
    let resumed = fit(saved, &greys.data, &options(4), &mut Recorder::new()).expect("it trains");
    assert_eq!(resumed.files(), straight.files());
    assert_eq!((resumed.times.len(), &resumed.times[..2]), (4, &times[..]), "it knows the times before");
}

#[test]
fn every_optimizer_and_an_average_go_on_bit_for_bit() {
    let greys = Greys::new(20, 10);
    for (optimizer, ema) in [
        (Method::Adam, Some(0.9)),
        (Method::Adamw, None),
        (Method::Sgd { momentum: 0.9, nesterov: true }, Some(0.5)),
    ] {
        let options = |epochs| Options { optimizer, ema, warmup: 1, ..self::options(epochs) };
        let mut keeping = Recorder::new();
        greys.fit(&options(2), &mut keeping).expect("it trains");
        let saved = keeping.reload(&options(3));
        let resumed = fit(saved, &greys.data, &options(3), &mut Recorder::new()).expect("it trains");
        let straight = greys.fit(&options(3), &mut Recorder::new()).expect("it trains");
        assert!(resumed.files() == straight.files(), "{optimizer:?}");
        let rates: Vec<_> = straight.history.iter().map(|epoch| epoch.lr).collect();
        assert_eq!(rates, [5e-4, 1e-3, 1e-3]);
    }
}

#[test]
fn an_average_is_what_is_validated_and_kept_while_the_weights_learn_as_without_it() {
    let greys = Greys::new(40, 20);
    let plain = greys.fit(&options(3), &mut Recorder::new()).expect("it trains");
    let averaged = Options { ema: Some(0.9), ..options(3) };
    let end = greys.fit(&averaged, &mut Recorder::new()).expect("it trains");
    assert!(end.classifier.state() == plain.classifier.state(), "the weights learn as without it");
    assert_eq!(end.history[2].train_loss, plain.history[2].train_loss);
    assert_ne!(end.history[2].val_loss, plain.history[2].val_loss);

    let judge = Classifier::from_state(&LENET, &end.weights(), Device::Cpu).expect("weights");
    let judged = evaluate(&judge, Views::One, &greys.data.val, &greys.data.normalisation, 10, |_| Ok(()))
        .expect("judged");
    assert_eq!(judged.metrics.loss, end.history[2].val_loss);
    assert_ne!(end.weights(), end.classifier.state());
}

#[test]
fn more_epochs_go_on_from_the_end_of_fewer() {
    let greys = Greys::new(20, 10);
    let short = greys.fit(&options(2), &mut Recorder::new()).expect("it trains");
    let grown = fit(short, &greys.data, &options(3), &mut Recorder::new()).expect("it trains");
    let straight = greys.fit(&options(3), &mut Recorder::new()).expect("it trains");
    assert_eq!(grown.files(), straight.files());
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let greys = Greys::new(20, 10);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| greys.fit(&options(1), &mut Recorder::new()).expect("it trains").files())
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn patience_ends_a_training_that_gets_no_better() {
    let greys = Greys::new(20, 10);
    let mut end = greys.fit(&options(1), &mut Recorder::new()).expect("it trains");
    let worse = Epoch { epoch: 2, val_loss: f64::MAX, ..end.history[0] };
    let patient = Options { patience: Some(2), epochs: 10, ..options(1) };
    end.finish(worse, TOOK);
    assert!(!end.is_finished(&patient));
    end.finish(Epoch { epoch: 3, ..worse }, TOOK);
    assert!(end.is_finished(&patient));
    let passed_by = |patience| end.is_passed_by(&Options { patience, epochs: 10, ..options(1) });
    assert!(passed_by(None) && passed_by(Some(2)), "it may end here");
    assert!(!passed_by(Some(1)), "it would have ended before");
    assert!(!end.is_passed_by(&options(2)), "it is not that long");
    let end = fit(end, &greys.data, &patient, &mut Recorder::new()).expect("nothing is left to do");
    assert_eq!(end.epochs(), 3);
}

#[test]
fn the_best_weights_outlive_worse_epochs() {
    let greys = Greys::new(20, 10);
    let mut end = greys.fit(&options(1), &mut Recorder::new()).expect("it trains");
    let first = end.classifier.state();
    end.finish(Epoch { epoch: 2, val_loss: f64::MAX, ..end.history[0] }, TOOK);
    assert_eq!(end.best, first);
}

#[test]
fn a_loss_that_is_no_number_is_told_with_its_epoch_and_batch() {
    let error = Greys::new(20, 10).fit(&Options { lr: 1e30, ..options(5) }, &mut Recorder::new()).err();
    let told = error.expect("it diverges").to_string();
    assert!(told.starts_with("epoch 1, batch 2 of 2: the loss is "), "{told}");
}

#[test]
fn a_batch_larger_than_the_data_is_refused() {
    let error = Greys::new(8, 10).fit(&options(1), &mut Recorder::new()).err().expect("too large");
    assert_eq!(
        error.to_string(),
        "batch 10 is larger than the 8 training samples; choose a smaller batch or more samples"
    );
}

#[test]
fn the_batch_size_changes_no_prediction() {
    let greys = Greys::new(20, 10);
    let classifier = Classifier::new(&LENET, 1, Device::Cpu).expect("a network");
    let judged = |batch| {
        evaluate(&classifier, Views::One, &greys.data.val, &Normalisation::default(), batch, |_| Ok(()))
            .expect("judged")
    };
    let (a, b) = (judged(10), judged(3));
    assert_eq!(a.predictions, b.predictions);
    assert!((a.metrics.loss - b.metrics.loss).abs() < 1e-5);
}
