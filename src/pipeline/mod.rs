//! Turns the text of a pipeline file into a checked pipeline, or into all that is wrong with it. It knows
//! no stage kinds of its own; a catalogue tells it.

mod catalogue;
mod check;
mod checked;
mod diagnosis;
mod draft;
mod fault;
mod layers;
mod marks;
mod names;
mod param;
mod params;
mod problem;
mod report;
mod schema;
mod settings;
#[cfg(test)]
pub(crate) mod test_catalogue;
#[cfg(test)]
mod tests;
mod vars;
mod wiring;
mod yaml;

use std::path::Path;

pub use catalogue::{
    AtLeast, Catalogue, Complaint, Holds, InputPort, Inputs, KnownPorts, Need, OutputPort, Ports, Refusal,
    Side,
};
pub use checked::{Link, Pipeline, Source, StageDecl, StageId};
pub use draft::Draft;
pub use names::{NAME_RULE, StageName, is_name};
pub use params::{Check, read_params};
pub use problem::{Place, Problem, Problems};
pub use schema::{KindSchema, schema};
pub use settings::{Setting, SettingError};

use report::Report;

/// Reads a pipeline file with what it extends, puts the settings over it and checks everything but cycles.
/// Nothing is hidden by the first problem; they all wait in the draft.
pub fn read<C: Catalogue>(path: &Path, settings: &[Setting], catalogue: &C) -> Draft<C::Stage> {
    let mut report = Report::new(settings);
    let Some(mut document) = layers::load(path, &mut report) else {
        let mut draft = Draft::empty(path);
        draft.report = report;
        return draft;
    };
    settings::overlay(&mut document, settings, &mut report);
    vars::substitute(&mut document, &mut report);
    check::check(path, document, catalogue, report)
}
