//! The memory budget of a process: `limits.memory`.
//!
//! An item asks for memory before a stage works on it, and keeps what it got until it has left the graph. Grants are
//! given in the order in which they were asked for, except that items which hold memory already come before items that
//! hold none: they are nearer to giving it back. Nobody waits with a thread or a stage's place in hand; a waiting job is
//! a value in a list here.
//!
//! Since items ask more than once, two of them can each hold what the other one needs. The rule against that:
//!
//! * An item whose grants together would exceed the budget fails; it could never run, not even alone.
//! * When every item that holds memory also waits for memory, none of them will ever give any back. Then, and only
//!   then, the oldest of them (the lowest sequence) gets what it asks for beyond the budget. From then on one holder does not wait, so
//!   this happens to one item at a time, and the memory granted stays under twice the budget, and mostly under the budget
//!   plus one item's last grant.
//! * A holder with a call that was given up (it may never come back) counts as used memory, but nobody hopes for it: it
//!   does not keep the rule above from applying.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::executors::{Job, StageRuntime};
use crate::observe::Observer;
use crate::operator::ErrorKind;

/// The process's memory budget.
pub(super) struct Budget {
    limit: u64,
    state: Mutex<State>,
    observer: Arc<Observer>,
}

#[derive(Default)]
struct State {
    used: u64,
    asked: u64,
    holders: HashMap<u64, Holder>,
    waiters: Vec<Waiter>,
}

#[derive(Default)]
struct Holder {
    bytes: u64,
    grants: usize,
    /// Calls of this item that were given up and did not come back.
    lost: usize,
}

struct Waiter {
    order: u64,
    sequence: u64,
    bytes: u64,
    stage: Arc<StageRuntime>,
    job: Job,
}

/// Memory that an item was granted; given back on drop.
pub(super) struct Grant {
    budget: Arc<Budget>,
    sequence: u64,
    bytes: u64,
}

/// What became of a request.
pub(super) enum Ask {
    /// Granted.
    Granted(Grant),
    /// It has to wait.
    Wait,
    /// It can never be granted, and why.
    Never(String),
}

/// A waiter that need not wait any longer.
enum Ready {
    Go(Waiter, Grant),
    Never(Waiter, String),
}

impl Budget {
    pub fn new(limit: u64, observer: Arc<Observer>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            state: Mutex::default(),
            observer,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refusal(&self, state: &State, sequence: u64, bytes: u64) -> Option<String> {
        let held = state.holders.get(&sequence).map_or(0, |held| held.bytes);
        let total = held.saturating_add(bytes);
        if total <= self.limit {
            return None;
        }
        let held = match held {
            0 => String::new(),
            held => format!(" beside the {held} bytes that it holds"),
        };
        Some(format!(
            "the item needs {bytes} bytes of memory{held}, and {} are allowed; raise `limits.memory`",
            self.limit
        ))
    }

    fn grant(self: &Arc<Self>, state: &mut State, sequence: u64, bytes: u64) -> Grant {
        state.used += bytes;
        self.observer.memory.set(state.used);
        let holder = state.holders.entry(sequence).or_default();
        holder.bytes += bytes;
        holder.grants += 1;
        Grant {
            budget: Arc::clone(self),
            sequence,
            bytes,
        }
    }

    /// Asks for memory for an item.
    pub fn ask(self: &Arc<Self>, sequence: u64, bytes: u64) -> Ask {
        let mut state = self.state();
        if let Some(why) = self.refusal(&state, sequence, bytes) {
            return Ask::Never(why);
        }
        if state.waiters.is_empty() && state.used + bytes <= self.limit {
            return Ask::Granted(self.grant(&mut state, sequence, bytes));
        }
        Ask::Wait
    }

    /// Puts a job into the list of those that wait; it is resumed with its grant, or failed.
    pub fn wait(self: &Arc<Self>, stage: &Arc<StageRuntime>, job: Job, bytes: u64) {
        let mut state = self.state();
        let order = state.asked;
        state.asked += 1;
        state.waiters.push(Waiter {
            order,
            sequence: job.sequence(),
            bytes,
            stage: Arc::clone(stage),
            job,
        });
        let ready = self.pump(&mut state);
        drop(state);
        settle(ready);
    }

    /// Takes out all that can go on. The caller settles them after it let go of the lock: jobs and grants must not be
    /// dropped under it.
    fn pump(self: &Arc<Self>, state: &mut State) -> Vec<Ready> {
        let mut ready = Vec::new();
        while let Some(next) = self.next(state) {
            let waiter = state.waiters.remove(next);
            ready.push(match self.refusal(state, waiter.sequence, waiter.bytes) {
                Some(why) => Ready::Never(waiter, why),
                None => {
                    let grant = self.grant(state, waiter.sequence, waiter.bytes);
                    Ready::Go(waiter, grant)
                }
            });
        }
        ready
    }

    /// The waiter that may go on now.
    fn next(&self, state: &State) -> Option<usize> {
        let new = |waiter: &Waiter| !state.holders.contains_key(&waiter.sequence);
        let first = |key: &dyn Fn(&Waiter) -> (bool, u64)| {
            let waiters = state.waiters.iter().enumerate();
            waiters.min_by_key(|(_, waiter)| key(waiter))
        };
        let (index, waiter) = first(&|waiter| (new(waiter), waiter.order))?;
        if state.used + waiter.bytes <= self.limit
            || self.refusal(state, waiter.sequence, waiter.bytes).is_some()
        {
            return Some(index);
        }
        let hope = state.holders.iter().any(|(sequence, holder)| {
            let waits = |waiter: &Waiter| waiter.sequence == *sequence;
            holder.lost == 0 && !state.waiters.iter().any(waits)
        });
        if hope {
            return None;
        }
        first(&|waiter| (new(waiter), waiter.sequence)).map(|(index, _)| index)
    }

    /// A call of this item was given up: nobody is to hope for its memory.
    pub fn lose(self: &Arc<Self>, sequence: u64) {
        let mut state = self.state();
        if let Some(holder) = state.holders.get_mut(&sequence) {
            holder.lost += 1;
        }
        let ready = self.pump(&mut state);
        drop(state);
        settle(ready);
    }

    /// Fails the waiting jobs whose items ran out of time.
    pub fn scan(self: &Arc<Self>) {
        let mut state = self.state();
        if state.waiters.is_empty() {
            return;
        }
        let expired: Vec<Waiter> = state
            .waiters
            .extract_if(.., |waiter| waiter.job.item().deadline.expired())
            .collect();
        let ready = self.pump(&mut state);
        drop(state);
        for waiter in expired {
            let message = format!(
                "the item's time (`limits.item_timeout`) was up while it waited for {} bytes of memory; raise `limits.memory`, or lower `limits.items`",
                waiter.bytes
            );
            waiter.stage.fail(waiter.job, ErrorKind::Exhausted, message);
        }
        settle(ready);
    }

    /// Forgets all waiting jobs: the job ends.
    pub fn clear(&self) {
        let waiters = std::mem::take(&mut self.state().waiters);
        drop(waiters);
    }
}

fn settle(ready: Vec<Ready>) {
    for ready in ready {
        match ready {
            Ready::Go(waiter, grant) => waiter.stage.resume(waiter.job.with_grant(grant)),
            Ready::Never(waiter, why) => {
                waiter.stage.fail(waiter.job, ErrorKind::Exhausted, why);
            }
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.used -= self.bytes;
        self.budget.observer.memory.set(state.used);
        if let Some(holder) = state.holders.get_mut(&self.sequence) {
            holder.bytes -= self.bytes;
            holder.grants -= 1;
            if holder.grants == 0 {
                state.holders.remove(&self.sequence);
            }
        }
        let ready = self.budget.pump(&mut state);
        drop(state);
        settle(ready);
    }
}
