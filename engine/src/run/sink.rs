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
use crate::observe::Observer;
use crate::operator::{Answer, Delivered, Document, ErrorKind, Failure, Row};

/// What happens on worker 0 with the rows of one sink.
pub(super) struct Outlet {
    /// Which of the sinks, in plan order. The rows of the first are those that the progress counts.
    pub place: usize,
    pub parcels: Sender<Parcel>,
    pub observer: Arc<Observer>,
}

/// Turns the answers that reach a sink into deliveries.
pub(super) fn leave<'scope>(
    answers: StreamVec<'scope, Epoch, Message>,
    last_stage: String,
    reaper: Reaper,
) -> StreamVec<'scope, Epoch, Delivery> {
    answers.unary(Pipeline, "leave", move |_, _| {
        let mut gone = Vec::new();
        move |input, output| {
            input.for_each(|time, messages| {
                let Some(capability) = time.retain_least(output.output_index()) else {
                    return;
                };
                let mut session = output.session(&capability);
                for message in messages.drain(..) {
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
    deliveries.sink(
        Exchange::new(|_: &Delivery| 0),
        "gather",
        move |(input, frontier)| {
            let Some(here) = &outlet else {
                input.for_each(|_, rows| rows.clear());
                return;
            };
            input.for_each(|_, rows| {
                if here.place == 0 {
                    for row in rows.iter() {
                        here.observer.progress.add_done(row.has_failed());
                    }
                }
                // Fails only when the committing thread is gone, and then it ended the job.
                let _ = here
                    .parcels
                    .send(Parcel::Rows(here.place, std::mem::take(rows)));
            });
            if frontier.is_empty() {
                let _ = here.parcels.send(Parcel::End);
                outlet = None;
            }
        },
    );
}
