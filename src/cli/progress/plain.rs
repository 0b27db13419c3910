//! Plain lines on stderr, for log files: what must run and why, what was said, how it ended.

use std::time::Duration;

use super::{Pace, Show, lines};
use crate::cli::say::say;
use crate::engine::{Event, Experiment, Observer, Summary};

/// How often a running stage says how far it is.
const INTERVAL: Duration = Duration::from_secs(10);

/// Plain lines.
pub(in crate::cli) struct Plain {
    width: usize,
    pace: Pace,
}

impl Plain {
    pub(in crate::cli) fn new(experiment: &Experiment) -> Plain {
        Plain { width: lines::name_width(experiment), pace: Pace::every(INTERVAL) }
    }
}

impl Observer for Plain {
    fn observe(&self, event: &Event) {
        let width = self.width;
        match event {
            Event::Stage(event) => {
                if let Some(line) = lines::state(event, width) {
                    say(line);
                }
            }
            Event::Progress(stage, progress) if self.pace.is_due(stage) => {
                say(format_args!("{:<width$}  {}", stage.as_str(), lines::progress(progress)));
            }
            Event::Progress(..) => {}
            Event::Log(stage, line) => say(format_args!("{:<width$}  {line}", stage.as_str())),
            Event::Warning(text) => say(format_args!("warning: {text}")),
        }
    }
}

impl Show for Plain {
    fn summary(&self, summary: &Summary) {
        say(lines::summary(summary));
    }
}
