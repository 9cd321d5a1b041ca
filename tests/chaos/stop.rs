//! Runs that are told to end, and go on another day.

use std::time::{Duration, Instant};

use crate::job::{Job, row, send};

pub fn a_supervised_run_leaves_nothing_behind() {
    for processes in ["1", "2"] {
        let job = Job::new((0..50).map(row), "1ms").with(&["--processes", processes]);
        job.expect(0);
        assert_eq!(job.rows().len(), 50);
        job.is_clean();
        // Again is anew: nothing of the first run is left.
        job.expect(0);
        assert_eq!(job.rows().len(), 50);
    }
}

pub fn ctrl_c_finishes_what_is_in_flight() {
    for processes in ["1", "3"] {
        let job = Job::new((0..400).map(row), "100ms").with(&["--processes", processes]);
        let mut running = job.start();
        running.until("rows are done", |_| job.partial_bytes() > 0);
        // As a terminal does: all processes of the group get it.
        for member in running.members() {
            send(member, libc::SIGINT);
        }
        running.signal(libc::SIGINT);
        let told = Instant::now();
        let stderr = running.expect(75);
        assert!(told.elapsed() < Duration::from_secs(10), "{stderr}");
        assert!(stderr.contains("finishing what is in flight"), "{stderr}");
        assert!(!job.path("out.jsonl").exists());
        assert!(job.path("out.jsonl.partial").exists());
        assert_eq!(
            std::fs::read_dir(job.path("tmp"))
                .expect("a folder")
                .count(),
            0
        );
        let stderr = job.expect(0);
        assert!(stderr.contains("going on behind"), "{stderr}");
        assert_eq!(job.rows().len(), 400);
        job.is_clean();
    }
}

pub fn ctrl_c_twice_stops_at_once() {
    let job = Job::new((0..400).map(row), "1500ms").with(&["--processes", "2"]);
    let mut running = job.start();
    running.until("rows are done", |_| job.partial_bytes() > 0);
    running.signal(libc::SIGINT);
    std::thread::sleep(Duration::from_millis(100));
    running.signal(libc::SIGINT);
    let told = Instant::now();
    let stderr = running.expect(75);
    assert!(
        told.elapsed() < Duration::from_secs(6),
        "{:?} {stderr}",
        told.elapsed()
    );
    assert!(job.path("out.jsonl.partial").exists());
    assert_eq!(
        std::fs::read_dir(job.path("tmp"))
            .expect("a folder")
            .count(),
        0
    );
}

pub fn sigterm_has_a_grace_period() {
    // Rows in flight take longer than the grace period allows.
    let job = Job::new((0..400).map(row), "1900ms").with(&["--grace", "300ms"]);
    let mut running = job.start();
    running.until("rows are done", |_| job.partial_bytes() > 0);
    std::thread::sleep(Duration::from_millis(300));
    running.signal(libc::SIGTERM);
    let told = Instant::now();
    let stderr = running.expect(75);
    assert!(
        told.elapsed() < Duration::from_secs(5),
        "{:?} {stderr}",
        told.elapsed()
    );
    assert!(stderr.contains("told to end"), "{stderr}");
}

pub fn a_run_without_supervisor_stops_too() {
    let job = Job::new((0..200).map(row), "50ms").with(&["--unsupervised"]);
    let mut running = job.start();
    running.until("rows are done", |_| job.partial_bytes() > 0);
    assert!(running.members().is_empty());
    running.signal(libc::SIGINT);
    running.expect(75);
    job.expect(0);
    assert_eq!(job.rows().len(), 200);
    job.is_clean();
}

pub fn two_runs_on_one_ledger() {
    let job = Job::new((0..200).map(row), "50ms");
    let mut running = job.start();
    running.until("rows are done", |_| job.partial_bytes() > 0);
    let started = Instant::now();
    let stderr = job.expect(3);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(
        stderr.contains(&format!("is held by process {} on ", running.pid())),
        "{stderr}"
    );
    running.expect(0);
    assert_eq!(job.rows().len(), 200);
}

fn interrupted(job: &Job) {
    let mut running = job.start();
    running.until("rows are done", |_| job.partial_bytes() > 0);
    running.signal(libc::SIGINT);
    running.expect(75);
}

pub fn a_changed_pipeline_is_refused() {
    let job = Job::new((0..200).map(row), "30ms");
    interrupted(&job);
    let path = job.path("chaos.yaml");
    let text = std::fs::read_to_string(&path).expect("a pipeline");
    // What changes only the speed is no change.
    let faster = text.replace("items: 8", "items: 4");
    std::fs::write(&path, faster.replace("work: 30ms", "work: 31ms")).expect("a pipeline");
    let stderr = job.expect(2);
    assert!(
        stderr.contains("stages.toiled.with.work: 30ms became 31ms"),
        "{stderr}"
    );
    assert!(!stderr.contains("items"), "{stderr}");
    let job = job.with(&["--accept-changes"]);
    job.expect(0);
    assert_eq!(job.rows().len(), 200);
    job.is_clean();
}

pub fn a_changed_input_is_refused() {
    let mut job = Job::new((0..200).map(row), "30ms");
    interrupted(&job);
    let path = job.path("rows.jsonl");
    let text = std::fs::read_to_string(&path).expect("rows");
    std::fs::write(&path, text.lines().skip(1).collect::<Vec<_>>().join("\n")).expect("rows");
    let stderr = job.expect(3);
    assert!(stderr.contains("its input has changed"), "{stderr}");
    job = job.with(&["--fresh"]);
    job.expect(0);
    assert_eq!(job.rows().len(), 199);
    job.is_clean();
}

pub fn a_named_ledger_remembers() {
    let job = Job::new((0..20).map(row), "1ms").with(&["--ledger", "kept"]);
    job.expect(0);
    let stderr = job.expect(0);
    assert!(
        stderr.contains("this run is finished (20 rows)"),
        "{stderr}"
    );
    let job = job.with(&["--fresh"]);
    let stderr = job.expect(0);
    assert!(!stderr.contains("finished"), "{stderr}");
    assert_eq!(job.rows().len(), 20);
}

pub fn a_killed_supervisor_takes_all_with_it() {
    let job = Job::new((0..300).map(row), "50ms").with(&["--processes", "2"]);
    let mut running = job.start();
    // The ledger's record of a part comes after the part: when there is a second, the first is recorded.
    let mut first = 0;
    running.until("a part is recorded", |_| {
        let now = job.partial_bytes();
        first = if first == 0 { now } else { first };
        now > first
    });
    let members = running.members();
    assert_eq!(members.len(), 2);
    running.signal(libc::SIGKILL);
    drop(running);
    // The ledger of a dead holder is free at once, and what its processes left is swept.
    let stderr = job.expect(0);
    assert!(stderr.contains("going on behind"), "{stderr}");
    assert_eq!(job.rows().len(), 300);
    job.is_clean();
}
