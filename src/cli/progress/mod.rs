//! How a run looks while it goes on: bars on a terminal, plain lines elsewhere, JSON for programs.

mod json;
mod lines;
mod pace;
mod plain;
mod terminal;

use pace::Pace;

pub(super) use json::Json;
pub(super) use plain::Plain;
pub(super) use terminal::Terminal;

use crate::engine::{Observer, Summary};

/// Says how a run ended in which nothing was to be shown before.
pub(super) fn say_summary(summary: &Summary) {
    super::say::say(lines::summary(summary));
}

/// A way to show a run.
pub(super) trait Show: Observer {
    /// Says how the run ended.
    fn summary(&self, summary: &Summary);
}
