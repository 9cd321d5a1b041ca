//! Where executors put answers for a stage of one worker.

use std::sync::Mutex;

use timely::scheduling::activate::SyncActivator;
use tracing::Span;

use super::message::Message;
use crate::lock::lock;

/// Answers on their way back to a timely operator. Any thread may put one in; the operator is woken when the first
/// arrives after it last looked, and not again for those behind it.
pub(super) struct Inbox {
    answers: Mutex<Vec<Message>>,
    activator: SyncActivator,
    /// The stage's span within its worker's.
    pub span: Span,
}

impl Inbox {
    pub fn new(activator: SyncActivator, span: Span) -> Self {
        Self {
            answers: Mutex::default(),
            activator,
            span,
        }
    }

    pub fn put(&self, message: Message) {
        let mut answers = lock(&self.answers);
        let first = answers.is_empty();
        answers.push(message);
        drop(answers);
        if first {
            // Fails only when the worker is gone, and then nobody waits for answers.
            let _ = self.activator.activate();
        }
    }

    /// Moves all answers behind those in `into`.
    pub fn drain(&self, into: &mut Vec<Message>) {
        let mut answers = lock(&self.answers);
        into.append(&mut answers);
    }
}
