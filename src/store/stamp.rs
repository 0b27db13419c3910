//! What a file's metadata says about whether its bytes may have changed since somebody read them all.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Size, times and inode of a file at the moment when its bytes were known.
///
/// The change time cannot be set back by a program, so that a file whose stamp is unchanged has almost surely
/// the same bytes, while a file with another stamp must be read to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time, in nanoseconds since 1970.
    pub mtime: i64,
    /// Change time, in nanoseconds since 1970.
    pub ctime: i64,
    /// Inode number.
    pub inode: u64,
}

impl Stamp {
    /// The stamp of a file as it is now; `None` if it is not there or no plain file.
    #[must_use]
    pub fn of(path: &Path) -> Option<Stamp> {
        let metadata = std::fs::metadata(path).ok()?;
        metadata.is_file().then(|| Stamp::from(&metadata))
    }
}

impl From<&Metadata> for Stamp {
    fn from(m: &Metadata) -> Stamp {
        let nanos = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Stamp {
            bytes: m.len(),
            mtime: nanos(m.mtime(), m.mtime_nsec()),
            ctime: nanos(m.ctime(), m.ctime_nsec()),
            inode: m.ino(),
        }
    }
}
