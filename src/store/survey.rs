//! Everything that lies in a store, by what it is there for. It looks at names and sizes, reads no bytes and judges
//! nothing.

use std::fs;
use std::path::{Path, PathBuf};

use super::record::list;
use super::{Digest, Error, Stamp, Store};

/// What a file or folder of the store is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Bytes, under the digest that they should have.
    Blob(Digest),
    /// What was computed under a key.
    Record(Digest),
    /// A note that the result of a key was lost.
    Lost(Digest),
    /// The folder that shows a directory artifact.
    View(Digest),
    /// The log of a run: its pipeline and its name.
    Log(String, String),
    /// The list of logs and memos.
    Index,
    /// The folder of a position of a chain.
    Link(Digest, u64),
    /// What the computation of a key may go on from.
    Partial(Digest),
    /// The digest of a file outside.
    Memo,
    /// An answer that somebody may want to find again.
    Answer,
    /// Something that was set aside.
    Quarantined,
    /// What a stage of a pipeline left when it failed.
    Aside,
    /// A folder of the trash, by its name.
    Bin(String),
    /// A file that is being written, or was when its writer died.
    Temporary,
    /// Locks, and the page that says what the folder is.
    Fixture,
    /// Not the store's.
    Foreign,
}

/// A file or folder of the store.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its path inside the store.
    pub(super) path: PathBuf,
    pub(super) part: Part,
    /// The size of the plain files in it.
    pub(super) bytes: u64,
    /// When anything in it was last changed, in nanoseconds since 1970.
    pub(super) changed: i64,
}

/// How many folders deep the entries of each folder lie.
const DEPTHS: [(&str, usize); 13] = [
    ("blobs", 2),
    ("records", 2),
    ("views", 2),
    ("chains", 3),
    ("runs", 2),
    ("partial", 1),
    ("seen", 1),
    ("answers", 1),
    ("quarantine", 1),
    ("failed", 2),
    ("trash", 1),
    ("tmp", 1),
    ("locks", 1),
];

/// Of what lies at the top of a store, what other directories hold as well.
const COMMON: [&str; 8] = ["README.md", ".gitignore", "runs", "failed", "trash", "tmp", "views", "answers"];

impl Store {
    /// Whether its directory holds things, and nothing that tells a store.
    #[must_use]
    pub fn is_of_others(&self) -> bool {
        let Ok(entries) = fs::read_dir(&self.root) else { return false };
        let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
        let is_ours = |name: &str| name == "index.json" || DEPTHS.iter().any(|(folder, _)| *folder == name);
        let tells = |name: &str| is_ours(name) && !COMMON.contains(&name);
        let is_strange = |name: &str| !is_ours(name) && !COMMON.contains(&name);
        let any = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(&name.to_string_lossy()));
        any(&is_strange) && !any(&tells)
    }

    /// Everything that lies in the store.
    pub(super) fn survey(&self) -> Result<Vec<Entry>, Error> {
        let mut paths = Vec::new();
        for top in list(&self.root)? {
            let depth = DEPTHS.iter().find(|(name, _)| top.ends_with(name)).map_or(0, |(_, depth)| *depth);
            descend(top, depth, &mut paths)?;
        }
        Ok(paths.iter().filter_map(|path| self.entry(path)).collect())
    }

    /// What lies at a path; `None` if it has gone meanwhile.
    fn entry(&self, path: &Path) -> Option<Entry> {
        let inside = path.strip_prefix(&self.root).ok()?;
        let names: Vec<&str> = inside.iter().map(|name| name.to_str().unwrap_or("?")).collect();
        let (mut bytes, mut changed) = (0, i64::MIN);
        measure(path, &mut bytes, &mut changed)?;
        Some(Entry { path: inside.to_owned(), part: part(&names), bytes, changed })
    }
}

fn descend(path: PathBuf, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), Error> {
    if depth == 0 || path.is_symlink() || !path.is_dir() {
        paths.push(path);
        return Ok(());
    }
    list(&path)?.into_iter().try_for_each(|child| descend(child, depth - 1, paths))
}

fn measure(path: &Path, bytes: &mut u64, changed: &mut i64) -> Option<()> {
    let metadata = path.symlink_metadata().ok()?;
    let stamp = Stamp::from(&metadata);
    *changed = stamp.ctime.max(*changed);
    if metadata.is_file() {
        *bytes += stamp.bytes;
    } else if metadata.is_dir() {
        for child in fs::read_dir(path).ok()?.flatten() {
            measure(&child.path(), bytes, changed);
        }
    }
    Some(())
}

fn part(names: &[&str]) -> Part {
    let digest = |folder: &str, name: &str| name.starts_with(folder).then(|| name.parse().ok()).flatten();
    let found = match names {
        ["blobs", folder, name] => digest(folder, name).map(Part::Blob),
        ["views", folder, name] => digest(folder, name).map(Part::View),
        ["records", folder, name] => match name.split_once('.') {
            Some((key, "json")) => digest(folder, key).map(Part::Record),
            Some((key, "lost")) => digest(folder, key).map(Part::Lost),
            _ => None,
        },
        ["chains", folder, name, position] => digest(folder, name)
            .zip(position.parse().ok())
            .map(|(chain, position)| Part::Link(chain, position)),
        ["runs", pipeline, name] if name.ends_with(".json") => {
            Some(Part::Log((*pipeline).to_owned(), (*name).to_owned()))
        }
        ["index.json"] => Some(Part::Index),
        ["partial", name] => name.parse().ok().map(Part::Partial),
        ["seen", name] => name.parse::<Digest>().ok().map(|_| Part::Memo),
        ["answers", name] => name.parse::<Digest>().ok().map(|_| Part::Answer),
        ["quarantine", _] => Some(Part::Quarantined),
        ["failed", _, _] => Some(Part::Aside),
        ["trash", name] => Some(Part::Bin((*name).to_owned())),
        ["tmp", _] => Some(Part::Temporary),
        ["locks", _] | ["README.md" | ".gitignore"] => Some(Part::Fixture),
        _ => None,
    };
    found.unwrap_or(Part::Foreign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_for_something_else_is_recognised() {
        let holding = |names: &[&str]| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            names.iter().for_each(|name| fs::create_dir(dir.path().join(name)).expect("writable"));
            Store::at(dir.path()).is_of_others()
        };
        assert!(holding(&["photos"]) && holding(&["src", "README.md", "runs"]));
        assert!(!holding(&[]) && !holding(&["trash", "tmp"]) && !holding(&["notes", "blobs"]));
        assert!(!Store::at(Path::new("/no/such/directory")).is_of_others());
    }

    #[test]
    fn what_lies_in_a_store_is_told_by_its_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::at(dir.path());
        let digest = Digest::of(b"x");
        let digits = digest.to_string();
        let folder = &digits[..2];
        for (path, expected) in [
            (format!("blobs/{folder}/{digits}"), Part::Blob(digest)),
            (format!("blobs/zz/{digits}"), Part::Foreign),
            (format!("records/{folder}/{digits}.json"), Part::Record(digest)),
            (format!("records/{folder}/{digits}.lost"), Part::Lost(digest)),
            (format!("chains/{folder}/{digits}/000000000007"), Part::Link(digest, 7)),
            ("runs/ver_2_3/1.json".to_owned(), Part::Log("ver_2_3".to_owned(), "1.json".to_owned())),
            ("notes.txt".to_owned(), Part::Foreign),
            ("README.md".to_owned(), Part::Fixture),
        ] {
            let whole = store.root().join(&path);
            fs::create_dir_all(whole.parent().expect("inside")).expect("writable");
            fs::write(&whole, b"12345").expect("writable");
            let entries = store.survey().expect("readable");
            let entry = entries.iter().find(|entry| entry.path == Path::new(&path)).expect("listed");
            assert_eq!((&entry.part, entry.bytes), (&expected, 5), "{path}");
        }
    }
}
