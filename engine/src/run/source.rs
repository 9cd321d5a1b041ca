//! Rows into the dataflow.
//!
//! The table is read on a thread of its own, a little ahead. On worker 0 the source operator takes a row when three
//! things are there: the row, a credit of some worker, and room in the open epochs. It sends the row, with its
//! sequence, to the worker whose credit it took. Every `limits.epoch_rows` rows the timestamp goes up by one.
//!
//! Two rules keep slow input from delaying what is done:
//!
//! * An epoch that has rows is closed when no row came for [`PATIENCE`], so they can be committed.
//! * Since such epochs may be short, what bounds the open ones is their rows: at most `limits.open_epochs` full epochs'
//!   worth of rows are in flight or waiting to be committed.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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
use crate::observe::Observer;
use crate::operator::{ErrorKind, Row, Source, SourceRow};
use crate::plan::Limits;

/// Rows read ahead of the graph.
const AHEAD: usize = 256;
/// Longest time that an epoch with rows stays open only because no further row comes.
const PATIENCE: Duration = Duration::from_secs(1);

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

/// How many rows each sink has committed; what the source looks at to keep the open epochs bounded.
pub(super) struct Gate {
    committed: Vec<AtomicU64>,
    room: u64,
    pub source: Waker,
}

impl Gate {
    pub fn new(sinks: usize, limits: &Limits) -> Self {
        let room = limits.epoch_rows.saturating_mul(limits.open_epochs).max(1);
        Self {
            committed: (0..sinks).map(|_| AtomicU64::new(0)).collect(),
            room: room as u64,
            source: Waker::default(),
        }
    }

    /// A sink has committed so many rows more.
    pub fn commit(&self, sink: usize, rows: u64) {
        self.committed[sink].fetch_add(rows, Ordering::SeqCst);
        self.source.wake();
    }

    fn open(&self, read: u64) -> bool {
        let load = |rows: &AtomicU64| rows.load(Ordering::SeqCst);
        let committed = self.committed.iter().map(load).min().unwrap_or(read);
        read - committed < self.room
    }
}

/// A row, and what is wrong with it.
type Read = (Row, Option<(ErrorKind, String)>);

/// The rows as the reading thread delivers them; `None` is the end.
pub(super) struct Feed {
    rows: Receiver<Option<Read>>,
    hungry: Arc<AtomicBool>,
}

/// Starts the thread that reads the table.
pub(super) fn read(
    id: &str,
    mut source: Box<dyn Source>,
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
            loop {
                let read = panics::catch(|| match source.next_row() {
                    Ok(row) => Ok(row.map(put_in_words)),
                    Err(error) => Err(error.full_message()),
                });
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

fn put_in_words(SourceRow { row, problem }: SourceRow) -> Read {
    (row, problem.map(|error| (error.kind, error.full_message())))
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
                Waits::RowOrTime(time) => activator.activate_after(time),
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
    /// Any of these, or so much time.
    RowOrTime(Duration),
    /// Nothing any more: all rows are in.
    Nothing,
}

struct Pump {
    intake: Intake,
    capability: Capability<Epoch>,
    sequence: u64,
    in_epoch: u64,
    last_row: Instant,
    /// When the operator will be woken to see whether to close the epoch.
    alarm: Option<Instant>,
    entries: Vec<Entry>,
}

impl Pump {
    fn new(intake: Intake, capability: Capability<Epoch>) -> Self {
        Self {
            intake,
            capability,
            sequence: 0,
            in_epoch: 0,
            last_row: Instant::now(),
            alarm: None,
            entries: Vec::new(),
        }
    }

    fn run(&mut self, mut send: impl FnMut(&Capability<Epoch>, &mut Vec<Entry>)) -> Waits {
        let before = self.sequence;
        let waits = loop {
            if self.in_epoch == self.intake.epoch_rows {
                self.close_epoch(&mut send);
            }
            if !self.intake.gate.open(self.sequence) {
                break Waits::Others;
            }
            let Some(worker) = self.intake.account.borrow_mut().take() else {
                break Waits::Others;
            };
            let (row, problem) = match self.intake.feed.take() {
                Ok(Some(row)) => row,
                Ok(None) => break Waits::Nothing,
                Err(TryRecvError::Empty) => {
                    self.intake.account.borrow_mut().put_back(worker);
                    break self.wait_for_row(&mut send);
                }
                // The reading thread gave up, and ended the job.
                Err(TryRecvError::Disconnected) => break Waits::Others,
            };
            self.entries.push(Entry {
                worker,
                sequence: self.sequence,
                epoch: *self.capability.time(),
                row,
                problem,
            });
            self.sequence += 1;
            self.in_epoch += 1;
        };
        if !self.entries.is_empty() {
            send(&self.capability, &mut self.entries);
        }
        if self.sequence > before {
            self.last_row = Instant::now();
            self.intake
                .observer
                .progress
                .add_read(self.sequence - before);
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

    fn wait_for_row(
        &mut self,
        send: &mut impl FnMut(&Capability<Epoch>, &mut Vec<Entry>),
    ) -> Waits {
        if self.in_epoch == 0 {
            return Waits::Others;
        }
        let now = Instant::now();
        let close_at = if self.entries.is_empty() {
            self.last_row + PATIENCE
        } else {
            now + PATIENCE
        };
        if close_at <= now {
            self.close_epoch(send);
            return Waits::Others;
        }
        if self.alarm.is_some_and(|alarm| alarm > now) {
            return Waits::Others;
        }
        self.alarm = Some(close_at);
        Waits::RowOrTime(close_at - now)
    }
}
