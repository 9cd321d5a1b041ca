//! Rows become items, on the worker that will work on them.

use std::sync::Arc;
use std::time::Duration;

use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};

use super::credits::{Credit, Purse};
use super::message::{CreditNote, Entry, Epoch, Message, Ticket};
use super::voice::Voice;
use crate::operator::{Answer, Deadline, Item, Value};

/// What the operator needs to know.
pub(super) struct Entrance {
    /// Items that this worker may have in flight.
    pub credits: usize,
    pub item_timeout: Duration,
    pub voice: Arc<Voice>,
}

/// Builds the operator. Its first output are the items as the source's answers, its second the credits that came back.
pub(super) fn build<'scope>(
    scope: Scope<'scope, Epoch>,
    entries: StreamVec<'scope, Epoch, Entry>,
    entrance: Entrance,
) -> (
    StreamVec<'scope, Epoch, Message>,
    StreamVec<'scope, Epoch, CreditNote>,
) {
    let worker = scope.index();
    let mut builder = OperatorBuilder::new("enter".to_owned(), scope);
    let mut entries =
        builder.new_input(entries, Exchange::new(|entry: &Entry| entry.worker as u64));
    let (items, item_stream) = builder.new_output::<Vec<Message>>();
    let (notes, note_stream) = builder.new_output::<Vec<CreditNote>>();
    let mut items = OutputBuilder::from(items);
    let mut notes = OutputBuilder::from(notes);
    let address = builder.operator_info().address;
    let purse = Purse::new(scope.worker().sync_activator_for(address.to_vec()));
    // The first note is sent without being asked for.
    scope.activator_for(address).activate();

    builder.build(move |mut capabilities| {
        // The notes' capability stays at the first epoch to the end; nothing downstream of them waits for a frontier.
        let mut for_notes = capabilities.pop();
        drop(capabilities);
        let mut first = Some(entrance.credits);
        move |frontiers| {
            let mut items = items.activate();
            entries.for_each(|time, batch| {
                let Some(capability) = time.retain_least(items.output_index()) else {
                    return;
                };
                let mut session = items.session(&capability);
                for entry in batch.drain(..) {
                    session.give(entrance.admit(entry, &purse));
                }
            });
            if let Some(capability) = &for_notes {
                let count = purse.take() + first.take().unwrap_or(0);
                if count > 0 {
                    let mut notes = notes.activate();
                    notes.session(capability).give(CreditNote { worker, count });
                }
            }
            if frontiers[0].is_empty() {
                // All rows are in: nobody wants credits any more.
                for_notes = None;
            }
        }
    });
    (item_stream, note_stream)
}

impl Entrance {
    fn admit(&self, entry: Entry, purse: &Arc<Purse>) -> Message {
        let value = || Answer::Value(Value::new(entry.row.clone()));
        let answer = entry
            .problem
            .map_or_else(value, |failure| Answer::Failed(Arc::new(failure)));
        let deadline = Deadline::after(self.item_timeout);
        let item = Item::new(entry.sequence, entry.row, deadline);
        if let Answer::Failed(failure) = &answer {
            self.voice
                .failed(&item, &failure.stage, failure.attempts, &failure.error);
        }
        Message {
            ticket: Arc::new(Ticket::new(item, entry.epoch, Credit(Arc::clone(purse)))),
            answer,
        }
    }
}
