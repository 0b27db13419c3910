//! Live bars on a terminal: one per running stage, with rate and time left; a finished stage leaves a line.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::{Show, lines};
use crate::engine::stage::{Progress, Unit};
use crate::engine::{Event, Experiment, Observer, StageEvent, State, Summary};

/// Live bars.
pub(in crate::cli) struct Terminal {
    width: usize,
    screen: MultiProgress,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

impl Terminal {
    pub(in crate::cli) fn new(experiment: &Experiment) -> Terminal {
        Terminal {
            width: lines::name_width(experiment),
            screen: MultiProgress::new(),
            bars: Mutex::default(),
        }
    }

    fn bars(&self) -> MutexGuard<'_, HashMap<String, ProgressBar>> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, line: &str) {
        // A terminal that is gone is no reason to stop.
        let _ = self.screen.println(line);
    }

    fn stage(&self, event: &StageEvent) {
        let name = event.stage.as_str();
        match event.state {
            State::Running => {
                let bar = self.screen.add(ProgressBar::no_length());
                bar.set_style(style(&format!("{{prefix:<{}}}  {{spinner}} {{elapsed}}", self.width)));
                bar.set_prefix(name.to_owned());
                bar.enable_steady_tick(Duration::from_millis(120));
                self.bars().insert(name.to_owned(), bar);
            }
            state if state.is_final() => {
                if let Some(bar) = self.bars().remove(name) {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
        if let Some(line) = lines::state(event, self.width) {
            self.print(&line);
        }
    }

    fn progress(&self, stage: &str, progress: &Progress) {
        let bars = self.bars();
        let Some(bar) = bars.get(stage) else { return };
        if bar.length() != progress.total || bar.position() == 0 {
            if let Some(total) = progress.total {
                bar.set_length(total);
            }
            bar.set_style(style(&template(progress, self.width)));
        }
        bar.set_position(progress.done);
        bar.set_message(progress.note.clone());
    }
}

fn template(progress: &Progress, width: usize) -> String {
    let (amount, rate) = match (progress.unit, progress.total) {
        (Unit::Bytes, Some(_)) => ("{binary_bytes}/{binary_total_bytes}", "{binary_bytes_per_sec}"),
        (Unit::Bytes, None) => ("{binary_bytes}", "{binary_bytes_per_sec}"),
        (Unit::Images, Some(_)) => ("{human_pos}/{human_len} images", "{per_sec:0}"),
        (Unit::Images, None) => ("{human_pos} images", "{per_sec:0}"),
        (Unit::Steps, _) => ("{human_pos}/{human_len}", "{per_sec}"),
    };
    let bar = if progress.total.is_some() { "{bar:24.green/dim} " } else { "{spinner} " };
    let left = if progress.total.is_some() { "  {eta} left" } else { "" };
    format!("{{prefix:<{width}}}  {bar}{amount}  {rate}{left}  {{msg}}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates of this file are well formed")
        .progress_chars("━╸─")
}

impl Observer for Terminal {
    fn observe(&self, event: &Event) {
        match event {
            Event::Stage(event) => self.stage(event),
            Event::Progress(stage, progress) => self.progress(stage.as_str(), progress),
            Event::Log(stage, line) => self.print(&format!("{:<1$}  {line}", stage.as_str(), self.width)),
            Event::Warning(text) => self.print(&format!("warning: {text}")),
        }
    }
}

impl Show for Terminal {
    fn summary(&self, summary: &Summary) {
        self.print(&lines::summary(summary));
    }
}
