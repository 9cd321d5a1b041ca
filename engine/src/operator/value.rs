use std::any::{Any, type_name};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ErrorKind, OperatorError};

/// What flows on an edge: a shared payload whose type is agreed on by the [`PortKind`](super::PortKind) of the edge.
#[derive(Clone)]
pub struct Value(Arc<dyn Any + Send + Sync>);

impl Value {
    /// Wraps a payload.
    pub fn new<T: Any + Send + Sync>(payload: T) -> Self {
        Self(Arc::new(payload))
    }

    /// The payload as a `T`.
    ///
    /// # Errors
    /// `Internal` if the payload is of another type: two operators disagree on what a port kind means.
    pub fn get<T: Any + Send + Sync>(&self) -> Result<&T, OperatorError> {
        self.0.downcast_ref().ok_or_else(|| {
            OperatorError::internal(format!(
                "an input is not a {} (two operators disagree on a port kind)",
                type_name::<T>()
            ))
        })
    }

    /// Whether the payload is a `T`.
    pub fn is<T: Any + Send + Sync>(&self) -> bool {
        self.0.is::<T>()
    }
}

/// What an operator says of an item it could work on.
pub enum Outcome {
    /// The result.
    Value(Value),
    /// There is nothing to say of this item, and why. Later stages are skipped with the same reason.
    Skipped(String),
    /// What each of the stages that are one node has to say, in their order; see [`Common`](super::Common).
    Parts(Vec<Result<Outcome, OperatorError>>),
}

impl Outcome {
    /// A result with this payload.
    pub fn value<T: Any + Send + Sync>(payload: T) -> Self {
        Outcome::Value(Value::new(payload))
    }
}

/// A stage's answer for an item. Every stage answers every item exactly once.
#[derive(Clone)]
pub enum Answer {
    /// The result.
    Value(Value),
    /// Nothing to say, and why.
    Skipped(Arc<str>),
    /// The stage, or one before it, failed.
    Failed(Arc<Failure>),
}

/// Why an item failed for good: what goes into its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The id of the stage that failed, not of one that only passed the failure on.
    pub stage: String,
    /// What kind of trouble it was.
    pub kind: ErrorKind,
    /// The error with all its causes.
    pub error: String,
    /// How many attempts were made.
    pub attempts: u32,
}
