//! Processes that are killed or stopped at random moments.

use std::time::{Duration, Instant};

use crate::job::{Job, Seeded, row, send};

/// Whatever is killed whenever: the rows are those of a run that was left alone, each once.
pub fn kills_at_random_lose_no_row() {
    let (rows, kills) = match crate::more() {
        1 => (400, 6),
        more => (400 * more.min(5), 10 * more.min(5)),
    };
    let job = || Job::new((0..rows).map(row), "60ms").with(&["--processes", "3"]);
    let undisturbed = job();
    let started = Instant::now();
    undisturbed.expect(0);
    let alone = started.elapsed();

    let tormented = job();
    let mut random = Seeded(crate::seed());
    let started = Instant::now();
    let mut running = tormented.start();
    let mut lost = Duration::ZERO;
    let mut done = 0;
    for _ in 0..kills {
        let before = tormented.partial_bytes();
        // Some rows are done between two kills, or nothing could ever be; but one in four comes while the run still starts.
        if random.below(4) > 0
            && !running.sees("rows are done", |_| tormented.partial_bytes() > before)
        {
            break;
        }
        let pause = random.below(alone.as_millis() as u64 / kills.max(1));
        std::thread::sleep(Duration::from_millis(pause));
        if running.is_over() {
            break;
        }
        let members = running.members();
        if members.is_empty() {
            continue;
        }
        let victim = members[random.below(members.len() as u64) as usize];
        let signal = match random.below(3) {
            0 => libc::SIGSTOP,
            _ => libc::SIGKILL,
        };
        let killed = Instant::now();
        if !send(victim, signal) {
            continue;
        }
        done += 1;
        let back = running.sees("the others are taken down", |running| {
            !running.members().contains(&victim)
        }) && running.sees("they are started again", |running| {
            running.members().len() >= 3
        });
        lost += killed.elapsed();
        if !back {
            break;
        }
    }
    let stderr = running.expect(0);
    println!(
        "  {rows} rows: {alone:.1?} alone; {:.1?} with {done} kills, of which {lost:.1?} until processes were there again",
        started.elapsed()
    );
    assert_eq!(tormented.rows(), undisturbed.rows(), "{stderr}");
    assert_eq!(tormented.rows().len() as u64, rows);
    tormented.is_clean();
}

/// Restarts that come to nothing end some time, and the ledger stays for another day.
pub fn a_process_that_always_dies_ends_the_run() {
    let job = Job::new((0..40).map(row), "20ms").with(&["--max-restarts", "2"]);
    // What keeps it from working is outside: it may not use memory enough to start.
    let mut command = job.command();
    let script = "ulimit -v 150000; exec \"$0\" \"$@\"";
    let program = command.get_program().to_owned();
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", script]).arg(program).args(arguments);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let output = shell
        .current_dir(job.folder.path())
        .output()
        .expect("a shell");
    assert!(
        !output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    command.env_remove("nothing");
    job.expect(0);
    assert_eq!(job.rows().len(), 40);
    job.is_clean();
}
