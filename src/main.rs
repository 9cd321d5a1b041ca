//! The `clipsieve` program.

use std::process::ExitCode;

/// Rows are made on one thread and freed on another, frames of many sizes come and go: with this allocator the engine is
/// faster and the process smaller than with the system's. It serves the linked C and C++ as well.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The allocator's settings, which it reads as it starts. By default it would give blocks over 8 MiB back to the system at
/// once; a large network's activations are such blocks, and fresh ones cost a page fault every 4 KiB.
#[unsafe(export_name = "malloc_conf")]
pub static SETTINGS: &[u8] = b"oversize_threshold:0\0";

fn main() -> ExitCode {
    clipsieve::main(&clipsieve_operators::registry())
}
