//! Compares the view of a directory artifact with the links it should consist of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::artifact::links;
use super::{Artifact, Store, Wrong};

impl Store {
    /// What is wrong with the view of an artifact, link by link.
    pub(super) fn wrong_links(&self, artifact: &Artifact) -> Vec<(PathBuf, Wrong)> {
        let view = self.view_path(artifact);
        let mut found = BTreeMap::new();
        collect_links(&view, &view, &mut found);
        let mut wrong = Vec::new();
        for (name, target) in links(artifact) {
            match found.remove(&name) {
                None => wrong.push((view.join(name), Wrong::Missing)),
                Some(now) if now.as_deref() == Some(Path::new(&target)) => {}
                Some(_) => wrong.push((view.join(name), Wrong::Changed)),
            }
        }
        wrong.extend(found.into_keys().map(|name| (view.join(name), Wrong::Extra)));
        wrong
    }
}

/// Whatever lies in a view, by its name: the targets of links, and nothing for others.
fn collect_links(view: &Path, dir: &Path, found: &mut BTreeMap<String, Option<PathBuf>>) {
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            collect_links(view, &path, found);
        } else {
            let name = path.strip_prefix(view).unwrap_or(&path).to_string_lossy().into_owned();
            found.insert(name, fs::read_link(&path).ok());
        }
    }
}
