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
                Holds::File => {
                    (port.file_name.as_ref().unwrap_or(&port.name), store.blob_path(&artifact.digest))
                }
                Holds::Directory | Holds::Dataset | Holds::Model => (&port.name, store.view_path(artifact)),
            };
            (dir.join(name), relative(&target, &dir))
        };
        ports.iter().map(link).collect()
    }
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
            Err(_) if link.symlink_metadata().is_ok_and(|found| !found.is_symlink()) => {
                let message = format!("{}: is no link of stlpipe's, so it is left alone", link.display());
                return Err(io::Error::other(message));
            }
            Err(_) => fs::create_dir_all(link.parent().expect("a link lies in a folder"))?,
        }
        failpoint("link to be made", link);
        match symlink(target, link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            outcome => {
                failpoint("link made", link);
                return outcome;
            }
        }
    }
}

/// The way to an absolute path from an absolute folder, so that both can be moved together.
fn relative(path: &Path, from: &Path) -> PathBuf {
    let (path, from): (Vec<Component>, Vec<Component>) =
        (path.components().collect(), from.components().collect());
    let shared = path.iter().zip(&from).take_while(|(a, b)| a == b).count();
    let ups = std::iter::repeat_n(Component::ParentDir, from.len() - shared);
    ups.chain(path[shared..].iter().copied()).collect()
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
