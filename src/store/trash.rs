//! The trash: what was collected lies in a folder that is laid out like a store, until its grace period is over, and
//! can be put back whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::failpoint::failpoint;
use super::remove::move_away;
use super::survey::{Entry, Part};
use super::verify::wrong_bytes;
use super::{Action, Collection, Error, Rules, Store, Wrong, make_folder, sealed, sync_dir};

const MANIFEST: &str = "manifest.json";

/// One collection in the trash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bin {
    /// Its name.
    pub id: String,
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// The size of its files.
    pub bytes: u64,
    /// What lies in it, a line for each result.
    pub about: Vec<String>,
}

/// What a collection has done.
#[derive(Debug)]
pub struct Swept {
    /// What was collected.
    pub collection: Collection,
    /// Where it lies; `None` if there was nothing.
    pub bin: Option<String>,
    /// What was deleted from the trash because its grace period is over.
    pub emptied: Vec<Bin>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    made: u64,
    about: Vec<String>,
    /// What was moved, or is about to be, inside the store.
    moved: Vec<PathBuf>,
    /// Whether all of that has been moved, and nothing put back.
    whole: bool,
}

impl Store {
    /// Moves what nobody needs to the trash, and deletes what has been there for longer than `grace`. `about` says
    /// in words what goes.
    ///
    /// # Errors
    /// If the store cannot be written. What was moved by then can be restored.
    pub fn sweep(
        &self,
        rules: &Rules,
        grace: Duration,
        about: impl FnOnce(&Collection) -> Vec<String>,
    ) -> Result<Swept, Error> {
        let _alone = self.keep_from_looking()?;
        let collection = self.choose(rules)?;
        self.forget_the_dead()?;
        for entry in &collection.temporary {
            self.remove_whole(&self.root.join(&entry.path))?;
        }
        let bin = if collection.doomed.is_empty() {
            None
        } else {
            Some(self.fill(&collection, about(&collection))?)
        };
        let over: Vec<Bin> =
            self.bins()?.into_iter().filter(|bin| seconds() >= bin.made + grace.as_secs()).collect();
        for bin in &over {
            self.remove_whole(&self.bin_path(&bin.id))?;
        }
        Ok(Swept { collection, bin, emptied: over })
    }

    /// What lies in the trash, oldest first.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn bins(&self) -> Result<Vec<Bin>, Error> {
        let bins = self.survey()?.into_iter().filter_map(|entry| match entry.part {
            Part::Bin(id) => Some((id, entry.bytes, entry.changed)),
            _ => None,
        });
        let bin = |(id, bytes, changed): (String, u64, i64)| {
            let manifest: Option<Manifest> = sealed::read(&self.bin_path(&id).join(MANIFEST));
            let made = u64::try_from(changed).unwrap_or(0) / 1_000_000_000;
            let Manifest { made, about, .. } = manifest.unwrap_or(Manifest { made, ..Manifest::default() });
            Bin { id, made, bytes, about }
        };
        Ok(bins.map(bin).collect())
    }

    /// Puts a collection back, and says what is missing in it or has other bytes than it should. What is there again
    /// already stays as it is.
    ///
    /// # Errors
    /// If the store cannot be written; called again, it goes on.
    pub fn restore(&self, bin: &Bin) -> Result<Vec<(PathBuf, Wrong)>, Error> {
        let _alone = self.keep_from_looking()?;
        let root = self.bin_path(&bin.id);
        let wrong = self.wrong_in_trash(&bin.id);
        if let Some(manifest) = sealed::read::<Manifest>(&root.join(MANIFEST)) {
            self.write_manifest(&bin.id, &Manifest { whole: false, ..manifest })?;
        }
        let mut entries = Store::at(&root).survey()?;
        // What is named before whatever names it.
        entries.sort_by_key(|entry| std::cmp::Reverse(rank(&entry.part)));
        let is_missing = |path: &Path| self.root.join(path).symlink_metadata().is_err();
        let missing: Vec<&Entry> = entries
            .iter()
            .filter(|entry| entry.path != Path::new(MANIFEST) && is_missing(&entry.path))
            .collect();
        move_all(&missing, &root, &self.root)?;
        self.extend_index()?;
        self.remove_whole(&root)?;
        Ok(wrong)
    }

    /// What is wrong with a collection in the trash.
    pub(super) fn wrong_in_trash(&self, id: &str) -> Vec<(PathBuf, Wrong)> {
        let (place, root) = (Path::new("trash").join(id), self.bin_path(id));
        let manifest_path = root.join(MANIFEST);
        let Some(manifest) = sealed::read::<Manifest>(&manifest_path) else {
            let is_empty = fs::read_dir(&root).is_ok_and(|mut entries| entries.next().is_none());
            return match (manifest_path.exists(), is_empty) {
                (true, _) => vec![(place.join(MANIFEST), Wrong::Changed)],
                // Whoever made the folder was killed before anything was moved.
                (false, true) => Vec::new(),
                (false, false) => vec![(place.join(MANIFEST), Wrong::Missing)],
            };
        };
        let gone = |path: &&PathBuf| manifest.whole && root.join(path).symlink_metadata().is_err();
        let mut wrong: Vec<(PathBuf, Wrong)> =
            manifest.moved.iter().filter(gone).map(|path| (place.join(path), Wrong::Missing)).collect();
        let inside = Store::at(&root);
        for entry in inside.survey().unwrap_or_default() {
            let path = root.join(&entry.path);
            let is_sealed = || sealed::read::<serde_json::Value>(&path).is_some();
            let found = match &entry.part {
                Part::Blob(digest) => wrong_bytes(&path, digest),
                Part::Record(_) | Part::Lost(_) | Part::Log(..) => (!is_sealed()).then_some(Wrong::Changed),
                Part::Link(chain, position) => {
                    let chain = inside.chain(chain);
                    let whole = chain.link(*position).is_some_and(|link| {
                        !link.own
                            || link.files.iter().all(|(name, blob)| {
                                wrong_bytes(&chain.place(*position, &link, name, blob), &blob.digest)
                                    .is_none()
                            })
                    });
                    (!whole).then_some(Wrong::Changed)
                }
                _ => None,
            };
            wrong.extend(found.map(|found| (place.join(&entry.path), found)));
        }
        wrong
    }

    /// Makes the manifests say what lies there.
    pub(super) fn renew_manifests(&self) -> Result<(), Error> {
        for Bin { id, made, about, .. } in self.bins()? {
            let root = self.bin_path(&id);
            let lies = Store::at(&root).survey()?.into_iter().map(|entry| entry.path);
            let moved = lies.filter(|path| path != Path::new(MANIFEST)).collect();
            self.write_manifest(&id, &Manifest { made, about, moved, whole: true })?;
        }
        Ok(())
    }

    fn write_manifest(&self, id: &str, manifest: &Manifest) -> Result<(), Error> {
        self.write_whole(&self.bin_path(id).join(MANIFEST), &sealed::seal(manifest))
    }

    /// Moves what is doomed to a new folder of the trash.
    fn fill(&self, collection: &Collection, about: Vec<String>) -> Result<String, Error> {
        let (id, manifest, doomed) = self.begin_bin(collection, about)?;
        move_all(&doomed, &self.root, &self.bin_path(&id))?;
        self.write_manifest(&id, &Manifest { whole: true, ..manifest })?;
        Ok(id)
    }

    /// Makes a new folder of the trash, with a list of what is to be moved, in the order in which it is moved.
    fn begin_bin<'a>(
        &self,
        collection: &'a Collection,
        about: Vec<String>,
    ) -> Result<(String, Manifest, Vec<&'a Entry>), Error> {
        let mut doomed: Vec<&Entry> = collection.doomed.iter().collect();
        // Whatever names something before what it names: a log is never without its records, nor a record
        // without its blobs, whenever this ends.
        doomed.sort_by_key(|entry| rank(&entry.part));
        let made = seconds();
        let is_free = |id: &String| !self.bin_path(id).exists();
        let id = (made..).map(|n| n.to_string()).find(is_free).expect("some number is free");
        let moved = doomed.iter().map(|entry| entry.path.clone()).collect();
        let manifest = Manifest { made, about, moved, whole: false };
        self.write_manifest(&id, &manifest)?;
        self.change_index(|index, _| {
            for entry in &doomed {
                if let Part::Log(pipeline, name) = &entry.part
                    && let Some(names) = index.logs.get_mut(pipeline)
                {
                    names.remove(name);
                }
            }
            index.logs.retain(|_, names| !names.is_empty());
        })?;
        Ok((id, manifest, doomed))
    }

    /// A collection that is killed after so many steps.
    #[cfg(test)]
    pub(super) fn fill_up_to(&self, collection: &Collection, steps: usize) {
        let (id, _, doomed) = self.begin_bin(collection, Vec::new()).expect("writable");
        for entry in doomed.into_iter().take(steps) {
            move_to(&self.root.join(&entry.path), &self.bin_path(&id).join(&entry.path)).expect("writable");
        }
    }

    fn bin_path(&self, id: &str) -> PathBuf {
        self.root.join("trash").join(id)
    }
}

/// The order in which things go; they come back in the opposite order.
fn rank(part: &Part) -> u8 {
    match part {
        Part::Log(..) => 0,
        Part::Record(_) | Part::Lost(_) => 1,
        Part::View(_) => 2,
        Part::Link(..) | Part::Partial(_) => 3,
        _ => 4,
    }
}

/// Moves entries that are in the order of their ranks from one folder to another; those of a rank are there for good
/// before the first of the next goes.
fn move_all(entries: &[&Entry], from: &Path, to: &Path) -> Result<(), Error> {
    for alike in entries.chunk_by(|a, b| rank(&a.part) == rank(&b.part)) {
        let mut folders = BTreeSet::new();
        for entry in alike {
            let (from, to) = (from.join(&entry.path), to.join(&entry.path));
            move_to(&from, &to)?;
            folders.extend([from, to].iter().filter_map(|path| path.parent()).map(Path::to_owned));
        }
        folders.iter().try_for_each(|folder| sync_dir(folder))?;
    }
    Ok(())
}

fn move_to(from: &Path, to: &Path) -> Result<(), Error> {
    make_folder(to.parent().expect("inside the store"))?;
    match move_away(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        outcome => outcome.map_err(Error::at(Action::Write, from))?,
    }
    failpoint("moved", to);
    Ok(())
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
