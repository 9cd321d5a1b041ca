//! The `clipsieve` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    clipsieve::main(&clipsieve_operators::registry())
}
