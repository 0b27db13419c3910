//! The inputs of a running stage, held to what they were: nothing is kept that was computed while one of them had other
//! bytes, or was not the same file all the time. It does not know what the stage does with them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::stage::{Input, InputFile, ONLY_FILE};
use crate::store::{Artifact, Blob, Digest, Form, Stamp, Store};

/// The artifacts bound to the ports of a stage that has begun, and how their files looked when their bytes were right.
pub(super) struct Inputs {
    pub(super) by_port: BTreeMap<String, Input>,
    seen: Vec<Seen>,
}

struct Seen {
    port: String,
    path: PathBuf,
    blob: Blob,
}

/// An input is not what it should be, or is not surely what it was.
#[derive(Debug, thiserror::Error)]
#[error(
    "its input `{port}` was changed {when}, by itself or by another stage or program, so nothing was kept: inputs are \
     the store's own files, and what is to be changed must be copied first; run it again, and wrong inputs are made anew"
)]
pub(super) struct Changed {
    port: String,
    when: When,
    /// What its bytes should be.
    pub(super) digest: Digest,
}

#[derive(Debug, Clone, Copy)]
enum When {
    BeforeItBegan,
    WhileItRan,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            When::BeforeItBegan => "before it began",
            When::WhileItRan => "while it ran",
        })
    }
}

impl Inputs {
    /// The inputs as their records have them. Only files whose metadata are not those of the record are read.
    pub(super) fn new(store: &Store, artifacts: &BTreeMap<String, Artifact>) -> Result<Inputs, Changed> {
        let mut seen = Vec::new();
        for (port, artifact) in artifacts {
            for blob in artifact.files.values() {
                let (port, path) = (port.clone(), store.blob_path(&blob.digest));
                match store.check_blob(blob) {
                    Some(blob) => seen.push(Seen { port, path, blob }),
                    None => return Err(Changed { port, when: When::BeforeItBegan, digest: blob.digest }),
                }
            }
        }
        let by_port = artifacts.iter().map(|(port, artifact)| (port.clone(), input(store, artifact)));
        Ok(Inputs { by_port: by_port.collect(), seen })
    }

    /// That no file has been touched or replaced since the stage began. Right bytes in another file are not enough: the
    /// stage may have read wrong ones before they were made right.
    pub(super) fn check(&self) -> Result<(), Changed> {
        match self.seen.iter().find(|seen| Stamp::of(&seen.path) != Some(seen.blob.stamp)) {
            None => Ok(()),
            Some(Seen { port, blob, .. }) => {
                Err(Changed { port: port.clone(), when: When::WhileItRan, digest: blob.digest })
            }
        }
    }

    /// The blob of a file, as it looked when its bytes were right.
    pub(super) fn blob(&self, path: &Path) -> Option<Blob> {
        self.seen.iter().find(|seen| seen.path == path).map(|seen| seen.blob)
    }
}

/// An artifact of the store as a stage gets it.
fn input(store: &Store, artifact: &Artifact) -> Input {
    let files = artifact
        .files
        .iter()
        .map(|(name, blob)| (name.clone(), input_file(store.blob_path(&blob.digest), blob)));
    debug_assert!(artifact.form == Form::Directory || artifact.files.contains_key(ONLY_FILE));
    Input { digest: artifact.digest.to_string(), files: files.collect() }
}

pub(super) fn input_file(path: PathBuf, blob: &Blob) -> InputFile {
    InputFile { path, digest: blob.digest.to_string(), bytes: blob.stamp.bytes }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Fixture {
        _dir: tempfile::TempDir,
        store: Store,
        artifacts: BTreeMap<String, Artifact>,
        path: PathBuf,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(dir.path());
        let artifacts = BTreeMap::from([("x".to_owned(), Artifact::file(put(&store)))]);
        let path = store.blob_path(&Digest::of(b"right"));
        Fixture { _dir: dir, store, artifacts, path }
    }

    fn put(store: &Store) -> Blob {
        let mut writer = store.write_blob().expect("writable");
        writer.write_all(b"right").expect("writable");
        writer.finish().expect("writable")
    }

    fn overwrite(path: &Path, bytes: &[u8]) {
        fs::set_permissions(path, Permissions::from_mode(0o644)).expect("ours");
        fs::write(path, bytes).expect("writable");
    }

    #[test]
    fn an_input_that_is_the_same_file_all_the_time_is_fine() {
        let f = fixture();
        let inputs = Inputs::new(&f.store, &f.artifacts).expect("right");
        put(&f.store);
        inputs.check().expect("the same bytes came again, and the file stayed");
        assert_eq!(inputs.blob(&f.path), Some(f.artifacts["x"].files[ONLY_FILE]));
    }

    #[test]
    fn an_input_that_was_wrong_for_a_while_is_told() {
        let f = fixture();
        let inputs = Inputs::new(&f.store, &f.artifacts).expect("right");
        overwrite(&f.path, b"wrong");
        assert!(inputs.check().is_err());
        put(&f.store);
        let told = inputs.check().expect_err("another file").to_string();
        assert!(told.starts_with("its input `x` was changed while it ran, "), "{told}");
    }

    #[test]
    fn an_input_that_is_wrong_from_the_beginning_is_refused_and_one_that_was_made_right_is_not() {
        let f = fixture();
        overwrite(&f.path, b"wrong");
        let told = Inputs::new(&f.store, &f.artifacts).map(|_| ()).expect_err("wrong").to_string();
        assert!(told.starts_with("its input `x` was changed before it began, "), "{told}");
        put(&f.store);
        let inputs = Inputs::new(&f.store, &f.artifacts).expect("right again");
        inputs.check().expect("right from the beginning");
    }
}
