//! Publishes results, several together: bytes become durable before they get their names, names before a record mentions
//! them, so that after a power cut as well whatever is readable is right. What goes wrong with one result is that one's alone.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

use super::failpoint::failpoint;
use super::syncing::synced;
use super::{Action, Blob, Error, Form, Record, Slot, Store, Unnamed, make_folder, sealed};

impl Store {
    /// Makes the files of several results blobs, each result's in their order.
    ///
    /// # Errors
    /// For each result, if the disk refuses.
    pub fn name_all(&self, results: Vec<Vec<Unnamed>>) -> Vec<Result<Vec<Blob>, Error>> {
        let bytes = |files: &Vec<Unnamed>| {
            files.iter().filter(|file| !file.is_synced).map(|file| file.place.to_path_buf()).collect()
        };
        let named = |files: Result<Vec<Unnamed>, Error>| {
            files?.into_iter().map(|file| self.place_blob(file)).collect::<Result<_, _>>()
        };
        synced(results.into_iter().map(Ok).collect(), bytes).into_iter().map(named).collect()
    }

    /// Publishes records, each through the slot of its key. They become durable behind their blobs, so that a record is
    /// never without them.
    ///
    /// # Errors
    /// For each record, if the store cannot be written.
    ///
    /// # Panics
    /// If a record is of another key.
    pub fn publish_all(&self, results: Vec<(Slot, &Record)>) -> Vec<Result<(), Error>> {
        let (slots, records): (Vec<Slot>, Vec<&Record>) = results.into_iter().unzip();
        let viewed = slots.iter().zip(records).map(|(slot, record)| {
            assert_eq!(record.key, slot.key(), "a slot publishes the record of its own key");
            let mut directories = record.outputs.values().filter(|artifact| artifact.form == Form::Directory);
            directories.try_for_each(|artifact| self.make_view(artifact).map(drop))?;
            Ok(record)
        });
        let written = self.write_records(viewed.collect());
        slots.into_iter().zip(written).map(|(slot, written)| written.map(|()| slot.end())).collect()
    }

    pub(super) fn write_record(&self, record: &Record) -> Result<(), Error> {
        self.write_records(vec![Ok(record)]).pop().expect("one for each")
    }

    fn write_records(&self, records: Vec<Result<&Record, Error>>) -> Vec<Result<(), Error>> {
        let drafts = records.into_iter().map(|record| Draft::new(self, record?)).collect();
        let drafts = synced(drafts, |draft| draft.behind.clone());
        let placed = drafts.into_iter().map(|draft| draft?.place()).collect();
        let placed = synced(placed, |(path, _)| folders_of_name(path));
        let told = |placed: Result<(PathBuf, &Record), Error>| {
            let (path, record) = placed?;
            failpoint("name synced", &path);
            self.unmark_lost(&record.key)
        };
        placed.into_iter().map(told).collect()
    }

    /// The folders by which the names of blobs are durable.
    pub(super) fn folders_of_blobs<'a>(
        &self,
        blobs: impl IntoIterator<Item = &'a Blob>,
    ) -> BTreeSet<PathBuf> {
        blobs.into_iter().flat_map(|blob| folders_of_name(&self.blob_path(&blob.digest))).collect()
    }
}

/// A record under a temporary name.
struct Draft<'a> {
    record: &'a Record,
    place: TempPath,
    path: PathBuf,
    /// What has to be durable before the record is there.
    behind: BTreeSet<PathBuf>,
}

impl<'a> Draft<'a> {
    fn new(store: &Store, record: &'a Record) -> Result<Draft<'a>, Error> {
        let path = store.record_path(&record.key);
        let mut file = store.temporary()?;
        file.write_all(&sealed::seal(record)).map_err(Error::at(Action::Write, &path))?;
        failpoint("bytes written", &path);
        let place = file.into_temp_path();
        let mut behind = store.folders_of_blobs(record.blobs().map(|(_, _, blob)| blob));
        behind.insert(place.to_path_buf());
        Ok(Draft { record, place, path, behind })
    }

    fn place(self) -> Result<(PathBuf, &'a Record), Error> {
        let Draft { record, place, path, behind: _ } = self;
        failpoint("bytes synced", &path);
        let outcome = match place.persist(&path) {
            Err(refused) if refused.error.kind() == std::io::ErrorKind::NotFound => {
                make_shard(&path)?;
                refused.path.persist(&path)
            }
            outcome => outcome,
        };
        outcome.map_err(|refused| Error::at(Action::Write, &path)(refused.error))?;
        failpoint("renamed", &path);
        Ok((path, record))
    }
}

/// The folders by which a name is durable, if it lies in one of the 256 folders below another: see [`make_shard`].
fn folders_of_name(path: &Path) -> BTreeSet<PathBuf> {
    path.ancestors().skip(1).take(2).map(Path::to_owned).collect()
}

/// Makes the folder, one of 256, that a file is to lie in. Whoever syncs the file's name has to sync the folder's as well.
pub(super) fn make_shard(path: &Path) -> Result<(), Error> {
    let folder = path.parent().expect("such as blobs/ab");
    make_folder(folder.parent().expect("such as blobs"))?;
    match fs::create_dir(folder) {
        // Another process or thread was faster.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        outcome => outcome.map_err(Error::at(Action::Write, folder))?,
    }
    failpoint("folder made", folder);
    Ok(())
}
