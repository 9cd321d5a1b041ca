//! Rows into the dataflow.
//!
//! The table is read on a thread of its own, a little ahead. On worker 0 the source operator takes a row when three
//! things are there: the row, a credit of some worker, and room in the open epochs. It sends the row, with its
//! sequence, to the worker whose credit it took. Every `limits.epoch_rows` rows the timestamp goes up by one.
//!
//! Rows that a ledger has, and rows that are not wanted, are read and left out on the reading thread; the others keep the
//! position they have in the input. What bounds the open epochs is their rows: at most `limits.open_epochs` full epochs'
//! worth of rows are in flight or waiting to be committed.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, TryRecvError, bounded};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::activate::SyncActivator;

use super::abort::Abort;
use super::credits::Account;
use super::message::{Entry, Epoch};
use super::panics::{self, EXECUTOR_THREAD};
use super::{RunError, RunErrorKind};
use crate::ledger::{RowSet, Standing, Verdict};
use crate::observe::Observer;
use crate::operator::{ErrorKind, Failure, Row, Source, SourceRow};
use crate::plan::Limits;

/// Rows read ahead of the graph.
const AHEAD: usize = 256;

/// A way to wake an operator that does not exist yet.
#[derive(Default)]
pub(super) struct Waker(OnceLock<SyncActivator>);

impl Waker {
    pub fn set(&self, activator: SyncActivator) {
        // One dataflow a run: it is set once.
        let _ = self.0.set(activator);
    }

    pub fn wake(&self) {
        if let Some(activator) = self.0.get() {
            // Fails only when the worker is gone.
            let _ = activator.activate();
        }
    }
}

/// How many rows are committed; what the source looks at to keep the open epochs bounded.
pub(super) struct Gate {
    committed: AtomicU64,
    room: u64,
    closed: AtomicBool,
    pub source: Waker,
}

impl Gate {
    pub fn new(limits: &Limits) -> Self {
        let room = limits.epoch_rows.saturating_mul(limits.open_epochs).max(1);
        Self {
            committed: AtomicU64::new(0),
            room: room as u64,
            closed: AtomicBool::new(false),
            source: Waker::default(),
        }
    }

    /// So many rows more are committed.
    pub fn commit(&self, rows: u64) {
        self.committed.fetch_add(rows, Ordering::SeqCst);
        self.source.wake();
    }

    /// No further row is to go in: what is in flight is finished, and that is all.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.source.wake();
    }

    /// Whether [`Gate::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// How many rows may be on their way at once.
    pub fn room(&self) -> u64 {
        self.room
    }

    fn open(&self, read: u64) -> bool {
        read - self.committed.load(Ordering::SeqCst) < self.room
    }
}

/// A row, its position in the input, and what is wrong with it.
struct Read {
    sequence: u64,
    row: Row,
    problem: Option<Failure>,
}

/// Which rows of the input are to be worked on.
#[derive(Default)]
pub(super) struct Wanted {
    /// Rows that are committed already.
    pub done: RowSet,
    /// Only these, if it says so.
    pub only: Option<BTreeSet<u64>>,
    /// Rows that fail without being worked on.
    pub doomed: HashMap<u64, Failure>,
}

/// The rows as the reading thread delivers them; `None` is the end.
pub(super) struct Feed {
    rows: Receiver<Option<Read>>,
    hungry: Arc<AtomicBool>,
}

/// Starts the thread that reads the table.
pub(super) fn read(
    id: &str,
    mut source: Box<dyn Source>,
    mut wanted: Wanted,
    tokio: tokio::runtime::Handle,
    gate: &Arc<Gate>,
    abort: &Arc<Abort>,
) -> std::io::Result<(Feed, JoinHandle<()>)> {
    let (sender, rows) = bounded(AHEAD);
    let hungry = Arc::new(AtomicBool::new(false));
    let feed = Feed {
        rows,
        hungry: Arc::clone(&hungry),
    };
    let (id, gate, abort) = (id.to_owned(), Arc::clone(gate), Arc::clone(abort));
    let handle = std::thread::Builder::new()
        .name(format!("{EXECUTOR_THREAD}read"))
        .spawn(move || {
            let _entered = tokio.enter();
            let mut sequence = 0;
            loop {
                let read = panics::catch(|| wanted.next(&mut *source, &mut sequence, &id, &gate));
                let row = match read {
                    Ok(Ok(row)) => row,
                    Ok(Err(message)) | Err(message) => {
                        abort.with(RunError::at(RunErrorKind::Source, &id, message));
                        return;
                    }
                };
                let last = row.is_none();
                if sender.send(row).is_err() {
                    return;
                }
                if hungry.swap(false, Ordering::SeqCst) {
                    gate.source.wake();
                }
                if last {
                    return;
                }
            }
        })?;
    Ok((feed, handle))
}

impl Wanted {
    /// Leaves out what is committed, and fails what must not be worked on.
    pub fn go_on_from(&mut self, standing: &Standing) {
        self.done = standing.rows.clone();
        let failure = |verdict: &Verdict| Failure {
            stage: verdict.stage.clone(),
            kind: ErrorKind::Crash,
            error: format!("killed its process: {}", verdict.how),
            attempts: verdict.deaths,
        };
        let verdicts = standing.verdicts.values();
        self.doomed = verdicts
            .map(|verdict| (verdict.row, failure(verdict)))
            .collect();
    }

    /// The next row that is to be worked on.
    fn next(
        &mut self,
        source: &mut dyn Source,
        sequence: &mut u64,
        source_id: &str,
        gate: &Gate,
    ) -> Result<Option<Read>, String> {
        loop {
            let past = |only: &BTreeSet<u64>| only.last().is_none_or(|last| last < sequence);
            if gate.is_closed() || self.only.as_ref().is_some_and(past) {
                return Ok(None);
            }
            let Some(SourceRow { row, problem }) =
                source.next_row().map_err(|error| error.full_message())?
            else {
                return Ok(None);
            };
            let here = *sequence;
            *sequence += 1;
            let wanted = |only: &BTreeSet<u64>| only.contains(&here);
            if self.done.contains(here) || !self.only.as_ref().is_none_or(wanted) {
                continue;
            }
            let problem = problem.map(|error| Failure {
                stage: source_id.to_owned(),
                kind: error.kind,
                error: error.full_message(),
                attempts: 1,
            });
            return Ok(Some(Read {
                sequence: here,
                row,
                problem: problem.or_else(|| self.doomed.remove(&here)),
            }));
        }
    }
}

impl Feed {
    /// The next row, if there is one now: `Err` if not, `Ok(None)` at the end.
    fn take(&self) -> Result<Option<Read>, TryRecvError> {
        let row = self.rows.try_recv();
        if !matches!(row, Err(TryRecvError::Empty)) {
            return row;
        }
        // Say that we are hungry and look again: a row that came in between wakes nobody.
        self.hungry.store(true, Ordering::SeqCst);
        self.rows.try_recv()
    }
}

/// What the source operator needs on worker 0.
pub(super) struct Intake {
    pub feed: Feed,
    pub account: Rc<RefCell<Account>>,
    pub gate: Arc<Gate>,
    pub observer: Arc<Observer>,
    pub epoch_rows: u64,
}

/// Builds the source operator; it has an intake on worker 0 only.
pub(super) fn build<'scope>(
    scope: Scope<'scope, Epoch>,
    id: &str,
    intake: Option<Intake>,
) -> StreamVec<'scope, Epoch, Entry> {
    let mut builder = OperatorBuilder::new(id.to_owned(), scope);
    let (output, stream) = builder.new_output::<Vec<Entry>>();
    let mut output = OutputBuilder::from(output);
    let address = builder.operator_info().address;
    let activator = scope.activator_for(address.clone());
    if let Some(intake) = &intake {
        let waker = scope.worker().sync_activator_for(address.to_vec());
        intake.gate.source.set(waker);
        intake.account.borrow_mut().wake(activator.clone());
    }
    builder.build(move |mut capabilities| {
        let mut state = intake.and_then(|intake| Some(Pump::new(intake, capabilities.pop()?)));
        move |_frontiers| {
            let Some(pump) = &mut state else { return };
            let mut output = output.activate();
            let waits = pump.run(|capability, entries| {
                output.session(capability).give_iterator(entries.drain(..));
            });
            match waits {
                Waits::Others => {}
                Waits::Nothing => state = None,
            }
        }
    });
    stream
}

/// What has to happen before the source can go on.
enum Waits {
    /// A row, a credit or a commit.
    Others,
    /// Nothing any more: all rows are in.
    Nothing,
}

struct Pump {
    intake: Intake,
    capability: Capability<Epoch>,
    taken: u64,
    in_epoch: u64,
    entries: Vec<Entry>,
}

impl Pump {
    fn new(intake: Intake, capability: Capability<Epoch>) -> Self {
        Self {
            intake,
            capability,
            taken: 0,
            in_epoch: 0,
            entries: Vec::new(),
        }
    }

    fn run(&mut self, mut send: impl FnMut(&Capability<Epoch>, &mut Vec<Entry>)) -> Waits {
        let before = self.taken;
        let waits = loop {
            if self.in_epoch == self.intake.epoch_rows {
                self.close_epoch(&mut send);
            }
            if self.intake.gate.is_closed() {
                break Waits::Nothing;
            }
            if !self.intake.gate.open(self.taken) {
                break Waits::Others;
            }
            let Some(worker) = self.intake.account.borrow_mut().take() else {
                break Waits::Others;
            };
            let read = match self.intake.feed.take() {
                Ok(Some(read)) => read,
                Ok(None) => break Waits::Nothing,
                Err(TryRecvError::Empty) => {
                    self.intake.account.borrow_mut().put_back(worker);
                    break Waits::Others;
                }
                // The reading thread gave up, and ended the job.
                Err(TryRecvError::Disconnected) => break Waits::Others,
            };
            self.entries.push(Entry {
                worker,
                sequence: read.sequence,
                epoch: *self.capability.time(),
                row: read.row,
                problem: read.problem,
            });
            self.taken += 1;
            self.in_epoch += 1;
        };
        if !self.entries.is_empty() {
            send(&self.capability, &mut self.entries);
        }
        if self.taken > before {
            let taken = self.taken - before;
            self.intake.observer.progress.add_read(taken);
        }
        waits
    }

    fn close_epoch(&mut self, send: &mut impl FnMut(&Capability<Epoch>, &mut Vec<Entry>)) {
        if !self.entries.is_empty() {
            send(&self.capability, &mut self.entries);
        }
        let next = self.capability.time() + 1;
        self.capability.downgrade(&next);
        self.in_epoch = 0;
    }
}
