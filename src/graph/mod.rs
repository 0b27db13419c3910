//! Knows which stage needs which: an order in which all can run, what lies before and behind a stage, circles,
//! and pictures of it. It keeps petgraph to itself and does not know what a stage is.

mod export;
mod order;

use std::path::Path;

pub use export::{dot, mermaid, text};
pub use order::Graph;

use crate::pipeline::{self, Catalogue, Pipeline, Problems, Setting};

/// Reads a pipeline file, checks it whole, and puts its stages in order.
///
/// # Errors
/// Everything that is wrong with the pipeline, circles included.
pub fn load<C: Catalogue>(
    path: &Path,
    settings: &[Setting],
    catalogue: &C,
) -> Result<(Pipeline<C::Stage>, Graph), Problems> {
    let mut draft = pipeline::read(path, settings, catalogue);
    match Graph::new(draft.stage_count(), draft.links()) {
        Ok(graph) => Ok((draft.finish()?, graph)),
        Err(circles) => {
            for circle in &circles {
                draft.reject_circle(circle);
            }
            Err(draft.into_problems())
        }
    }
}
