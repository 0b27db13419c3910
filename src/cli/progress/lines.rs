//! The words of a run's lines, the same on a terminal and in a log file.

use crate::cli::words::{about, all_stages_are, count, duration, metrics, remarks};
use crate::engine::stage::{Progress, Unit};
use crate::engine::{Detail, Experiment, StageEvent, State, Summary};

/// How wide the column of stage names is.
pub(super) fn name_width(experiment: &Experiment) -> usize {
    experiment.pipeline.stages.iter().map(|decl| decl.name.as_str().len()).max().unwrap_or(0)
}

/// The line for a stage's new state; `None` for states that are not worth one.
pub(super) fn state(event: &StageEvent, width: usize) -> Option<String> {
    let name = event.stage.as_str();
    let text = match (event.state, &event.detail) {
        (State::Queued, Detail::ToRun(reasons, outlook)) => {
            let told = reasons.iter().map(ToString::to_string).chain(remarks(outlook));
            let time = outlook.seconds.map(|seconds| format!(" ({})", about(seconds))).unwrap_or_default();
            let below = format!("\n{:width$}            ", "");
            let mut told = told.collect::<Vec<_>>();
            if let Some(first) = told.first_mut() {
                first.push_str(&time);
            }
            format!("to run    {}", told.join(&below))
        }
        (State::Waiting, Detail::Held(holder)) if holder.pid == std::process::id() => {
            format!("waiting   for {}, which computes the same", holder.purpose)
        }
        (State::Waiting, Detail::Held(holder)) => {
            format!("waiting   for process {} ({}), which computes the same", holder.pid, holder.purpose)
        }
        // Those that were there at once, the summary counts.
        (State::Reused, _) if event.seconds > 0.0 => {
            format!("reused    made elsewhere in the meantime ({})", duration(event.seconds))
        }
        (State::Reused, _) => return None,
        (State::Done, Detail::Metrics(figures)) => {
            format!("done      {:<9} {}", duration(event.seconds), metrics(figures))
        }
        (State::Failed, Detail::Error(message)) => format!("failed    {message}"),
        (State::Skipped, Detail::Because(reason)) => format!("skipped   {reason}"),
        // The summary counts them.
        (State::Skipped, Detail::NotBegun) => return None,
        (State::Skipped, _) => "skipped   since another stage failed; --keep-going runs it".to_owned(),
        (State::Interrupted, _) => "interrupted".to_owned(),
        _ => return None,
    };
    Some(format!("{name:<width$}  {text}").trim_end().to_owned())
}

/// The closing line.
pub(super) fn summary(summary: &Summary) -> String {
    let time = duration(summary.seconds);
    let total = summary.stages.len();
    let tell = |state: State, word: &str| {
        let n = summary.ended(state).count();
        (n > 0).then(|| format!("{n} {word}"))
    };
    if summary.ended(State::Reused).count() == total {
        return format!("nothing to do: {} up to date ({time})", all_stages_are(total));
    }
    let parts = [
        tell(State::Done, "ran"),
        tell(State::Reused, "reused"),
        tell(State::Failed, "failed"),
        tell(State::Interrupted, "interrupted"),
        tell(State::Skipped, if summary.interrupted { "not begun" } else { "skipped" }),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let kept = if summary.interrupted { "; what is finished is kept" } else { "" };
    format!("{} in {time}: {}{kept}", count(total, "stage"), parts.join(", "))
}

/// How far a stage is, for a line that is written now and then.
pub(super) fn progress(progress: &Progress) -> String {
    let amount = |n: u64| match progress.unit {
        Unit::Bytes => crate::cli::words::bytes(n),
        Unit::Images | Unit::Steps => n.to_string(),
    };
    let noun = match progress.unit {
        Unit::Images => " images",
        Unit::Bytes | Unit::Steps => "",
    };
    let done = match progress.total {
        Some(total) => format!("{} of {}{noun}", amount(progress.done), amount(total)),
        None => format!("{}{noun}", amount(progress.done)),
    };
    if progress.note.is_empty() { done } else { format!("{done}  {}", progress.note) }
}
