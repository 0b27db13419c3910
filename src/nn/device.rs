//! Where a network can be computed: on the processor, or on an NVIDIA GPU if this binary was built for CUDA and
//! the driver answers. It knows no network.

/// What computes a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The GPU of this number, counted by the driver from 0.
    Gpu(usize),
}

/// A driver that answers, and what it drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// The newest version of CUDA that it knows, such as (12, 4).
    pub cuda: (u32, u32),
    /// Its GPUs by number; at least one.
    pub gpus: Vec<Gpu>,
}

impl Driver {
    /// The GPU of this number.
    ///
    /// # Errors
    /// [`NoGpu::Number`].
    pub fn gpu(&self, number: usize) -> Result<&Gpu, NoGpu> {
        self.gpus.get(number).ok_or(NoGpu::Number { asked: number, found: self.gpus.len() })
    }
}

/// A GPU that the driver names. Whether it runs our kernels, [`try_gpu`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gpu {
    /// Its maker's name for it.
    pub name: String,
    /// Its memory, in bytes.
    pub memory: u64,
}

/// Why there is no GPU to compute on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoGpu {
    /// The binary knows only the processor.
    #[error("this stlpipe was built without CUDA; build it with `--features cuda` (docs/cuda.md)")]
    NotBuilt,
    /// The driver does not start.
    #[error("the NVIDIA driver does not answer ({0}); `nvidia-smi` should list a GPU")]
    Driver(String),
    /// The driver finds nothing.
    #[error("the NVIDIA driver finds no GPU; look at `nvidia-smi` and at CUDA_VISIBLE_DEVICES")]
    None,
    /// There are others.
    #[error("there is no GPU {asked}; the driver has {found}, numbered from 0")]
    Number {
        /// What the caller wanted.
        asked: usize,
        /// How many there are.
        found: usize,
    },
    /// A first small computation went wrong.
    #[error(
        "GPU {number} ({name}) does not compute: {problem}; is it in use up to the last byte, older than the \
         one this stlpipe was built for, or its driver older than the CUDA toolkit (docs/cuda.md)?"
    )]
    Broken {
        /// The GPU.
        number: usize,
        /// Its name.
        name: String,
        /// What the driver or dfdx said.
        problem: String,
    },
}

/// The GPUs that the driver names, without touching any of them.
///
/// # Errors
/// Why there are none.
pub fn gpus() -> Result<Driver, NoGpu> {
    #[cfg(feature = "cuda")]
    return super::cuda::driver();
    #[cfg(not(feature = "cuda"))]
    Err(NoGpu::NotBuilt)
}

/// Checks by a small computation that a GPU runs this binary's kernels.
///
/// # Errors
/// Why it does not.
pub fn try_gpu(number: usize) -> Result<(), NoGpu> {
    #[cfg(feature = "cuda")]
    return super::cuda::open(number).map(drop);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = number;
        Err(NoGpu::NotBuilt)
    }
}

#[cfg(all(test, not(feature = "cuda")))]
mod tests {
    use super::*;
    use crate::nn::{Activation, Architecture, Classifier, Error, Network};

    #[test]
    fn without_cuda_every_gpu_is_refused_with_the_remedy() {
        let architecture =
            Architecture { network: Network::Lenet, activation: Activation::Relu, classes: 10 };
        let Err(Error::NoGpu(why)) = Classifier::new(&architecture, 0, Device::Gpu(0)) else {
            panic!("there is no GPU");
        };
        assert_eq!((gpus(), try_gpu(0)), (Err(why.clone()), Err(why.clone())));
        assert!(why.to_string().contains("--features cuda"), "{why}");
    }
}
