//! Checksums a file must have: digests as hexadecimal text, and the comparison of all of them in one pass
//! over the bytes. It does not know where the bytes come from.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Sha256;

/// A digest of so many bytes, written as hexadecimal text; upper and lower case mean the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest<const BYTES: usize>([u8; BYTES]);

/// What is known about a file before it arrives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// Its size in bytes.
    pub size: Option<u64>,
    /// Its MD5 digest.
    pub md5: Option<Digest<16>>,
    /// Its SHA-256 digest.
    pub sha256: Option<Digest<32>>,
    /// Its BLAKE3 digest.
    pub blake3: Option<Digest<32>>,
}

/// A file that is not what was expected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {found}, but {expected} was expected")]
pub struct Mismatch {
    what: &'static str,
    found: String,
    expected: String,
}

/// Compares bytes, as they come, with what was expected of them.
pub struct Comparison {
    expected: Expected,
    size: u64,
    md5: Option<Md5>,
    sha256: Option<Sha256>,
    blake3: Option<blake3::Hasher>,
}

impl Expected {
    /// Whether nothing but the right bytes can pass.
    #[must_use]
    pub fn identifies_the_bytes(&self) -> bool {
        self.md5.is_some() || self.sha256.is_some() || self.blake3.is_some()
    }

    /// Compares a size that is known before the bytes are.
    ///
    /// # Errors
    /// If another size was expected.
    pub fn check_size(&self, size: u64) -> Result<(), Mismatch> {
        match self.size {
            Some(expected) if expected != size => Err(Mismatch::new("the size", size, expected)),
            _ => Ok(()),
        }
    }

    /// Starts a comparison.
    #[must_use]
    pub fn comparison(&self) -> Comparison {
        Comparison {
            expected: *self,
            size: 0,
            md5: self.md5.map(|_| Md5::new()),
            sha256: self.sha256.map(|_| Sha256::new()),
            blake3: self.blake3.map(|_| blake3::Hasher::new()),
        }
    }
}

impl Comparison {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        if let Some(hasher) = &mut self.md5 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.blake3 {
            hasher.update(bytes);
        }
    }

    /// The verdict.
    ///
    /// # Errors
    /// The first of size, md5, sha256 and blake3 that is not as expected.
    pub fn finish(self) -> Result<(), Mismatch> {
        let Expected { size: _, md5, sha256, blake3 } = self.expected;
        self.expected.check_size(self.size)?;
        compare("the md5", md5, self.md5.map(|h| h.finalize().into()))?;
        compare("the sha256", sha256, self.sha256.map(|h| h.finalize().into()))?;
        compare("the blake3", blake3, self.blake3.map(|h| h.finalize().into()))
    }
}

impl Mismatch {
    fn new(what: &'static str, found: impl fmt::Display, expected: impl fmt::Display) -> Mismatch {
        Mismatch { what, found: found.to_string(), expected: expected.to_string() }
    }
}

fn compare<const BYTES: usize>(
    what: &'static str,
    expected: Option<Digest<BYTES>>,
    found: Option<[u8; BYTES]>,
) -> Result<(), Mismatch> {
    match (expected, found.map(Digest)) {
        (Some(expected), Some(found)) if expected != found => Err(Mismatch::new(what, found, expected)),
        _ => Ok(()),
    }
}

/// Calls `take` with one block of the file after the other.
///
/// # Errors
/// The first error of the disk or of `take`.
pub fn for_each_block<E: From<std::io::Error>>(
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut file = File::open(path)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(()),
            n => take(&block[..n])?,
        }
    }
}

impl<const BYTES: usize> fmt::Display for Digest<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const BYTES: usize> fmt::Debug for Digest<BYTES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl<const BYTES: usize> Serialize for Digest<BYTES> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const BYTES: usize> Deserialize<'de> for Digest<BYTES> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("expected {} hexadecimal digits", 2 * BYTES));
        if text.len() != 2 * BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut bytes = [0; BYTES];
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Digest(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn digest<const BYTES: usize>(text: &str) -> Digest<BYTES> {
        serde_json::from_value(json!(text)).expect("a digest")
    }

    fn verdict(expected: Expected, bytes: &[u8]) -> Result<(), String> {
        let mut comparison = expected.comparison();
        bytes.chunks(2).for_each(|chunk| comparison.update(chunk));
        comparison.finish().map_err(|mismatch| mismatch.to_string())
    }

    #[test]
    fn the_known_digests_of_abc_pass() {
        let expected = Expected {
            size: Some(3),
            md5: Some(digest("900150983CD24FB0D6963F7D28E17F72")),
            sha256: Some(digest("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")),
            blake3: Some(digest("6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85")),
        };
        assert_eq!(verdict(expected, b"abc"), Ok(()));
        assert_eq!(
            verdict(expected, b"abd"),
            Err("the md5 is 4911e516e5aa21d327512e0c8b197616, but 900150983cd24fb0d6963f7d28e17f72 was expected"
                .into())
        );
        assert_eq!(verdict(expected, b"ab"), Err("the size is 2, but 3 was expected".into()));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        for text in ["", "9001", "g00150983cd24fb0d6963f7d28e17f72", "é00150983cd24fb0d6963f7d28e17f7"] {
            let error = serde_json::from_value::<Digest<16>>(json!(text)).expect_err(text);
            assert_eq!(error.to_string(), "expected 32 hexadecimal digits");
        }
    }
}
