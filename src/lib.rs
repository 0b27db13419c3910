//! `make` for experiments: a YAML pipeline says how data becomes a trained image classifier; stlpipe
//! recomputes only what an edit really changed. The modules stand in the order in which data flows.

pub mod pipeline;

pub mod graph;

pub mod store;

pub mod engine;

pub mod dataset;

pub mod augment;

pub mod nn;

pub mod training;

pub mod stages;

pub mod cli;

#[cfg(test)]
mod kill_tests;
