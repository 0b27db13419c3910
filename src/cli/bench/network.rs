//! Training and classifying, batch by batch, on random pictures that are the same each time.

use std::time::Instant;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Measured, measured, set_up};
use crate::cli::cores::Cores;
use crate::cli::device::DeviceArgs;
use crate::cli::exit::Failure;
use crate::dataset::random::{Purpose, Stream};
use crate::engine::stage::Device;
use crate::nn::{self, Activation, Architecture, Batch, Classifier, Method, Network, Optimizer, StepOptions};

/// Arguments of `bench train` and `bench evaluate`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// The network.
    #[arg(long, value_parser = named::<Network>(&["lenet", "custom_net", "resnext"]))]
    model: Network,
    /// What follows its convolutions.
    #[arg(long, default_value = "relu", value_parser = named::<Activation>(&["relu", "leaky_relu(0.1)"]))]
    activation: Activation,
    /// The side of an image, in pixels.
    #[arg(long, value_name = "PIXELS", default_value_t = 96)]
    size: usize,
    /// Images per step.
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,
    /// Steps to measure, after one that is not.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    cores: Cores,
}

/// Names of a pipeline file as names of the command line.
fn named<T: DeserializeOwned + Clone + Send + Sync + 'static>(
    names: &'static [&'static str],
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names).try_map(|name| serde_json::from_value(Value::String(name)))
}

/// Whole training steps with Adam.
pub(super) fn train(args: &Args) -> Result<Measured, Failure> {
    let options = StepOptions { lr: 1e-3, label_smoothing: 0.0 };
    let mut optimizer = Optimizer::new(Method::Adam, 1e-4);
    measure("train", args, |classifier, batch| {
        classifier.train_step(batch, &mut optimizer, &options)?;
        Ok(())
    })
}

/// Logits in evaluation mode.
pub(super) fn evaluate(args: &Args) -> Result<Measured, Failure> {
    measure("evaluate", args, |classifier, batch| {
        classifier.logits(batch)?;
        Ok(())
    })
}

fn measure(
    what: &str,
    args: &Args,
    mut step: impl FnMut(&mut Classifier, &Batch) -> Result<(), nn::Error>,
) -> Result<Measured, Failure> {
    let threads = set_up(&args.cores);
    let architecture = Architecture { network: args.model, activation: args.activation, classes: 10 };
    let (device, said) = match args.device.find()?.device {
        Device::Cpu => (nn::Device::Cpu, "cpu".to_owned()),
        Device::Cuda(number) => (nn::Device::Gpu(number), format!("cuda:{number}")),
    };
    let mut classifier = Classifier::new(&architecture, 0, device)?;
    let mut random = Stream::new(0, Purpose::Init, 0, 0);
    let pixels = args.batch * 3 * args.size * args.size;
    let batch = Batch {
        images: (0..pixels).map(|_| random.normal() as f32).collect(),
        labels: (0..args.batch).map(|image| (image % 10) as u8).collect(),
        height: args.size,
        width: args.size,
    };
    step(&mut classifier, &batch)?;
    let start = Instant::now();
    for _ in 0..args.steps {
        step(&mut classifier, &batch)?;
    }
    let seconds = start.elapsed().as_secs_f64() / f64::from(args.steps);
    Ok(measured(json!({
        "bench": what,
        "model": args.model,
        "activation": args.activation,
        "size": args.size,
        "batch": args.batch,
        "steps": args.steps,
        "device": said,
        "threads": threads,
        "instructions": nn::instructions(),
        "seconds_per_step": seconds,
        "images_per_second": args.batch as f64 / seconds,
    })))
}
