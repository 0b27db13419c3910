//! Asks the allocator to keep blocks that were freed: every training step needs blocks of the same sizes,
//! and fetching fresh pages from the system took a quarter of its time.

/// Blocks up to this size come from memory that is kept, in bytes.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: libc::c_int = 1 << 30;

/// How much more than asked for is taken from the system at a time, in bytes: planning a large graph asks for many small blocks.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const AHEAD: libc::c_int = 1 << 26;

/// Sets it for the whole process; only glibc has the setting, and only it needs it.
pub(super) fn keep_freed_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes two numbers and may be called at any time; a refused setting changes nothing.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
        libc::mallopt(libc::M_TOP_PAD, AHEAD);
    }
}

/// Has all threads take their blocks from one place; to be called before there is a second thread. Stages compute in
/// threads of their own, and the places of other threads cannot grow to the size of a batch, so that its blocks would
/// be fresh pages every time: that took a fifth of a training's time. Planning in parallel gets slower by it.
pub(super) fn share_freed_blocks() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: as above.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}
