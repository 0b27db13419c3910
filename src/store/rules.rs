//! Which runs a collection keeps. Whatever a kept run ended with is kept with it; a run goes only if no rule keeps
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::live::Needs;
use super::{Digest, LoggedRun, Record};

/// What a collection keeps. Without any rule every run is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// So many of the newest runs of each pipeline that ended with different results; one if other rules are given.
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
        let entries = run.log.stages.iter().filter(|(stage, _)| counts(stage));
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
            kept.extend(distinct.iter().take(self.keep_runs.unwrap_or(1).max(least)));
            if let Some(best) = &self.keep_best {
                let scored = distinct.iter().filter_map(|at| Some((best.score(&runs[*at], records)?, *at)));
                let mut scored: Vec<(f64, usize)> = scored.collect();
                // Of equals the newest.
                scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
                kept.extend(scored.iter().take(best.runs).map(|(_, at)| at));
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

/// The runs of a pipeline that ended with different results, newest first.
fn distinct(runs: &[LoggedRun], pipeline: &str) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    let newest_first = (0..runs.len()).rev().filter(|at| runs[*at].log.pipeline == pipeline);
    let keys = |at: &usize| -> Vec<(&String, Digest)> {
        runs[*at].log.stages.iter().map(|(stage, entry)| (stage, entry.key)).collect()
    };
    newest_first.filter(|at| seen.insert(keys(at))).collect()
}
