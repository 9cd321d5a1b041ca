//! One thread that minds the time: it starts calls whose pause before another attempt is over, and looks several times
//! a second for calls and waiting items that ran out of time.
//!
//! Looking costs a walk over the calls that run, of which there are few. Setting a timer for each call would cost every
//! call something, and nearly all calls end long before their deadline.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::executors::{BatchLine, Job, StageRuntime};
use crate::lock::lock;

/// How often the clock looks for what ran out of time.
const TICK: Duration = Duration::from_millis(20);

/// Jobs that wait for a point in time.
#[derive(Default)]
pub(super) struct Clock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    delayed: BinaryHeap<Reverse<Delayed>>,
    count: u64,
    stopped: bool,
}

struct Delayed {
    at: Instant,
    order: u64,
    due: Due,
}

/// What is to be done then.
enum Due {
    /// Another attempt.
    Resume(Arc<StageRuntime>, Job),
    /// A batch as it is.
    Wake(Arc<BatchLine>),
}

impl Delayed {
    fn key(&self) -> (Instant, u64) {
        (self.at, self.order)
    }
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Clock {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Resumes the job after this pause.
    pub fn after(&self, pause: Duration, stage: &Arc<StageRuntime>, job: Job) {
        self.add(Instant::now() + pause, Due::Resume(Arc::clone(stage), job));
    }

    /// Wakes the line then.
    pub fn wake_at(&self, at: Instant, line: &Arc<BatchLine>) {
        self.add(at, Due::Wake(Arc::clone(line)));
    }

    fn add(&self, at: Instant, due: Due) {
        let mut state = self.state();
        let order = state.count;
        state.count += 1;
        state.delayed.push(Reverse(Delayed { at, order, due }));
        drop(state);
        self.changed.notify_one();
    }

    /// Ends [`Clock::run`] and forgets the jobs that wait.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        let forgotten = std::mem::take(&mut state.delayed);
        drop(state);
        self.changed.notify_one();
        drop(forgotten);
    }

    /// Minds the time until [`Clock::stop`]; calls `each` whenever it looks.
    pub fn run(
        &self,
        stages: &[Arc<StageRuntime>],
        lines: &[Arc<BatchLine>],
        budget: &Arc<Budget>,
        each: impl Fn(),
    ) {
        let mut look = Instant::now() + TICK;
        let mut state = self.state();
        while !state.stopped {
            let now = Instant::now();
            let mut due = Vec::new();
            while state
                .delayed
                .peek()
                .is_some_and(|Reverse(delayed)| delayed.at <= now)
            {
                due.extend(state.delayed.pop());
            }
            if !due.is_empty() || now >= look {
                drop(state);
                for Reverse(delayed) in due {
                    match delayed.due {
                        Due::Resume(stage, job) => stage.resume(job),
                        Due::Wake(line) => line.wake(),
                    }
                }
                if now >= look {
                    for stage in stages {
                        stage.scan(now);
                    }
                    for line in lines {
                        line.scan(now);
                    }
                    budget.scan();
                    each();
                    look = now + TICK;
                }
                state = self.state();
                continue;
            }
            let wake = match state.delayed.peek() {
                Some(Reverse(delayed)) => look.min(delayed.at),
                None => look,
            };
            state = self
                .changed
                .wait_timeout(state, wake.saturating_duration_since(now))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
