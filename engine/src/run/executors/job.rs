use std::sync::Arc;
use std::time::Instant;

use crate::operator::{Answer, Failure, Item, Value};
use crate::run::budget::Grant;
use crate::run::inbox::Inbox;
use crate::run::message::{Message, Ticket};

/// What a stage is called with.
pub(in crate::run) enum Inputs {
    /// Of a transform with one port, as most have: without an allocation a call.
    One([Value; 1]),
    /// Of a transform: values in port order.
    Values(Arc<[Value]>),
    /// Of a gather: stage ids and answers in port order.
    Answers(Arc<[(String, Answer)]>),
}

impl Inputs {
    /// The values of a transform.
    pub fn values(&self) -> Option<&[Value]> {
        match self {
            Inputs::One(value) => Some(value),
            Inputs::Values(values) => Some(values),
            Inputs::Answers(_) => None,
        }
    }
}

/// One item's work in one stage: from the hand-over to the answer, through all attempts.
pub(in crate::run) struct Job {
    pub ticket: Arc<Ticket>,
    /// Not here while a call goes on, which has them.
    pub inputs: Option<Inputs>,
    reply: Arc<Inbox>,
    /// The attempt that is made or waits to be made, from 1.
    pub attempt: u32,
    /// Since when it waits for a place.
    pub queued_at: Instant,
    /// Whether the memory for it was granted, or none is needed.
    pub sized: bool,
    /// The memory it was granted.
    pub grant: Option<Grant>,
    /// The error of the attempt before.
    pub last_error: Option<String>,
}

impl Job {
    pub fn new(ticket: Arc<Ticket>, inputs: Inputs, reply: Arc<Inbox>, queued_at: Instant) -> Self {
        Self {
            ticket,
            inputs: Some(inputs),
            reply,
            attempt: 1,
            queued_at,
            sized: false,
            grant: None,
            last_error: None,
        }
    }

    pub fn item(&self) -> &Arc<Item> {
        &self.ticket.item
    }

    pub fn sequence(&self) -> u64 {
        self.ticket.item.sequence
    }

    pub fn span(&self) -> &tracing::Span {
        &self.reply.span
    }

    pub fn with_grant(mut self, grant: Grant) -> Self {
        self.sized = true;
        self.grant = Some(grant);
        self
    }

    /// Gives the answer. This is the only way to, and it uses the job up: a stage answers an item once.
    pub fn answer(self, answer: Answer) {
        let Job {
            ticket,
            inputs,
            reply,
            grant,
            ..
        } = self;
        // What the call held goes first: the answer may be what lets the item leave.
        drop((inputs, grant));
        reply.put(Message { ticket, answer });
    }

    pub fn fail(self, failure: Failure) {
        self.answer(Answer::Failed(Arc::new(failure)));
    }
}
