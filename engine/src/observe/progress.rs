use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;

/// How far the job is. Counted in process 0, where rows enter and leave.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    total: OnceLock<u64>,
    /// Rows that earlier attempts committed, with a result and with a failure.
    before: OnceLock<(u64, u64)>,
    read: AtomicU64,
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            total: OnceLock::new(),
            before: OnceLock::new(),
            read: AtomicU64::new(0),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }
}

/// [`Progress`] at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProgressSnapshot {
    /// Rows in all, if the source knows.
    pub total: Option<u64>,
    /// Rows that earlier attempts at this run committed; they count as read and as left too.
    pub before: u64,
    /// Rows that entered the graph.
    pub read: u64,
    /// Rows that entered and did not yet leave.
    pub in_flight: u64,
    /// Rows that left with a result.
    pub succeeded: u64,
    /// Rows that left with a failure.
    pub failed: u64,
    /// Time since the start.
    pub elapsed: Duration,
    /// Rows that left a second, over the whole run so far.
    pub rows_per_second: f64,
    /// Time to the end at that rate; `None` while it cannot be told.
    pub remaining: Option<Duration>,
}

impl ProgressSnapshot {
    /// Rows that left.
    pub fn done(&self) -> u64 {
        self.succeeded + self.failed
    }
}

impl Progress {
    pub(crate) fn set_total(&self, rows: u64) {
        // A second source would be a second run: the first total stands.
        let _ = self.total.set(rows);
    }

    pub(crate) fn set_before(&self, succeeded: u64, failed: u64) {
        // There is one ledger a run.
        let _ = self.before.set((succeeded, failed));
    }

    pub(crate) fn add_read(&self, rows: u64) {
        self.read.fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn add_done(&self, failed: bool) {
        let counter = if failed {
            &self.failed
        } else {
            &self.succeeded
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Rows that this attempt read.
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// The numbers as they are now.
    pub fn snapshot(&self) -> ProgressSnapshot {
        // Leaving rows first: a row that leaves in between must not make `in_flight` negative.
        let succeeded = self.succeeded.load(Ordering::Relaxed);
        let failed = self.failed.load(Ordering::Relaxed);
        let read = self.read.load(Ordering::Relaxed);
        let elapsed = self.started.elapsed();
        let done_here = succeeded + failed;
        let (succeeded_before, failed_before) = self.before.get().copied().unwrap_or_default();
        let before = succeeded_before + failed_before;
        let done = before + done_here;
        let total = self.total.get().copied();
        let rows_per_second = done_here as f64 / elapsed.as_secs_f64().max(1e-9);
        let remaining = total.filter(|_| done_here > 0).and_then(|total| {
            let seconds = total.saturating_sub(done) as f64 / rows_per_second;
            Duration::try_from_secs_f64(seconds).ok()
        });
        ProgressSnapshot {
            total,
            before,
            read: before + read,
            in_flight: read.saturating_sub(done_here),
            succeeded: succeeded_before + succeeded,
            failed: failed_before + failed,
            elapsed,
            rows_per_second,
            remaining,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_time_follows_the_rate() {
        let progress = Progress::default();
        assert_eq!(progress.snapshot().remaining, None, "nothing is known yet");
        progress.set_total(4);
        progress.add_read(3);
        progress.add_done(false);
        progress.add_done(true);
        std::thread::sleep(Duration::from_millis(20));
        let now = progress.snapshot();
        assert_eq!((now.done(), now.failed, now.in_flight), (2, 1, 1));
        let remaining = now.remaining.expect("total and rate are known");
        assert!((remaining.as_secs_f64() / now.elapsed.as_secs_f64() - 1.0).abs() < 0.01);
    }
}
