//! A file that has arrived in part, and the note beside it that says of what. It knows no network.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The bytes that have arrived so far.
pub struct Partial {
    data: PathBuf,
    note: PathBuf,
}

/// What the bytes are part of; they may only be added to while this holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The address as the pipeline says it.
    pub url: String,
    /// What the server calls this version of the file: a strong ETag, or the time of its last change.
    pub version: Option<String>,
    /// The size of the whole file, if the server told.
    pub size: Option<u64>,
}

impl Partial {
    /// The partial file in a folder, whether there is one yet or not.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Partial {
        Partial { data: folder.join("download"), note: folder.join("download.json") }
    }

    /// Where the bytes are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.data
    }

    /// The number of bytes that have arrived, of whatever file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        fs::metadata(&self.data).map_or(0, |m| m.len())
    }

    /// The note, if bytes of this address are there and can be told from those of another version.
    #[must_use]
    pub fn resumable(&self, url: &str) -> Option<Note> {
        let note: Note = serde_json::from_slice(&fs::read(&self.note).ok()?).ok()?;
        (note.url == url && note.version.is_some() && self.bytes() > 0).then_some(note)
    }

    /// Forgets what has arrived and starts with nothing.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn restart(&self, note: &Note) -> io::Result<File> {
        self.discard()?;
        let file = File::create(&self.data)?;
        fs::write(&self.note, serde_json::to_vec(note)?)?;
        Ok(file)
    }

    /// Opens the file for more bytes.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn extend(&self) -> io::Result<File> {
        OpenOptions::new().append(true).open(&self.data)
    }

    /// Keeps nothing. The note goes first, so that no bytes are ever taken for those of another file.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn discard(&self) -> io::Result<()> {
        for path in [&self.note, &self.data] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
