//! Processes that are killed or stopped at random moments.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::job::{Job, Seeded, row, send};
use crate::program::{BEGUN, now_millis};

/// How much of the time of an undisturbed run may be lost to the kills, beyond the restarts.
const LOST_AT_MOST: f64 = 0.2;

/// Whatever is killed whenever: the rows are those of a run that was left alone, each once, and beyond the restarts little
/// time is lost.
pub fn kills_at_random_lose_no_row() {
    let (rows, kills, work) = match crate::is_long() {
        false => (400, 6, "60ms"),
        true => (2000, 50, "300ms"),
    };
    let job = || {
        Job::new((0..rows).map(row), work)
            .with(&["--processes", "3"])
            .with_limits("items: 4, cpu_threads: 2")
    };
    let undisturbed = job();
    let started = Instant::now();
    undisturbed.expect(0);
    let alone = started.elapsed();

    let tormented = job();
    let log = tempfile::NamedTempFile::new().expect("a file");
    let mut command = tormented.command();
    command.env(BEGUN, log.path());
    let mut random = Seeded(crate::seed());
    let started = Instant::now();
    let mut running = crate::job::Running::of(command);
    let mut deaths: Vec<u64> = Vec::new();
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
        let mut members = running.members();
        // Between two attempts there is nobody to be killed; the next one has three.
        if members.is_empty() && !running.sees("a start", |running| running.members().len() == 3) {
            break;
        }
        members = running.members();
        if running.is_over() || members.is_empty() {
            break;
        }
        let victim = members[random.below(members.len() as u64) as usize];
        let signal = match random.below(3) {
            0 => libc::SIGSTOP,
            _ => libc::SIGKILL,
        };
        let at = now_millis();
        if !send(victim, signal) {
            continue;
        }
        deaths.push(at);
        let back = running.sees("the others are taken down", |running| {
            !running.members().contains(&victim)
        });
        if !back {
            break;
        }
    }
    let stderr = running.expect(0);
    let all = started.elapsed();
    let begun = std::fs::read_to_string(log.path()).expect("a log");
    let restarts = restarts(&begun, &deaths);
    let share =
        (all.as_secs_f64() - alone.as_secs_f64() - restarts.as_secs_f64()) / alone.as_secs_f64();
    println!(
        "  {rows} rows of {work}: {alone:.1?} alone; {all:.1?} with {} deaths, of which {restarts:.1?} until rows were \
         begun again ({} were begun {} times; {} tried alone); {:.1} % lost beyond that",
        deaths.len(),
        rows,
        begun.lines().count(),
        stderr.matches("tried alone").count(),
        100.0 * share
    );
    assert_eq!(tormented.rows(), undisturbed.rows(), "{stderr}");
    assert_eq!(tormented.rows().len() as u64, rows);
    tormented.is_clean();
    if crate::is_long() {
        assert_eq!(deaths.len() as u64, kills, "{stderr}");
        assert!(share < LOST_AT_MOST, "{:.1} % are lost", 100.0 * share);
    }
}

/// The time between each death and the first row that another process than those of before began.
fn restarts(begun: &str, deaths: &[u64]) -> Duration {
    let begun: Vec<(u32, u64)> = begun
        .lines()
        .filter_map(|line| {
            let (process, at) = line.split_once(' ')?;
            Some((process.parse().ok()?, at.parse().ok()?))
        })
        .collect();
    let mut sum = 0;
    for (number, death) in deaths.iter().enumerate() {
        let before: Vec<u32> = begun
            .iter()
            .filter(|(_, at)| at < death)
            .map(|(process, _)| *process)
            .collect();
        let next = deaths.get(number + 1).copied().unwrap_or(u64::MAX);
        let again = begun
            .iter()
            .filter(|(process, at)| at >= death && !before.contains(process))
            .map(|(_, at)| *at)
            .min();
        // One that dies before it has begun anything has cost the time to its own death.
        sum += again.map_or(0, |again| again.min(next) - death);
    }
    Duration::from_millis(sum)
}

/// Restarts that come to nothing end some time, and the ledger stays for another day.
pub fn a_process_that_always_dies_ends_the_run() {
    let job = Job::new((0..40).map(row), "20ms").with(&["--max-restarts", "2"]);
    // What keeps it from working is outside: it may not use memory enough to start.
    let inner = job.command();
    let mut shell = Command::new("bash");
    shell
        .args(["-c", "ulimit -v 150000; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(job.folder.path());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    let output = shell.output().expect("a shell");
    assert!(
        !output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    job.expect(0);
    assert_eq!(job.rows().len(), 40);
    job.is_clean();
}
