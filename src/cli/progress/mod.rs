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

/// A way to show a run.
pub(super) trait Show: Observer {
    /// Says how the run ended.
    fn summary(&self, summary: &Summary);
}
