//! A chain keeps what lies on the way to a result, by its position: the state of a training after each epoch, the
//! shards of a dataset. A longer or a shorter result of the same chain goes on from there. It does not know what
//! the positions count.
//!
//! ```text
//! cache/chains/ab/ab12../000000000020/link.json   what the link holds, with the digest of each file
//!                                     ...         files of its own, which go with it
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::failpoint::failpoint;
use super::record::{Health, health, list};
use super::{Action, Blob, Digest, Error, Stamp, Store, make_folder, sealed, sync_dir};

const LINK: &str = "link.json";

/// What is kept along one way, open for reading and adding.
#[derive(Debug, Clone)]
pub struct Chain {
    store: Store,
    key: Digest,
}

/// What is kept at one position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Whether the files are the link's own, beside `link.json`, or blobs that results share with it.
    pub own: bool,
    /// The files by name.
    pub files: BTreeMap<String, Blob>,
}

impl Store {
    /// The chain of a key; it need not exist.
    #[must_use]
    pub fn chain(&self, key: &Digest) -> Chain {
        Chain { store: self.clone(), key: *key }
    }
}

impl Chain {
    /// Its directory, if anything was ever kept.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        let name = self.key.to_string();
        self.store.root.join("chains").join(&name[..2]).join(&name)
    }

    /// The positions at which something is kept, ascending.
    ///
    /// # Errors
    /// If the folder is there and cannot be read.
    pub fn positions(&self) -> Result<Vec<u64>, Error> {
        let names = list(&self.path())?.into_iter();
        Ok(names.filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect())
    }

    /// What is kept at a position: the files with their places. `None` if there is nothing, or not what was kept,
    /// which is removed: whoever comes next need not look at it again.
    #[must_use]
    pub fn find(&self, position: u64) -> Option<BTreeMap<String, (PathBuf, Blob)>> {
        let link = self.link(position);
        let files: Option<BTreeMap<_, _>> = link.and_then(|link| {
            let files = link.files.iter().map(|(name, blob)| {
                let path = self.place(position, &link, name, blob);
                match health(&path, blob) {
                    Health::AsRecorded => Some((name.clone(), (path, *blob))),
                    Health::Moved(stamp) => Some((name.clone(), (path, Blob { stamp, ..*blob }))),
                    Health::Missing | Health::Changed => None,
                }
            });
            files.collect()
        });
        if files.is_none() {
            // What cannot be removed is looked at again and found wrong again.
            let _ = self.remove(position);
        }
        files
    }

    /// The link at a position as it is written, without a look at its files.
    #[must_use]
    pub fn link(&self, position: u64) -> Option<Link> {
        sealed::read(&self.link_path(position))
    }

    /// Whether all files of a link are there, and none has been touched since.
    #[must_use]
    pub fn is_untouched(&self, position: u64) -> bool {
        self.link(position).is_some_and(|link| {
            let mut files = link.files.iter();
            files.all(|(name, blob)| Stamp::of(&self.place(position, &link, name, blob)) == Some(blob.stamp))
        })
    }

    /// Where a link is written down.
    pub(super) fn link_path(&self, position: u64) -> PathBuf {
        self.folder(position).join(LINK)
    }

    /// Where a file of a link lies.
    #[must_use]
    pub fn place(&self, position: u64, link: &Link, name: &str, blob: &Blob) -> PathBuf {
        if link.own { self.folder(position).join(name) } else { self.store.blob_path(&blob.digest) }
    }

    /// Keeps files of their own at a position. Whoever looks finds all of them or none.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn keep(&self, position: u64, files: &[(&str, Vec<u8>)]) -> Result<(), Error> {
        let draft = self.draft()?;
        let mut kept = BTreeMap::new();
        for (name, bytes) in files {
            let stamp = write_file(&draft.path().join(name), bytes)?;
            kept.insert((*name).to_owned(), Blob { digest: Digest::of(bytes), stamp });
        }
        self.put(position, draft, &Link { own: true, files: kept })
    }

    /// Notes blobs of the store at a position.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn refer(&self, position: u64, files: BTreeMap<String, Blob>) -> Result<(), Error> {
        self.store.sync_names(files.values())?;
        self.put(position, self.draft()?, &Link { own: false, files })
    }

    /// Forgets a position.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn remove(&self, position: u64) -> Result<(), Error> {
        self.store.remove_whole(&self.folder(position))
    }

    /// Forgets everything.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn clear(&self) -> Result<(), Error> {
        self.store.remove_whole(&self.path())
    }

    fn folder(&self, position: u64) -> PathBuf {
        // Twelve digits keep the order of numbers and of names the same.
        self.path().join(format!("{position:012}"))
    }

    fn draft(&self) -> Result<tempfile::TempDir, Error> {
        let dir = self.store.make_dir("tmp")?;
        tempfile::tempdir_in(&dir).map_err(Error::at(Action::Write, &dir))
    }

    fn put(&self, position: u64, draft: tempfile::TempDir, link: &Link) -> Result<(), Error> {
        write_file(&draft.path().join(LINK), &sealed::seal(link))?;
        sync_dir(draft.path())?;
        let (folder, chain) = (self.folder(position), self.path());
        failpoint("draft synced", &folder);
        make_folder(&chain)?;
        // A folder is not replaced by renaming, so what is there has to go; another process at work on the same
        // chain may put the same link into its place meanwhile, and either of them will do.
        self.remove(position)?;
        match fs::rename(draft.path(), &folder) {
            Err(_) if folder.is_dir() => return Ok(()),
            outcome => outcome.map_err(Error::at(Action::Write, &folder))?,
        }
        // The folder has moved: there is nothing left for the guard to delete.
        let _ = draft.keep();
        failpoint("renamed", &folder);
        sync_dir(&chain)?;
        failpoint("name synced", &folder);
        Ok(())
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> Result<Stamp, Error> {
    let failed = |error| Error::at(Action::Write, path)(error);
    let mut file = fs::File::create(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    failpoint("bytes synced", path);
    Ok(Stamp::from(&file.metadata().map_err(failed)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> (tempfile::TempDir, Chain) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let chain = Store::at(dir.path()).chain(&Digest::of(b"way"));
        (dir, chain)
    }

    fn read(chain: &Chain, position: u64) -> Option<Vec<(String, Vec<u8>)>> {
        let files = chain.find(position)?.into_iter();
        Some(files.map(|(name, (path, _))| (name, fs::read(path).expect("there"))).collect())
    }

    #[test]
    fn what_is_kept_is_found_by_its_position() {
        let (_dir, chain) = chain();
        assert_eq!(chain.positions().expect("readable"), [0; 0]);
        for position in [2, 10, 1] {
            chain.keep(position, &[("weights", vec![position as u8])]).expect("writable");
        }
        assert_eq!(chain.positions().expect("readable"), [1, 2, 10]);
        assert_eq!(read(&chain, 10), Some(vec![("weights".to_owned(), vec![10])]));
        assert_eq!(read(&chain, 3), None);
        chain.remove(2).expect("writable");
        assert_eq!(chain.positions().expect("readable"), [1, 10]);
        chain.clear().expect("writable");
        assert_eq!(chain.positions().expect("readable"), [0; 0]);
    }

    #[test]
    fn keeping_anew_replaces_what_was_kept() {
        let (_dir, chain) = chain();
        chain.keep(1, &[("a", b"old".to_vec()), ("b", b"old".to_vec())]).expect("writable");
        chain.keep(1, &[("a", b"new".to_vec())]).expect("writable");
        assert_eq!(read(&chain, 1), Some(vec![("a".to_owned(), b"new".to_vec())]));
    }

    #[test]
    fn blobs_are_referred_to_and_not_copied() {
        let (_dir, chain) = chain();
        let mut writer = chain.store.write_blob().expect("writable");
        writer.write_all(b"shard").expect("writable");
        let blob = writer.finish().expect("writable");
        chain.refer(1000, BTreeMap::from([("images".to_owned(), blob)])).expect("writable");
        let place = chain.store.blob_path(&blob.digest);
        assert_eq!(chain.find(1000).expect("whole")["images"].0, place);
        fs::remove_file(place).expect("there");
        assert_eq!(chain.find(1000), None);
        assert_eq!(chain.positions().expect("readable"), [0; 0], "what is not whole is forgotten");
    }

    #[test]
    fn a_damaged_file_is_not_found() {
        for damage in [b"flipped".as_slice(), b"", b"other length"] {
            let (_dir, chain) = chain();
            chain.keep(1, &[("weights", b"weights".to_vec())]).expect("writable");
            fs::write(chain.folder(1).join("weights"), damage).expect("writable");
            assert_eq!(chain.find(1), None);
        }
        let (_dir, chain) = chain();
        chain.keep(1, &[("weights", b"weights".to_vec())]).expect("writable");
        fs::write(chain.folder(1).join(LINK), "{").expect("writable");
        assert_eq!(chain.find(1), None);
    }
}
