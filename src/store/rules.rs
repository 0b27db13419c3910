//! Which runs a collection keeps. Whatever a kept run ended with is kept with it; a run goes only if no rule keeps
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::live::Needs;
use super::{Digest, LoggedRun, Record};

/// What a collection keeps. Without any rule every run is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// So many of the newest runs of each pipeline that got a result of every stage and ended with different ones, and
    /// what is newer; one if other rules are given.
    pub keep_runs: Option<usize>,
    /// The best runs of each pipeline.
    pub keep_best: Option<Best>,
    /// Whatever is younger than that.
    pub older_than: Option<Duration>,
    /// Runs go, oldest first, only until the store is no larger than that many bytes.
    pub max_bytes: Option<u64>,
}

/// The best runs by some figure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Best {
    /// How many of each pipeline.
    pub runs: usize,
    /// The stage whose figure counts; any stage's if `None`.
    pub stage: Option<String>,
    /// The name of the figure.
    pub metric: String,
}

impl Best {
    /// Whether less is better: of losses and errors it is, of everything else more is.
    #[must_use]
    pub fn is_least(&self) -> bool {
        ["loss", "error"].iter().any(|word| self.metric.contains(word))
    }

    /// The figure of a run, turned so that more is better.
    fn score(&self, run: &LoggedRun, records: &BTreeMap<Digest, Record>) -> Option<f64> {
        let counts = |stage: &String| self.stage.as_ref().is_none_or(|wanted| wanted == stage);
        let entries = run.log.own().filter(|(stage, _)| counts(stage));
        let figures = entries.filter_map(|(_, entry)| records.get(&entry.key)?.metrics.get(&self.metric));
        let scores = figures.map(|figure| if self.is_least() { -figure } else { *figure });
        scores.filter(|score| !score.is_nan()).max_by(f64::total_cmp)
    }
}

impl Rules {
    /// Whether they let any run go.
    #[must_use]
    pub fn let_runs_go(&self) -> bool {
        *self != Rules::default()
    }

    /// The runs, by position, that are kept whatever the size of the store.
    pub(super) fn kept(
        &self,
        runs: &[LoggedRun],
        records: &BTreeMap<Digest, Record>,
        needs: &Needs,
        now: u64,
    ) -> BTreeSet<usize> {
        if !self.let_runs_go() {
            return (0..runs.len()).collect();
        }
        let mut kept = BTreeSet::new();
        let pipelines: BTreeSet<&str> = runs.iter().map(|run| run.log.pipeline.as_str()).collect();
        for pipeline in pipelines {
            let distinct = distinct(runs, pipeline);
            // A living run takes what the newest one ended with into its own log.
            let least = usize::from(needs.runs.iter().any(|run| run.pipeline == pipeline || run.pid == 0));
            kept.extend(newest(runs, &distinct, self.keep_runs.unwrap_or(1).max(least)));
            if let Some(best) = &self.keep_best {
                let scored = distinct.iter().filter_map(|at| Some((best.score(&runs[*at], records)?, *at)));
                let mut scored: Vec<(f64, usize)> = scored.collect();
                // Of equals the newest.
                scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
                let mut seen = BTreeSet::new();
                let different = scored.iter().filter(|(_, at)| seen.insert(results(&runs[*at])));
                kept.extend(different.take(best.runs).map(|(_, at)| at));
            }
        }
        if let Some(limit) = self.older_than {
            let is_young = |run: &LoggedRun| {
                run.log.started.saturating_add(run.log.seconds as u64).saturating_add(limit.as_secs()) > now
            };
            kept.extend((0..runs.len()).filter(|at| is_young(&runs[*at])));
        }
        kept
    }
}

/// So many of the newest runs that got a result of every stage, and those newer than them that did not: what failed
/// or was interrupted must not stand for what was good before.
fn newest<'a>(runs: &[LoggedRun], newest_first: &'a [usize], count: usize) -> &'a [usize] {
    let whole = newest_first.iter().enumerate().filter(|(_, at)| runs[**at].log.is_whole());
    let end = match count {
        0 => 0,
        _ => whole.map(|(place, _)| place + 1).nth(count - 1).unwrap_or(newest_first.len()),
    };
    &newest_first[..end]
}

/// The runs of a pipeline that ended with different results, or got others of them themselves, newest first. A failed run
/// ends with the results of the one before it, but only that one says what they came from.
fn distinct(runs: &[LoggedRun], pipeline: &str) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let newest_first = (0..runs.len()).rev().filter(|at| runs[*at].log.pipeline == pipeline);
    let end = |at: &usize| {
        let own: Vec<&String> = runs[*at].log.own().map(|(stage, _)| stage).collect();
        (runs[*at].log.is_whole(), own, results(&runs[*at]))
    };
    newest_first.filter(|at| seen.insert(end(at))).collect()
}

/// The results that a run ended with, by stage.
fn results(run: &LoggedRun) -> Vec<(&String, Digest)> {
    run.log.stages.iter().map(|(stage, entry)| (stage, entry.key)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::store::live::Alive;
    use crate::store::{Origins, Outcome, RunEntry, RunLog, Unfinished};

    /// Runs of `a` that ended with these results, one a day, and the results with their accuracies.
    fn runs(ends: &[&str], accuracies: &[(&str, f64)]) -> (Vec<LoggedRun>, BTreeMap<Digest, Record>) {
        let run = |(day, end): (usize, &&str)| {
            let entry = RunEntry {
                key: Digest::of(end.as_bytes()),
                state: Outcome::Done,
                origins: Origins::default(),
            };
            let stages = BTreeMap::from([("test".to_owned(), entry)]);
            let log = RunLog { started: day as u64 * 86_400, seconds: 1.0, ..RunLog::new("a", stages) };
            LoggedRun { name: format!("{day:03}"), log }
        };
        let record = |(end, accuracy): &(&str, f64)| {
            let mut record = Record::new(Digest::of(end.as_bytes()), Value::Null, BTreeMap::new());
            record.metrics.extend([("accuracy".to_owned(), *accuracy), ("loss".to_owned(), *accuracy)]);
            (record.key, record)
        };
        (ends.iter().enumerate().map(run).collect(), accuracies.iter().map(record).collect())
    }

    fn kept(rules: &Rules, ends: &[&str], accuracies: &[(&str, f64)]) -> Vec<usize> {
        let (runs, records) = runs(ends, accuracies);
        let now = runs.len() as u64 * 86_400;
        rules.kept(&runs, &records, &Needs::default(), now).into_iter().collect()
    }

    fn best(runs: usize, metric: &str) -> Option<Best> {
        Some(Best { runs, stage: None, metric: metric.to_owned() })
    }

    #[test]
    fn without_rules_every_run_stays() {
        assert_eq!(kept(&Rules::default(), &["x", "y", "x"], &[]), [0, 1, 2]);
    }

    #[test]
    fn the_newest_different_runs_are_counted() {
        let rules = |n| Rules { keep_runs: Some(n), ..Rules::default() };
        assert_eq!(kept(&rules(2), &["x", "y", "z", "y"], &[]), [2, 3]);
        assert_eq!(kept(&rules(9), &["x", "y"], &[]), [0, 1]);
        assert_eq!(kept(&rules(0), &["x", "y"], &[]), [0; 0]);
    }

    #[test]
    fn the_best_runs_are_those_of_most_accuracy_or_least_loss() {
        let figures = [("w", 0.3), ("x", 0.9), ("y", f64::NAN), ("z", 0.5)];
        let ends = ["w", "x", "y", "z"];
        let rules = |metric| Rules { keep_runs: Some(0), keep_best: best(2, metric), ..Rules::default() };
        assert_eq!(kept(&rules("accuracy"), &ends, &figures), [1, 3]);
        assert_eq!(kept(&rules("loss"), &ends, &figures), [0, 3]);
        let elsewhere = Best { runs: 2, stage: Some("train".to_owned()), metric: "loss".to_owned() };
        let rules = Rules { keep_best: Some(elsewhere), ..Rules::default() };
        assert_eq!(kept(&rules, &ends, &figures), [3], "the newest alone: no such stage has a figure");
    }

    #[test]
    fn a_run_stays_if_any_rule_keeps_it() {
        let figures = [("w", 0.9), ("x", 0.1), ("y", 0.2), ("z", 0.3)];
        let two_days = Some(Duration::from_secs(2 * 86_400 + 60));
        let rules = Rules { keep_best: best(1, "accuracy"), older_than: two_days, ..Rules::default() };
        assert_eq!(kept(&rules, &["w", "x", "y", "z"], &figures), [0, 2, 3]);
    }

    /// A run that ended with these results of `a` and `b`, and failed in `b` if that is an earlier one.
    fn pair(name: &str, a: &str, b: &str, state: Outcome) -> LoggedRun {
        let entry = |end: &str, state| RunEntry {
            key: Digest::of(end.as_bytes()),
            state,
            origins: Origins::default(),
        };
        let ends = [("a".to_owned(), entry(a, Outcome::Reused)), ("b".to_owned(), entry(b, state))];
        let mut log = RunLog::new("p", BTreeMap::from(ends));
        if state == Outcome::Earlier {
            log.unfinished.insert("b".to_owned(), Unfinished::Failed);
        }
        LoggedRun { name: name.to_owned(), log }
    }

    #[test]
    fn a_failed_run_that_ended_with_the_results_of_a_whole_one_does_not_stand_for_it() {
        let runs = [
            pair("0", "a0", "b0", Outcome::Done),
            pair("1", "a1", "b1", Outcome::Done),
            pair("2", "a1", "b1", Outcome::Earlier),
            pair("3", "a2", "b1", Outcome::Earlier),
        ];
        let kept = |rules: Rules| -> Vec<usize> {
            rules.kept(&runs, &BTreeMap::new(), &Needs::default(), 0).into_iter().collect()
        };
        assert_eq!(kept(Rules { keep_runs: Some(1), ..Rules::default() }), [1, 2, 3]);
        assert_eq!(kept(Rules { keep_runs: Some(2), ..Rules::default() }), [0, 1, 2, 3]);
    }

    #[test]
    fn of_best_runs_those_with_the_same_results_count_once() {
        let runs = [
            pair("0", "a0", "b0", Outcome::Done),
            pair("1", "a1", "b1", Outcome::Done),
            pair("2", "a1", "b1", Outcome::Earlier),
        ];
        let mut records = BTreeMap::new();
        for (end, accuracy) in [("a0", 0.5), ("a1", 0.9)] {
            let mut record = Record::new(Digest::of(end.as_bytes()), Value::Null, BTreeMap::new());
            record.metrics.insert("accuracy".to_owned(), accuracy);
            records.insert(record.key, record);
        }
        let rules = Rules { keep_runs: Some(0), keep_best: best(2, "accuracy"), ..Rules::default() };
        let kept = rules.kept(&runs, &records, &Needs::default(), 0);
        assert_eq!(kept, BTreeSet::from([0, 2]));
    }

    #[test]
    fn the_newest_run_of_a_living_pipeline_stays_whatever_the_rules() {
        let (runs, records) = runs(&["x", "y"], &[]);
        let alive = Alive { pid: 1, pipeline: "a".to_owned(), started: 0 };
        let needs = Needs { runs: vec![alive], ..Needs::default() };
        let rules = Rules { keep_runs: Some(0), ..Rules::default() };
        assert_eq!(rules.kept(&runs, &records, &needs, 0), BTreeSet::from([1]));
    }
}
