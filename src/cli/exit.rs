//! Exit codes, and how an error becomes a message on stderr.

use std::io;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::say::say;
use super::words::count;
use crate::pipeline::{Problem, Problems};

/// A stage failed, or something could not be read or written.
pub(super) const FAILED: u8 = 1;
/// The pipeline or the command line is wrong.
pub(super) const WRONG: u8 = 2;
/// The run was interrupted.
pub(super) const INTERRUPTED: u8 = 130;

/// Why a command ends without having done its work.
#[derive(Debug)]
pub(super) enum Failure {
    /// The pipeline is wrong in these ways.
    Pipeline(Problems),
    /// The command line asks for something that is not there.
    Usage(String),
    /// Anything else that went wrong.
    Other(anyhow::Error),
}

impl Failure {
    /// Prints the message and returns the exit code.
    pub(super) fn report(self) -> ExitCode {
        match self {
            Failure::Pipeline(problems) => {
                say(format_args!("{problems}\n\n{}", found(&problems)));
                ExitCode::from(WRONG)
            }
            Failure::Usage(message) => {
                say(format_args!("error: {message}"));
                ExitCode::from(WRONG)
            }
            // Whoever reads our output has seen enough.
            Failure::Other(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
            Failure::Other(error) => {
                say(format_args!("error: {error:#}"));
                ExitCode::from(FAILED)
            }
        }
    }

    /// The same as an event for programs.
    pub(super) fn to_json(&self) -> Value {
        let (message, problems) = match self {
            Failure::Pipeline(problems) => (found(problems), problems.iter().map(problem).collect()),
            Failure::Usage(message) => (message.clone(), Vec::new()),
            Failure::Other(error) => (format!("{error:#}"), Vec::new()),
        };
        json!({ "event": "error", "message": message, "problems": problems })
    }
}

/// A mistake on the command line without what clap says to people besides.
pub(super) fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let parts =
        text.split("\n\n").filter(|part| !["Usage:", "For more"].iter().any(|word| part.starts_with(word)));
    let parts: Vec<String> =
        parts.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    parts.join("; ")
}

fn found(problems: &Problems) -> String {
    format!("{} found; nothing was run", count(problems.len(), "problem"))
}

fn problem(problem: &Problem) -> Value {
    json!({ "place": problem.place.to_string(), "message": problem.message, "notes": problem.notes })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Other(error.into())
    }
}
