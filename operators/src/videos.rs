//! What the operators that open videos share: deadlines and errors as the media code and the engine know them.

use clipsieve_engine::operator::{Deadline, ErrorKind, OperatorError};

use crate::media::{Interrupt, MediaError};

/// The interrupt that is raised when the deadline comes.
pub fn interrupt_of(deadline: &Deadline) -> Interrupt {
    let deadline = deadline.clone();
    Interrupt::new(move || deadline.expired())
}

impl From<MediaError> for OperatorError {
    fn from(error: MediaError) -> Self {
        let kind = match &error {
            MediaError::Interrupted { .. } => ErrorKind::Timeout,
            _ if error.is_permanent() => ErrorKind::BadInput,
            _ => ErrorKind::Temporary,
        };
        OperatorError::new(kind, error.to_string())
    }
}
