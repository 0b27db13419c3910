//! The kinds of vector instructions for which the innermost loop is written, and which of them a machine has.

/// A kind of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// 512 bits.
    Avx512,
    /// 256 bits, and multiplication with addition.
    Avx2,
    /// Whatever the compiler makes of plain loops: on aarch64, NEON.
    Plain,
}

impl Level {
    /// The kinds that this machine has, the widest first.
    pub fn here() -> impl Iterator<Item = Level> {
        [Level::Avx512, Level::Avx2, Level::Plain].into_iter().filter(|level| level.is_here())
    }

    /// The widest kind.
    pub fn widest() -> Level {
        Level::here().next().expect("plain loops run everywhere")
    }

    /// Whether this machine has it.
    pub fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => std::arch::is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => {
                std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
            }
            Level::Plain => true,
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// Rows of a tile of products: as many as leave registers for the factors.
    pub fn rows(self) -> usize {
        match self {
            Level::Avx512 => 12,
            Level::Avx2 | Level::Plain => 6,
        }
    }

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Level::Avx512 => "AVX-512",
            Level::Avx2 => "AVX2",
            Level::Plain if cfg!(target_arch = "aarch64") => "NEON",
            Level::Plain => "no vector instructions",
        }
    }
}
