//! The command line: reads arguments, calls the layers below and puts what they answer into words. The only
//! place that prints.

mod args;
mod bench;
mod cache;
mod compare;
mod cores;
mod device;
mod doctor;
mod exit;
mod get;
mod graph;
mod history;
mod memory;
mod output;
mod picture;
mod progress;
mod run;
mod runs;
mod say;
mod schema;
mod show;
mod signals;
mod sizes;
mod status;
mod target;
mod why;
mod words;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use exit::Failure;

/// `make` for experiments: recomputes only what an edit really changed, and says why.
#[derive(Debug, Parser)]
#[command(name = "stlpipe", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring every result of a pipeline up to date.
    Run(run::Args),
    /// Say what would run, and why.
    Status(status::Args),
    /// Show all that a stage's result depends on, and how that differs from the nearest result.
    Why(why::Args),
    /// Draw the graph of stages.
    Graph(graph::Args),
    /// Show a pipeline, a stage or an artifact.
    Show(show::Args),
    /// List what was run, newest first.
    Runs(runs::Args),
    /// Put runs side by side: parameters and metrics in which they differ.
    Compare(compare::Args),
    /// Copy an artifact out of the cache.
    Get(get::Args),
    /// Look into the store.
    #[command(subcommand)]
    Cache(cache::Command),
    /// Measure this machine: one line of JSON per measurement.
    #[command(subcommand)]
    Bench(bench::Command),
    /// Look at the machine, the store's folder and the GPUs, and say what will not work.
    Doctor(doctor::Args),
    /// Print the JSON Schema of the pipeline language, for editors.
    Schema(schema::Args),
}

/// Runs the program with the arguments of the process.
#[must_use]
pub fn main() -> ExitCode {
    memory::keep_freed_blocks();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    if matches!(cli.command, Command::Run(_))
        || matches!(&cli.command, Command::Bench(bench) if bench.is_of_networks())
    {
        memory::share_freed_blocks();
    }
    let mut out = std::io::BufWriter::new(std::io::stdout());
    let outcome = dispatch(&cli.command, &mut out).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    outcome.unwrap_or_else(|failure| {
        if cli.command.is_json() {
            // Whoever reads may have gone; the message and the exit code tell the rest.
            let _ = writeln!(out, "{}", failure.to_json()).and_then(|()| out.flush());
        }
        failure.report()
    })
}

/// Says what is wrong with the command line, or prints the help that it asks for.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|word| word == "--json") {
        // Whoever reads may have gone; the message and the exit code tell the rest.
        let _ = writeln!(std::io::stdout(), "{}", Failure::Usage(exit::in_one_line(error)).to_json());
    }
    error.exit()
}

impl Command {
    /// Whether the output is for programs.
    fn is_json(&self) -> bool {
        match self {
            Command::Run(args) => args.json,
            Command::Status(args) => args.json,
            Command::Why(args) => args.json,
            Command::Show(args) => args.json,
            Command::Runs(args) => args.json,
            Command::Compare(args) => args.json,
            Command::Doctor(args) => args.json,
            Command::Cache(command) => command.is_json(),
            Command::Graph(_) | Command::Get(_) | Command::Bench(_) | Command::Schema(_) => false,
        }
    }
}

fn dispatch(command: &Command, out: &mut dyn Write) -> Result<ExitCode, Failure> {
    match command {
        Command::Run(args) => run::run(args, out),
        Command::Status(args) => status::status(args, out),
        Command::Why(args) => why::why(args, out),
        Command::Graph(args) => graph::graph(args, out),
        Command::Show(args) => show::show(args, out),
        Command::Runs(args) => runs::runs(args, out),
        Command::Compare(args) => compare::compare(args, out),
        Command::Get(args) => get::get(args, out),
        Command::Cache(command) => cache::cache(command, out),
        Command::Bench(command) => bench::bench(command, out),
        Command::Doctor(args) => doctor::doctor(args, out),
        Command::Schema(args) => schema::schema(args, out),
    }
}
