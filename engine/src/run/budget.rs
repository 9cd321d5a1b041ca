//! The budgets of a process: bytes of memory (`limits.memory`) and of local disk (`limits.disk`).
//!
//! An item asks for memory before a stage works on it, and keeps what it got until it has left the graph. It asks for disk
//! in the middle of a call, when it knows how large a file is, and keeps that as long as the file. Grants are given in the
//! order in which they were asked for, except that items which hold something of the budget already come before items that
//! hold nothing: they are nearer to giving it back. Nobody waits with a thread in hand: a job that waits for memory is a
//! value in a list here, a call that waits for disk is a future that sleeps.
//!
//! Since items ask more than once, two of them can each hold what the other one needs. The rule against that:
//!
//! * An item whose grants together would exceed the budget fails; it could never run, not even alone.
//! * When every item that holds disk also waits for disk, the youngest of them fails, since a disk that is full is full.
//! * When every item that holds memory also waits for memory, none of them will ever give any back. Then, and only
//!   then, the oldest of them (the lowest sequence) gets what it asks for beyond the budget. From then on one holder does not wait, so
//!   this happens to one item at a time, and the memory granted stays under twice the budget, and mostly under the budget
//!   plus one item's last grant. That holds as long as no call is given up.
//! * A holder with a call that was given up (it may never come back) counts as used memory, but nobody hopes for it: it
//!   does not keep the rule above from applying. Each such holder can take the memory granted further beyond the budget.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::executors::{Job, StageRuntime};
use crate::lock::lock;
use crate::observe::ByteGauge;
use crate::operator::{DiskBudget, ErrorKind, OperatorError};

/// What a budget is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resource {
    Memory,
    Disk,
}

impl Resource {
    fn name(self) -> &'static str {
        match self {
            Resource::Memory => "memory",
            Resource::Disk => "disk",
        }
    }
}

/// One budget of the process.
pub(super) struct Budget {
    resource: Resource,
    limit: u64,
    state: Mutex<State>,
    gauge: ByteGauge,
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
    who: Who,
}

/// Who waits.
enum Who {
    /// A job between two calls of its stage.
    Job(Arc<StageRuntime>, Job),
    /// A call that goes on.
    Call(oneshot::Sender<Result<Grant, String>>),
}

impl Waiter {
    /// Whether nobody waits any longer: the call was stopped.
    fn is_gone(&self) -> bool {
        matches!(&self.who, Who::Call(sender) if sender.is_closed())
    }

    fn is_late(&self) -> bool {
        matches!(&self.who, Who::Job(_, job) if job.item().deadline.expired())
    }
}

/// Bytes that an item was granted; given back on drop.
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
    pub fn memory(limit: u64, gauge: &ByteGauge) -> Arc<Self> {
        Self::of(Resource::Memory, limit, gauge)
    }

    pub fn disk(limit: u64, gauge: &ByteGauge) -> Arc<Self> {
        Self::of(Resource::Disk, limit, gauge)
    }

    fn of(resource: Resource, limit: u64, gauge: &ByteGauge) -> Arc<Self> {
        Arc::new(Self {
            resource,
            limit,
            state: Mutex::default(),
            gauge: gauge.clone(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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
            "the item needs {bytes} bytes of {0}{held}, and {1} are allowed; raise `limits.{0}`",
            self.resource.name(),
            self.limit
        ))
    }

    fn grant(self: &Arc<Self>, state: &mut State, sequence: u64, bytes: u64) -> Grant {
        state.used += bytes;
        self.gauge.set(state.used);
        let holder = state.holders.entry(sequence).or_default();
        holder.bytes += bytes;
        holder.grants += 1;
        Grant {
            budget: Arc::clone(self),
            sequence,
            bytes,
        }
    }

    /// Asks for bytes for an item.
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
        let sequence = job.sequence();
        self.line_up(sequence, bytes, Who::Job(Arc::clone(stage), job));
    }

    fn line_up(self: &Arc<Self>, sequence: u64, bytes: u64, who: Who) {
        let mut state = self.state();
        let order = state.asked;
        state.asked += 1;
        state.waiters.push(Waiter {
            order,
            sequence,
            bytes,
            who,
        });
        let ready = self.pump(&mut state);
        drop(state);
        settle(ready);
    }

    /// Takes out all that can go on. The caller settles them after it let go of the lock: jobs and grants must not be
    /// dropped under it.
    fn pump(self: &Arc<Self>, state: &mut State) -> Vec<Ready> {
        let mut ready = Vec::new();
        state.waiters.retain(|waiter| !waiter.is_gone());
        while let Some((next, may_go)) = self.next(state) {
            let waiter = state.waiters.remove(next);
            ready.push(match self.refusal(state, waiter.sequence, waiter.bytes) {
                Some(why) => Ready::Never(waiter, why),
                None if !may_go => Ready::Never(waiter, self.jammed()),
                None => {
                    let grant = self.grant(state, waiter.sequence, waiter.bytes);
                    Ready::Go(waiter, grant)
                }
            });
        }
        ready
    }

    fn jammed(&self) -> String {
        let name = self.resource.name();
        format!(
            "all {} bytes of {name} are held by items that wait for more of it; raise `limits.{name}`, or lower `limits.items`",
            self.limit
        )
    }

    /// The waiter that need not wait any longer, and whether it may go on.
    fn next(&self, state: &State) -> Option<(usize, bool)> {
        let new = |waiter: &Waiter| !state.holders.contains_key(&waiter.sequence);
        let first = |key: &dyn Fn(&Waiter) -> (bool, u64)| {
            let waiters = state.waiters.iter().enumerate();
            waiters.min_by_key(|(_, waiter)| key(waiter))
        };
        let (index, waiter) = first(&|waiter| (new(waiter), waiter.order))?;
        if state.used + waiter.bytes <= self.limit
            || self.refusal(state, waiter.sequence, waiter.bytes).is_some()
        {
            return Some((index, true));
        }
        let hope = state.holders.iter().any(|(sequence, holder)| {
            let waits = |waiter: &Waiter| waiter.sequence == *sequence;
            holder.lost == 0 && !state.waiters.iter().any(waits)
        });
        if hope {
            return None;
        }
        match self.resource {
            Resource::Memory => {
                first(&|waiter| (new(waiter), waiter.sequence)).map(|(index, _)| (index, true))
            }
            // With nobody to hope for, only calls that never come back hold all of it: then those in line have to go.
            Resource::Disk => first(&|waiter| (new(waiter), u64::MAX - waiter.sequence))
                .map(|(index, _)| (index, false)),
        }
    }

    /// A call of this item was given up: nobody is to hope for what the item holds.
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
            .extract_if(.., |waiter| waiter.is_late())
            .collect();
        let ready = self.pump(&mut state);
        drop(state);
        for waiter in expired {
            let message = format!(
                "the item's time (`limits.item_timeout`) was up while it waited for {} bytes of {1}; raise `limits.{1}`, or lower `limits.items`",
                waiter.bytes,
                self.resource.name()
            );
            waiter.refuse(message);
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
            Ready::Go(waiter, grant) => match waiter.who {
                Who::Job(stage, job) => stage.resume(job.with_grant(grant)),
                // If the call is gone, the grant drops here and goes back.
                Who::Call(sender) => drop(sender.send(Ok(grant))),
            },
            Ready::Never(waiter, why) => waiter.refuse(why),
        }
    }
}

impl Waiter {
    fn refuse(self, why: String) {
        match self.who {
            Who::Job(stage, job) => stage.fail(job, ErrorKind::Exhausted, why),
            // If the call is gone, nobody needs to know.
            Who::Call(sender) => drop(sender.send(Err(why))),
        }
    }
}

/// What operators see of the disk's budget.
pub(super) struct DiskGrants(pub Arc<Budget>);

impl DiskBudget for DiskGrants {
    fn reserve(
        &self,
        sequence: u64,
        bytes: u64,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send + Sync>, OperatorError>> {
        let budget = Arc::clone(&self.0);
        async move {
            let exhausted = |why| OperatorError::new(ErrorKind::Exhausted, why);
            let grant = match budget.ask(sequence, bytes) {
                Ask::Granted(grant) => grant,
                Ask::Never(why) => return Err(exhausted(why)),
                Ask::Wait => {
                    let (sender, receiver) = oneshot::channel();
                    budget.line_up(sequence, bytes, Who::Call(sender));
                    match receiver.await {
                        Ok(granted) => granted.map_err(exhausted)?,
                        Err(_) => return Err(exhausted("the run ends".to_owned())),
                    }
                }
            };
            Ok(Box::new(grant) as Box<dyn Any + Send + Sync>)
        }
        .boxed()
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.used -= self.bytes;
        self.budget.gauge.set(state.used);
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    type Space = Result<Box<dyn Any + Send + Sync>, OperatorError>;

    /// Polls once, without anybody to be woken.
    fn poll(waiting: &mut BoxFuture<'static, Space>) -> Option<Space> {
        waiting.now_or_never()
    }

    fn disk(limit: u64) -> (DiskGrants, ByteGauge) {
        let gauge = ByteGauge::default();
        (DiskGrants(Budget::disk(limit, &gauge)), gauge)
    }

    #[test]
    fn disk_is_granted_up_to_its_limit_and_waited_for() {
        let (disk, gauge) = disk(100);
        let first = poll(&mut disk.reserve(1, 70)).unwrap().unwrap();
        let mut second = disk.reserve(2, 40);
        let mut third = disk.reserve(3, 30);
        assert!(poll(&mut second).is_none() && poll(&mut third).is_none());
        assert_eq!(
            gauge.used_bytes(),
            70,
            "whoever came later does not overtake"
        );
        drop(first);
        let second = poll(&mut second).unwrap().unwrap();
        let third = poll(&mut third).unwrap().unwrap();
        assert_eq!(gauge.used_bytes(), 70);
        drop((second, third));
        assert_eq!((gauge.used_bytes(), gauge.peak_bytes()), (0, 70));
        let error = poll(&mut disk.reserve(4, 101)).unwrap().err().unwrap();
        assert_eq!(error.kind, ErrorKind::Exhausted);
        assert!(error.message.contains("`limits.disk`"), "{error}");
    }

    #[test]
    fn whoever_gave_up_waiting_holds_up_nobody() {
        let (disk, gauge) = disk(100);
        let first = poll(&mut disk.reserve(1, 50)).unwrap().unwrap();
        let mut large = disk.reserve(2, 90);
        let mut small = disk.reserve(3, 50);
        assert!(poll(&mut large).is_none() && poll(&mut small).is_none());
        drop(large);
        drop(first);
        let small = poll(&mut small).unwrap().unwrap();
        assert_eq!(gauge.used_bytes(), 50);
        drop(small);
        assert_eq!(gauge.used_bytes(), 0);
    }

    #[test]
    fn items_that_wait_for_each_other_do_not_wait_for_ever_nor_overfill_the_disk() {
        let (disk, gauge) = disk(100);
        let older = poll(&mut disk.reserve(1, 40)).unwrap().unwrap();
        let younger = poll(&mut disk.reserve(2, 60)).unwrap().unwrap();
        let mut more_of_older = disk.reserve(1, 30);
        assert!(poll(&mut more_of_older).is_none());
        let error = poll(&mut disk.reserve(2, 30)).unwrap().err().unwrap();
        assert_eq!(error.kind, ErrorKind::Exhausted, "{error}");
        assert!(
            poll(&mut more_of_older).is_none(),
            "the younger is still there"
        );
        drop(younger);
        let more_of_older = poll(&mut more_of_older).unwrap().unwrap();
        assert_eq!((gauge.used_bytes(), gauge.peak_bytes()), (70, 100));
        drop((older, more_of_older));
    }
}
