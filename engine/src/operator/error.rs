use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of trouble an [`OperatorError`] is; decides whether a retry can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The item itself is bad (broken video, missing file, wrong field). Trying again gives the same.
    BadInput,
    /// Something outside failed that may work in a moment (network, busy store, full disk).
    Temporary,
    /// The work took longer than its deadline.
    Timeout,
    /// A resource that everyone shares could not be had in time (a model instance, memory).
    Exhausted,
    /// The stage is set up wrongly (missing model, refused credentials): every item would fail alike.
    Config,
    /// The item killed the process that worked on it, more than once, and then alone.
    Crash,
    /// A bug: a panic or a broken promise between operators.
    Internal,
}

impl ErrorKind {
    /// Whether another attempt can end differently.
    pub fn is_temporary(self) -> bool {
        matches!(self, ErrorKind::Temporary)
    }
}

/// Why an operator could not answer: a kind, a lowercase message that does not repeat the stage's id, and its cause.
#[derive(Debug)]
pub struct OperatorError {
    /// What kind of trouble it is.
    pub kind: ErrorKind,
    /// What failed, on what, and how to mend it, as a lowercase fragment.
    pub message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl OperatorError {
    /// An error of this kind with this message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// The item itself is bad.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::BadInput, message)
    }

    /// It may work in a moment.
    pub fn temporary(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Temporary, message)
    }

    /// The stage is set up wrongly.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// A bug.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds the cause, which [`OperatorError::full_message`] prints behind the message.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The message and all its causes, joined by `: `.
    pub fn full_message(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for OperatorError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
