//! Clocks that jump.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::job::{Job, Running, row};

/// Where Debian and others put the library that lies about the time of day (`apt install faketime`).
const LIBRARIES: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// The time of day jumps an hour ahead, a day back and a year ahead while a run goes on: nobody counts as dead, no row as
/// late, and a second run is still told who holds the ledger.
pub fn clocks_that_jump_are_no_matter() {
    let library = LIBRARIES.iter().map(Path::new).find(|path| path.exists());
    let Some(library) = library else {
        println!("  skipped: libfaketime is not here");
        return;
    };
    let rows = 500;
    let job = Job::new((0..rows).map(row), "150ms")
        .with(&["--processes", "2"])
        .with_limits("items: 4, cpu_threads: 2");
    let clock: PathBuf = tempfile::NamedTempFile::new()
        .expect("a file")
        .into_temp_path()
        .keep()
        .expect("it stays");
    let set = |offset: &str| std::fs::write(&clock, offset).expect("a clock");
    set("+0");
    let command = || {
        let mut command = job.command();
        command
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", &clock)
            .env("FAKETIME_NO_CACHE", "1")
            // As when somebody sets the clock: what counts the seconds since the start goes on.
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        command
    };
    let mut running = Running::of(command());
    running.until("rows are done", |_| job.partial_bytes() > 0);
    for jump in ["+1h", "-1d", "+365d", "+0"] {
        set(jump);
        let before = job.partial_bytes();
        running.until("rows are done behind a jump", |_| {
            job.partial_bytes() > before
        });
        std::thread::sleep(Duration::from_millis(300));
        let (_, other) = Running::of(command()).end();
        assert!(other.contains("is held by process"), "{jump}: {other}");
    }
    let stderr = running.expect(0);
    let _ = std::fs::remove_file(&clock);
    assert!(!stderr.contains("rows are done, going on"), "{stderr}");
    let all = job.rows();
    assert_eq!(all.len() as u64, rows, "{stderr}");
    for (number, row) in &all {
        assert_eq!(row["result_info"]["succeed"], "true", "row {number}: {row}");
    }
    job.is_clean();
}
