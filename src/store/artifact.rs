//! An artifact is one blob or a directory of blobs, with a digest of its own. A directory has a view in the
//! store, in which its names are linked to its blobs, so that any program can read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::failpoint::failpoint;
use super::{Action, Digest, Error, Stamp, Store, make_folder, sync_dir};

/// One result: a file, or a directory of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The digest of the file, or of the directory's names and digests.
    pub digest: Digest,
    /// Whether it is a file or a directory.
    pub form: Form,
    /// Its files by relative path; a file artifact has one, under the empty name.
    pub files: BTreeMap<String, Blob>,
}

/// Whether an artifact is one file or a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// One file.
    File,
    /// A directory of files.
    Directory,
}

/// One file in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The digest of its bytes.
    pub digest: Digest,
    /// What its metadata said when the bytes were known to be right.
    pub stamp: Stamp,
}

impl Artifact {
    /// A file artifact.
    #[must_use]
    pub fn file(blob: Blob) -> Artifact {
        Artifact { digest: blob.digest, form: Form::File, files: BTreeMap::from([(String::new(), blob)]) }
    }

    /// A directory artifact. Its digest is blake3 over, for each file in the order of names, the length of the
    /// name as 8 little-endian bytes, the name, and the 64 digits of the digest.
    #[must_use]
    pub fn directory(files: BTreeMap<String, Blob>) -> Artifact {
        let mut hasher = blake3::Hasher::new();
        for (name, blob) in &files {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(blob.digest.to_string().as_bytes());
        }
        Artifact { digest: hasher.finalize().into(), form: Form::Directory, files }
    }

    /// The size of all files together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|blob| blob.stamp.bytes).sum()
    }
}

impl Store {
    /// Where the names of a directory artifact are linked to its blobs; made when its record is published.
    #[must_use]
    pub fn view_path(&self, artifact: &Artifact) -> PathBuf {
        self.sharded("views", &artifact.digest, "")
    }

    /// Makes the view of a directory artifact, if it is not there or not as it should be.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn make_view(&self, artifact: &Artifact) -> Result<PathBuf, Error> {
        let view = self.view_path(artifact);
        if view.is_dir() {
            if self.wrong_links(artifact).is_empty() {
                return Ok(view);
            }
            self.remove_whole(&view)?;
        }
        let failed = |error| Error::at(Action::Write, &view)(error);
        let draft = tempfile::tempdir_in(self.make_dir("tmp")?).map_err(failed)?;
        let mut folders = BTreeSet::from([draft.path().to_owned()]);
        for (name, target) in links(artifact) {
            let link = draft.path().join(name);
            let folder = link.parent().expect("a file inside the draft");
            make_folder(folder)?;
            std::os::unix::fs::symlink(target, &link).map_err(failed)?;
            folders.insert(folder.to_owned());
        }
        folders.iter().try_for_each(|folder| sync_dir(folder))?;
        failpoint("draft synced", &view);
        let above = view.parent().expect("views/ab");
        make_folder(above)?;
        match fs::rename(draft.path(), &view) {
            // Another process made the same view meanwhile.
            Err(_) if view.is_dir() => Ok(view),
            Err(error) => Err(failed(error)),
            Ok(()) => {
                // The directory has moved: there is nothing left for the guard to delete.
                let _ = draft.keep();
                failpoint("renamed", &view);
                sync_dir(above)?;
                Ok(view)
            }
        }
    }
}

/// The links of the view of a directory artifact: names and targets.
pub(super) fn links(artifact: &Artifact) -> impl Iterator<Item = (String, String)> {
    artifact.files.iter().map(|(name, blob)| {
        // views/ab/<digest>/ is three folders deep, and each folder in the name adds one.
        let ups = "../".repeat(3 + name.matches('/').count());
        let digits = blob.digest.to_string();
        (name.clone(), format!("{ups}blobs/{}/{digits}", &digits[..2]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn blob(store: &Store) -> Blob {
        let mut writer = store.write_blob().expect("writable");
        writer.write_all(b"result").expect("writable");
        writer.finish().expect("writable")
    }

    #[test]
    fn a_view_shows_the_files_of_a_directory_by_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(dir.path());
        let blob = blob(&store);
        let files = BTreeMap::from([("a.txt".to_owned(), blob), ("deep/er/b.txt".to_owned(), blob)]);
        let view = store.make_view(&Artifact::directory(files)).expect("writable");
        assert_eq!(fs::read(view.join("a.txt")).expect("linked"), b"result");
        assert_eq!(fs::read(view.join("deep/er/b.txt")).expect("linked"), b"result");
    }

    #[test]
    fn the_digest_of_a_directory_depends_on_names_and_bytes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let blob = blob(&Store::at(dir.path()));
        let of = |name: &str| Artifact::directory(BTreeMap::from([(name.to_owned(), blob)])).digest;
        assert_ne!(of("a"), of("b"));
        assert_eq!(of("a"), of("a"));
    }
}
