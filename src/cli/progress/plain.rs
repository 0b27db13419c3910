//! Plain lines on stderr, for log files: what must run and why, what was said, how it ended.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Show, lines};
use crate::engine::{Event, Experiment, Observer, State, Summary};

/// How often a running stage says how far it is.
const INTERVAL: Duration = Duration::from_secs(10);

/// Plain lines.
pub(in crate::cli) struct Plain {
    width: usize,
    told: Mutex<HashMap<String, Instant>>,
}

impl Plain {
    pub(in crate::cli) fn new(experiment: &Experiment) -> Plain {
        Plain { width: lines::name_width(experiment), told: Mutex::default() }
    }

    /// Whether it is time for another line on a stage's progress; the first comes after one interval.
    fn is_due(&self, stage: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let last = told.entry(stage.to_owned()).or_insert_with(Instant::now);
        let due = last.elapsed() >= INTERVAL;
        if due {
            *last = Instant::now();
        }
        due
    }
}

impl Observer for Plain {
    fn observe(&self, event: &Event) {
        let width = self.width;
        match event {
            // The summary counts them.
            Event::Stage(event) if event.state == State::Reused => {}
            Event::Stage(event) => {
                if let Some(line) = lines::state(event, width) {
                    eprintln!("{line}");
                }
            }
            Event::Progress(stage, progress) if self.is_due(stage.as_str()) => {
                eprintln!("{:<width$}  {}", stage.as_str(), lines::progress(progress));
            }
            Event::Progress(..) => {}
            Event::Log(stage, line) => eprintln!("{:<width$}  {line}", stage.as_str()),
            Event::Warning(text) => eprintln!("warning: {text}"),
        }
    }
}

impl Show for Plain {
    fn summary(&self, summary: &Summary) {
        eprintln!("{}", lines::summary(summary));
    }
}
