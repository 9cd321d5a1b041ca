//! Rows out of the dataflow.
//!
//! On every worker `leave` turns the last stage's answers into deliveries and lets go of the items. They are exchanged to
//! worker 0, where `gather` hands them to the thread that commits (`commit.rs`), as they come: what is done is done,
//! whatever else is in flight. The frontier says when no more can come.

use std::sync::Arc;

use crossbeam::channel::Sender;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;

use super::commit::Parcel;
use super::message::{Delivery, Epoch, Message};
use super::reaper::Reaper;
use super::taps;
use crate::observe::Observer;
use crate::operator::{Answer, Delivered, Document, ErrorKind, Failure, Row};
use crate::plan::Tap;

/// What happens on worker 0 with the rows of one sink.
pub(super) struct Outlet {
    /// Which of the sinks, in plan order. The rows of the first are those that the progress counts.
    pub place: usize,
    pub parcels: Sender<Parcel>,
    pub observer: Arc<Observer>,
}

/// Turns the answers that reach a sink into deliveries. `tells` is given once in each process other than the one that has the
/// outlets: what its stages did goes along as the last delivery.
pub(super) fn leave<'scope>(
    answers: StreamVec<'scope, Epoch, Message>,
    tap: Tap,
    tells: Option<Arc<Observer>>,
    reaper: Reaper,
) -> StreamVec<'scope, Epoch, Delivery> {
    answers.unary_frontier(Pipeline, "leave", move |capability, _| {
        let mut gone = Vec::new();
        // Held to the end. Nothing behind waits for a frontier but that of the end.
        let mut tells = tells.map(|observer| (observer, capability));
        move |(input, frontier), output| {
            input.for_each(|time, messages| {
                let Some(capability) = time.retain_least(output.output_index()) else {
                    return;
                };
                let mut session = output.session(&capability);
                for mut message in messages.drain(..) {
                    message.answer = taps::take(&tap, message.answer);
                    session.give(Delivery::Row(deliver(&message, &tap.id)));
                    gone.push(message);
                }
            });
            if !gone.is_empty() {
                reaper.bury(std::mem::take(&mut gone));
            }
            // No item is on its way any more, in no process.
            if frontier.is_empty()
                && let Some((observer, capability)) = tells.take()
            {
                let stages = Delivery::Stages(observer.stages());
                output.session(&capability).give(stages);
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
    deliveries.sink(
        Exchange::new(|_: &Delivery| 0),
        "gather",
        move |(input, frontier)| {
            let Some(here) = &outlet else {
                input.for_each(|_, rows| rows.clear());
                return;
            };
            input.for_each(|_, deliveries| {
                let mut rows = Vec::with_capacity(deliveries.len());
                for delivery in deliveries.drain(..) {
                    match delivery {
                        Delivery::Row(row) => rows.push(row),
                        Delivery::Stages(stages) => here.observer.add_process(stages),
                    }
                }
                if here.place == 0 {
                    for row in &rows {
                        here.observer.progress.add_done(row.has_failed());
                    }
                }
                // Fails only when the committing thread is gone, and then it ended the job.
                let _ = here.parcels.send(Parcel::Rows(here.place, rows));
            });
            if frontier.is_empty() {
                let _ = here.parcels.send(Parcel::End);
                outlet = None;
            }
        },
    );
}
