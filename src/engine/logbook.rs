//! Turns the end of a run into its entry in the log of runs: per stage the newest result there is, and how the run came
//! by it or left the stage. It does not know how anything got to its end.

use std::collections::BTreeMap;

use super::planner::Planner;
use super::renamed::were_beside;
use super::state::State;
use super::worker::seconds_since_1970;
use crate::pipeline::StageId;
use crate::store::{self, Outcome, Record, RunEntry, RunLog, Unfinished};

/// Adds a run to the log, unless it ended as the last one did; one that was stopped may have got further than that, and one that
/// failed may have done so for another reason.
/// `ends` are its stages with how they ended and their results.
pub(super) fn enter<'a>(
    planner: &Planner<'_>,
    ends: impl Iterator<Item = (StageId, State, Option<&'a Record>)>,
    seconds: f64,
) -> Result<(), store::Error> {
    let pipeline = &planner.experiment.pipeline;
    let before = planner.last_run();
    let mut stages: BTreeMap<String, RunEntry> = before
        .into_iter()
        .flat_map(|run| &run.stages)
        .map(|(name, entry)| (name.clone(), entry.clone().taken_over()))
        .collect();
    let names = || pipeline.stages.iter().map(|decl| &decl.name);
    // What was renamed has its result under its new name from now on, so that nothing else will be taken for it.
    for (former, name) in names().filter_map(|name| Some((planner.former_name(name)?, name))) {
        if let Some(entry) = stages.remove(former) {
            stages.insert(name.to_string(), entry);
        }
    }
    let mut unfinished = BTreeMap::new();
    for (id, state, result) in ends {
        let name = pipeline.stage(id).name.to_string();
        match result {
            Some(Record { key, .. }) => {
                let state = if state == State::Done { Outcome::Done } else { Outcome::Reused };
                let origins = planner.experiment.origins(id);
                stages.insert(name, RunEntry { key: *key, state, origins });
            }
            None => drop(unfinished.insert(name, left(state))),
        }
    }
    // What has gone from the pipeline may be what a stage without a result will have been, once that is edited; but not
    // one that was there beside it.
    let lacking: Vec<_> = names().filter(|name| !stages.contains_key(name.as_str())).collect();
    let may_be = |gone: &str, name: &str| before.is_none_or(|run| !were_beside(run, name, gone));
    stages.retain(|name, _| {
        pipeline.id(name).is_some() || lacking.iter().any(|lacking| may_be(name, lacking.as_str()))
    });
    let started = seconds_since_1970().saturating_sub(seconds as u64);
    let log = RunLog { started, seconds, unfinished, ..RunLog::new(&pipeline.name, stages) };
    if log.unfinished.is_empty() && before.is_some_and(|before| before.ended_like(&log)) {
        return Ok(());
    }
    planner.store.log_run(&log)
}

fn left(state: State) -> Unfinished {
    match state {
        State::Failed => Unfinished::Failed,
        State::Interrupted => Unfinished::Interrupted,
        _ => Unfinished::Skipped,
    }
}
