//! A file or folder that the user names to be written, with what must not happen to those that are there. What is
//! written into it is for others to know.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::exit::Failure;
use crate::engine::Experiment;
use crate::store::Store;

const IS_A_LINK: &str = "is a link; remove it, or name another file";

/// Where a command puts what was asked for.
pub(super) struct Output<'a> {
    pub path: &'a Path,
    /// Whether a file that is there may be replaced.
    pub force: bool,
    /// Its files are not to be replaced, even by force.
    pub experiment: &'a Experiment,
}

impl Output<'_> {
    /// Refuses a path in a folder that is not there, perhaps because it is mistyped, or in the store, whose files are
    /// stlpipe's alone.
    pub(super) fn check_folder(&self, store: &Store) -> Result<(), Failure> {
        // The folder of a plain name is the one to run in.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if !folder.is_dir() {
            let folder = folder.display();
            return self
                .refuse(&format!("there is no folder `{folder}`; make it first, or name another path"));
        }
        match (folder.canonicalize(), store.root().canonicalize()) {
            (Ok(folder), Ok(root)) if folder.starts_with(&root) && !self.is_stdout() => {
                self.refuse("lies in the cache; name a path elsewhere")
            }
            _ => Ok(()),
        }
    }

    /// Whether standard output is meant.
    pub(super) fn is_stdout(&self) -> bool {
        self.path.as_os_str() == "-"
    }

    /// Refuses a file that nobody means: what a link leads to, perhaps into the store, those the pipeline is read from,
    /// and without force every other that is there.
    pub(super) fn check_file(&self) -> Result<(), Failure> {
        if self.path.is_dir() {
            return self.refuse("is a directory; name a file");
        }
        if self.is_stdout() || self.is_stream() {
            return Ok(());
        }
        if self.path.is_symlink() {
            return self.refuse(IS_A_LINK);
        }
        let mut pipeline = self.experiment.pipeline.files().filter_map(|(file, _)| file.canonicalize().ok());
        if self.path.canonicalize().is_ok_and(|path| pipeline.any(|file| file == path)) {
            return self.refuse("is a file of the pipeline; name another file");
        }
        if self.path.exists() && !self.force {
            return self.refuse("exists already; --force replaces it");
        }
        Ok(())
    }

    /// Writes a file, as a whole or not at all. One that is replaced keeps its permissions.
    pub(super) fn write_file(&self, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), Failure> {
        self.check_file()?;
        let write_to = |path: &Path| write(&mut File::create(path)?);
        if self.is_stream() {
            return Ok(write_to(self.path).with_context(|| cannot_be_written(self.path))?);
        }
        let beside = self.beside();
        let take_place = || {
            if let Ok(replaced) = fs::metadata(self.path) {
                fs::set_permissions(&beside, replaced.permissions())?;
            }
            fs::rename(&beside, self.path)
        };
        let written = write_to(&beside).and_then(|()| take_place());
        if written.is_err() {
            // What could not be written may not be there.
            let _ = fs::remove_file(&beside);
        }
        Ok(written.with_context(|| cannot_be_written(self.path))?)
    }

    /// Writes a folder of files, as a whole or not at all; each is written by its name.
    pub(super) fn write_folder<'a>(
        &self,
        mut files: impl Iterator<Item = &'a String>,
        write: impl Fn(&str, &mut File) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.path.exists() || self.path.is_symlink() {
            return self.refuse("exists already; name a directory to be made");
        }
        let beside = self.beside();
        let write_one = |name: &String| {
            let path = beside.join(name);
            fs::create_dir_all(path.parent().unwrap_or(&beside))?;
            write(name, &mut File::create(&path)?)
        };
        let named = |name: &String| write_one(name).with_context(|| cannot_be_written(&self.path.join(name)));
        let take_place = || fs::rename(&beside, self.path).with_context(|| cannot_be_written(self.path));
        let written = files.try_for_each(named).and_then(|()| take_place());
        if written.is_err() {
            let _ = fs::remove_dir_all(&beside);
        }
        Ok(written?)
    }

    /// Whether it is a pipe or the like, which takes what is written without being replaced.
    fn is_stream(&self) -> bool {
        self.path.exists() && !self.path.is_file() && !self.path.is_dir()
    }

    /// Where a file is written before it takes its place.
    fn beside(&self) -> PathBuf {
        // A path may end in `/`.
        let mut beside = self.path.components().as_path().as_os_str().to_owned();
        beside.push(format!(".{}.part", std::process::id()));
        PathBuf::from(beside)
    }

    fn refuse(&self, problem: &str) -> Result<(), Failure> {
        Err(Failure::Usage(format!("{}: {problem}", self.path.display())))
    }
}

fn cannot_be_written(path: &Path) -> String {
    format!("{}: cannot be written", path.display())
}
