//! The digest of a file outside the store, read only when its stamp has changed since it was last read.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Digest, Stamp, Store, sealed};

#[derive(Serialize, Deserialize)]
pub(super) struct Seen {
    stamp: Stamp,
    digest: Digest,
}

impl Store {
    /// The digest of a file outside the store, by its content.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn digest_of(&self, path: &Path) -> io::Result<Digest> {
        let path = fs::canonicalize(path)?;
        let stamp = Stamp::of(&path).ok_or_else(|| io::Error::other("is not a plain file"))?;
        let name = Digest::of(path.as_os_str().as_encoded_bytes()).to_string();
        let memo = self.root.join("seen").join(name);
        let known: Option<Seen> = sealed::read(&memo);
        if let Some(seen) = known.filter(|seen| seen.stamp == stamp) {
            return Ok(seen.digest);
        }
        let digest = hash_file(&path)?;
        // A file changed within the last moments may change again without its times showing it.
        if Stamp::of(&path) == Some(stamp) && settled(stamp) {
            // Only saves the next reader the reading.
            let _ = self.write_whole(&memo, &sealed::seal(&Seen { stamp, digest }));
        }
        Ok(digest)
    }
}

/// The digest of a file's bytes.
///
/// # Errors
/// If it cannot be read.
pub fn hash_file(path: &Path) -> io::Result<Digest> {
    hash_opened(&mut File::open(path)?, path)
}

/// The same of a file that was just opened.
pub(super) fn hash_opened(file: &mut File, path: &Path) -> io::Result<Digest> {
    // What fits in here is read sooner than mapped.
    let mut start = [0; 16 << 10];
    let mut length = 0;
    while length < start.len() {
        match file.read(&mut start[length..])? {
            0 => return Ok(Digest::of(&start[..length])),
            n => length += n,
        }
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update_mmap_rayon(path)?;
    Ok(hasher.finalize().into())
}

fn settled(stamp: Stamp) -> bool {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let changed = Duration::from_nanos(u64::try_from(stamp.ctime).unwrap_or(u64::MAX));
    now.saturating_sub(changed) > Duration::from_millis(20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_file_gets_another_digest() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(&dir.path().join("cache"));
        let path = dir.path().join("file");
        fs::write(&path, b"one").expect("writable");
        assert_eq!(store.digest_of(&path).expect("readable"), Digest::of(b"one"));
        fs::write(&path, b"two").expect("writable");
        assert_eq!(store.digest_of(&path).expect("readable"), Digest::of(b"two"));
        fs::write(&path, b"").expect("writable");
        assert_eq!(store.digest_of(&path).expect("readable"), Digest::of(b""));
        assert!(store.digest_of(dir.path()).is_err());
    }
}
