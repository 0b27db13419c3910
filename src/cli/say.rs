//! Lines on stderr, for people. A reader that has gone, or a full disk behind a redirection, is no reason to
//! stop: what runs goes on for the sake of its results.

use std::fmt::Display;
use std::io::Write;

/// Writes a line to stderr.
pub(super) fn say(line: impl Display) {
    // In one piece: stderr has no buffer.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
