//! Turns a checked pipeline into results: keys, plan, states, the run loop and its events. It knows no
//! machine learning and no terminal.

pub mod stage;
