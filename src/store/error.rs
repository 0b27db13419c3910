//! What can go wrong with the store's files, told with the path and the remedy.

use std::io;
use std::path::{Path, PathBuf};

/// A file of the store could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot {action}: {cause}{}", path.display(), remedy(cause, *action))]
pub struct Error {
    /// The file or directory.
    pub path: PathBuf,
    /// What was tried.
    pub action: Action,
    /// What the system said.
    pub cause: io::Error,
}

impl Error {
    pub(super) fn at(action: Action, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |cause| Error { path: path.to_owned(), action, cause }
    }
}

/// What the store tried to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Reading it.
    Read,
    /// Writing it.
    Write,
    /// Locking it.
    Lock,
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Action::Read => "read",
            Action::Write => "write",
            Action::Lock => "lock",
        })
    }
}

fn remedy(error: &io::Error, action: Action) -> &'static str {
    match (error.kind(), action) {
        (io::ErrorKind::NotADirectory, _) => {
            "; there is a file where the cache needs a directory: move it away, or choose another with --cache DIR"
        }
        (io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, _) => {
            "; free some space and run again, what is finished is kept"
        }
        (io::ErrorKind::FileTooLarge, _) => {
            "; the system limits the size of files here (`ulimit -f`): raise the limit and run again, what is \
             finished is kept"
        }
        (_, Action::Write | Action::Lock) => "; make the cache writable, or choose another with --cache DIR",
        (io::ErrorKind::PermissionDenied, Action::Read) => {
            "; make the cache readable, or choose another with --cache DIR"
        }
        (_, Action::Read) => "",
    }
}
