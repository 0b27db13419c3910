//! Shows results under names that people know: `data/<pipeline>/<stage>/<port>` links to the artifact in the
//! store. Links are all there is; deleting them loses nothing.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use super::stage::{Holds, OutputPort};
use crate::store::failpoint::failpoint;
use crate::store::{Record, Store};

/// The folder in which the results of one pipeline are shown.
#[derive(Debug, Clone)]
pub struct Checkout {
    dir: PathBuf,
}

impl Checkout {
    /// The folder of a pipeline inside the data folder.
    #[must_use]
    pub fn new(data: &Path, pipeline: &str) -> Checkout {
        let dir = data.join(pipeline);
        Checkout { dir: std::path::absolute(&dir).unwrap_or(dir) }
    }

    /// Links the results of a stage; links that are right already are left alone.
    ///
    /// # Errors
    /// If a link cannot be made, for example because a file of the user's has its name.
    pub fn link(&self, stage: &str, ports: &[OutputPort], record: &Record, store: &Store) -> io::Result<()> {
        for port in ports.iter().filter(|port| port.holds != Holds::File) {
            store.make_view(&record.outputs[&port.name]).map_err(io::Error::other)?;
        }
        for (link, target) in self.links(stage, ports, record, store) {
            point(&link, &target)?;
        }
        Ok(())
    }

    /// Removes the links to results of stages that are no more; whatever else lies there stays. While another stage has
    /// no result they should stay as well: they may be its last good ones, from before it was renamed.
    pub fn forget_others(&self, is_stage: impl Fn(&str) -> bool, store: &Store) {
        let store = std::path::absolute(store.root()).unwrap_or_else(|_| store.root().to_owned());
        let entries = |dir: &Path| fs::read_dir(dir).into_iter().flatten().flatten();
        for stage in entries(&self.dir).filter(|stage| !is_stage(&stage.file_name().to_string_lossy())) {
            if !stage.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let folder = stage.path();
            for link in entries(&folder).map(|entry| entry.path()) {
                let target = fs::read_link(&link).map(|target| tidy(&folder.join(target)));
                if target.is_ok_and(|target| target.starts_with(&store)) {
                    // Links are all there is; one that cannot be removed does no harm.
                    let _ = fs::remove_file(link);
                }
            }
            let _ = fs::remove_dir(folder);
        }
    }

    /// The links to the results of a stage, with what each is to hold.
    #[must_use]
    pub fn links(
        &self,
        stage: &str,
        ports: &[OutputPort],
        record: &Record,
        store: &Store,
    ) -> Vec<(PathBuf, PathBuf)> {
        let dir = self.dir.join(stage);
        let link = |port: &OutputPort| {
            let artifact = &record.outputs[&port.name];
            let (name, target) = match port.holds {
                Holds::File => (file_name(port, ports), store.blob_path(&artifact.digest)),
                Holds::Directory | Holds::Dataset | Holds::Model => (&port.name, store.view_path(artifact)),
            };
            (dir.join(name), relative(&target, &dir))
        };
        ports.iter().map(link).collect()
    }
}

/// The name of a port's only file: its own, or the port's if two files would have the same.
fn file_name<'a>(port: &'a OutputPort, ports: &[OutputPort]) -> &'a String {
    let Some(name) = &port.file_name else { return &port.name };
    let takes = |other: &OutputPort| other.file_name.as_ref() == Some(name) || other.name == *name;
    if ports.iter().any(|other| other.name != port.name && takes(other)) { &port.name } else { name }
}

/// Makes a link point to a target, whatever other processes make of it meanwhile.
fn point(link: &Path, target: &Path) -> io::Result<()> {
    loop {
        match fs::read_link(link) {
            Ok(now) if now == target => return Ok(()),
            Ok(_) => match fs::remove_file(link) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome?,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) if link.symlink_metadata().is_ok_and(|found| !found.is_symlink()) => {
                let message = format!("{}: is no link of stlpipe's, so it is left alone", link.display());
                return Err(io::Error::other(message));
            }
            Err(_) => make_folder(link.parent().expect("a link lies in a folder"))?,
        }
        failpoint("link to be made", link);
        match symlink(target, link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_folder(link.parent().expect("a link lies in a folder"))?;
            }
            outcome => {
                failpoint("link made", link);
                return outcome;
            }
        }
    }
}

/// Makes a folder; what stands in its way is named.
fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder).map_err(|error| {
        let in_the_way = folder.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(folder);
        let remedy = if in_the_way.is_dir() {
            ""
        } else {
            " is in the way: move it, or choose another folder with --data DIR"
        };
        io::Error::new(error.kind(), format!("{}{remedy}: {error}", in_the_way.display()))
    })
}

/// The way to an absolute path from an absolute folder, so that both can be moved together.
fn relative(path: &Path, from: &Path) -> PathBuf {
    let (path, from): (Vec<Component>, Vec<Component>) =
        (path.components().collect(), from.components().collect());
    let shared = path.iter().zip(&from).take_while(|(a, b)| a == b).count();
    let ups = std::iter::repeat_n(Component::ParentDir, from.len() - shared);
    ups.chain(path[shared..].iter().copied()).collect()
}

/// A path without `..`, by its words alone.
fn tidy(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut tidy, part| {
        match part {
            Component::ParentDir => drop(tidy.pop()),
            part => tidy.push(part),
        }
        tidy
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_relative() {
        let relative = |path: &str, from: &str| relative(Path::new(path), Path::new(from));
        assert_eq!(relative("/w/cache/blobs/ab", "/w/data/p/s"), Path::new("../../../cache/blobs/ab"));
        assert_eq!(relative("/cache/ab", "/w/data"), Path::new("../../cache/ab"));
    }
}
