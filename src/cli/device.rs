//! `--device`: what computes, found once for a whole command and before anything runs.

use std::str::FromStr;

use super::exit::Failure;
use super::words::bytes;
use crate::engine::stage::Device;
use crate::nn::{self, Driver, Gpu, NoGpu};

/// The choice of a device.
#[derive(Debug, clap::Args)]
pub(super) struct DeviceArgs {
    /// What computes: `auto`, `cpu`, or `cuda` with the number of a GPU, such as `cuda:0`.
    #[arg(long, default_value = "auto")]
    device: Choice,
}

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Choice {
    /// The first GPU, or the processor if there is none.
    Auto,
    /// The processor.
    Cpu,
    /// The GPU of this number.
    Gpu(usize),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        match (text, text.strip_prefix("cuda:").map(str::parse)) {
            ("auto", _) => Ok(Choice::Auto),
            ("cpu", _) => Ok(Choice::Cpu),
            ("cuda", _) => Ok(Choice::Gpu(0)),
            (_, Some(Ok(number))) => Ok(Choice::Gpu(number)),
            _ => Err("write `auto`, `cpu` or `cuda:0`".to_owned()),
        }
    }
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// What is to compute.
    pub device: Device,
    /// A line about it, if another binary or machine might have found something else.
    pub remark: Option<String>,
}

impl DeviceArgs {
    /// The device, by asking the driver and not yet the GPU.
    pub(super) fn find(&self) -> Result<Found, Failure> {
        find(self.device, nn::gpus)
    }
}

fn find(choice: Choice, gpus: impl FnOnce() -> Result<Driver, NoGpu>) -> Result<Found, Failure> {
    let number = match choice {
        Choice::Cpu => return Ok(Found { device: Device::Cpu, remark: None }),
        Choice::Auto => 0,
        Choice::Gpu(number) => number,
    };
    match gpus().and_then(|driver| driver.gpu(number).cloned()) {
        Ok(Gpu { name, memory }) => {
            let remark = Some(format!("computing on cuda:{number}, {name} with {}", bytes(memory)));
            Ok(Found { device: Device::Cuda(number), remark })
        }
        Err(why) if choice == Choice::Auto => {
            let remark = (why != NoGpu::NotBuilt).then(|| format!("computing on the processor: {why}"));
            Ok(Found { device: Device::Cpu, remark })
        }
        Err(why) => {
            Err(Failure::Usage(format!("--device cuda:{number}: {why}; `--device cpu` always works")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_gpu() -> Result<Driver, NoGpu> {
        Ok(Driver { cuda: (13, 0), gpus: vec![Gpu { name: "Tesla".to_owned(), memory: 16 << 30 }] })
    }

    #[test]
    fn choices_are_spelled_as_in_the_help() {
        let choices = ["auto", "cpu", "cuda", "cuda:3"].map(str::parse::<Choice>);
        assert_eq!(choices, [Choice::Auto, Choice::Cpu, Choice::Gpu(0), Choice::Gpu(3)].map(Ok));
        for wrong in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "CPU"] {
            assert!(wrong.parse::<Choice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn auto_takes_a_gpu_that_answers_and_says_so() {
        let found = find(Choice::Auto, one_gpu).unwrap();
        assert_eq!(found.device, Device::Cuda(0));
        assert_eq!(found.remark.unwrap(), "computing on cuda:0, Tesla with 16.0 GiB");
    }

    #[test]
    fn auto_takes_the_processor_otherwise_and_says_why_if_that_can_be_mended() {
        let found = find(Choice::Auto, || Err(NoGpu::None)).unwrap();
        assert_eq!(found.device, Device::Cpu);
        assert!(
            found.remark.unwrap().starts_with("computing on the processor: the NVIDIA driver finds no GPU")
        );
        assert!(find(Choice::Auto, || Err(NoGpu::NotBuilt)).unwrap().remark.is_none());
        assert!(find(Choice::Cpu, || unreachable!("nobody asks for GPUs")).unwrap().remark.is_none());
    }

    #[test]
    fn a_gpu_that_is_not_there_is_a_mistake_with_a_remedy() {
        for (gpus, told) in
            [(one_gpu(), "no GPU 1; the driver has 1"), (Err(NoGpu::NotBuilt), "without CUDA")]
        {
            match find(Choice::Gpu(1), || gpus) {
                Err(Failure::Usage(message)) => {
                    assert!(message.contains(told) && message.contains("--device cpu"), "{message}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
