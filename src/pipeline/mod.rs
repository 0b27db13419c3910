//! Turns the text of a pipeline file into a checked pipeline, or into all that is wrong with it. It knows
//! no stage kinds of its own; a catalogue tells it.

mod catalogue;

pub use catalogue::{Catalogue, Complaint, Holds, InputPort, Inputs, Need, OutputPort, Ports};
