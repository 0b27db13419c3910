//! Turns a stream of bytes, or a file, into a blob: hashed under a temporary name inside the store, then synced and renamed
//! to its digest. That the name is durable as well is up to whoever refers to the blob.

use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::failpoint::failpoint;
use super::publish::make_shard;
use super::quarantine::stamp_if_right;
use super::seen::hash_opened;
use super::{Action, Blob, Digest, Error, Stamp, Store};

/// Enough bytes at a time that blake3 can use its widest instructions and several cores.
const CHUNK: usize = 1 << 20;

/// A file larger than this is synced by itself: nobody else is to wait until so much is on the disk.
const LARGE: u64 = 1 << 20;

impl Store {
    /// Where the blob of a digest lies, if it is there.
    #[must_use]
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.sharded("blobs", digest, "")
    }

    /// Starts a blob.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn write_blob(&self) -> Result<BlobWriter, Error> {
        Ok(BlobWriter {
            store: self.clone(),
            file: self.temporary()?,
            hasher: blake3::Hasher::new(),
            pending: Vec::with_capacity(CHUNK),
        })
    }

    /// Takes a file from anywhere into the store. A file that lies inside the store and has no other name is moved,
    /// any other is copied.
    ///
    /// # Errors
    /// If it cannot be read or the store cannot be written.
    pub fn take_in(&self, path: &Path) -> Result<TakenIn, Error> {
        let is_ours = path.starts_with(&self.root)
            && fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.nlink() == 1);
        if !is_ours {
            return Ok(TakenIn::Copied(Box::new(self.copy_in(path)?)));
        }
        let moved = self.within("tmp", |dir| {
            tempfile::Builder::new().make_in(dir, |place| {
                fs::rename(path, place)?;
                fs::set_permissions(place, Permissions::from_mode(0o444))
            })
        });
        failpoint("file taken in", &self.root.join("tmp"));
        Ok(TakenIn::Moved(moved.map_err(Error::at(Action::Read, path))?.into_temp_path()))
    }

    fn copy_in(&self, path: &Path) -> Result<BlobWriter, Error> {
        let mut writer = self.write_blob()?;
        let mut source = File::open(path).map(BufReader::new).map_err(Error::at(Action::Read, path))?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = source.read(&mut buffer).map_err(Error::at(Action::Read, path))?;
            if n == 0 {
                return Ok(writer);
            }
            writer.write_all(&buffer[..n]).map_err(Error::at(Action::Write, &self.root))?;
        }
    }

    /// Gives a synced file the name of its digest. Right bytes that have that name already stay, and so does their stamp:
    /// by that whoever reads them knows that they were right all the time.
    pub(super) fn place_blob(&self, file: Unnamed) -> Result<Blob, Error> {
        let Unnamed { mut place, digest, before, is_synced: _ } = file;
        let path = self.blob_path(&digest);
        failpoint("bytes synced", &path);
        // A collection that is under way would take what it saw before for this.
        let _shared = self.keep_from_collection();
        while let Some(left) = move_where_nothing_is(place, &path)? {
            if let Some(stamp) = stamp_if_right(&path, &digest) {
                return Ok(Blob { digest, stamp });
            }
            self.quarantine(&digest)?;
            place = left;
        }
        failpoint("renamed", &path);
        let metadata = fs::metadata(&path).map_err(Error::at(Action::Read, &path))?;
        let stamp = Stamp::from(&metadata);
        // Renaming has changed the time of the inode, but nothing else may be other than before it was hashed.
        if (Stamp { ctime: before.ctime, ..stamp }) != before {
            self.quarantine(&digest)?;
            let error = io::Error::other("it was written to after its command had ended");
            return Err(Error::at(Action::Read, &path)(error));
        }
        Ok(Blob { digest, stamp })
    }
}

/// Renames a temporary file, or gives it back if something has the name already.
fn move_where_nothing_is(place: TempPath, path: &Path) -> Result<Option<TempPath>, Error> {
    let outcome = match place.persist_noclobber(path) {
        Err(refused) if refused.error.kind() == io::ErrorKind::NotFound => {
            make_shard(path)?;
            refused.path.persist_noclobber(path)
        }
        outcome => outcome,
    };
    match outcome {
        Ok(()) => Ok(None),
        Err(refused) if refused.error.kind() == io::ErrorKind::AlreadyExists => Ok(Some(refused.path)),
        // A file system that knows neither such renaming nor hard links.
        Err(refused) if path.symlink_metadata().is_err() => {
            refused.path.persist(path).map(|()| None).map_err(|e| Error::at(Action::Write, path)(e.error))
        }
        Err(refused) => Err(Error::at(Action::Write, path)(refused.error)),
    }
}

/// A file that has been taken into the store and is not yet a blob; dropped before that, it is gone.
#[derive(Debug)]
pub enum TakenIn {
    /// A copy.
    Copied(Box<BlobWriter>),
    /// The file itself, under a temporary name.
    Moved(TempPath),
}

impl TakenIn {
    /// Hashes the bytes.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn hash(self) -> Result<Unnamed, Error> {
        let place = match self {
            TakenIn::Copied(writer) => return writer.hash(),
            TakenIn::Moved(place) => place,
        };
        let mut file = File::open(&place).map_err(Error::at(Action::Read, &place))?;
        let before = file.metadata().map_err(Error::at(Action::Read, &place))?;
        let digest = hash_opened(&mut file, &place).map_err(Error::at(Action::Read, &place))?;
        Unnamed { place, digest, before: Stamp::from(&before), is_synced: false }.synced_if_large(&file)
    }
}

/// The bytes of a blob under a temporary name; dropped, they are gone.
#[derive(Debug)]
pub struct Unnamed {
    pub(super) place: TempPath,
    digest: Digest,
    /// What its metadata said before it was hashed.
    before: Stamp,
    pub(super) is_synced: bool,
}

impl Unnamed {
    fn synced_if_large(self, file: &File) -> Result<Unnamed, Error> {
        let is_large = file.metadata().is_ok_and(|metadata| metadata.len() > LARGE);
        if is_large { self.synced(file) } else { Ok(self) }
    }

    fn synced(mut self, file: &File) -> Result<Unnamed, Error> {
        if !self.is_synced {
            file.sync_all().map_err(Error::at(Action::Write, &self.place))?;
            self.is_synced = true;
        }
        Ok(self)
    }
}

/// A blob on its way into the store; dropped before [`BlobWriter::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    file: tempfile::NamedTempFile,
    hasher: blake3::Hasher,
    pending: Vec<u8>,
}

impl BlobWriter {
    /// Makes the bytes durable and gives them the name of their digest. A blob that is already there stays if its bytes are right.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn finish(self) -> Result<Blob, Error> {
        let store = self.store.clone();
        let (unnamed, file) = self.end()?;
        store.place_blob(unnamed.synced(&file)?)
    }

    fn hash(self) -> Result<Unnamed, Error> {
        let (unnamed, file) = self.end()?;
        unnamed.synced_if_large(&file)
    }

    fn end(mut self) -> Result<(Unnamed, File), Error> {
        let place = self.file.path().to_owned();
        self.drain().map_err(Error::at(Action::Write, &place))?;
        let (file, place) = self.file.into_parts();
        let read_only = || {
            let mut permissions = file.metadata()?.permissions();
            permissions.set_readonly(true);
            file.set_permissions(permissions)?;
            file.metadata()
        };
        let before = Stamp::from(&read_only().map_err(Error::at(Action::Write, &place))?);
        Ok((Unnamed { place, digest: self.hasher.finalize().into(), before, is_synced: false }, file))
    }

    fn drain(&mut self) -> io::Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.keep(&pending)?;
        self.pending = pending;
        self.pending.clear();
        Ok(())
    }

    /// Hashes and writes bytes. An error names the store and the remedy, since whoever writes cannot.
    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update_rayon(bytes);
        self.file.as_file_mut().write_all(bytes).map_err(|error| {
            let kind = error.kind();
            io::Error::new(kind, Error::at(Action::Write, self.store.root())(error))
        })?;
        failpoint("bytes written", self.file.path());
        Ok(())
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.pending.len() + bytes.len() > CHUNK {
            self.drain()?;
        }
        if bytes.len() >= CHUNK {
            self.keep(bytes)?;
        } else {
            self.pending.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(&dir.path().join("cache"));
        (dir, store)
    }

    fn named(store: &Store, taken: Result<TakenIn, Error>) -> Blob {
        let file = taken.and_then(TakenIn::hash).expect("readable");
        store.name_all(vec![vec![file]]).remove(0).expect("writable")[0]
    }

    #[test]
    fn a_blob_is_found_under_the_digest_of_its_bytes() {
        let (_dir, store) = store();
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let mut writer = store.write_blob().expect("writable");
        for piece in bytes.chunks(700_001) {
            writer.write_all(piece).expect("writable");
        }
        let blob = writer.finish().expect("writable");
        assert_eq!(blob.digest, Digest::of(&bytes));
        assert_eq!(fs::read(store.blob_path(&blob.digest)).expect("readable"), bytes);
        assert_eq!(Stamp::of(&store.blob_path(&blob.digest)), Some(blob.stamp));
    }

    #[test]
    fn right_bytes_stay_what_they_are_when_they_come_again_and_wrong_ones_make_room() {
        let (_dir, store) = store();
        let write = || {
            let mut writer = store.write_blob().expect("writable");
            writer.write_all(b"right").expect("writable");
            writer.finish().expect("writable")
        };
        let first = write();
        assert_eq!(write(), first, "with the same inode and times");
        let path = store.blob_path(&first.digest);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("ours");
        fs::write(&path, b"wrong").expect("writable");
        let healed = write();
        assert_ne!(healed.stamp.inode, first.stamp.inode);
        assert_eq!(Stamp::of(&path), Some(healed.stamp));
        assert_eq!(fs::read(path).expect("there"), b"right");
        assert_eq!(fs::read_dir(store.root().join("quarantine")).expect("there").count(), 1);
        assert_eq!(fs::read_dir(store.root().join("tmp")).expect("there").count(), 0);
    }

    #[test]
    fn an_unfinished_blob_leaves_nothing() {
        let (_dir, store) = store();
        let mut writer = store.write_blob().expect("writable");
        writer.write_all(b"half").expect("writable");
        drop(writer);
        assert_eq!(fs::read_dir(store.root().join("tmp")).expect("there").count(), 0);
        assert!(!store.root().join("blobs").exists());
    }

    #[test]
    fn a_file_of_the_users_is_copied_and_one_of_the_stores_own_is_moved() {
        let (dir, store) = store();
        let inside = store.root().join("partial");
        fs::create_dir_all(&inside).expect("writable");
        for (path, stays) in [(dir.path().join("source"), true), (inside.join("source"), false)] {
            fs::write(&path, b"hello").expect("writable");
            let blob = named(&store, store.take_in(&path));
            assert_eq!(blob.digest, Digest::of(b"hello"));
            assert_eq!(path.exists(), stays);
            let place = store.blob_path(&blob.digest);
            assert_eq!(Stamp::of(&place), Some(blob.stamp));
            assert!(fs::metadata(place).expect("there").permissions().readonly());
        }
    }

    #[test]
    fn a_file_with_another_name_is_copied() {
        let (_dir, store) = store();
        let inside = store.root().join("partial");
        fs::create_dir_all(&inside).expect("writable");
        let (path, other) = (inside.join("source"), inside.join("other"));
        fs::write(&path, b"hello").expect("writable");
        fs::hard_link(&path, &other).expect("linked");
        let blob = named(&store, store.take_in(&path));
        fs::write(&other, b"later").expect("writable");
        assert_eq!(fs::read(store.blob_path(&blob.digest)).expect("there"), b"hello");
    }

    #[test]
    fn a_file_that_somebody_goes_on_writing_is_no_blob() {
        let (_dir, store) = store();
        let path = store.root().join("file");
        fs::create_dir_all(store.root()).expect("writable");
        let mut file = File::create(&path).expect("writable");
        file.write_all(b"right").expect("writable");
        let unnamed = store.take_in(&path).and_then(TakenIn::hash).expect("readable");
        file.write_all(b" late").expect("writable");
        let refused = store.name_all(vec![vec![unnamed]]).remove(0).expect_err("it has other bytes");
        assert!(refused.to_string().contains("after its command had ended"), "{refused}");
        assert!(!store.blob_path(&Digest::of(b"right")).exists());
    }

    #[test]
    fn what_was_taken_in_and_not_finished_leaves_nothing() {
        let (_dir, store) = store();
        let path = store.root().join("file");
        fs::create_dir_all(store.root()).expect("writable");
        fs::write(&path, b"hello").expect("writable");
        drop(store.take_in(&path).expect("writable"));
        assert_eq!(fs::read_dir(store.root().join("tmp")).expect("there").count(), 0);
    }
}
