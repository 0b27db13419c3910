//! Learning from samples and judging what was learnt: the loop, its schedules, checkpoints and metrics. It
//! knows no stages, no store and no terminal; whoever runs it passes the data in and watches.

mod average;
mod checkpoint;
mod error;
mod evaluate;
mod fit;
mod history;
mod loader;
mod metrics;
mod model;
mod normalisation;
mod options;
mod schedule;
mod seen;
#[cfg(test)]
pub(crate) mod test_data;
#[cfg(test)]
mod tests;

pub use checkpoint::Checkpoint;
pub use error::Error;
pub use evaluate::{Evaluation, Views, evaluate};
pub use fit::{Data, Observer, Step, fit};
pub use history::{Epoch, Timing, best, from_jsonl, to_jsonl};
pub use metrics::{ClassMetrics, Metrics, Tally};
pub use model::{CARD_FILE, Model, ModelCard, SEEN_FILE, WEIGHTS_FILE, load_weights};
pub use normalisation::Normalisation;
pub use options::{Options, Problem};
pub use schedule::Schedule;
pub use seen::{Overlap, Seen};
