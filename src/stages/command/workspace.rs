//! The clean directory a command runs in: its declared files copied in, its inputs linked in, its declared
//! outputs taken out. It starts no processes.
//!
//! The directory is lent, and given back clean but for an empty `in/`, so that the next command need not make it anew.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::tree::{BadLink, Cause, DiskError, at, files_below, look};
use crate::engine::stage::{Input, Job, ONLY_FILE, StageError};

/// The folder, inside the clean directory, that holds the stage's inputs.
pub const INPUTS: &str = "in";

/// The mode of the folders that are made here: nobody else has anything to look for in them.
const MODE: u32 = 0o700;

/// A clean directory; it is given back when dropped.
pub struct Workspace<'a> {
    job: &'a dyn Job,
    path: PathBuf,
    is_kept: bool,
    /// The files that were copied in where an output should be.
    in_the_way: Vec<PathBuf>,
}

/// Why an output cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The command did not make it.
    #[error("the command made no `{path}`, which it declares as output `{port}`")]
    Missing { port: String, path: String },
    /// All there is was there before.
    #[error("the command made no `{path}`, output `{port}`: it is as `deps` brought it in")]
    Untouched { port: String, path: String },
    /// A directory where a file was declared.
    #[error("`{path}`, output `{port}`, is a directory; write `{path}/` to declare one")]
    Directory { port: String, path: String },
    /// A file where a directory was declared.
    #[error("`{path}`, output `{port}`, is no directory; leave out the last `/` to declare a file")]
    File { port: String, path: String },
    /// A directory with nothing to keep.
    #[error("`{path}`, output `{port}`, is an empty directory")]
    Empty { port: String, path: String },
    /// A file whose name is not text.
    #[error("`{}`, in output `{port}`, has a name that is not UTF-8", path.display())]
    Name { port: String, path: PathBuf },
    /// Something from which no bytes can be taken, such as a pipe.
    #[error("`{}`, in output `{port}`, is no plain file", path.display())]
    Kind { port: String, path: PathBuf },
    /// A link that leads to no file.
    #[error("`{}`, in output `{port}`, {link}", path.display())]
    Link { port: String, path: PathBuf, link: BadLink },
    /// There is no directory any more in which it could be.
    #[error("the command removed the directory that it ran in")]
    Gone,
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl Workspace<'_> {
    /// A clean directory for a job.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn create(job: &dyn Job) -> Result<Workspace<'_>, StageError> {
        let workspace = Workspace { job, path: job.lend_folder()?, is_kept: false, in_the_way: Vec::new() };
        if job.inputs().is_empty() {
            match fs::remove_dir(workspace.path.join(INPUTS)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                outcome => outcome.map_err(at(&workspace.path))?,
            }
        }
        Ok(workspace)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is, from now on to stay.
    #[must_use]
    pub fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        self.path.clone()
    }

    /// Copies files in: a link would let the command change the original, and see what lies beside it. Those that lie
    /// where an output should be get the time 0, so that it shows if the command writes them.
    ///
    /// # Errors
    /// If one cannot be read or the disk refuses.
    pub fn copy_in(&mut self, files: &BTreeMap<String, PathBuf>, outputs: &[&str]) -> Result<(), DiskError> {
        for (name, source) in files {
            let target = self.path().join(name);
            make_parent(&target)?;
            fs::copy(source, &target).map_err(at(source))?;
            if outputs.iter().any(|output| target.starts_with(self.path().join(output))) {
                File::open(&target).and_then(|file| file.set_modified(UNIX_EPOCH)).map_err(at(&target))?;
                self.in_the_way.push(target);
            }
        }
        Ok(())
    }

    /// Whether a file is one that was copied in, and nobody has written it since.
    fn is_untouched(&self, file: &Path) -> bool {
        let modified = || file.metadata().and_then(|metadata| metadata.modified());
        self.in_the_way.iter().any(|copied| copied == file) && modified().is_ok_and(|time| time == UNIX_EPOCH)
    }

    /// Links the artifact bound to a port in as `in/<port>`, and tells the full path of that.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn link_in(&self, port: &str, input: &Input) -> Result<PathBuf, DiskError> {
        let place = self.path().join(INPUTS).join(port);
        for (name, file) in &input.files {
            let target = if name == ONLY_FILE { place.clone() } else { place.join(name) };
            match symlink(&file.path, &target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    make_parent(&target)?;
                    symlink(&file.path, &target)
                }
                outcome => outcome,
            }
            .map_err(at(&target))?;
        }
        Ok(place)
    }

    /// The files of an output by their names in the artifact. `path` ends in `/` for a directory.
    ///
    /// # Errors
    /// If the command did not make what was declared.
    pub fn output(&self, port: &str, path: &str) -> Result<BTreeMap<String, PathBuf>, OutputError> {
        let told = |error: DiskError| match (error.path.strip_prefix(&self.path), error.cause) {
            (Ok(inside), Cause::Link(link)) => {
                OutputError::Link { port: port.to_string(), path: inside.to_owned(), link }
            }
            (_, cause) => OutputError::Disk(DiskError { cause, path: error.path.clone() }),
        };
        let (port, path) = (port.to_string(), path.to_string());
        let place = self.path().join(&path);
        let declared_directory = is_directory(&path);
        let named = self.path().join(path.trim_end_matches('/'));
        let Ok(found) = named.symlink_metadata() else {
            let is_gone = !self.path().is_dir();
            return Err(if is_gone { OutputError::Gone } else { OutputError::Missing { port, path } });
        };
        let is_link = found.is_symlink();
        let metadata = if is_link { look(&named).map_err(told)? } else { found };
        match (metadata.is_dir(), declared_directory) {
            (true, false) => Err(OutputError::Directory { port, path }),
            (false, true) => Err(OutputError::File { port, path }),
            (false, false) if !metadata.is_file() => Err(OutputError::Kind { port, path: path.into() }),
            (false, false) => {
                if self.is_untouched(&named) {
                    return Err(OutputError::Untouched { port, path });
                }
                let file = if is_link { own_copy(&place)? } else { place };
                Ok(BTreeMap::from([(ONLY_FILE.to_string(), file)]))
            }
            (true, true) => {
                let mut files = BTreeMap::new();
                for (name, file) in files_below(&place).map_err(told)? {
                    let Some(name) = name.to_str() else {
                        return Err(OutputError::Name { port, path: file });
                    };
                    if !fs::metadata(&file).map_err(at(&file))?.is_file() {
                        return Err(OutputError::Kind { port, path: Path::new(&path).join(name) });
                    }
                    files.insert(name.to_string(), own_copy(&file)?);
                }
                if files.is_empty() {
                    return Err(OutputError::Empty { port, path });
                }
                if files.values().all(|file| self.is_untouched(file)) {
                    return Err(OutputError::Untouched { port, path });
                }
                Ok(files)
            }
        }
    }
}

impl Drop for Workspace<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.job.give_back_folder(&self.path, INPUTS);
        }
    }
}

/// Whether an output is declared as a directory.
#[must_use]
pub fn is_directory(path: &str) -> bool {
    path.ends_with('/')
}

/// Whether a path stays inside the directory it starts from.
#[must_use]
pub fn stays_inside(path: &Path) -> bool {
    let mut parts = path.components().filter(|part| *part != Component::CurDir).peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// A link becomes a file of its own, since what it points to is not ours to move.
fn own_copy(path: &Path) -> Result<PathBuf, DiskError> {
    if fs::symlink_metadata(path).map_err(at(path))?.is_symlink() {
        let target = fs::canonicalize(path).map_err(at(path))?;
        fs::remove_file(path).map_err(at(path))?;
        fs::copy(&target, path).map_err(at(&target))?;
    }
    Ok(path.to_path_buf())
}

fn make_parent(path: &Path) -> Result<(), DiskError> {
    let parent = path.parent().expect("every path here lies inside the clean directory");
    DirBuilder::new().recursive(true).mode(MODE).create(parent).map_err(at(parent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::test_job::TestJob;

    #[test]
    fn only_paths_below_the_start_stay_inside() {
        for (path, inside) in [
            ("a", true),
            ("a/b/", true),
            ("./a", true),
            ("", false),
            (".", false),
            ("/a", false),
            ("../a", false),
            ("a/../b", false),
        ] {
            assert_eq!(stays_inside(Path::new(path)), inside, "{path}");
        }
    }

    #[test]
    fn a_link_among_the_outputs_becomes_a_file_and_its_target_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let original = folder.path().join("original");
        fs::write(&original, "x").expect("written");
        let job = TestJob::new();
        let workspace = Workspace::create(&job).expect("a workspace");
        symlink(&original, workspace.path().join("out")).expect("linked");
        let files = workspace.output("o", "out").expect("an output");
        assert!(fs::symlink_metadata(&files[ONLY_FILE]).expect("there").is_file());
        assert!(original.exists());
    }
}
