//! `--threads` and `--cpu-level`: how much of the processor a command uses.

use std::num::NonZero;

use crate::nn::CpuLevel;

/// The choice of cores and of their instructions.
#[derive(Debug, clap::Args)]
pub(super) struct Cores {
    /// Cores to use; results do not depend on it [default: all].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    threads: Option<NonZero<usize>>,
    /// Vector instructions of the networks' convolutions: `avx512`, `avx2` or `plain`. They decide about the last bits of a
    /// training [default: the widest].
    #[arg(long, value_name = "LEVEL")]
    cpu_level: Option<CpuLevel>,
}

impl Cores {
    /// Sets the program up for them, before anything computes, and returns the number of cores.
    pub(super) fn set_up(&self) -> usize {
        if let Some(level) = self.cpu_level {
            level.choose();
        }
        let threads = self.threads.or_else(|| std::thread::available_parallelism().ok());
        let threads = threads.map_or(1, NonZero::get);
        // Fails only if a pool was built before, so it comes before anything that uses one.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        threads
    }
}

pub(super) fn at_least_one(text: &str) -> Result<NonZero<usize>, String> {
    text.parse().map_err(|_| {
        "write a whole number from 1; without the option it is as many as there are cores".to_owned()
    })
}
