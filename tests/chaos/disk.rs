//! Disks that are full for a while, or slow.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::job::{Job, Running, row};

/// A file system of its own in memory, of this size; unmounted on drop.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={bytes}"),
                "clipsieve-chaos",
            ])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// The table and the ledger are on a disk that fills up: the run stands still, and goes on when there is room again.
pub fn a_full_disk_is_waited_out() {
    let Some(disk) = Small::mount(128 << 10) else {
        println!("  skipped: a small file system cannot be mounted here (that needs root)");
        return;
    };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![0; 64 << 10]).expect("ballast");
    let rows = 300;
    let set = format!("output={}/out.jsonl", disk.path().display());
    let mut job = Job::new((0..rows).map(row), "5ms").with(&["--set", &set]);
    job.table = disk.path().join("out.jsonl");
    let mut running = job.start();
    // What did not fit is taken away again, so the disk itself never shows for long that it is full.
    running.until("the disk is full", |running| {
        running.stderr().contains("No space left on device")
    });
    std::thread::sleep(Duration::from_millis(700));
    assert!(!running.is_over(), "{}", running.expect(0));
    std::fs::remove_file(&ballast).expect("room is made");
    // Room for the rest: a table is larger than what it was full with.
    let more = Command::new("mount")
        .args(["-o", "remount,size=4m"])
        .arg(disk.path())
        .status();
    assert!(more.is_ok_and(|status| status.success()));
    let stderr = running.expect(0);
    assert!(stderr.contains("trying again"), "{stderr}");
    assert_eq!(job.rows().len() as u64, rows);
}

/// Every `fsync` takes a third of a second: the run takes its time, and loses and doubles nothing.
pub fn a_slow_disk_slows_and_no_more() {
    let rows = 120;
    let job = Job::new((0..rows).map(row), "5ms").with(&["--processes", "2"]);
    let inner = job.command();
    let log = tempfile::NamedTempFile::new().expect("a file");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "--seccomp-bpf", "-e", "trace=fsync,fdatasync"])
        .args(["-e", "inject=fsync,fdatasync:delay_exit=300000", "-o"])
        .arg(log.path())
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(job.folder.path());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let can = Command::new("strace")
        .args(["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "true"])
        .output();
    if !can.is_ok_and(|output| output.status.success()) {
        println!("  skipped: strace is not here, or may not trace");
        return;
    }
    let started = Instant::now();
    let stderr = Running::of(command).expect(0);
    let waited = std::fs::read_to_string(log.path()).expect("what strace saw");
    let waited = waited.lines().filter(|line| line.contains("sync(")).count();
    println!(
        "  {rows} rows in {:.1?}, with {waited} waits for the disk",
        started.elapsed()
    );
    assert!(waited >= 4, "the disk was not slow: {waited}");
    // A slow disk gets larger parts, not as many as there are rows.
    assert!(waited < rows as usize, "{waited} waits for {rows} rows");
    assert_eq!(job.rows().len() as u64, rows, "{stderr}");
    job.is_clean();
}
