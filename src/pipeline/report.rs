//! Collects problems by the path of the value they concern, and finds the place of each in the files or the
//! settings that gave the value. It makes the cold pass over the files, and only when it must.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use super::marks::{Content, Marks, Span};
use super::problem::{Excerpt, Place, Problem, Problems};
use super::settings::Setting;
use super::{vars, yaml};

/// More problems than anybody reads; beyond it only the first are kept.
const MOST: usize = 200;

/// The problems found so far.
#[derive(Debug)]
pub(super) struct Report {
    pub sources: Sources,
    problems: Vec<Problem>,
    /// The stages with values that say nothing, because what stands there was refused.
    void: HashSet<String>,
    /// Whether a file that is extended could not be read, so that what is not given here may be given there.
    is_partial: bool,
    /// Takes the notes on problems that are dropped because the report is full.
    overflow: Problem,
}

/// The texts of which a pipeline is made.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The pipeline file, the file it extends, and so on.
    files: Vec<SourceFile>,
    settings: Vec<Setting>,
}

#[derive(Debug)]
struct SourceFile {
    path: PathBuf,
    text: String,
    marks: OnceLock<Marks>,
}

/// Which part of a map's entry is meant; in a list both are the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Key,
    Value,
}

impl Report {
    pub fn new(settings: &[Setting]) -> Report {
        let sources = Sources { files: vec![], settings: settings.to_vec() };
        let overflow = problem(Place::Setting(String::new()), None, String::new());
        Report { sources, problems: vec![], void: HashSet::new(), is_partial: false, overflow }
    }

    /// Reports what is wrong with the key at a path, or with there being such an entry.
    pub fn key(&mut self, path: &[&str], message: impl Into<String>) -> &mut Problem {
        self.at(path, Part::Key, message.into())
    }

    /// Reports what is wrong with the value at a path.
    pub fn value(&mut self, path: &[&str], message: impl Into<String>) -> &mut Problem {
        self.at(path, Part::Value, message.into())
    }

    /// Reports what is wrong with the value at a path of the file added last, whatever the files that override it say.
    pub fn value_in_last(&mut self, path: &[&str], message: impl Into<String>) -> &mut Problem {
        match self.sources.files.last().and_then(|file| file.span(path, Part::Value)) {
            Some(span) => self.span(span, message),
            None => self.value(path, message),
        }
    }

    /// Reports what is wrong with a setting.
    pub fn setting(&mut self, setting: &Setting, message: impl Into<String>) -> &mut Problem {
        self.add(problem(Place::Setting(setting.text.clone()), None, message.into()))
    }

    /// Reports what is wrong with another argument.
    pub fn argument(&mut self, argument: String, message: impl Into<String>) -> &mut Problem {
        self.add(problem(Place::Argument(argument), None, message.into()))
    }

    /// Reports what is wrong at a place of the file added last.
    pub fn span(&mut self, span: Span, message: impl Into<String>) -> &mut Problem {
        let (place, excerpt) = self.sources.files.last().map_or_else(nowhere, |file| file.show(span));
        self.add(problem(place, excerpt, message.into()))
    }

    /// Reports what is wrong with a file as a whole.
    pub fn file(&mut self, path: PathBuf, message: impl Into<String>) -> &mut Problem {
        self.add(problem(Place::WholeFile(path), None, message.into()))
    }

    /// Notes that a reported value is worthless, so that nothing more should be said about its stage.
    pub fn void(&mut self, path: &[String]) {
        if let [top, stage, ..] = path
            && top == "stages"
        {
            self.void.insert(stage.clone());
        }
    }

    /// Whether some value of a stage was refused as such.
    pub fn is_void(&self, stage: &str) -> bool {
        self.void.contains(stage)
    }

    /// Notes that a file which is extended could not be read, so that nothing should be said to be missing.
    pub fn lacks_a_file(&mut self) {
        self.is_partial = true;
    }

    /// Whether what is not given may be given in a file that could not be read.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Whether further problems are dropped.
    pub fn is_full(&self) -> bool {
        self.problems.len() >= MOST
    }

    /// The sources, and the problems sorted by place.
    pub fn into_parts(self) -> (Sources, Problems) {
        (self.sources, Problems::new(self.problems))
    }

    fn at(&mut self, path: &[&str], part: Part, message: String) -> &mut Problem {
        if self.is_full() {
            return &mut self.overflow;
        }
        let (place, excerpt) = self.sources.nearest(path, part);
        self.add(problem(place, excerpt, message))
    }

    fn add(&mut self, problem: Problem) -> &mut Problem {
        if self.is_full() {
            return &mut self.overflow;
        }
        self.problems.push(problem);
        self.problems.last_mut().expect("one was just added")
    }
}

fn problem(place: Place, excerpt: Option<Excerpt>, message: String) -> Problem {
    Problem { place, message, notes: vec![], excerpt }
}

fn nowhere() -> (Place, Option<Excerpt>) {
    (Place::WholeFile(PathBuf::new()), None)
}

impl Sources {
    /// Adds a file that all files before it override.
    pub fn add(&mut self, path: PathBuf, text: String) {
        self.files.push(SourceFile { path, text, marks: OnceLock::new() });
    }

    /// The files, each overriding those after it, with their texts.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files.iter().map(|file| (file.path.as_path(), file.text.as_bytes()))
    }

    /// Where the value at a path comes from, be it a variable; none if it is written nowhere.
    pub fn place(&self, path: &[&str]) -> Option<Place> {
        const LONGEST_CHAIN: usize = 10;
        self.trace(path, LONGEST_CHAIN)
    }

    fn trace(&self, path: &[&str], hops: usize) -> Option<Place> {
        let follow = |file: &SourceFile| {
            let (variable, inside) = file.variable(path).filter(|_| hops > 0)?;
            self.trace(&[&["vars", &variable], inside].concat(), hops - 1)
        };
        let in_file = |file: &SourceFile| {
            let span = || file.span(path, Part::Key).map(|span| file.place(span));
            follow(file).or_else(span)
        };
        // A list or a single value in one file hides whatever the files below say about its inside.
        let hides = |file: &SourceFile| file.hides(path);
        let settled = |file: &SourceFile| in_file(file).map(Some).or_else(|| hides(file).then_some(None));
        self.in_setting(path).or_else(|| self.files.iter().find_map(settled).flatten())
    }

    /// Where a file takes away, with a null, what another that it extends gives.
    pub fn removal(&self, path: &[&str]) -> Option<Place> {
        let mut files = self.files.iter();
        let removal = files.find_map(|file| file.removal(path))?;
        files.any(|file| file.span(path, Part::Key).is_some()).then_some(removal)
    }

    /// What is wrong with the value at a path.
    pub fn problem(&self, path: &[&str], message: String) -> Problem {
        let (place, excerpt) = self.nearest(path, Part::Value);
        problem(place, excerpt, message)
    }

    /// The place of the value at a path, or of the nearest thing around it.
    fn nearest(&self, path: &[&str], part: Part) -> (Place, Option<Excerpt>) {
        let around = (1..path.len()).rev().map(|length| (&path[..length], Part::Key));
        let found = [(path, part)].into_iter().chain(around).find_map(|(path, part)| self.exact(path, part));
        let file = || self.files.first().map(|file| (Place::WholeFile(file.path.clone()), None));
        found.or_else(file).unwrap_or_else(nowhere)
    }

    fn exact(&self, path: &[&str], part: Part) -> Option<(Place, Option<Excerpt>)> {
        self.in_setting(path).map(|place| (place, None)).or_else(|| {
            let mut found = self.files.iter().filter_map(|file| Some((file, file.find(path, part)?)));
            let (file, found) = found.next()?;
            Some(self.set_variable(file, path).map_or(found, |place| (place, None)))
        })
    }

    /// The setting that gives the variable of which the value at a path of a file is made, or a part of it.
    fn set_variable(&self, file: &SourceFile, path: &[&str]) -> Option<Place> {
        let whole =
            file.variable(path).and_then(|(name, inside)| self.place(&[&["vars", &name], inside].concat()));
        if let Some(place @ Place::Setting(_)) = whole {
            return Some(place);
        }
        let text = file.text_at(path)?;
        let is_part = |setting: &&Setting| matches!(setting.path.as_slice(), [vars, name, ..] if vars == "vars" && text.contains(&format!("${{vars.{name}}}")));
        let setting = self.settings.iter().rev().find(is_part)?;
        Some(Place::Setting(setting.text.clone()))
    }

    /// The last setting that gives the parameter or variable at a path, or changes something inside it.
    fn in_setting(&self, path: &[&str]) -> Option<Place> {
        let is_value = matches!(path, ["stages", _, "with", _, ..] | ["vars", _, ..]);
        let meets = |setting: &&Setting| setting.path.iter().zip(path).all(|(ours, asked)| ours == asked);
        let setting = self.settings.iter().rev().find(meets).filter(|_| is_value)?;
        Some(Place::Setting(setting.text.clone()))
    }
}

impl SourceFile {
    fn find(&self, path: &[&str], part: Part) -> Option<(Place, Option<Excerpt>)> {
        self.span(path, part).map(|span| self.show(span))
    }

    fn span(&self, path: &[&str], part: Part) -> Option<Span> {
        if path.is_empty() {
            return None;
        }
        let (key, node) = self.marks().root.as_ref()?.at(path)?;
        Some(key.filter(|_| part == Part::Key).unwrap_or(node.span))
    }

    /// Whether something that is no map stands at a path or above it.
    fn hides(&self, path: &[&str]) -> bool {
        let Some(root) = &self.marks().root else { return false };
        let found = (1..=path.len()).rev().find_map(|length| root.at(&path[..length]));
        found.is_some_and(|(_, node)| !matches!(node.content, Content::Map(_)))
    }

    /// The place of a null at a path.
    fn removal(&self, path: &[&str]) -> Option<Place> {
        let (key, node) = self.marks().root.as_ref()?.at(path)?;
        let Content::Plain(text) = &node.content else { return None };
        (yaml::scalar(text) == Some(Value::Null)).then(|| self.place(key.unwrap_or(node.span)))
    }

    /// The text at a path.
    fn text_at(&self, path: &[&str]) -> Option<&str> {
        match &self.marks().root.as_ref()?.at(path)?.1.content {
            Content::Plain(text) | Content::Text(text) => Some(text),
            Content::List(_) | Content::Map(_) | Content::Nowhere => None,
        }
    }

    /// The variable that is all that stands at a path or above it, and the rest of the path inside its value.
    fn variable<'a>(&self, path: &'a [&'a str]) -> Option<(String, &'a [&'a str])> {
        let root = self.marks().root.as_ref()?;
        (1..=path.len()).find_map(|length| {
            let (_, node) = root.at(&path[..length])?;
            let (Content::Plain(text) | Content::Text(text)) = &node.content else { return None };
            Some((vars::named_by(text)?.to_owned(), &path[length..]))
        })
    }

    fn marks(&self) -> &Marks {
        self.marks.get_or_init(|| Marks::new(&self.text))
    }

    fn place(&self, span: Span) -> Place {
        Place::File { path: self.path.clone(), line: span.line, column: span.column }
    }

    /// The place with the line that stands there.
    fn show(&self, span: Span) -> (Place, Option<Excerpt>) {
        let Span { line, column, length } = span;
        let text = self.text.lines().nth(line - 1);
        let excerpt = text.map(|text| Excerpt::new(line, text, column, length));
        (self.place(span), excerpt)
    }
}
