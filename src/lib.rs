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

/// Logs go to stderr. `CLIPSIEVE_LOG` (as in `clipsieve_engine=trace`) wins.
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

/// What is logged with so many `-v`: warnings; what becomes of stages (info); of items (debug); all. Libraries that talk of
/// every connection are kept quiet until then. All others are not: an operator of one's own is a crate like any.
fn directives(verbose: u8) -> String {
    let level = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => return "trace".to_owned(),
    };
    let noisy = [
        "timely=warn",
        "hyper=warn",
        "h2=warn",
        "reqwest=warn",
        "rustls=warn",
        // It warns of each place where it finds no key, and whoever asked then fails and says so.
        "reqsign=error",
    ];
    format!("{level},{}", noisy.join(","))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Where a log is written to.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn crates_of_others_are_heard_and_noisy_ones_last() {
        let logged = |verbose: u8| {
            let page = Page::default();
            let writer = page.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::new(directives(verbose)))
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(target: "my_ops", "a1;");
                tracing::warn!(target: "opendal_layer_retry", "a2;");
                tracing::warn!(target: "clipsieve_engine::run", "a3;");
                tracing::info!(target: "my_ops", "b1;");
                tracing::debug!(target: "my_ops", "c1;");
                tracing::warn!(target: "reqsign_core::api", "d1;");
                tracing::debug!(target: "hyper_util::client", "d2;");
                tracing::trace!(target: "my_ops", "d3;");
            });
            let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
            let all = ["a1", "a2", "a3", "b1", "c1", "d1", "d2", "d3"];
            let mut said = all.to_vec();
            said.retain(|word| text.contains(&format!("{word};")));
            said.join(" ")
        };
        assert_eq!(logged(0), "a1 a2 a3");
        assert_eq!(logged(1), "a1 a2 a3 b1");
        assert_eq!(logged(2), "a1 a2 a3 b1 c1");
        assert_eq!(logged(3), "a1 a2 a3 b1 c1 d1 d2 d3");
    }
}
