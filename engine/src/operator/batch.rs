use std::time::Duration;

use super::{Call, Deadline, OperatorError, Outcome, Value};

/// A piece of an item's work that goes through a device together with pieces of other items.
#[derive(Clone)]
pub struct Unit {
    /// Units go together if they have the same shape.
    pub shape: u64,
    /// What the [`Batcher`] works on.
    pub work: Value,
}

/// A stage whose work is done in batches: it cuts an item into units and puts their answers together. Both are quick.
pub trait Batched: Send + Sync {
    /// The units of an item, in the order in which [`Batched::join`] wants their answers. An item may have none.
    ///
    /// # Errors
    /// As [`Transform::apply`](super::Transform::apply).
    fn cut(&self, call: &Call, inputs: &[Value]) -> Result<Vec<Unit>, OperatorError>;

    /// The stage's answer from the answers of all units.
    ///
    /// # Errors
    /// As [`Transform::apply`](super::Transform::apply).
    fn join(
        &self,
        call: &Call,
        inputs: &[Value],
        answers: Vec<Value>,
    ) -> Result<Outcome, OperatorError>;
}

/// What works on batches: the instances of a model. Several stages may have one in common (the same [`Arc`](std::sync::Arc));
/// their units then stand in one line and go together.
pub trait Batcher: Send + Sync {
    /// As [`Transform::warm_up`](super::Transform::warm_up); called once, however many stages it has.
    ///
    /// # Errors
    /// Any error here ends the job before it starts.
    fn warm_up(&self) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Most units in a batch, at least 1.
    fn batch(&self) -> usize;

    /// How long a unit may wait for others while an instance is free.
    fn max_wait(&self) -> Duration {
        Duration::ZERO
    }

    /// Works on units of one shape: an answer for each, in order. A unit's answer must not depend on its neighbours.
    /// Called from as many threads at once as the stage has instances. `deadline` is when the last of the items has to
    /// be done.
    ///
    /// # Errors
    /// [`BatchError`]. When a batch of several fails, each unit is tried by itself, so one bad item spoils no other.
    fn run(&self, units: &[Value], deadline: &Deadline) -> Result<Vec<Value>, BatchError>;
}

/// Why a batch was not done.
#[derive(Debug)]
pub enum BatchError {
    /// The device has no room for so many: it is tried again with half as many, and no larger one is from then on.
    TooLarge(OperatorError),
    /// Anything else.
    Failed(OperatorError),
}

impl From<OperatorError> for BatchError {
    fn from(error: OperatorError) -> Self {
        BatchError::Failed(error)
    }
}
