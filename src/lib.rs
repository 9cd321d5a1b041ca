//! The command line of clipsieve, as a library: a program of one's own gets all of it with its own operators.
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     clipsieve::main(&clipsieve_operators::registry())
//! }
//! ```

mod cli;
mod commands;
pub mod evaluation;
mod launch;
mod open_files;
mod progress;
mod signals;
mod words;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::Parser;
use clipsieve_engine::operator::Registry;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};
use commands::Exit;

/// Runs the command line over these operators: parses the arguments, does what they say, returns the exit code.
pub fn main(registry: &Registry) -> ExitCode {
    let cli = Cli::parse();
    log(cli.verbose);
    let done = match &cli.command {
        Command::Run(arguments) => commands::run::run(arguments, registry),
        Command::Check(arguments) => commands::check::run(arguments, registry),
        Command::Graph(arguments) => commands::graph::run(arguments, registry),
        Command::Operators(arguments) => commands::operators::run(arguments, registry),
        Command::Show(arguments) => commands::show::run(arguments),
        Command::Evaluate(arguments) => commands::evaluate::run(arguments),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(error) => {
            commands::output::tell(&format!("error: cannot write to stdout: {error}"));
            Exit::Died.into()
        }
    }
}

/// Logs go to stderr, of the others' crates errors alone. `CLIPSIEVE_LOG` (as in `clipsieve_engine=trace`) wins.
fn log(verbose: u8) {
    let filter = EnvFilter::try_from_env("CLIPSIEVE_LOG")
        .unwrap_or_else(|_| EnvFilter::new(directives(verbose)));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| progress::LogWriter)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .init();
}

/// What is logged with so many `-v`: warnings; what becomes of stages (info); of items (debug); all. The name of this crate
/// is the beginning of all our crates' names.
fn directives(verbose: u8) -> String {
    let ours = ["warn", "info", "debug"]
        .get(usize::from(verbose))
        .unwrap_or(&"trace");
    format!("error,clipsieve={ours}")
}
