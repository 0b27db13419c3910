//! What a stage may be called, and which valid name somebody probably meant. It knows no particular names.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a stage, unique within its pipeline and fit for a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StageName(Arc<str>);

impl StageName {
    /// Takes a name as the pipeline file gives it; [`is_name`] has been asked before.
    pub(super) fn new(name: &str) -> StageName {
        StageName(name.into())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StageName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<StageName, &'static str> {
        if is_name(&text) { Ok(StageName::new(&text)) } else { Err(NAME_RULE) }
    }
}

impl From<StageName> for String {
    fn from(name: StageName) -> String {
        name.0.to_string()
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for StageName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for StageName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What [`is_name`] demands, for people.
pub const NAME_RULE: &str = "names are letters, digits, `_` and `-`, and start with a letter or `_`";

/// [`is_name`] as a regular expression, for the schema.
pub(super) const NAME_PATTERN: &str = "^[A-Za-z_][A-Za-z0-9_-]{0,99}$";

/// Whether a text can name a stage, a port or a variable.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let goes_on_well = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    starts_well && goes_on_well && text.len() <= 100
}

/// The question `did you mean ..?` with the candidate nearest to a word, unless all are far from it.
pub(super) fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|name| format!("did you mean `{name}`?"))
}

/// The candidate nearest to a word; one slip per three letters is forgiven.
fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LONGEST: usize = 100;
    let folded = word.to_lowercase();
    let allowed = (folded.chars().count() / 3).max(1);
    let worthwhile = |name: &&str| name.len().abs_diff(folded.len()) <= 4 * allowed && name.len() <= LONGEST;
    let measured = candidates.into_iter().filter(worthwhile).map(|name| {
        let distance = strsim::osa_distance(&folded, &name.to_lowercase());
        (distance, name)
    });
    let near = measured.filter(|&(distance, name)| distance <= allowed && name != word);
    near.min_by_key(|&(distance, _)| distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let kinds = ["train", "fine-tune", "evaluate"];
        assert_eq!(nearest("trian", kinds), Some("train"));
        assert_eq!(nearest("finetune", kinds), Some("fine-tune"));
        assert_eq!(nearest("Evaluate", kinds), Some("evaluate"));
        assert_eq!(nearest("download", kinds), None);
        assert_eq!(nearest("x", ["lr"]), None);
    }

    #[test]
    fn names_are_fit_for_paths_and_references() {
        assert!(["train", "_x", "val-2", "T"].into_iter().all(is_name));
        assert!(!["", "2nd", "a.b", "a/b", "ä", "a b", "-x", &"x".repeat(101)].into_iter().any(is_name));
    }
}
