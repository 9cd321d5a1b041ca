//! The `clipsieve` program.

use std::process::ExitCode;

/// Rows are made on one thread and freed on another, frames of many sizes come and go: with this allocator the engine is
/// faster and the process smaller than with the system's. It serves the linked C and C++ as well.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    clipsieve::main(&clipsieve_operators::registry())
}
