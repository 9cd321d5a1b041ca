//! Rows into the dataflow.
//!
//! On worker 0 the source operator takes a row when three things are there: the row (`feed.rs`), a credit of some worker
//! (`credits.rs`), and room in the open epochs (`gate.rs`). It sends the row, with its sequence, to the worker whose credit
//! it took. Every `limits.epoch_rows` rows the timestamp goes up by one.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crossbeam::channel::TryRecvError;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};

use super::credits::Account;
use super::feed::Feed;
use super::gate::Gate;
use super::message::{Entry, Epoch};
use crate::observe::Observer;

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
            if !self.intake.gate.has_room(self.taken) {
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
