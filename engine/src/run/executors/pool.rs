use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{BatchLine, Job, StageRuntime};
use crate::lock::lock;
use crate::run::abort::Abort;
use crate::run::panics::{self, EXECUTOR_THREAD};
use crate::run::{RunError, RunErrorKind};

/// What a thread of a pool does.
pub(in crate::run) enum Task {
    /// A job with a place in its stage.
    Call(Arc<StageRuntime>, Job),
    /// A batch from a line, with an instance of what is behind it.
    Serve(Arc<BatchLine>),
}

/// A fixed number of threads that do the tasks of one or many stages, the stage nearest to the sink first, and the tasks of
/// one stage in order.
///
/// A thread whose call was given up is no longer the pool's: another one takes its place, and it ends by itself if the
/// call ever comes back. Threads lost so are bounded: beyond [`Pool::spare`] the job ends with an error.
pub(in crate::run) struct Pool {
    name: String,
    width: usize,
    tokio: tokio::runtime::Handle,
    state: Mutex<State>,
    ready: Condvar,
}

struct State {
    /// Tasks by the rank of their stage.
    lanes: Vec<VecDeque<Task>>,
    tasks: usize,
    idle: usize,
    stopped: bool,
    lost: usize,
    /// Threads started so far, those that were lost included.
    started: u64,
    threads: Vec<(PoolThread, JoinHandle<()>)>,
}

/// Which thread of a pool a call runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) struct PoolThread(u64);

impl Pool {
    /// A pool of so many threads, for stages of ranks below `ranks`.
    pub fn new(
        name: &str,
        width: usize,
        ranks: usize,
        tokio: tokio::runtime::Handle,
        abort: &Arc<Abort>,
    ) -> std::io::Result<Arc<Self>> {
        let pool = Arc::new(Self {
            name: name.to_owned(),
            width: width.max(1),
            tokio,
            state: Mutex::new(State {
                lanes: (0..ranks).map(|_| VecDeque::new()).collect(),
                tasks: 0,
                idle: 0,
                stopped: false,
                lost: 0,
                started: 0,
                threads: Vec::new(),
            }),
            ready: Condvar::new(),
        });
        for _ in 0..pool.width {
            pool.add_thread(abort)?;
        }
        Ok(pool)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Threads that may be lost to calls that do not come back.
    fn spare(&self) -> usize {
        (8 * self.width).max(32)
    }

    fn add_thread(self: &Arc<Self>, abort: &Arc<Abort>) -> std::io::Result<()> {
        let thread = {
            let mut state = self.state();
            state.started += 1;
            PoolThread(state.started)
        };
        let handle = std::thread::Builder::new()
            .name(format!("{EXECUTOR_THREAD}{}", self.name))
            .spawn({
                let (pool, abort) = (Arc::clone(self), Arc::clone(abort));
                move || pool.work(thread, &abort)
            })?;
        self.state().threads.push((thread, handle));
        Ok(())
    }

    /// Takes tasks of the stage of this rank.
    pub fn push(&self, rank: usize, tasks: impl IntoIterator<Item = Task>) {
        let mut state = self.state();
        if state.stopped {
            return;
        }
        let before = state.lanes[rank].len();
        state.lanes[rank].extend(tasks);
        let new = state.lanes[rank].len() - before;
        state.tasks += new;
        let wake = new.min(state.idle);
        drop(state);
        for _ in 0..wake {
            self.ready.notify_one();
        }
    }

    fn next(&self) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.stopped {
                return None;
            }
            if state.tasks > 0
                && let Some(task) = state.lanes.iter_mut().rev().find_map(VecDeque::pop_front)
            {
                state.tasks -= 1;
                return Some(task);
            }
            state.idle += 1;
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn work(&self, thread: PoolThread, abort: &Abort) {
        // Blocking faces of asynchronous libraries want to find a runtime.
        let _entered = self.tokio.enter();
        while let Some(task) = self.next() {
            let done = panics::catch(move || match task {
                Task::Call(stage, job) => stage.run_on(job, thread),
                Task::Serve(line) => line.serve(thread),
            });
            match done {
                Ok(true) => {}
                Ok(false) => {
                    self.state().lost -= 1;
                    return;
                }
                // Operators' panics are caught further inside: this one is ours, and the item is lost.
                Err(panic) => abort.with(RunError::new(RunErrorKind::Internal, panic)),
            }
        }
    }

    /// Whether the thread was not given up.
    pub fn owns(&self, thread: PoolThread) -> bool {
        let state = self.state();
        let mut threads = state.threads.iter();
        threads.any(|(own, _)| *own == thread)
    }

    /// A call of this thread was given up: another thread takes its place in the pool, if none did yet.
    pub fn replace(self: &Arc<Self>, thread: PoolThread, stage: &str, abort: &Arc<Abort>) {
        let mut state = self.state();
        let threads = state.threads.len();
        state.threads.retain(|(other, _)| *other != thread);
        if state.threads.len() == threads {
            return;
        }
        state.lost += 1;
        let lost = state.lost;
        drop(state);
        if lost > self.spare() {
            abort.with(RunError::at(
                RunErrorKind::Stuck,
                stage,
                format!(
                    "{lost} calls went past their deadline and never came back; each holds a thread"
                ),
            ));
        } else if let Err(error) = self.add_thread(abort) {
            abort.with(RunError::at(
                RunErrorKind::Stuck,
                stage,
                format!(
                    "a call holds its thread past its deadline, and no other thread can be started: {error}"
                ),
            ));
        }
    }

    /// Ends the threads after what they do now, and waits for them until then.
    pub fn stop(&self, until: Instant) {
        let mut state = self.state();
        state.stopped = true;
        let tasks: Vec<_> = state.lanes.iter_mut().map(std::mem::take).collect();
        let threads = std::mem::take(&mut state.threads);
        drop(state);
        self.ready.notify_all();
        drop(tasks);
        for (_, handle) in threads {
            while !handle.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            if handle.is_finished() {
                // A panic of ours was reported when it happened.
                let _ = handle.join();
            }
        }
    }
}
