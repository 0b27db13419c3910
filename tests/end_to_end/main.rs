//! What a user sees, through the program itself.

mod bad_input;
mod commands;
mod edits;
mod failing;
mod growing;
mod incremental;
mod inputs;
mod interruption;
mod keeping;
mod kills;
mod leaks;
mod orphans;
mod outputs;
mod outside_weights;
mod real_images;
mod reasons;
mod sharing;
mod shipped;
mod telling;
mod unchanged;
mod workspace;
