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
    /// What went wrong with a path; what is an error of this kind already stays as it is.
    pub(super) fn at(action: Action, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |cause| {
            let named = |cause| Error { path: path.to_owned(), action, cause };
            cause.downcast::<Error>().unwrap_or_else(named)
        }
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

/// What an error says, with the remedy if the reason is that there is no room for a file.
#[must_use]
pub fn with_remedy(error: &(dyn std::error::Error + 'static)) -> String {
    let text = error.to_string();
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    let disk = causes.find_map(|error| error.downcast_ref::<io::Error>());
    match disk.and_then(|error| remedy_of_no_room(error.kind())) {
        Some(remedy) if !text.contains(remedy) => text + remedy,
        _ => text,
    }
}

fn remedy_of_no_room(kind: io::ErrorKind) -> Option<&'static str> {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("; free some space and run again, what is finished is kept")
        }
        io::ErrorKind::FileTooLarge => Some(
            "; the system limits the size of files here (`ulimit -f`): raise the limit and run again, what is \
             finished is kept",
        ),
        _ => None,
    }
}

fn remedy(error: &io::Error, action: Action) -> &'static str {
    if let Some(remedy) = remedy_of_no_room(error.kind()) {
        return remedy;
    }
    match (error.kind(), action) {
        (io::ErrorKind::NotADirectory, _) => {
            "; there is a file where the cache needs a directory: move it away, or choose another with --cache DIR"
        }
        (_, Action::Write | Action::Lock) => "; make the cache writable, or choose another with --cache DIR",
        (io::ErrorKind::PermissionDenied, Action::Read) => {
            "; make the cache readable, or choose another with --cache DIR"
        }
        (_, Action::Read) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_has_its_place_and_remedy_keeps_them() {
        let inner = Error::at(Action::Write, Path::new("cache"))(io::ErrorKind::StorageFull.into());
        let told = inner.to_string();
        let outer = Error::at(Action::Write, Path::new("cache/tmp/x"))(io::Error::other(inner));
        assert_eq!(outer.to_string(), told);
        assert_eq!(told.matches("free some space").count(), 1, "{told}");
    }

    #[test]
    fn where_there_is_no_room_the_remedy_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("in/x: {0}")]
        struct Place(#[source] io::Error);

        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let remedy = "; free some space and run again, what is finished is kept";
        assert_eq!(with_remedy(&Place(full())), format!("in/x: {}{remedy}", full()));
        let of_store = Error::at(Action::Write, Path::new("cache"))(full());
        assert_eq!(with_remedy(&of_store).matches(remedy).count(), 1);
        let wrapped = Place(io::Error::new(io::ErrorKind::StorageFull, of_store));
        assert_eq!(with_remedy(&wrapped).matches(remedy).count(), 1);
        assert_eq!(with_remedy(&Place(io::ErrorKind::NotFound.into())), "in/x: entity not found");
    }
}
