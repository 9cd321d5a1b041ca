use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::table::Table;
use super::{BatchLine, Job, Pool, PoolThread, Task, io};
use crate::lock::lock;
use crate::observe::{Observer, StageStats};
use crate::operator::{
    AsyncTransform, Batched, Batcher, Deadline, ErrorKind, Failure, Gather, Transform,
};
use crate::plan::Retry;
use crate::run::abort::Abort;
use crate::run::board::Board;
use crate::run::budget::Budget;
use crate::run::clock::Clock;
use crate::run::voice::Voice;
use crate::run::{RunError, RunErrorKind};

/// How long a call may go on after its deadline before it is given up.
const GRACE: Duration = Duration::from_secs(2);

/// A stage's operator, as far as it is called for items.
pub(in crate::run) enum Work {
    Transform(Box<dyn Transform>),
    Async(Box<dyn AsyncTransform>),
    Gather(Box<dyn Gather>),
    Batched(Box<dyn Batched>, Arc<dyn Batcher>),
}

/// The executor that does a stage's work.
pub(in crate::run) enum Lane {
    Pool(Arc<Pool>),
    Io(tokio::runtime::Handle),
    Batch(Arc<BatchLine>),
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
    /// The stages whose work it does, if they differ.
    pub parts: Vec<String>,
    pub work: Work,
    pub lane: Lane,
    pub retry: Retry,
    pub timeout: Duration,
    /// Items it works on at once.
    pub concurrency: usize,
    /// Longest wait for a place of the first in line, where places are model instances.
    pub acquire_timeout: Option<Duration>,
    pub services: Arc<Services>,
    pub places: Places,
    pub voice: Voice,
}

/// Who has a place in a stage and who waits for one.
#[derive(Default)]
pub(in crate::run) struct Places(Mutex<State>);

#[derive(Default)]
struct State {
    /// Places taken: jobs handed to the executor and not yet through.
    taken: usize,
    waiting: VecDeque<Job>,
    /// When a place was last given to somebody in line.
    moved: Option<Instant>,
    running: Table<Running>,
    /// Deadlines of calls that are over, for calls to come.
    spare: Vec<Deadline>,
}

/// Why it is too late for an attempt.
pub(super) type Late = (ErrorKind, String);

/// A call that goes on. Whoever takes it out of the table, the call itself or the watch over it, answers the job.
pub(super) struct Running {
    pub job: Job,
    pub started: Instant,
    deadline: Deadline,
    thread: Option<PoolThread>,
    cancelled: Option<Instant>,
}

impl StageRuntime {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.places.0)
    }

    pub(in crate::run) fn stats(&self) -> &StageStats {
        self.services.observer.stage(self.rank)
    }

    pub(in crate::run) fn gathers(&self) -> bool {
        matches!(self.work, Work::Gather(_))
    }

    /// Takes jobs; each is answered some time later.
    pub(in crate::run) fn submit(self: &Arc<Self>, jobs: &mut Vec<Job>) {
        if let Lane::Batch(line) = &self.lane {
            line.add(self, jobs.drain(..), false);
            return;
        }
        let mut state = self.state();
        let free = self.concurrency.saturating_sub(state.taken);
        let now = free.min(jobs.len());
        state.taken += now;
        state.waiting.extend(jobs.drain(now..));
        drop(state);
        self.start(jobs.drain(..));
    }

    /// Takes a job back that waited for memory or for another attempt; it is older than those in line.
    pub(in crate::run) fn resume(self: &Arc<Self>, mut job: Job) {
        job.queued_at = Instant::now();
        if let Lane::Batch(line) = &self.lane {
            line.add(self, [job], true);
            return;
        }
        let mut state = self.state();
        if state.taken < self.concurrency {
            state.taken += 1;
            drop(state);
            self.start([job]);
        } else {
            state.waiting.push_front(job);
        }
    }

    fn start(self: &Arc<Self>, jobs: impl IntoIterator<Item = Job>) {
        let mut jobs = jobs.into_iter().peekable();
        if jobs.peek().is_none() {
            return;
        }
        match &self.lane {
            Lane::Pool(pool) => {
                pool.push(self.rank, jobs.map(|job| Task::Call(Arc::clone(self), job)))
            }
            Lane::Io(handle) => {
                for job in jobs {
                    handle.spawn(io::run(Arc::clone(self), job));
                }
            }
            Lane::Batch(line) => line.add(self, jobs, false),
        }
    }

    /// Gives a place to the next in line, or frees it.
    pub(super) fn vacate(self: &Arc<Self>) {
        let mut state = self.state();
        let next = self.pass_on(&mut state);
        drop(state);
        self.start(next);
    }

    fn pass_on(&self, state: &mut State) -> Option<Job> {
        if matches!(self.lane, Lane::Batch(_)) {
            return None;
        }
        let next = state.waiting.pop_front();
        match next {
            Some(_) if self.acquire_timeout.is_some() => state.moved = Some(Instant::now()),
            Some(_) => {}
            None => state.taken -= 1,
        }
        next
    }

    /// Enters a call into the table that has to be over by `until`: its number and its deadline.
    pub(super) fn enter(
        &self,
        job: Job,
        started: Instant,
        until: Option<Instant>,
        thread: Option<PoolThread>,
    ) -> (u64, Deadline) {
        let mut state = self.state();
        let deadline = Deadline::at_or_never(until, state.spare.pop());
        let running = Running {
            job,
            started,
            deadline: deadline.clone(),
            thread,
            cancelled: None,
        };
        (state.running.insert(running), deadline)
    }

    /// Says on which thread a call goes on, if on any now.
    pub(super) fn hold(&self, call: u64, thread: Option<PoolThread>) {
        if let Some(running) = self.state().running.get_mut(call) {
            running.thread = thread;
        }
    }

    /// Takes a call that came back out of the table; `None` if it was given up and answered before.
    /// Its place goes to the next in line at once, who need not wait for the answer to be told.
    pub(super) fn leave(self: &Arc<Self>, call: u64) -> Option<(Job, Instant)> {
        let mut state = self.state();
        let Running {
            job,
            started,
            deadline,
            ..
        } = state.running.remove(call)?;
        // As many as there are calls at once.
        state.spare.extend(deadline.into_spare());
        let next = self.pass_on(&mut state);
        drop(state);
        self.start(next);
        Some((job, started))
    }

    /// Gives the job a failed answer.
    pub(in crate::run) fn fail(&self, job: Job, kind: ErrorKind, error: String) {
        let attempts = job.attempt;
        self.tell_failure(&job, &self.id, &error);
        job.fail(Failure {
            stage: self.id.clone(),
            kind,
            error,
            attempts,
        });
    }

    /// Counts and tells that an item failed for good, in this stage or in one whose work it does.
    pub(super) fn tell_failure(&self, job: &Job, stage: &str, error: &str) {
        self.stats().fail();
        let tell = || self.voice.failed(job.item(), stage, job.attempt, error);
        job.span().in_scope(tell);
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
        let lost = overdue(&mut state, now);
        let late = self.late(&mut state, now);
        drop(state);
        for running in lost {
            self.give_up(running);
        }
        for (job, found) in late {
            self.turn_away(job, found);
        }
    }

    /// Takes those out of the line who waited too long in it.
    fn late(&self, state: &mut State, now: Instant) -> Vec<(Job, Late)> {
        let mut late = Vec::new();
        // Only the first waits for an instance; the others wait for those before them.
        if let Some(first) = state.waiting.front() {
            let since = state.moved.unwrap_or(first.queued_at).max(first.queued_at);
            if let Some(found) = self.no_instance(since, now) {
                late.extend(state.waiting.pop_front().map(|job| (job, found)));
                state.moved = Some(now);
            }
        }
        for job in std::mem::take(&mut state.waiting) {
            match self.out_of_time(&job, now) {
                Some(found) => late.push((job, found)),
                None => state.waiting.push_back(job),
            }
        }
        late
    }

    /// Fails a job whose attempt was not made.
    pub(super) fn turn_away(&self, mut job: Job, (kind, message): Late) {
        job.attempt -= 1;
        self.fail(job, kind, message);
    }

    /// Whether who has been first in line since then has waited too long for a model instance.
    pub(super) fn no_instance(&self, since: Instant, now: Instant) -> Option<Late> {
        let waited = now.saturating_duration_since(since);
        let limit = self.acquire_timeout.filter(|limit| waited > *limit)?;
        let message = format!(
            "no model instance was free within {limit:?} (`acquire_timeout`; the stage has {})",
            self.concurrency
        );
        Some((ErrorKind::Exhausted, message))
    }

    /// Whether it is too late to call the operator for this job. A gather has to make a row of late items too.
    pub(super) fn out_of_time(&self, job: &Job, now: Instant) -> Option<Late> {
        if self.gathers() || !job.item().deadline.expired_at(now) {
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
        match (running.thread, &self.lane) {
            (Some(thread), Lane::Pool(pool)) => {
                pool.replace(thread, &self.id, &self.services.abort);
            }
            (Some(thread), Lane::Batch(line)) => {
                line.pool.replace(thread, &self.id, &self.services.abort);
            }
            // It is in line between two batches, and keeps nothing from anybody.
            (None, Lane::Batch(_)) => {}
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
        for (_, running) in state.running.iter_mut() {
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

/// Cancels the calls whose deadline came, and takes those out of the table that went on all the same.
fn overdue(state: &mut State, now: Instant) -> Vec<Running> {
    let mut lost = Vec::new();
    for (call, running) in state.running.iter_mut() {
        match running.cancelled {
            None if running.deadline.at().is_some_and(|at| at <= now) => {
                running.deadline.cancel();
                running.cancelled = Some(now);
            }
            Some(cancelled) if now >= cancelled + GRACE => lost.push(call),
            _ => {}
        }
    }
    let lost = lost.into_iter();
    lost.filter_map(|call| state.running.remove(call)).collect()
}
