//! Rows that kill the process that works on them.

use crate::job::{Job, poisoned, row};

/// A row that kills costs itself, whichever way it kills, and the job goes on.
pub fn each_poison_costs_one_row() {
    let poisons = [
        (13, "segfault", "crash", "SIGSEGV"),
        (41, "abort", "crash", "SIGABRT"),
        (57, "eat", "crash", "SIGABRT"),
        (77, "spin", "timeout", "timeout"),
        (91, "fail", "bad_input", "the row says so"),
    ];
    let poison = |number: u64| poisons.iter().find(|(row, ..)| *row == number);
    let rows = (0..120).map(|number| match poison(number) {
        Some((_, poison, ..)) => poisoned(number, poison),
        None => row(number),
    });
    let job = Job::new(rows, "5ms").with(&["--processes", "2", "--max-restarts", "3"]);
    let mut command = job.command();
    // The one that eats memory must not eat that of the machine.
    let limit = libc::rlimit {
        rlim_cur: 6 << 30,
        rlim_max: 6 << 30,
    };
    // SAFETY: between fork and exec only this call is made, which is safe in signal handlers.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, move || {
            match libc::setrlimit(libc::RLIMIT_AS, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let output = command.output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let rows = job.rows();
    assert_eq!(rows.len(), 120, "{stderr}");
    for (number, row) in &rows {
        let info = &row["result_info"];
        match poison(*number) {
            None => assert_eq!(info["succeed"], "true", "{row}"),
            Some((_, poison, kind, says)) => {
                assert_eq!(info["succeed"], "false", "{poison}: {row}");
                assert_eq!(info["kind"], *kind, "{poison}: {row}");
                assert_eq!(info["stage"], "toiled", "{poison}: {row}");
                let error = info["error"].as_str().expect("an error");
                assert!(error.contains(says), "{poison}: {error}");
            }
        }
    }
    job.is_clean();
}
