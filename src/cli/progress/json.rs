//! One JSON event per line on stdout, for programs. Fields are only ever added.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Pace, Show};
use crate::engine::stage::{Progress, Unit};
use crate::engine::{Detail, Event, Observer, StageEvent, State, Summary};
use crate::pipeline::StageName;

/// JSON lines.
pub(in crate::cli) struct Json {
    pace: Pace,
}

/// How often a running stage says how far it is.
const INTERVAL: Duration = Duration::from_secs(1);

impl Json {
    pub(in crate::cli) fn new() -> Json {
        Json { pace: Pace::every(INTERVAL) }
    }

    fn print(value: &Value) {
        // Whoever reads may have gone; the run goes on for the sake of its results.
        let _ = writeln!(std::io::stdout(), "{value}");
    }
}

impl Observer for Json {
    fn observe(&self, event: &Event) {
        if let Event::Progress(stage, _) = event
            && !self.pace.is_due(stage)
        {
            return;
        }
        Json::print(&match event {
            Event::Stage(event) => stage(event),
            Event::Progress(stage, Progress { done, total, unit, note }) => json!({
                "event": "progress", "stage": stage.as_str(), "done": done, "total": total,
                "unit": match unit { Unit::Bytes => "bytes", Unit::Images => "images", Unit::Steps => "steps" },
                "note": note,
            }),
            Event::Log(stage, line) => json!({"event": "log", "stage": stage.as_str(), "line": line}),
            Event::Warning(text) => json!({"event": "warning", "text": text}),
        });
    }
}

fn stage(event: &StageEvent) -> Value {
    let mut value = json!({
        "event": "stage",
        "stage": event.stage.as_str(),
        "state": event.state.word(),
        "key": event.key,
        "seconds": event.seconds,
    });
    match &event.detail {
        Detail::None | Detail::NotBegun => {}
        Detail::ToRun(reasons, outlook) => {
            value["reasons"] = reasons.iter().map(ToString::to_string).collect();
            value["estimated_seconds"] = json!(outlook.seconds);
        }
        Detail::Because(reason) => value["reasons"] = json!([reason.to_string()]),
        Detail::Held(holder) => value["held_by"] = json!({"pid": holder.pid, "purpose": holder.purpose}),
        Detail::Metrics(figures) => value["metrics"] = json!(figures),
        Detail::Error(message) => value["error"] = json!(message),
    }
    value
}

impl Show for Json {
    fn summary(&self, summary: &Summary) {
        let names = |state: State| summary.ended(state).map(StageName::as_str).collect::<Vec<_>>();
        Json::print(&json!({
            "event": "summary",
            "ran": names(State::Done),
            "reused": names(State::Reused),
            "failed": names(State::Failed),
            "skipped": names(State::Skipped),
            "interrupted": names(State::Interrupted),
            "seconds": summary.seconds,
        }));
    }
}
