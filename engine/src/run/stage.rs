//! A stage as a timely operator: it joins, hands over, and sends the answers on.
//!
//! Messages of one item come in on all ports, each once. When the last is there the item is whole: it is either answered
//! at once (a branch failed or skipped it) or handed to the stage's executor. From the first message to the answer the
//! operator holds a capability for the item's epoch, so the frontier behind it tells the truth. It never waits: answers come
//! back through an [`Inbox`] that wakes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, StreamVec};
use timely::progress::operate::FrontierInterest;
use tracing::Span;

use super::executors::{Inputs, Job, StageRuntime, Work};
use super::inbox::Inbox;
use super::message::{Epoch, Message, Ticket};
use super::numbers::ByNumber;
use super::reaper::Reaper;
use super::taps;
use crate::operator::{Answer, Failure, Value};
use crate::plan::Tap;

/// Capabilities for the epochs of the items that are in a stage, and how many items each has.
#[derive(Default)]
struct Open(BTreeMap<Epoch, (Capability<Epoch>, usize)>);

impl Open {
    fn enter(&mut self, epoch: Epoch, capability: impl FnOnce() -> Option<Capability<Epoch>>) {
        if let Some((_, items)) = self.0.get_mut(&epoch) {
            *items += 1;
        } else if let Some(capability) = capability() {
            self.0.insert(epoch, (capability, 1));
        }
    }

    fn leave(&mut self, epoch: Epoch, count: usize) {
        if let Some((_, items)) = self.0.get_mut(&epoch) {
            *items -= count;
            if *items == 0 {
                self.0.remove(&epoch);
            }
        }
    }
}

/// What is to be done with an item that is whole.
enum Next {
    Call(Inputs),
    PassOn(Answer),
}

/// Where the branches of items meet.
struct Joins {
    stage: Arc<StageRuntime>,
    /// How the ports take.
    taps: Vec<Tap>,
    reaper: Reaper,
    /// Items that some of the ports have brought: their answers, and how many are missing.
    open: ByNumber<(Vec<Option<Answer>>, usize)>,
}

impl Joins {
    /// Whether nothing of the item is here yet.
    fn is_new(&self, sequence: u64) -> bool {
        self.taps.len() == 1 || !self.open.contains_key(&sequence)
    }

    /// Takes what a port brought: what is to be done, once the item is whole.
    fn add(&mut self, sequence: u64, port: usize, answer: Answer) -> Option<Next> {
        let answer = self.leaned(taps::take(&self.taps[port], answer));
        let ports = self.taps.len();
        if ports == 1 {
            return Some(self.alone(answer));
        }
        let open = self.open.entry(sequence);
        let (answers, missing) = open.or_insert_with(|| (vec![None; ports], ports));
        debug_assert!(answers[port].is_none(), "a branch answered twice");
        answers[port] = Some(answer);
        *missing -= 1;
        if *missing > 0 {
            return None;
        }
        let (answers, _) = self.open.remove(&sequence)?;
        Some(self.whole(answers.into_iter().flatten().collect()))
    }

    /// What a gather keeps of an answer until the others are there.
    fn leaned(&self, answer: Answer) -> Answer {
        let (Work::Gather(gather), Answer::Value(value)) = (&self.stage.work, &answer) else {
            return answer;
        };
        match gather.lean(value) {
            None => answer,
            Some(lean) => {
                // Letting go of it may delete a file.
                self.reaper.bury(answer);
                Answer::Value(lean)
            }
        }
    }

    /// What is to be done with the answers of all ports.
    fn whole(&self, answers: Vec<Answer>) -> Next {
        if self.stage.gathers() {
            let named = self.stage.input_ids.iter().cloned().zip(answers);
            return Next::Call(Inputs::Answers(named.collect()));
        }
        let mut skipped: Option<Arc<str>> = None;
        let mut failed: Option<Arc<Failure>> = None;
        let mut values: Vec<Value> = Vec::with_capacity(answers.len());
        for answer in answers {
            match answer {
                Answer::Failed(failure) => drop(failed.get_or_insert(failure)),
                Answer::Skipped(why) => drop(skipped.get_or_insert(why)),
                Answer::Value(value) => values.push(value),
            }
        }
        let bad = failed.map(Answer::Failed);
        match bad.or(skipped.map(Answer::Skipped)) {
            None => Next::Call(Inputs::Values(values.into())),
            Some(answer) => {
                if !values.is_empty() {
                    self.reaper.bury(values);
                }
                Next::PassOn(answer)
            }
        }
    }

    /// The same for a stage of one port, as most are: without a list on the way.
    fn alone(&self, answer: Answer) -> Next {
        match answer {
            answer if self.stage.gathers() => self.whole(vec![answer]),
            Answer::Value(value) => Next::Call(Inputs::One([value])),
            answer => Next::PassOn(answer),
        }
    }
}

/// Builds the operator of a stage.
pub(super) fn build<'scope>(
    scope: Scope<'scope, Epoch>,
    stage: &Arc<StageRuntime>,
    inputs: Vec<StreamVec<'scope, Epoch, Message>>,
    taps: Vec<Tap>,
    span: Span,
    reaper: Reaper,
) -> StreamVec<'scope, Epoch, Message> {
    let stage = Arc::clone(stage);
    let mut builder = OperatorBuilder::new(stage.id.clone(), scope);
    let mut ports: Vec<_> = inputs
        .into_iter()
        .map(|input| builder.new_input(input, Pipeline))
        .collect();
    let (output, stream) = builder.new_output::<Vec<Message>>();
    let mut output = OutputBuilder::from(output);
    for port in 0..ports.len() {
        builder.set_notify_for(port, FrontierInterest::Never);
    }
    let address = builder.operator_info().address.to_vec();
    let inbox = Arc::new(Inbox::new(scope.worker().sync_activator_for(address), span));

    builder.build(move |initial| {
        drop(initial);
        let mut open = Open::default();
        let mut joins = Joins {
            stage: Arc::clone(&stage),
            taps,
            reaper,
            open: ByNumber::default(),
        };
        let mut ready: Vec<Message> = Vec::new();
        let mut jobs: Vec<Job> = Vec::new();
        move |_frontiers| {
            let mut output = output.activate();
            for (port, input) in ports.iter_mut().enumerate() {
                input.for_each(|time, messages| {
                    let now = Instant::now();
                    for Message { ticket, answer } in messages.drain(..) {
                        let sequence = ticket.item.sequence;
                        if joins.is_new(sequence) {
                            open.enter(ticket.epoch, || time.retain_least(output.output_index()));
                        }
                        match joins.add(sequence, port, answer) {
                            Some(Next::Call(inputs)) => {
                                jobs.push(Job::new(ticket, inputs, Arc::clone(&inbox), now));
                            }
                            Some(Next::PassOn(answer)) => {
                                stage.stats().pass_on();
                                ready.push(Message { ticket, answer });
                            }
                            None => {}
                        }
                    }
                });
            }
            if !jobs.is_empty() {
                stage.submit(&mut jobs);
            }
            inbox.drain(&mut ready);
            if ready.is_empty() {
                return;
            }
            ready.sort_by_key(epoch);
            let mut left = ready.drain(..).peekable();
            while let Some(first) = left.next() {
                let epoch = epoch(&first);
                let mut sent = 1;
                if let Some((capability, _)) = open.0.get(&epoch) {
                    let mut session = output.session(capability);
                    session.give(first);
                    while let Some(message) = left.next_if(|message| message.ticket.epoch == epoch)
                    {
                        session.give(message);
                        sent += 1;
                    }
                }
                open.leave(epoch, sent);
            }
        }
    });
    stream
}

fn epoch(message: &Message) -> Epoch {
    let ticket: &Ticket = &message.ticket;
    ticket.epoch
}
