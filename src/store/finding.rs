//! What a look at every file of the store can find, and how each finding is to be mended.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Artifact, Digest, Owner};

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// What is not as it should be, in the order of files.
    pub findings: Vec<Finding>,
    /// Files that are not the store's, inside its folder.
    pub foreign: Vec<PathBuf>,
    /// How many files were read, and their bytes.
    pub files: usize,
    /// The size of the files that were read.
    pub bytes: u64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The file or link, inside the store's folder.
    pub file: PathBuf,
    /// What it is there for, such as `output model: model.safetensors`.
    pub holds: String,
    /// The stages it belongs to.
    pub owners: BTreeSet<Owner>,
    /// What is wrong with it.
    pub wrong: Wrong,
    /// How it is mended.
    pub mending: Mending,
    /// The keys whose results are lost by it.
    pub lost: BTreeSet<Digest>,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// Its bytes are others than were written.
    Changed,
    /// It is not there.
    Missing,
    /// It refers to something that is not as it should be.
    Broken,
    /// It was put there by somebody else.
    Extra,
    /// It cannot be read, for this reason.
    Unreadable(String),
}

/// How something is mended.
#[derive(Debug, Clone, PartialEq)]
pub enum Mending {
    /// What lies there is moved to quarantine.
    SetAside(PathBuf),
    /// There is nothing to move; the loss is noted.
    Note,
    /// The view of this artifact is made anew.
    Remake(Box<Artifact>),
    /// The list of logs and memos is made anew.
    Relist,
    /// The list of logs and memos is made without it; nobody needs it.
    Forget,
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Wrong::Changed => f.write_str("has other bytes than were written"),
            Wrong::Missing => f.write_str("is missing"),
            Wrong::Broken => f.write_str("refers to something that is missing or damaged"),
            Wrong::Extra => f.write_str("does not belong there"),
            Wrong::Unreadable(error) => write!(f, "cannot be read: {error}"),
        }
    }
}
