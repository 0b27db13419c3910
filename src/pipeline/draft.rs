//! A pipeline on its way: read and checked but for what others find and report here, such as cycles and missing files, so
//! that all problems come out together.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::checked::{Link, Pipeline, StageDecl, StageId};
use super::names::{StageName, did_you_mean};
use super::problem::{Problem, Problems};
use super::report::Report;

/// What could be read of a pipeline, and all that was wrong with the rest.
#[derive(Debug)]
pub struct Draft<S> {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) file: PathBuf,
    /// The names of all stages, sound or not; links and ids are positions in here.
    pub(super) names: Vec<StageName>,
    pub(super) ids: HashMap<StageName, StageId>,
    pub(super) links: Vec<Link>,
    /// The stages in which nothing is wrong.
    pub(super) stages: Vec<StageDecl<S>>,
    pub(super) report: Report,
}

impl<S> Draft<S> {
    pub(super) fn empty(file: &Path) -> Draft<S> {
        let stem = file.file_stem().map_or("pipeline".into(), |stem| stem.to_string_lossy().into_owned());
        Draft {
            name: stem,
            about: String::new(),
            file: file.to_owned(),
            names: vec![],
            ids: HashMap::new(),
            links: vec![],
            stages: vec![],
            report: Report::new(&[]),
        }
    }

    /// How many stages there are, counting those with problems.
    #[must_use]
    pub fn stage_count(&self) -> usize {
        self.names.len()
    }

    /// The position of a stage, sound or not.
    #[must_use]
    pub fn id(&self, name: &str) -> Option<StageId> {
        self.ids.get(name).copied()
    }

    /// The stages that could be read, whatever may be wrong with their inputs.
    #[must_use]
    pub fn readable(&self) -> &[StageDecl<S>] {
        &self.stages
    }

    /// Which stage reads from which, as far as the file is clear about it.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Reports what is wrong with a parameter for a reason that is found outside the file.
    pub fn reject_param(&mut self, stage: &StageName, path: &[&str], message: String) -> &mut Problem {
        self.report.value(&[&["stages", stage.as_str(), "with"], path].concat(), message)
    }

    /// Reports an argument that names a stage which there is not; where a file could not be read nobody knows.
    pub fn reject_name(&mut self, argument: String, name: &str) {
        if !self.names.is_empty() && !self.report.is_partial() {
            let hint = did_you_mean(name, self.names.iter().map(StageName::as_str));
            self.report.argument(argument, format!("no stage is named `{name}`")).hint(hint);
        }
    }

    /// Reports links that lead from a stage back to itself.
    ///
    /// # Panics
    /// If a link is none of [`Draft::links`].
    pub fn reject_cycle(&mut self, cycle: &[Link]) {
        let Some((first, others)) = cycle.split_first() else { return };
        let names: Vec<&str> = cycle.iter().map(|link| self.names[link.from.0].as_str()).collect();
        let message = format!("the stages form a cycle: {} -> {}", names.join(" -> "), names[0]);
        let path =
            |link: &Link| ["stages", self.names[link.to.0].as_str(), "in", &link.port].map(str::to_owned);
        let places = others.iter().filter_map(|link| {
            let path = path(link);
            let place = self.report.sources.place(&path.each_ref().map(String::as_str))?;
            Some(format!("`{}` reads `{}` at {place}", self.names[link.to.0], self.names[link.from.0]))
        });
        let places: Vec<String> = places.collect();
        let first = path(first);
        self.report.value(&first.each_ref().map(String::as_str), message).notes = places;
    }

    /// The pipeline, if nothing is wrong with it.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn finish(self) -> Result<Pipeline<S>, Problems> {
        let Draft { name, about, file, ids, stages, report, .. } = self;
        let (sources, problems) = report.into_parts();
        if problems.is_empty() {
            Ok(Pipeline { name, about, file, stages, ids, sources })
        } else {
            Err(problems)
        }
    }

    /// All that is wrong, sorted by place.
    #[must_use]
    pub fn into_problems(self) -> Problems {
        self.report.into_parts().1
    }
}
