use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Tally;

/// What one stage did so far in this process.
#[derive(Debug, Default)]
pub struct StageStats {
    id: String,
    op: &'static str,
    values: AtomicU64,
    skipped: AtomicU64,
    failed: AtomicU64,
    passed_on: AtomicU64,
    attempts: AtomicU64,
    running: AtomicU64,
    busy_nanos: AtomicU64,
    queued_nanos: AtomicU64,
    longest_nanos: AtomicU64,
    tally: Tally,
}

/// [`StageStats`] at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSnapshot {
    /// The stage's id.
    pub id: String,
    /// Its operator.
    pub op: String,
    /// Answers that are values.
    pub values: u64,
    /// Items that this stage itself skipped.
    pub skipped: u64,
    /// Items that failed for good in this stage.
    pub failed: u64,
    /// Skips and failures of earlier stages that it passed on without a call.
    pub passed_on: u64,
    /// Calls made, first attempts included.
    pub attempts: u64,
    /// Calls that run now.
    pub running: u64,
    /// Time spent in calls, added up over threads.
    pub busy: Duration,
    /// Time that items waited for a place in this stage, added up over items.
    pub queued: Duration,
    /// The longest call.
    pub longest: Duration,
    /// What the stage counted for itself.
    pub tally: Vec<(String, u64)>,
}

impl StageSnapshot {
    /// Adds what the same stage did in another process.
    pub(crate) fn add(&mut self, other: &StageSnapshot) {
        self.values += other.values;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.passed_on += other.passed_on;
        self.attempts += other.attempts;
        self.running += other.running;
        self.busy += other.busy;
        self.queued += other.queued;
        self.longest = self.longest.max(other.longest);
        for (name, count) in &other.tally {
            match self.tally.iter_mut().find(|(known, _)| known == name) {
                Some((_, total)) => *total += count,
                None => self.tally.push((name.clone(), *count)),
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl StageStats {
    pub(crate) fn new(id: &str, op: &'static str) -> Self {
        Self {
            id: id.to_owned(),
            op,
            ..Self::default()
        }
    }

    /// What the stage counts for itself.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn value(&self) {
        self.values.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn skip(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fail(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn pass_on(&self) {
        self.passed_on.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn begin(&self, queued: Duration) {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.queued_nanos
            .fetch_add(nanos(queued), Ordering::Relaxed);
    }

    /// A call ended or was given up. `attempt` is false where the call only asked what the work will need.
    pub(crate) fn end(&self, busy: Duration, attempt: bool) {
        self.running.fetch_sub(1, Ordering::Relaxed);
        self.attempts
            .fetch_add(u64::from(attempt), Ordering::Relaxed);
        self.busy_nanos.fetch_add(nanos(busy), Ordering::Relaxed);
        self.longest_nanos.fetch_max(nanos(busy), Ordering::Relaxed);
    }

    /// The numbers as they are now.
    pub fn snapshot(&self) -> StageSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StageSnapshot {
            id: self.id.clone(),
            op: self.op.to_owned(),
            values: load(&self.values),
            skipped: load(&self.skipped),
            failed: load(&self.failed),
            passed_on: load(&self.passed_on),
            attempts: load(&self.attempts),
            running: load(&self.running),
            busy: Duration::from_nanos(load(&self.busy_nanos)),
            queued: Duration::from_nanos(load(&self.queued_nanos)),
            longest: Duration::from_nanos(load(&self.longest_nanos)),
            tally: self.tally.counts(),
        }
    }
}
