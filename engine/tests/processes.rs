//! Runs of several processes, and what ends a process: this program starts itself again, as a launcher and as members.
#![allow(clippy::unwrap_used)]

mod toy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use std::time::{Duration, Instant};

use clipsieve_engine::operator::{OperatorError, Outcome, Row, SourceRow};
use clipsieve_engine::run::supervisor::Supervision;
use clipsieve_engine::run::{Asked, EXIT_JOB_FAILED, RunOptions, cluster, run};
use toy::{Table, Toy, good, number, sleep};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "toy") {
        return play(
            &args[1],
            Path::new(&args[2]),
            args[3].parse().unwrap(),
            args[4].parse().unwrap(),
        );
    }
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let tests: &[(&str, fn())] = &[
        (
            "any_number_of_processes_gives_the_same_rows",
            any_number_of_processes_gives_the_same_rows,
        ),
        ("a_killed_member_ends_the_run", a_killed_member_ends_the_run),
        (
            "members_die_with_their_launcher",
            members_die_with_their_launcher,
        ),
        (
            "a_broken_table_ends_all_processes",
            a_broken_table_ends_all_processes,
        ),
        (
            "a_member_that_cannot_warm_up_ends_the_run",
            a_member_that_cannot_warm_up_ends_the_run,
        ),
        (
            "a_panic_of_a_worker_ends_the_process",
            a_panic_of_a_worker_ends_the_process,
        ),
    ];
    for (name, test) in tests {
        if filter.is_none_or(|filter| name.contains(filter.as_str())) {
            let started = Instant::now();
            test();
            println!("test {name} ... ok ({:.1?})", started.elapsed());
        }
    }
    ExitCode::SUCCESS
}

// The other side: one process of a run.

fn play(scene: &str, folder: &Path, processes: usize, workers: usize) -> ExitCode {
    let member = cluster::role_from_env().unwrap();
    if processes > 1 && member.is_none() {
        std::fs::write(folder.join("launcher"), std::process::id().to_string()).unwrap();
        let supervision = Supervision {
            processes,
            scratch: folder,
            ledger: None,
            stages: Vec::new(),
            max_restarts: 0,
            silence: Duration::from_secs(20),
            asked: &|| Asked::GoOn,
            fleet: None,
            local: 0,
        };
        return match supervision.run() {
            Ok(code) => ExitCode::from(u8::try_from(code).unwrap()),
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(EXIT_JOB_FAILED as u8)
            }
        };
    }
    let process = member.as_ref().map_or(0, |member| member.process);
    std::fs::write(
        folder.join(format!("process-{process}")),
        std::process::id().to_string(),
    )
    .unwrap();
    let (mut toy, table) = plan(scene, process);
    toy.plan.processes = processes;
    toy.plan.workers = workers;
    let options = RunOptions {
        scratch: Some(folder.to_owned()),
        member,
        ..RunOptions::default()
    };
    match run(&toy.plan, options) {
        Ok(report) => {
            if process == 0 {
                let rows = table.rows();
                assert_eq!(rows.len() as u64, report.rows_read);
                println!("{}", rows.join("\n"));
            } else {
                println!("this is not a result");
            }
            // A code of the program's own must reach whoever started the launcher.
            ExitCode::from(u8::from(report.failed > 0))
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_JOB_FAILED as u8)
        }
    }
}

fn plan(scene: &str, process: usize) -> (Toy, Table) {
    let mut toy = Toy::new();
    let rows = match scene {
        "table" => toy.source_of(|| {
            let mut next = 0..;
            Box::new(move || match next.next() {
                Some(100) => Err(OperatorError::bad_input("the table ends in the middle")),
                n => Ok(n.map(good)),
            })
        }),
        "panic" => toy.source_of(|| {
            let mut next = 0..200;
            Box::new(move || {
                let Some(n) = next.next() else {
                    return Ok(None);
                };
                let problem = (n == 150).then(|| OperatorError::bad_input("a bad row"));
                Ok(Some(SourceRow {
                    row: Row(good(n).row.0),
                    problem,
                }))
            })
        }),
        _ => toy.source(300),
    };
    if scene == "panic" {
        tracing::subscriber::set_global_default(PanicsOnTimelyThreads).unwrap();
    }
    let slow = scene == "slow";
    let first = toy.io("first", &[rows], move |call, inputs| async move {
        let millis = if slow { 100 } else { call.item.sequence % 3 };
        tokio::time::sleep(Duration::from_millis(millis)).await;
        match call.item.sequence % 20 {
            7 => Err(OperatorError::bad_input("seven")),
            8 => Ok(Outcome::Skipped("eight".to_owned())),
            _ => Ok(Outcome::value(number(&inputs[0])? * 2)),
        }
    });
    let second = toy.cpu("second", &[first, rows], |call, inputs| {
        assert!(call.item.sequence % 20 != 9, "nine");
        Ok(Outcome::value(number(&inputs[0])? + number(&inputs[1])?))
    });
    let cold = scene == "cold" && process == 1;
    let third = toy.warm("third", &[second], move || match cold {
        true => Err(OperatorError::config("no such device")),
        false => {
            // Rows must wait for the last process that warms up.
            sleep(process as u64 * 50);
            Ok(())
        }
    });
    let result = toy.tell(&[first, second, third]);
    let table = toy.sink(result);
    (toy, table)
}

struct PanicsOnTimelyThreads;

impl tracing::Subscriber for PanicsOnTimelyThreads {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        let thread = std::thread::current();
        assert!(
            !thread
                .name()
                .is_some_and(|name| name.starts_with("timely:")),
            "the log is full"
        );
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

// This side: what came of it.

struct Scene {
    folder: tempfile::TempDir,
    command: Command,
}

fn scene(name: &str, processes: usize, workers: usize) -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["toy", name])
        .arg(folder.path())
        .args([processes.to_string(), workers.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Scene { folder, command }
}

impl Scene {
    fn output(mut self) -> Output {
        let output = self.command.output().unwrap();
        self.is_clean();
        output
    }

    /// No temporary files are left, whatever happened.
    fn is_clean(&self) {
        let left: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("clipsieve-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }

    fn pid(&self, name: &str) -> i32 {
        pid(self.folder.path().join(name))
    }
}

fn pid(file: PathBuf) -> i32 {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let read = std::fs::read_to_string(&file).ok();
        if let Some(pid) = read.and_then(|text| text.parse().ok()) {
            return pid;
        }
        assert!(Instant::now() < until, "{} never came", file.display());
        sleep(5);
    }
}

fn kill(pid: i32) {
    // SAFETY: sends a signal to a process that this test started.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
}

fn wait_until_gone(pid: i32) {
    let until = Instant::now() + Duration::from_secs(5);
    // A zombie that nobody reaps yet has ended too.
    let lives = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !(stat.is_empty() || stat.contains(") Z "))
    };
    while lives() {
        assert!(Instant::now() < until, "process {pid} lives on");
        sleep(10);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn any_number_of_processes_gives_the_same_rows() {
    let alone = scene("rows", 1, 1).output();
    assert_eq!(alone.status.code(), Some(1), "{}", text(&alone.stderr));
    assert_eq!(text(&alone.stdout).lines().count(), 300);
    assert!(
        !text(&alone.stderr).contains("panicked at"),
        "{}",
        text(&alone.stderr)
    );
    for (processes, workers) in [(2, 1), (2, 2), (3, 1)] {
        let output = scene("rows", processes, workers).output();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        // Not a line of timely's, nor of the other processes.
        assert_eq!(
            text(&output.stdout),
            text(&alone.stdout),
            "{processes} processes"
        );
        // The run is over with process 0, whether the others came to say so or not.
        assert!(
            stderr.matches("this is not a result").count() < processes,
            "{stderr}"
        );
    }
}

fn a_killed_member_ends_the_run() {
    for victim in [1, 0] {
        let mut scene = scene("slow", 2, 1);
        let child = scene.command.spawn().unwrap();
        let (zero, one) = (scene.pid("process-0"), scene.pid("process-1"));
        sleep(300);
        let started = Instant::now();
        kill(if victim == 0 { zero } else { one });
        let output = child.wait_with_output().unwrap();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(EXIT_JOB_FAILED), "{stderr}");
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "{:?}",
            started.elapsed()
        );
        assert!(
            stderr.contains(&format!("error: process {victim} was killed")),
            "{stderr}"
        );
        for pid in [zero, one] {
            wait_until_gone(pid);
        }
        scene.is_clean();
    }
}

fn members_die_with_their_launcher() {
    let mut scene = scene("slow", 3, 1);
    let mut child = scene.command.spawn().unwrap();
    let members = [0, 1, 2].map(|process| scene.pid(&format!("process-{process}")));
    sleep(200);
    kill(scene.pid("launcher"));
    child.wait().unwrap();
    for pid in members {
        wait_until_gone(pid);
    }
}

fn a_broken_table_ends_all_processes() {
    for (processes, workers) in [(1, 2), (2, 2)] {
        let started = Instant::now();
        let output = scene("table", processes, workers).output();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(EXIT_JOB_FAILED), "{stderr}");
        assert!(
            stderr.contains("error: stage `rows`: the table ends in the middle"),
            "{stderr}"
        );
        assert_eq!(text(&output.stdout), "");
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "{:?}",
            started.elapsed()
        );
    }
}

fn a_member_that_cannot_warm_up_ends_the_run() {
    let output = scene("cold", 3, 1).output();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(EXIT_JOB_FAILED), "{stderr}");
    assert!(
        stderr.contains("error: stage `third`: no such device"),
        "{stderr}"
    );
    assert!(stderr.contains("process 1 failed"), "{stderr}");
}

fn a_panic_of_a_worker_ends_the_process() {
    for (processes, workers) in [(1, 1), (1, 2), (2, 2)] {
        let started = Instant::now();
        let output = scene("panic", processes, workers).output();
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(EXIT_JOB_FAILED), "{stderr}");
        assert!(stderr.contains("panicked: the log is full"), "{stderr}");
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "{:?}",
            started.elapsed()
        );
    }
}
