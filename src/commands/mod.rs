//! The subcommands, one file each, and what they share.

pub mod check;
pub mod evaluate;
pub mod graph;
pub mod ledger_place;
pub mod operators;
pub mod output;
pub mod pipeline;
pub mod report;
pub mod results;
pub mod run;
pub mod show;
pub mod snippets;

/// How a command ended; the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The pipeline file or the command line is wrong.
    Usage = 2,
    /// The job could not run, or died.
    Died = 3,
    /// More rows failed than are allowed.
    TooManyFailures = 4,
    /// A process of several only lost the others; its supervisor sees it.
    PeerLost = 5,
    /// A process could not go on where a fresh one may; its supervisor sees it.
    TryAgain = 6,
    /// Told to end early; the same command again goes on.
    Stopped = 75,
}

impl Exit {
    /// How a command ended that ran in another process.
    pub fn from_code(code: i32) -> Self {
        match code {
            0 => Exit::Done,
            2 => Exit::Usage,
            4 => Exit::TooManyFailures,
            5 => Exit::PeerLost,
            6 => Exit::TryAgain,
            75 => Exit::Stopped,
            _ => Exit::Died,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}
