//! Looks at files and folders by way of links, and says of a link that leads nowhere where it leads. It changes nothing.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What cannot be read, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct DiskError {
    pub path: PathBuf,
    #[source]
    pub cause: Cause,
}

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The disk refuses.
    #[error("{0}")]
    Disk(#[source] io::Error),
    /// A link leads to no file.
    #[error(transparent)]
    Link(BadLink),
}

/// Where a link leads that leads to no file.
#[derive(Debug, thiserror::Error)]
pub enum BadLink {
    #[error("is a link to `{}`, which is not there", .0.display())]
    Dangling(PathBuf),
    #[error("is a link that leads to itself")]
    ToItself,
    #[error("is a link to a folder that it lies in")]
    ToAbove,
}

/// The error of a place that the disk refuses.
pub fn at(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_path_buf();
    move |error| DiskError { path, cause: Cause::Disk(error) }
}

/// What lies at a path, or where the link there leads.
///
/// # Errors
/// If there is nothing, or the disk refuses.
pub fn look(path: &Path) -> Result<Metadata, DiskError> {
    fs::metadata(path).map_err(|error| {
        let cause = match fs::read_link(path) {
            Ok(target) if error.kind() == io::ErrorKind::NotFound => Cause::Link(BadLink::Dangling(target)),
            Ok(_) if Errno::from_io_error(&error) == Some(Errno::LOOP) => Cause::Link(BadLink::ToItself),
            _ => Cause::Disk(error),
        };
        DiskError { path: path.to_path_buf(), cause }
    })
}

/// Every file below a directory by its path from there, in order; links are followed.
///
/// # Errors
/// If a link leads to no file or back to a folder on the way to it, or the disk refuses.
pub fn files_below(directory: &Path) -> Result<BTreeMap<PathBuf, PathBuf>, DiskError> {
    let number = |metadata: &Metadata| (metadata.dev(), metadata.ino());
    let mut files = BTreeMap::new();
    // With the numbers of the folders on the way.
    let mut waiting = vec![(PathBuf::new(), vec![number(&look(directory)?)])];
    while let Some((folder, above)) = waiting.pop() {
        let place = directory.join(&folder);
        for entry in fs::read_dir(&place).map_err(at(&place))? {
            let name = folder.join(entry.map_err(at(&place))?.file_name());
            let path = directory.join(&name);
            let metadata = look(&path)?;
            if !metadata.is_dir() {
                files.insert(name, path);
            } else if above.contains(&number(&metadata)) {
                return Err(DiskError { path, cause: Cause::Link(BadLink::ToAbove) });
            } else {
                let way = above.iter().copied().chain([number(&metadata)]).collect();
                waiting.push((name, way));
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_and_those_that_lead_nowhere_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("a/b")).expect("made");
        fs::write(path("a/b/file"), "x").expect("written");
        symlink("b", path("a/twin")).expect("linked");
        let found = files_below(folder.path()).expect("readable").into_keys();
        assert_eq!(found.collect::<Vec<_>>(), [Path::new("a/b/file"), Path::new("a/twin/file")]);
        for (target, told) in [
            ("nowhere", "a/link: is a link to `nowhere`, which is not there"),
            ("link", "a/link: is a link that leads to itself"),
            ("../a", "a/link: is a link to a folder that it lies in"),
        ] {
            symlink(target, path("a/link")).expect("linked");
            let error = files_below(folder.path()).expect_err("it leads nowhere").to_string();
            assert!(error.ends_with(told), "{error}");
            fs::remove_file(path("a/link")).expect("there");
        }
    }
}
