//! A pipeline in which everything is known to be right: what the rest of the program works with. It does not
//! know how it came to be.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::catalogue::Ports;
use super::names::StageName;
use super::problem::{Place, Problem};
use super::report::Sources;

/// A checked pipeline.
#[derive(Debug)]
pub struct Pipeline<S> {
    /// What its results are filed under: `name:`, or the file's name without extension.
    pub name: String,
    /// One sentence about it; may be empty.
    pub about: String,
    /// The file it was read from.
    pub file: PathBuf,
    /// Its stages in the order of declaration; a [`StageId`] is a position in here.
    pub stages: Vec<StageDecl<S>>,
    pub(super) ids: HashMap<StageName, StageId>,
    pub(super) sources: Sources,
}

/// One stage of a pipeline.
#[derive(Debug)]
pub struct StageDecl<S> {
    /// Its name.
    pub name: StageName,
    /// Its kind: what `uses:` says.
    pub kind: String,
    /// Where each bound input comes from, by input port.
    pub inputs: BTreeMap<String, Source>,
    /// Its parameters as the pipeline gives them: after variables, `extends` and settings, without defaults.
    pub params: Value,
    /// Its ports under these parameters.
    pub ports: Ports,
    /// What the catalogue made of the parameters.
    pub stage: S,
}

/// An output port of another stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The other stage's name.
    pub stage: StageName,
    /// The other stage's position.
    pub id: StageId,
    /// Its port, even where the pipeline leaves it out.
    pub port: String,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stage, self.port)
    }
}

/// A stage's position in its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StageId(pub usize);

/// That one stage reads from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The stage that makes something.
    pub from: StageId,
    /// The stage that reads it.
    pub to: StageId,
    /// The reader's input port.
    pub port: String,
}

impl<S> Pipeline<S> {
    /// The stage at a position.
    ///
    /// # Panics
    /// If the position is of another pipeline.
    #[must_use]
    pub fn stage(&self, id: StageId) -> &StageDecl<S> {
        &self.stages[id.0]
    }

    /// The position of a stage.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<StageId> {
        self.ids.get(name).copied()
    }

    /// The files it was read from, each overriding those after it, with their texts.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.sources.files()
    }

    /// All positions, in the order of declaration.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = StageId> + use<S> {
        (0..self.stages.len()).map(StageId)
    }

    /// Where a parameter's value is written, or the nearest parameter around it; none if it is a default. List
    /// positions are decimal numbers.
    #[must_use]
    pub fn place(&self, stage: &StageName, path: &[&str]) -> Option<Place> {
        let path = [&["stages", stage.as_str(), "with"], path].concat();
        (4..=path.len()).rev().find_map(|length| self.sources.place(&path[..length]))
    }

    /// A problem of a parameter, for a reason that is found outside the file.
    #[must_use]
    pub fn problem_of_param(&self, stage: &StageName, path: &[&str], message: String) -> Problem {
        self.sources.problem(&[&["stages", stage.as_str(), "with"], path].concat(), message)
    }

    /// Where it is written which output an input takes.
    #[must_use]
    pub fn place_of_input(&self, stage: &StageName, port: &str) -> Option<Place> {
        self.sources.place(&["stages", stage.as_str(), "in", port])
    }

    /// Where something stood in a stage that is no longer written: what is around it, the whole stage if need be. The
    /// path begins with `with` or `in`.
    #[must_use]
    pub fn place_around(&self, stage: &StageName, path: &[&str]) -> Option<Place> {
        let path = [&["stages", stage.as_str()], path].concat();
        (2..=path.len()).rev().find_map(|length| self.sources.place(&path[..length]))
    }

    /// Where it is written of which kind a stage is.
    #[must_use]
    pub fn place_of_kind(&self, stage: &StageName) -> Option<Place> {
        self.sources.place(&["stages", stage.as_str(), "uses"])
    }
}
