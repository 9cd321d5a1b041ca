//! What can go wrong while data are made or models are trained.

use std::path::{Path, PathBuf};

/// An error that a person can act on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done: "reading", "writing".
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A video does not decode or encode.
    #[error(transparent)]
    Media(#[from] clipsieve_operators::media::MediaError),
    /// A model does not load or train.
    #[error(transparent)]
    Model(#[from] clipsieve_models::ModelError),
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// The disk refused to do `what` with `path`.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    /// `path` holds something else than it should.
    pub fn file(path: &Path, reason: impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}
