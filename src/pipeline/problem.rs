//! One thing wrong with a pipeline, told the way a compiler tells it: what, where, the line itself, and the
//! remedy. It does not know the language, nor in which order problems are found.

use std::fmt;
use std::path::PathBuf;

/// Where something stands: in a file, or on the command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file; lines and columns count from 1, columns in characters.
    File {
        /// The file, as the user would name it.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// A file as a whole.
    WholeFile(PathBuf),
    /// In a `--set`, given here without the flag.
    Setting(String),
    /// In another argument, given here whole.
    Argument(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Place::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Place::WholeFile(path) => write!(f, "{}", path.display()),
            Place::Setting(text) => write!(f, "--set {text}"),
            Place::Argument(text) => f.write_str(text),
        }
    }
}

/// One thing wrong with a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// What is wrong, in lower case.
    pub message: String,
    /// Remedies and remarks, the most useful first.
    pub notes: Vec<String>,
    /// The source line with the part to underline, if the place is in a file.
    pub(super) excerpt: Option<Excerpt>,
}

impl Problem {
    /// Adds a remark, if there is one.
    pub(super) fn hint(&mut self, hint: Option<String>) -> &mut Problem {
        self.notes.extend(hint);
        self
    }

    /// Adds a remark.
    pub fn note(&mut self, note: impl Into<String>) -> &mut Problem {
        self.hint(Some(note.into()))
    }
}

/// A source line and the part of it that is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Excerpt {
    line: usize,
    text: String,
    skip: usize,
    carets: usize,
}

/// As much of an overlong line as a terminal shows comfortably.
const LONGEST_LINE: usize = 100;

impl Excerpt {
    /// Cuts the surroundings of a column (from 1) out of a line. `length` may reach behind the line's end.
    pub(super) fn new(line: usize, text: &str, column: usize, length: usize) -> Excerpt {
        let text: Vec<char> = text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let column = (column - 1).min(text.len());
        let carets = length.min(text.len() - column).max(1);
        if text.len() <= LONGEST_LINE {
            return Excerpt { line, text: text.into_iter().collect(), skip: column, carets };
        }
        let from = column.saturating_sub(LONGEST_LINE / 4).min(text.len() - LONGEST_LINE);
        let skip = column - from;
        let carets = carets.min(LONGEST_LINE - skip).max(1);
        Excerpt { line, text: text[from..from + LONGEST_LINE].iter().collect(), skip, carets }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        let line = self.excerpt.as_ref().map_or(String::new(), |e| e.line.to_string());
        let margin = " ".repeat(line.len().max(1));
        write!(f, "\n{margin}--> {}", self.place)?;
        if let Some(Excerpt { text, skip, carets, .. }) = &self.excerpt {
            write!(f, "\n{margin} |\n{line} | {text}")?;
            write!(f, "\n{margin} | {}{}", " ".repeat(*skip), "^".repeat(*carets))?;
        }
        for note in &self.notes {
            write!(f, "\n{margin} = {note}")?;
        }
        Ok(())
    }
}

/// Everything wrong with a pipeline, in the order of the places; never empty when used as an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Sorts the problems and drops repetitions.
    pub(super) fn new(mut problems: Vec<Problem>) -> Problems {
        problems.sort();
        problems.dedup();
        Problems(problems)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Problems {
        Problems::new(problems.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        for (nth, problem) in self.iter().enumerate() {
            let gap = if nth == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str, column: usize, length: usize) -> String {
        let place = Place::File { path: "pipelines/ver_2_3.yaml".into(), line: 31, column };
        let excerpt = Some(Excerpt::new(31, text, column, length));
        Problem { place, message: "unknown parameter `epoch`".into(), notes: vec![], excerpt }.to_string()
    }

    #[test]
    fn the_offending_text_is_underlined() {
        insta::assert_snapshot!(problem("    with: { epoch: 5 }", 13, 5), @r"
        error: unknown parameter `epoch`
          --> pipelines/ver_2_3.yaml:31:13
           |
        31 |     with: { epoch: 5 }
           |             ^^^^^
        ");
    }

    #[test]
    fn an_underline_never_leaves_its_line() {
        assert!(problem("a: b", 4, 1000).ends_with("| a: b\n   |    ^"));
        assert!(problem("a: b", 900, 3).ends_with("| a: b\n   |     ^"));
    }

    #[test]
    fn an_overlong_line_is_cut_around_the_offence() {
        let text = format!("{}epoch{}", "x".repeat(5000), "y".repeat(5000));
        let shown = problem(&text, 5001, 5);
        assert!(shown.contains("xxepochyy"));
        assert!(shown.lines().all(|line| line.len() < 120));
    }
}
