use std::fmt;
use std::io;

use super::{Difference, Holder, Shelf};

/// What is wrong with a ledger.
#[derive(Debug)]
pub enum LedgerError {
    /// It cannot be read or written.
    Io {
        /// Where it is.
        place: String,
        /// Why.
        error: io::Error,
    },
    /// It says something that no run writes.
    Damaged {
        /// Where it is.
        place: String,
        /// What it says.
        what: String,
    },
    /// Somebody else works on it.
    Held {
        /// Where it is.
        place: String,
        /// Who.
        holder: Box<Holder>,
    },
    /// It was ours and is not any more.
    Lost {
        /// Where it is.
        place: String,
    },
    /// It is of a run over another pipeline or other models.
    Changed {
        /// Where it is.
        place: String,
        /// What is not as it was.
        differences: Vec<Difference>,
    },
    /// It is of a run over another input.
    OtherInput {
        /// Where it is.
        place: String,
        /// What the input was and is.
        difference: Box<Difference>,
    },
    /// The identity cannot be told.
    Unreadable(String),
}

impl LedgerError {
    /// Whether another attempt may end differently.
    pub fn is_temporary(&self) -> bool {
        matches!(self, LedgerError::Io { .. })
    }
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { place, error } => write!(f, "the ledger {place} cannot be used: {error}"),
            Self::Damaged { place, what } => write!(
                f,
                "the ledger {place} is damaged: {what}; start over with `--fresh`"
            ),
            Self::Held { place, holder } => write!(
                f,
                "the ledger {place} is held by {holder}; wait for that run, or end it"
            ),
            Self::Lost { place } => write!(
                f,
                "the ledger {place} was taken over by another run, since this one gave no sign of life; what it has committed stays"
            ),
            Self::Changed { place, differences } => {
                write!(
                    f,
                    "an unfinished run is in the ledger {place}, of another pipeline or other models:"
                )?;
                for difference in differences {
                    write!(f, "\n  {difference}")?;
                }
                f.write_str("\nundo the change, or go on with it (`--accept-changes`: rows that are done stay as they are), or start over (`--fresh`)")
            }
            Self::OtherInput { place, difference } => write!(
                f,
                "an unfinished run is in the ledger {place}, and its input has changed ({difference}); rows are known by their position in it, so undo the change or start over (`--fresh`)"
            ),
            Self::Unreadable(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for LedgerError {}

pub(super) fn io_error(shelf: &dyn Shelf, error: io::Error) -> LedgerError {
    LedgerError::Io {
        place: shelf.place(),
        error,
    }
}
