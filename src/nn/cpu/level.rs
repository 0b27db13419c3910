//! The kinds of vector instructions for which the innermost loop is written, which of them a machine has, and how to ask
//! for memory in time.

use std::str::FromStr;
use std::sync::OnceLock;

/// Values of a line of the cache.
pub const LINE: usize = 16;

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

/// Chosen once, because results must not mix kinds.
static IN_USE: OnceLock<Level> = OnceLock::new();

impl Level {
    /// The kinds that this machine has, the widest first.
    pub fn here() -> impl Iterator<Item = Level> {
        [Level::Avx512, Level::Avx2, Level::Plain].into_iter().filter(|level| level.is_here())
    }

    /// The kind that the networks are computed with: the widest, if no other was chosen.
    pub fn in_use() -> Level {
        *IN_USE.get_or_init(|| Level::here().next().expect("plain loops run everywhere"))
    }

    /// Has the networks computed with this kind from now on; to be called before the first of them is.
    ///
    /// # Panics
    /// If the machine has not these instructions, or others are in use already.
    pub fn choose(self) {
        assert!(self.is_here(), "this machine has no {self:?}");
        assert_eq!(*IN_USE.get_or_init(|| self), self, "a level is chosen before it is used");
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

    /// What the command line calls it.
    pub fn word(self) -> &'static str {
        match self {
            Level::Avx512 => "avx512",
            Level::Avx2 => "avx2",
            Level::Plain => "plain",
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

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Level, String> {
        let mut levels = [Level::Avx512, Level::Avx2, Level::Plain].into_iter();
        let level = levels.find(|level| level.word() == text);
        let level = level.ok_or_else(|| "write `avx512`, `avx2` or `plain`".to_owned())?;
        let here: Vec<&str> = Level::here().map(Level::word).collect();
        let missing = || format!("this machine has no such instructions, only {}", here.join(" and "));
        level.is_here().then_some(level).ok_or_else(missing)
    }
}

/// Asks for the line with a value that is needed soon, or its place, where the machine cannot know it: rows that lie far apart.
/// Whether there is such a value does not matter.
#[inline(always)]
pub fn prefetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: an address that holds nothing is left alone.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (values, at);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_named_by_their_words() {
        for level in Level::here() {
            assert_eq!(level.word().parse(), Ok(level));
        }
        assert_eq!("sse".parse::<Level>(), Err("write `avx512`, `avx2` or `plain`".to_owned()));
    }
}
