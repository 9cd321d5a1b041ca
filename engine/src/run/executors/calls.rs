//! What a call is: one attempt of one stage at one item, wrapped in everything that no operator does for itself.
//!
//! `begin` checks that there is time left, sets the deadline and enters the call into the stage's table. Then the
//! operator runs, on a thread or as a task. `end` takes the call out of the table again and decides: an answer, another
//! attempt after a pause, or a wait for memory. If the call is no longer in the table, the watch gave it up and
//! answered; what it says now is dropped.
//!
//! A place is held only while the operator runs: not in a pause, not while waiting for memory. So a job that waits never keeps
//! another from running that it waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Inputs, Job, PoolThread, StageRuntime, Work};
use crate::operator::{Answer, Call, ErrorKind, Failure, OperatorError, Outcome};
use crate::run::board::Mark;
use crate::run::budget::{Ask, Grant};
use crate::run::panics;
use crate::run::patience::pause;
use crate::run::taps::Parts;
use crate::run::voice::row_name;

/// A call that goes on, as the one who makes it sees it.
pub(super) struct Attempt {
    id: u64,
    pub call: Call,
    pub inputs: Inputs,
    pub span: tracing::Span,
    sized: bool,
    grant: Option<Grant>,
    /// For as long as the operator really runs, also when it was given up.
    _mark: Mark,
}

/// What a call came to.
pub(super) enum Step {
    /// An answer.
    Done(Outcome),
    /// Nothing yet: so many bytes of memory have to be granted first.
    Needs(u64),
    /// Nothing: it was stopped at its deadline.
    Stopped,
}

/// What a call came to, or why it did not; a panic is an error like others.
pub(super) type Stepped = Result<Step, OperatorError>;

/// What a call says that its executor does not know how to make.
pub(super) fn wrong_executor() -> OperatorError {
    OperatorError::internal("the stage was lowered to the wrong executor")
}

impl Attempt {
    /// Its number in the stage's table.
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl StageRuntime {
    /// Begins a call, or fails the job if there is no time left for one.
    pub(super) fn begin(
        self: &Arc<Self>,
        mut job: Job,
        thread: Option<PoolThread>,
    ) -> Option<Attempt> {
        // The one look at the clock that a call's beginning takes: at a million calls a second each one shows.
        let now = Instant::now();
        if let Some(found) = self.out_of_time(&job, now) {
            self.turn_away(job, found);
            return None;
        }
        let item = Arc::clone(job.item());
        let own = now.checked_add(self.timeout);
        let of_item = item.deadline.at().filter(|_| !self.gathers());
        let until = of_item.into_iter().chain(own).min();
        // They come back with the call. One that does not come back keeps them, and nobody else needs them.
        let Some(inputs) = job.inputs.take() else {
            let message = "it was to be called a second time at once (a bug)".to_owned();
            self.fail(job, ErrorKind::Internal, message);
            return None;
        };
        let queued = now.saturating_duration_since(job.queued_at);
        self.stats().begin(queued);
        let (number, sized, grant) = (job.attempt, job.sized, job.grant.take());
        let (span, mark) = (
            job.span().clone(),
            self.services.board.mark(job.sequence(), self.rank),
        );
        let (id, deadline) = self.enter(job, now, until, thread);
        Some(Attempt {
            id,
            call: Call {
                item,
                attempt: number,
                deadline,
            },
            inputs,
            span,
            sized,
            grant,
            _mark: mark,
        })
    }

    /// Makes a call on a pool's thread. Returns whether the thread is still the pool's.
    pub(super) fn run_on(self: &Arc<Self>, job: Job, thread: PoolThread) -> bool {
        let Some(mut attempt) = self.begin(job, Some(thread)) else {
            self.vacate();
            return true;
        };
        let span = attempt.span.clone();
        let stepped = span.in_scope(|| {
            panics::catch(|| self.step(&mut attempt))
                .unwrap_or_else(|panic| Err(OperatorError::internal(panic)))
        });
        self.end(attempt, stepped)
    }

    fn step(&self, attempt: &mut Attempt) -> Stepped {
        match (&self.work, &attempt.inputs) {
            (Work::Transform(transform), Inputs::One(_) | Inputs::Values(_)) => {
                let values = attempt.inputs.values().unwrap_or_default();
                if !attempt.sized {
                    let bytes = transform.footprint_bytes(&attempt.call, values)?;
                    if bytes > 0 {
                        match self.services.budget.ask(attempt.call.item.sequence, bytes) {
                            Ask::Granted(grant) => attempt.grant = Some(grant),
                            Ask::Wait => return Ok(Step::Needs(bytes)),
                            Ask::Never(why) => {
                                return Err(OperatorError::new(ErrorKind::Exhausted, why));
                            }
                        }
                    }
                    attempt.sized = true;
                }
                transform.apply(&attempt.call, values).map(Step::Done)
            }
            (Work::Gather(gather), Inputs::Answers(answers)) => gather
                .gather(&attempt.call.item, answers)
                .map(|value| Step::Done(Outcome::Value(value))),
            _ => Err(wrong_executor()),
        }
    }

    /// Ends a call. Returns whether it was still in the table.
    pub(super) fn end(self: &Arc<Self>, attempt: Attempt, stepped: Stepped) -> bool {
        self.end_after(attempt, stepped, None)
    }

    /// The same for a call that was not worked on all the time since it began, but so long.
    pub(super) fn end_after(
        self: &Arc<Self>,
        attempt: Attempt,
        stepped: Stepped,
        busy: Option<Duration>,
    ) -> bool {
        let Attempt {
            id,
            inputs,
            call,
            sized,
            grant,
            ..
        } = attempt;
        // Before it leaves: its deadline is used again if nobody else has it.
        drop(call);
        let Some((mut job, started)) = self.leave(id) else {
            return false;
        };
        job.inputs = Some(inputs);
        let needs = matches!(stepped, Ok(Step::Needs(_)));
        let busy = busy.unwrap_or_else(|| started.elapsed());
        self.stats().end(busy, !needs);
        job.sized = sized;
        job.grant = grant;
        match stepped {
            Ok(Step::Needs(bytes)) => {
                let budget = Arc::clone(&self.services.budget);
                budget.wait(self, job, bytes);
            }
            Ok(Step::Stopped) => {
                let message = self.timeout_message(&job, started);
                self.fail(job, ErrorKind::Timeout, message);
            }
            Ok(Step::Done(Outcome::Parts(parts))) => self.answer_parts(job, parts),
            Ok(Step::Done(outcome)) => self.succeed(job, outcome),
            Err(error) => self.fail_or_retry(job, &error),
        }
        true
    }

    /// Answers for several stages. A part that may end better is reason to try the whole again.
    fn answer_parts(self: &Arc<Self>, job: Job, parts: Vec<Result<Outcome, OperatorError>>) {
        if parts.len() != self.parts.len() {
            let message = format!(
                "it answered for {} stages where the plan has {} (a bug in the operator)",
                parts.len(),
                self.parts.len()
            );
            self.fail(job, ErrorKind::Internal, message);
            return;
        }
        let mut errors = parts.iter().filter_map(|part| part.as_ref().err());
        if job.attempt < self.retry.attempts
            && let Some(error) = errors.find(|error| error.kind.is_temporary())
        {
            self.fail_or_retry(job, error);
            return;
        }
        let answers = parts.into_iter().zip(&self.parts);
        let answers = answers
            .map(|(part, id)| self.part(&job, id, part))
            .collect();
        self.succeed(job, Outcome::value(Parts(answers)));
    }

    /// The answer for one of the stages whose work this one does.
    fn part(&self, job: &Job, id: &str, part: Result<Outcome, OperatorError>) -> Answer {
        let error = match part {
            Ok(Outcome::Value(value)) => return Answer::Value(value),
            Ok(Outcome::Skipped(why)) => return Answer::Skipped(why.into()),
            Ok(Outcome::Parts(_)) => OperatorError::internal("a part cannot have parts"),
            Err(error) => error,
        };
        let (attempts, message) = (job.attempt, error.full_message());
        self.tell_failure(job, id, &message);
        Answer::Failed(Arc::new(Failure {
            // Whoever takes from the part has its own name for it.
            stage: self.id.clone(),
            kind: error.kind,
            error: message,
            attempts,
        }))
    }

    fn succeed(&self, mut job: Job, outcome: Outcome) {
        let attempts = job.attempt;
        if let Some(error) = job.last_error.take() {
            tracing::warn!(parent: job.span(), row = row_name(job.item()), stage = %self.id, attempts, "recovered from: {error}");
        }
        tracing::debug!(parent: job.span(), row = row_name(job.item()), stage = %self.id, attempts, "answered");
        let answer = match outcome {
            Outcome::Value(value) => {
                self.stats().value();
                if let Some(grant) = job.grant.take() {
                    job.item().keep(grant);
                }
                Answer::Value(value)
            }
            Outcome::Skipped(why) => {
                self.stats().skip();
                Answer::Skipped(why.into())
            }
            Outcome::Parts(_) => unreachable!("parts are answered elsewhere"),
        };
        job.answer(answer);
    }

    fn fail_or_retry(self: &Arc<Self>, mut job: Job, error: &OperatorError) {
        let mut message = error.full_message();
        if error.kind.is_temporary() && job.attempt < self.retry.attempts {
            let pause = pause(self.retry.backoff, job.attempt);
            let left = job.item().deadline.remaining();
            if self.gathers() || left.is_none_or(|left| left > pause) {
                tracing::info!(parent: job.span(), row = row_name(job.item()), stage = %self.id, attempt = job.attempt, ?pause, "trying again: {message}");
                job.attempt += 1;
                job.last_error = Some(message);
                self.services.clock.after(pause, self, job);
                return;
            }
            message.push_str(" (no time is left to try again)");
        }
        self.fail(job, error.kind, message);
    }
}
