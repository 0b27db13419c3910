//! Removes what others made, whatever rights they left on its directories. Root has them all, but other users have none that
//! a mode does not give.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// What an owner needs to do something in a directory.
const RIGHTS: u32 = 0o700;

/// Removes a directory with all that is in it.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_tree(path)?;
            fs::remove_dir_all(path)
        }
        outcome => outcome,
    }
}

/// Renames a directory or a file, to a place in another directory perhaps, for which a directory must be open to its owner.
pub(super) fn move_away(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open(from)?;
            fs::rename(from, to)
        }
        outcome => outcome,
    }
}

/// Opens all directories of a tree to their owner. Links lead nowhere.
fn open_tree(path: &Path) -> io::Result<()> {
    if !open(path)? {
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Opens a directory to its owner, if it is one.
fn open(path: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_dir() && metadata.mode() & RIGHTS != RIGHTS {
        fs::set_permissions(path, Permissions::from_mode(metadata.mode() & 0o7777 | RIGHTS))?;
    }
    Ok(metadata.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Root is never refused, so that the two ways are tested one by one.
    #[test]
    fn closed_directories_are_opened_and_what_links_lead_to_is_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (tree, other) = (dir.path().join("tree"), dir.path().join("other"));
        let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
        fs::create_dir_all(tree.join("a/b")).expect("writable");
        fs::create_dir(&other).expect("writable");
        std::os::unix::fs::symlink(&other, tree.join("a/link")).expect("linked");
        for closed in [&other, &tree.join("a/b"), &tree.join("a"), &tree] {
            fs::set_permissions(closed, Permissions::from_mode(0o055)).expect("ours");
        }
        open_tree(&tree).expect("ours");
        assert_eq!([&tree, &tree.join("a"), &tree.join("a/b")].map(|path| mode(path)), [0o755; 3]);
        assert_eq!(mode(&other), 0o055);
        let moved = dir.path().join("moved");
        move_away(&tree, &moved).expect("ours");
        remove_tree(&moved).expect("ours");
        assert!(!moved.exists() && other.exists());
    }
}
