//! Rows out of the dataflow.
//!
//! On every worker `leave` turns the last stage's answers into deliveries and lets go of the items. They are exchanged to
//! worker 0, where `gather` keeps them by epoch. When the frontier passes an epoch all its rows are there: they are sorted and
//! handed to the sink's thread, which commits epoch after epoch. At the end the rows are counted; the sink is only finished if
//! none is missing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, unbounded};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;

use super::abort::Abort;
use super::message::{Delivery, Epoch, Message};
use super::panics::{self, EXECUTOR_THREAD};
use super::reaper::Reaper;
use super::source::Gate;
use super::taps;
use super::{RunError, RunErrorKind};
use crate::observe::Observer;
use crate::operator::{Answer, Delivered, Document, ErrorKind, Failure, OperatorError, Row, Sink};
use crate::plan::Tap;

/// What the sink's thread is told.
pub(super) enum Parcel {
    /// Commit these rows, all of one epoch, in input order.
    Commit(Vec<Delivered>),
    /// All rows are committed: finish.
    Finish,
}

/// What happens on worker 0 with the rows of one sink.
pub(super) struct Outlet {
    pub id: String,
    pub parcels: Sender<Parcel>,
    pub observer: Arc<Observer>,
    pub abort: Arc<Abort>,
    /// Whether the rows of this sink are those that the progress counts.
    pub counts: bool,
}

/// Starts the thread that commits. It returns where the rows are, or `None` if the job ended before.
pub(super) fn write(
    place: usize,
    id: &str,
    mut sink: Box<dyn Sink>,
    tokio: tokio::runtime::Handle,
    gate: &Arc<Gate>,
    abort: &Arc<Abort>,
) -> std::io::Result<(Sender<Parcel>, JoinHandle<Option<String>>)> {
    let (sender, parcels): (_, Receiver<Parcel>) = unbounded();
    let (id, gate, abort) = (id.to_owned(), Arc::clone(gate), Arc::clone(abort));
    let handle = std::thread::Builder::new()
        .name(format!("{EXECUTOR_THREAD}write"))
        .spawn(move || {
            let _entered = tokio.enter();
            let broken = |result: Result<Result<_, OperatorError>, String>| {
                let message = match result {
                    Ok(Ok(value)) => return Some(value),
                    Ok(Err(error)) => error.full_message(),
                    Err(panic) => panic,
                };
                abort.with(RunError::at(RunErrorKind::Sink, &id, message));
                None
            };
            for parcel in parcels {
                if abort.is_set() {
                    return None;
                }
                match parcel {
                    Parcel::Commit(rows) => {
                        let count = rows.len() as u64;
                        broken(panics::catch(|| sink.commit(rows).map(|()| String::new())))?;
                        gate.commit(place, count);
                    }
                    Parcel::Finish => return broken(panics::catch(|| sink.finish())),
                }
            }
            None
        })?;
    Ok((sender, handle))
}

/// Turns the answers that reach a sink into deliveries.
pub(super) fn leave<'scope>(
    answers: StreamVec<'scope, Epoch, Message>,
    last_stage: &str,
    tap: Option<Tap>,
    reaper: Reaper,
) -> StreamVec<'scope, Epoch, Delivery> {
    let last_stage = last_stage.to_owned();
    answers.unary(Pipeline, "leave", move |_, _| {
        let mut gone = Vec::new();
        move |input, output| {
            input.for_each(|time, messages| {
                let Some(capability) = time.retain_least(output.output_index()) else {
                    return;
                };
                let mut session = output.session(&capability);
                for mut message in messages.drain(..) {
                    if let Some(tap) = &tap {
                        message.answer = taps::take(tap, message.answer);
                    }
                    session.give(deliver(&message, &last_stage));
                    gone.push(message);
                }
            });
            if !gone.is_empty() {
                reaper.bury(std::mem::take(&mut gone));
            }
        }
    })
}

fn deliver(message: &Message, last_stage: &str) -> Delivered {
    let item = &message.ticket.item;
    let result = match &message.answer {
        Answer::Value(value) => value
            .get::<Document>()
            .cloned()
            .map_err(|error| here(last_stage, error.kind, error.full_message())),
        Answer::Failed(failure) => Err(Failure::clone(failure)),
        Answer::Skipped(why) => Err(here(
            last_stage,
            ErrorKind::BadInput,
            format!("skipped: {why}"),
        )),
    };
    Delivered {
        sequence: item.sequence,
        result: result.map_err(|failure| (Row::clone(&item.row), failure)),
    }
}

fn here(stage: &str, kind: ErrorKind, error: String) -> Failure {
    Failure {
        stage: stage.to_owned(),
        kind,
        error,
        attempts: 1,
    }
}

/// Gathers the deliveries of all workers on worker 0, which alone has an outlet.
pub(super) fn gather(deliveries: StreamVec<'_, Epoch, Delivery>, mut outlet: Option<Outlet>) {
    let mut open: BTreeMap<Epoch, Vec<Delivered>> = BTreeMap::new();
    let mut committed = 0_u64;
    deliveries.sink(
        Exchange::new(|_: &Delivery| 0),
        "gather",
        move |(input, frontier)| {
            let Some(here) = &outlet else {
                input.for_each(|_, rows| rows.clear());
                return;
            };
            input.for_each(|time, rows| {
                let Some(epoch) = time.least() else { return };
                if here.counts {
                    for row in rows.iter() {
                        here.observer.progress.add_done(has_failed(row));
                    }
                }
                open.entry(*epoch).or_default().append(rows);
            });
            while let Some(entry) = open.first_entry() {
                if frontier.less_equal(entry.key()) {
                    break;
                }
                let mut rows = entry.remove();
                rows.sort_unstable_by_key(|row| row.sequence);
                if let Some(twice) = rows
                    .windows(2)
                    .find(|two| two[0].sequence == two[1].sequence)
                {
                    here.broken(format!("row {} came out twice", twice[0].sequence));
                    return;
                }
                committed += rows.len() as u64;
                // Fails only when the sink's thread is gone, and then it ended the job.
                let _ = here.parcels.send(Parcel::Commit(rows));
            }
            if frontier.is_empty() {
                let read = here.observer.progress.read();
                if committed == read {
                    let _ = here.parcels.send(Parcel::Finish);
                } else {
                    here.broken(format!("{read} rows went in and {committed} came out"));
                }
                outlet = None;
            }
        },
    );
}

fn has_failed(row: &Delivered) -> bool {
    row.result.as_ref().map_or(true, |document| document.failed)
}

impl Outlet {
    fn broken(&self, message: String) {
        let message = format!("{message}; this is a bug, and the output is not finished");
        self.abort
            .with(RunError::at(RunErrorKind::Internal, &self.id, message));
    }
}
