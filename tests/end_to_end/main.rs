//! What a user sees, through the program itself.

mod bad_input;
mod commands;
mod incremental;
mod interruption;
mod real_images;
mod shipped;
mod workspace;
