//! From the command line to a compiled pipeline.

use std::fs;

use clipsieve_engine::compile::{Compiled, Machine, Options, Source, compile};
use clipsieve_engine::operator::Registry;

use crate::cli::Pipeline;

/// A pipeline file that was read and compiled.
pub struct Loaded {
    /// The path as it was given.
    pub name: String,
    /// What stands in the file, for showing lines of it.
    pub text: String,
    /// What the compiler made of it.
    pub compiled: Compiled,
}

/// Reads and compiles a pipeline for this machine; `local_rank` says which of its processes this is.
///
/// # Errors
/// A message: the file cannot be read, or a `--set` is not `key=value`.
pub fn load(
    arguments: &Pipeline,
    registry: &Registry,
    local_rank: usize,
) -> Result<Loaded, String> {
    let name = arguments.file.display().to_string();
    let text = fs::read(&arguments.file)
        .map_err(|error| format!("cannot read the pipeline {name}: {error}"))?;
    let sets = arguments
        .sets
        .iter()
        .map(|set| key_and_value(set))
        .collect::<Result<Vec<_>, _>>()?;
    let options = Options {
        registry,
        sets: &sets,
        env: &|name| std::env::var(name).ok(),
        machine: this_machine(local_rank),
        processes: usize::from(arguments.processes),
        workers: usize::from(arguments.workers),
    };
    let compiled = compile(
        &Source {
            name: &name,
            text: &text,
        },
        &options,
    );
    Ok(Loaded {
        name,
        text: String::from_utf8_lossy(&text).into_owned(),
        compiled,
    })
}

fn key_and_value(set: &str) -> Result<(String, String), String> {
    match set.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_string(), value.to_string())),
        _ => Err(format!("`--set {set}` is not `key=value`")),
    }
}

/// What the plan may use of this machine.
fn this_machine(local_rank: usize) -> Machine {
    Machine {
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: memory_bytes(),
        disk_bytes: free_disk_bytes(&std::env::temp_dir()),
        device: clipsieve_operators::default_device(local_rank),
    }
}

/// Bytes that are free on the disk of a folder.
fn free_disk_bytes(folder: &std::path::Path) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    let Ok(path) = std::ffi::CString::new(folder.as_os_str().as_bytes()) else {
        return 0;
    };
    // SAFETY: a struct of numbers, for which zero is a value.
    let mut about: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends with NUL, and `about` is written before it is read.
    if unsafe { libc::statvfs(path.as_ptr(), &mut about) } != 0 {
        return 0;
    }
    about.f_bavail.saturating_mul(about.f_frsize)
}

/// Memory of this machine or of the container it is, in bytes.
fn memory_bytes() -> u64 {
    // SAFETY: sysconf takes a constant and returns a number.
    let (pages, page_bytes) = unsafe {
        (
            libc::sysconf(libc::_SC_PHYS_PAGES),
            libc::sysconf(libc::_SC_PAGESIZE),
        )
    };
    let physical = u64::try_from(pages)
        .unwrap_or(0)
        .saturating_mul(u64::try_from(page_bytes).unwrap_or(0));
    let allowed = fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    allowed.map_or(physical, |allowed: u64| allowed.min(physical))
}
