use std::fmt;

use crate::ledger::LedgerError;

/// Exit code of a job that ended before its last row.
pub const EXIT_JOB_FAILED: i32 = 3;
/// Exit code of a process that ended only because another one of the run was gone.
pub const EXIT_PEER_LOST: i32 = 5;
/// Exit code of a process that could not go on, in a way that a fresh one may not run into.
pub const EXIT_TRY_AGAIN: i32 = 6;
/// Exit code of a run that was told to end early: run again, it goes on (`EX_TEMPFAIL` of sysexits.h).
pub const EXIT_STOPPED: i32 = 75;

/// What ended a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunErrorKind {
    /// The plan or the machine does not allow the run (a broken plan, no scratch folder, no threads).
    Setup,
    /// An operator could not be built or warmed up.
    WarmUp,
    /// The input cannot be read any further.
    Source,
    /// The output cannot be written now.
    Sink,
    /// The output is refused, and would be again: another attempt is not worth its time.
    SinkRefused,
    /// Calls do not come back, and the threads they hold are too many.
    Stuck,
    /// Other processes of the run could not be started or reached, or died.
    Cluster,
    /// The ledger cannot be used now.
    LedgerAway,
    /// The ledger cannot be used, is somebody else's, or is of another run.
    Ledger,
    /// The run was told to stop before its last row; run again, it goes on.
    Stopped,
    /// A bug in the engine, found by its own checks.
    Internal,
}

/// Why a job ended before its last row. Trouble with a single item is never one: that is a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunError {
    /// What ended it.
    pub kind: RunErrorKind,
    /// The stage it is about, if it is about one.
    pub stage: Option<String>,
    /// What happened, as a lowercase fragment.
    pub message: String,
}

impl RunError {
    /// The code with which a process ends that met this error.
    pub fn exit_code(&self) -> i32 {
        match self.kind {
            RunErrorKind::Stopped => EXIT_STOPPED,
            RunErrorKind::Stuck
            | RunErrorKind::Sink
            | RunErrorKind::LedgerAway
            | RunErrorKind::Cluster => EXIT_TRY_AGAIN,
            _ => EXIT_JOB_FAILED,
        }
    }

    pub(super) fn new(kind: RunErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            stage: None,
            message: message.into(),
        }
    }

    pub(super) fn at(kind: RunErrorKind, stage: &str, message: impl Into<String>) -> Self {
        Self {
            stage: Some(stage.to_owned()),
            ..Self::new(kind, message)
        }
    }
}

impl From<LedgerError> for RunError {
    fn from(error: LedgerError) -> Self {
        let kind = match error.is_temporary() {
            true => RunErrorKind::LedgerAway,
            false => RunErrorKind::Ledger,
        };
        Self::new(kind, error.to_string())
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.stage {
            Some(stage) => write!(f, "stage `{stage}`: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for RunError {}
