//! Credits: the right to have an item in flight.
//!
//! Each worker has `limits.items` of them. The source keeps the account: it takes one when it sends a row to a worker,
//! and picks the worker that has most left, so that a worker with slow videos gets fewer rows. The credit travels inside
//! the item's ticket and drops with it, on whatever thread that happens. The worker's purse gathers what came back
//! and tells its `enter` operator, which sends a note to worker 0; the note's operator and the source run on the same
//! thread there and share the account. So the way back is an ordinary stream, and the dataflow has no cycle.
//!
//! The first note of a worker carries all its credits and says that the worker is warm. The source waits for all of
//! those, so no row enters before every process is ready.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::Operator;
use timely::scheduling::activate::{Activator, SyncActivator};

use super::message::{CreditNote, Epoch};

/// Credits that came back to a worker and are not yet told to the source.
pub(super) struct Purse {
    returned: AtomicUsize,
    activator: SyncActivator,
}

impl Purse {
    pub fn new(activator: SyncActivator) -> Arc<Self> {
        Arc::new(Self {
            returned: AtomicUsize::new(0),
            activator,
        })
    }

    /// Empties the purse.
    pub fn take(&self) -> usize {
        self.returned.swap(0, Ordering::SeqCst)
    }
}

/// One credit; goes back to its purse when it is dropped.
pub(super) struct Credit(pub Arc<Purse>);

impl Drop for Credit {
    fn drop(&mut self) {
        if self.0.returned.fetch_add(1, Ordering::SeqCst) == 0 {
            // Fails only when the worker is gone, and then nobody needs credits.
            let _ = self.0.activator.activate();
        }
    }
}

/// The source's account of the credits of all workers. Lives on worker 0's thread.
pub(super) struct Account {
    free: Vec<usize>,
    ready: Vec<bool>,
    next: usize,
    source: Option<Activator>,
}

impl Account {
    pub fn new(workers: usize) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            free: vec![0; workers],
            ready: vec![false; workers],
            next: 0,
            source: None,
        }))
    }

    /// Whom to wake when credits come back.
    pub fn wake(&mut self, source: Activator) {
        self.source = Some(source);
    }

    fn add(&mut self, note: &CreditNote) {
        self.free[note.worker] += note.count;
        self.ready[note.worker] = true;
    }

    /// Takes a credit of the worker that has most left; workers with equally many take turns.
    pub fn take(&mut self) -> Option<usize> {
        if !self.ready.iter().all(|ready| *ready) {
            return None;
        }
        let workers = self.free.len();
        let worker = (0..workers)
            .map(|step| (self.next + step) % workers)
            .max_by_key(|worker| {
                // `max_by_key` takes the last of equals; the first in turn is to win.
                let turn = (worker + workers - self.next) % workers;
                (self.free[*worker], workers - turn)
            })
            .filter(|worker| self.free[*worker] > 0)?;
        self.free[worker] -= 1;
        self.next = (worker + 1) % workers;
        Some(worker)
    }

    /// Gives back a credit that was not needed after all.
    pub fn put_back(&mut self, worker: usize) {
        self.free[worker] += 1;
    }
}

/// Brings the notes of all workers to the account of worker 0.
pub(super) fn collect(notes: StreamVec<'_, Epoch, CreditNote>, account: Rc<RefCell<Account>>) {
    notes.sink(
        Exchange::new(|_: &CreditNote| 0),
        "credits",
        move |(input, _)| {
            let mut any = false;
            input.for_each(|_, notes| {
                let mut account = account.borrow_mut();
                for note in notes.drain(..) {
                    account.add(&note);
                    any = true;
                }
            });
            if any && let Some(source) = &account.borrow().source {
                source.activate();
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_where_most_credits_are_and_only_when_all_are_ready() {
        let account = Account::new(2);
        let mut account = account.borrow_mut();
        account.add(&CreditNote {
            worker: 0,
            count: 2,
        });
        assert_eq!(account.take(), None, "worker 1 is not ready");
        account.add(&CreditNote {
            worker: 1,
            count: 4,
        });
        let order: Vec<_> = std::iter::from_fn(|| account.take()).collect();
        assert_eq!(order, [1, 1, 0, 1, 0, 1]);
        account.put_back(0);
        assert_eq!(account.take(), Some(0));
    }
}
