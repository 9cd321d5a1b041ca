use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use clipsieve_engine::operator::OperatorError;
use serde::{Deserialize, Serialize};

/// What has been sent of rows that wait in a file, for a later process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// The session that has it.
    pub session: String,
    /// Where each of its blocks ends in the file; a block begins where the one before it ends.
    pub ends: Vec<u64>,
    /// Whether the commit was asked for.
    pub committing: bool,
}

impl Note {
    /// Of a session that has nothing yet.
    pub fn new(session: &str) -> Self {
        Self {
            session: session.to_owned(),
            ends: Vec::new(),
            committing: false,
        }
    }

    /// How much of the file has been sent.
    pub fn sent(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// What a file notes; nothing if it is not there or is no note.
    ///
    /// # Errors
    /// The disk's.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the file of a note, if it is there.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove(path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Puts it into a file, if there is one for it; it is on disk, whole, when this returns.
    ///
    /// # Errors
    /// `Temporary`: the disk's.
    pub fn keep(&self, path: Option<&Path>) -> Result<(), OperatorError> {
        let Some(path) = path else {
            return Ok(());
        };
        let write = || -> io::Result<()> {
            let folder = path.parent().unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer(&mut file, self)?;
            file.flush()?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            File::open(folder)?.sync_all()
        };
        write().map_err(|error| {
            OperatorError::temporary(format!("cannot write {}: {error}", path.display()))
        })
    }
}
