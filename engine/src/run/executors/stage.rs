use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Job, Pool, PoolThread, Task, io};
use crate::observe::{Observer, StageStats};
use crate::operator::{AsyncTransform, Deadline, ErrorKind, Failure, Gather, Transform};
use crate::plan::Retry;
use crate::run::abort::Abort;
use crate::run::board::Board;
use crate::run::budget::Budget;
use crate::run::clock::Clock;
use crate::run::{RunError, RunErrorKind};

/// How long a call may go on after its deadline before it is given up.
const GRACE: Duration = Duration::from_secs(2);

/// A stage's operator, as far as it is called for items.
pub(in crate::run) enum Work {
    Transform(Box<dyn Transform>),
    Async(Box<dyn AsyncTransform>),
    Gather(Box<dyn Gather>),
}

/// The executor that does a stage's work.
pub(in crate::run) enum Lane {
    Pool(Arc<Pool>),
    Io(tokio::runtime::Handle),
}

/// What all stages of a process share.
pub(in crate::run) struct Services {
    /// Of memory.
    pub budget: Arc<Budget>,
    /// Of disk.
    pub disk: Arc<Budget>,
    pub clock: Arc<Clock>,
    pub abort: Arc<Abort>,
    pub observer: Arc<Observer>,
    pub board: Arc<Board>,
    pub item_timeout: Duration,
    pub io_threads: usize,
    /// Threads of the `io` executor that are held by calls which were given up: futures that block.
    pub io_blocked: AtomicUsize,
}

/// One stage in this process: its operator, its places and who waits for them.
pub(in crate::run) struct StageRuntime {
    pub id: String,
    /// Its place in the plan's order; later stages are nearer to the sink.
    pub rank: usize,
    /// The ids of the stages it takes from, in port order.
    pub input_ids: Vec<String>,
    pub work: Work,
    pub lane: Lane,
    pub retry: Retry,
    pub timeout: Duration,
    /// Items it works on at once.
    pub concurrency: usize,
    /// Longest wait for a place, where places are model instances.
    pub acquire_timeout: Option<Duration>,
    pub services: Arc<Services>,
    pub places: Places,
}

/// Who has a place in a stage and who waits for one.
#[derive(Default)]
pub(in crate::run) struct Places(Mutex<State>);

#[derive(Default)]
struct State {
    /// Places taken: jobs handed to the executor and not yet through.
    taken: usize,
    waiting: VecDeque<Job>,
    running: HashMap<u64, Running>,
    calls: u64,
}

/// A call that goes on. Whoever takes it out of the table, the call itself or the watch over it, answers the job.
pub(super) struct Running {
    pub job: Job,
    pub started: Instant,
    deadline: Deadline,
    thread: Option<Arc<PoolThread>>,
    cancelled: Option<Instant>,
}

impl StageRuntime {
    fn state(&self) -> MutexGuard<'_, State> {
        let places = &self.places.0;
        places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::run) fn stats(&self) -> &StageStats {
        self.services.observer.stage(self.rank)
    }

    pub(in crate::run) fn gathers(&self) -> bool {
        matches!(self.work, Work::Gather(_))
    }

    /// Takes jobs; each is answered some time later.
    pub(in crate::run) fn submit(self: &Arc<Self>, jobs: &mut Vec<Job>) {
        let mut state = self.state();
        let free = self.concurrency.saturating_sub(state.taken);
        let now = free.min(jobs.len());
        state.taken += now;
        let placed: Vec<Job> = jobs.drain(..now).collect();
        state.waiting.extend(jobs.drain(..));
        drop(state);
        self.start(placed);
    }

    /// Takes a job back that waited for memory or for another attempt; it is older than those in line.
    pub(in crate::run) fn resume(self: &Arc<Self>, mut job: Job) {
        job.queued_at = Instant::now();
        let mut state = self.state();
        if state.taken < self.concurrency {
            state.taken += 1;
            drop(state);
            self.start(vec![job]);
        } else {
            state.waiting.push_front(job);
        }
    }

    fn start(self: &Arc<Self>, jobs: Vec<Job>) {
        match &self.lane {
            Lane::Pool(pool) => pool.push(
                self.rank,
                jobs.into_iter().map(|job| Task {
                    stage: Arc::clone(self),
                    job,
                }),
            ),
            Lane::Io(handle) => {
                for job in jobs {
                    handle.spawn(io::run(Arc::clone(self), job));
                }
            }
        }
    }

    /// Gives a place to the next in line, or frees it.
    pub(super) fn vacate(self: &Arc<Self>) {
        let mut state = self.state();
        match state.waiting.pop_front() {
            Some(job) => {
                drop(state);
                self.start(vec![job]);
            }
            None => state.taken -= 1,
        }
    }

    /// Enters a call into the table.
    pub(super) fn enter(
        &self,
        job: Job,
        deadline: Deadline,
        thread: Option<Arc<PoolThread>>,
    ) -> u64 {
        let mut state = self.state();
        let call = state.calls;
        state.calls += 1;
        let running = Running {
            job,
            started: Instant::now(),
            deadline,
            thread,
            cancelled: None,
        };
        state.running.insert(call, running);
        call
    }

    /// Takes a call that came back out of the table; `None` if it was given up and answered before.
    pub(super) fn leave(&self, call: u64) -> Option<Running> {
        self.state().running.remove(&call)
    }

    /// Gives the job a failed answer.
    pub(in crate::run) fn fail(&self, job: Job, kind: ErrorKind, error: String) {
        self.stats().fail();
        let attempts = job.attempt;
        tracing::error!(parent: job.span(), sequence = job.sequence(), stage = %self.id, attempts, "{error}");
        job.fail(Failure {
            stage: self.id.clone(),
            kind,
            error,
            attempts,
        });
    }

    /// What a job is told that ran into this deadline.
    pub(super) fn timeout_message(&self, job: &Job, started: Instant) -> String {
        let item = job.item().deadline.at();
        let own = started.checked_add(self.timeout);
        let of_item = !self.gathers() && item.is_some_and(|item| own.is_none_or(|own| item <= own));
        if of_item {
            let limit = self.services.item_timeout;
            format!("the item's time of {limit:?} (`limits.item_timeout`) was up")
        } else {
            format!(
                "did not answer within {:?} (the stage's `timeout`)",
                self.timeout
            )
        }
    }

    /// Cancels the calls whose deadline came, gives up those that went on all the same, and fails the jobs that waited
    /// too long for a place.
    pub(in crate::run) fn scan(self: &Arc<Self>, now: Instant) {
        let mut state = self.state();
        let mut lost = Vec::new();
        for (call, running) in &mut state.running {
            match running.cancelled {
                None if running.deadline.at().is_some_and(|at| at <= now) => {
                    running.deadline.cancel();
                    running.cancelled = Some(now);
                }
                Some(cancelled) if now >= cancelled + GRACE => lost.push(*call),
                _ => {}
            }
        }
        let lost: Vec<Running> = lost
            .into_iter()
            .filter_map(|call| state.running.remove(&call))
            .collect();
        let late: Vec<Job> = if state.waiting.is_empty() {
            Vec::new()
        } else {
            let late = |job: &mut Job| self.waited_too_long(job, now).is_some();
            let mut waiting: Vec<Job> = std::mem::take(&mut state.waiting).into();
            let late = waiting.extract_if(.., late).collect();
            state.waiting = waiting.into();
            late
        };
        drop(state);
        for running in lost {
            self.give_up(running);
        }
        for mut job in late {
            if let Some((kind, message)) = self.waited_too_long(&job, now) {
                // The attempt was not made.
                job.attempt -= 1;
                self.fail(job, kind, message);
            }
        }
    }

    fn waited_too_long(&self, job: &Job, now: Instant) -> Option<(ErrorKind, String)> {
        let waited = now.saturating_duration_since(job.queued_at);
        if let Some(limit) = self.acquire_timeout.filter(|limit| waited > *limit) {
            let message = format!(
                "no model instance was free within {limit:?} (`acquire_timeout`; the stage has {})",
                self.concurrency
            );
            return Some((ErrorKind::Exhausted, message));
        }
        self.out_of_time(job)
    }

    /// Whether it is too late to call the operator for this job. A gather has to make a row of late items too.
    pub(super) fn out_of_time(&self, job: &Job) -> Option<(ErrorKind, String)> {
        if self.gathers() || !job.item().deadline.expired() {
            return None;
        }
        let limit = self.services.item_timeout;
        let message = format!(
            "the item's time of {limit:?} (`limits.item_timeout`) was up before its turn came"
        );
        Some((ErrorKind::Timeout, message))
    }

    fn give_up(self: &Arc<Self>, running: Running) {
        let message = format!(
            "{}, and went on for {GRACE:?} after it was told to stop",
            self.timeout_message(&running.job, running.started)
        );
        self.stats().end(running.started.elapsed(), true);
        let sequence = running.job.sequence();
        match (&running.thread, &self.lane) {
            (Some(thread), Lane::Pool(pool)) => {
                pool.replace(thread, &self.id, &self.services.abort);
            }
            _ => self.io_thread_lost(),
        }
        self.services.budget.lose(sequence);
        self.services.disk.lose(sequence);
        self.fail(running.job, ErrorKind::Timeout, message);
        self.vacate();
    }

    /// A future went past its deadline without giving its thread back, so it blocks. When they all do, nothing on the
    /// `io` executor moves any more.
    fn io_thread_lost(&self) {
        let blocked = 1 + self.services.io_blocked.fetch_add(1, Ordering::SeqCst);
        if blocked >= self.services.io_threads {
            self.services.abort.with(RunError::at(
                RunErrorKind::Stuck,
                &self.id,
                format!("{blocked} calls block all threads of the io executor past their deadline; an operator on it must not block"),
            ));
        }
    }

    /// Stops all calls and forgets who waits: the job ends.
    pub(in crate::run) fn stop(&self) {
        let mut state = self.state();
        for running in state.running.values() {
            running.deadline.cancel();
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }

    /// Whether calls go on.
    pub(in crate::run) fn busy(&self) -> bool {
        !self.state().running.is_empty()
    }
}
