//! `stlpipe cache`: what the store holds, whether it is as it should be, what it costs, and how to make room.

mod du;
mod gc;
mod ls;
mod restore;
mod show;
mod verify;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::Failure;
use super::{say, words};
use crate::store::{Owner, Record, Store};

/// What to look at.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List the results, newest first.
    Ls(ls::Args),
    /// Print one record whole.
    Show(show::Args),
    /// Read every file and say what is not as it should be.
    Verify(verify::Args),
    /// Say what costs how much, by pipeline and stage.
    Du(du::Args),
    /// List what nobody needs, and move it to the trash.
    Gc(gc::Args),
    /// Put back what `gc` has moved to the trash.
    Restore(restore::Args),
}

impl Command {
    /// Whether the output is for programs.
    pub(super) fn is_json(&self) -> bool {
        match self {
            Command::Ls(args) => args.json,
            Command::Verify(args) => args.json,
            Command::Du(args) => args.json,
            Command::Gc(args) => args.json,
            Command::Show(args) => args.json,
            Command::Restore(args) => args.json,
        }
    }
}

/// Which store.
#[derive(Debug, clap::Args)]
pub(super) struct Folder {
    /// The store of all results.
    #[arg(long, value_name = "DIR", default_value = "cache")]
    pub(super) cache: PathBuf,
}

impl Folder {
    /// The store, which must be there: an empty answer would hide that its name is mistyped.
    pub(super) fn store(&self) -> Result<Store, Failure> {
        let store = Store::open(&self.cache)?;
        if store.root().is_dir() {
            return Ok(store);
        }
        let remedy = "`stlpipe run` makes one, and `--cache DIR` names another";
        Err(Failure::Usage(format!("{}: there is no cache; {remedy}", self.cache.display())))
    }
}

pub(super) fn cache(command: &Command, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match command {
        Command::Ls(args) => ls::ls(args, out),
        Command::Show(args) => show::show(args, out),
        Command::Verify(args) => verify::verify(args, out),
        Command::Du(args) => du::du(args, out),
        Command::Gc(args) => gc::gc(args, out),
        Command::Restore(args) => restore::restore(args, out),
    }
}

fn kind(record: &Record) -> &str {
    record.identity.get("kind").and_then(serde_json::Value::as_str).unwrap_or("?")
}

/// `train of ver_2_3, tune of ver_2_4`.
fn names(owners: &BTreeSet<Owner>) -> String {
    owners.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
