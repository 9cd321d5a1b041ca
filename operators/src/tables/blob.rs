//! The bytes of a table, wherever they lie.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{ChunkReader, Length};

use super::claims::{place_in, place_of_file};
use crate::stores::{Store, StoreReader, Stored};

/// A larger table is not counted before it is read.
const COUNTED_BYTES: u64 = 1 << 30;

/// The bytes of a table.
#[derive(Clone)]
pub enum Blob {
    /// A local file, or what stands for one (a pipe).
    File(PathBuf),
    /// A file of a store.
    Stored(Store, Arc<Stored>),
}

impl Blob {
    /// A local file.
    pub fn file(path: impl AsRef<Path>) -> Self {
        Self::File(path.as_ref().to_path_buf())
    }

    /// Its name, for messages.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stored(store, stored) => store.url_of(stored.key.as_str()),
        }
    }

    /// Where it lies, the same for all names of one place.
    pub(super) fn place(&self) -> String {
        match self {
            Self::File(path) => place_of_file(path),
            Self::Stored(store, stored) => match &stored.local {
                Some(path) => place_of_file(path),
                None => place_in(store, stored.key.as_str()),
            },
        }
    }

    /// What tells it from another table under its name: its size, and when it was changed or what the store calls this
    /// state of it.
    pub(super) fn fingerprint(&self) -> Option<String> {
        match self {
            Self::File(path) => {
                let about = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
                let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
                let (bytes, nanos) = (about.len(), changed.as_nanos());
                Some(format!("{bytes} bytes, changed at {nanos} ns"))
            }
            Self::Stored(_, stored) => {
                let etag = stored.etag.as_deref().unwrap_or_default();
                Some(
                    format!("{} bytes {etag}", stored.bytes)
                        .trim_end()
                        .to_owned(),
                )
            }
        }
    }

    /// Whether it can be read a second time at little cost, only to count its rows: a local file of at most 1 GiB.
    ///
    /// # Errors
    /// What the disk answered.
    pub(super) fn countable(&self) -> io::Result<bool> {
        match self {
            Self::File(path) => {
                let about = std::fs::metadata(path)?;
                // What is no regular file (a pipe) can be read only once.
                Ok(about.is_file() && about.len() <= COUNTED_BYTES)
            }
            Self::Stored(..) => Ok(false),
        }
    }

    /// Reads it from its beginning.
    ///
    /// # Errors
    /// What the disk answered.
    pub(super) fn read(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::File(path) => Box::new(File::open(path)?),
            Self::Stored(store, stored) => Box::new(reader(store, stored)?),
        })
    }

    /// Reads it here and there.
    ///
    /// # Errors
    /// What the disk answered.
    pub(super) fn chunks(&self) -> io::Result<Chunks> {
        Ok(match self {
            Self::File(path) => Chunks::File(File::open(path)?),
            Self::Stored(store, stored) => Chunks::Stored {
                reader: Arc::new(Mutex::new(reader(store, stored)?)),
                bytes: stored.bytes,
            },
        })
    }
}

fn reader(store: &Store, stored: &Stored) -> io::Result<StoreReader> {
    store.reader(stored, || true).map_err(io::Error::other)
}

/// What a Parquet reader reads from.
pub(super) enum Chunks {
    File(File),
    /// One reader for all columns: it asks for large pieces and keeps the last ones.
    Stored {
        reader: Arc<Mutex<StoreReader>>,
        bytes: u64,
    },
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Stored { bytes, .. } => *bytes,
        }
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(match self {
            Self::File(file) => Box::new(file.get_read(start)?),
            Self::Stored { reader, .. } => Box::new(Elsewhere {
                reader: Arc::clone(reader),
                at: start,
            }),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match self {
            Self::File(file) => file.get_bytes(start, length),
            Self::Stored { .. } => {
                let mut bytes = vec![0; length];
                self.get_read(start)?.read_exact(&mut bytes)?;
                Ok(bytes.into())
            }
        }
    }
}

/// A place of its own in a reader that is shared.
struct Elsewhere {
    reader: Arc<Mutex<StoreReader>>,
    at: u64,
}

impl Read for Elsewhere {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        reader.seek(SeekFrom::Start(self.at))?;
        let read = reader.read(into)?;
        self.at += read as u64;
        Ok(read)
    }
}
