//! The switch that ends a job early.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::Thread;

use super::RunError;
use crate::lock::lock;

/// Set once, by whoever finds that the job cannot go on; the timely workers look at it in every step and leave.
#[derive(Default)]
pub(super) struct Abort {
    set: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    error: Option<RunError>,
    workers: Vec<Thread>,
}

impl Abort {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Ends the job with this error, unless another one ended it before.
    pub fn with(&self, error: RunError) {
        let mut state = self.state();
        state.error.get_or_insert(error);
        self.set.store(true, Ordering::SeqCst);
        for worker in state.workers.drain(..) {
            worker.unpark();
        }
    }

    /// Whether the job is to end.
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::SeqCst)
    }

    /// The error that ended the job.
    pub fn error(&self) -> Option<RunError> {
        self.state().error.clone()
    }

    /// The calling thread is a worker: it wants to be woken when the job is to end.
    pub fn register_worker(&self) {
        let mut state = self.state();
        if self.is_set() {
            std::thread::current().unpark();
        }
        state.workers.push(std::thread::current());
    }
}
