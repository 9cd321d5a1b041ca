//! The bytes of a table, wherever they lie.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};

/// A larger table is not counted before it is read.
const COUNTED_BYTES: u64 = 1 << 30;
/// What is asked of a store at once.
const BLOCK_BYTES: u64 = 1 << 20;
/// Blocks of a stored table that are kept.
const KEPT_BLOCKS: usize = 32;

/// A file that is read by ranges.
pub trait Ranges: Send + Sync {
    /// Its name, for messages.
    fn name(&self) -> String;

    /// Its size.
    fn size_bytes(&self) -> u64;

    /// The bytes of a range, all of them.
    ///
    /// # Errors
    /// What the store answered, or that it gave fewer.
    fn read(&self, range: Range<u64>) -> io::Result<Bytes>;
}

/// The bytes of a table.
#[derive(Clone)]
pub enum Blob {
    /// A local file, or what stands for one (a pipe).
    File(PathBuf),
    /// A file of a store.
    Stored(Arc<dyn Ranges>),
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
            Self::Stored(stored) => stored.name(),
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
            Self::Stored(_) => Ok(false),
        }
    }

    /// Reads it from its beginning.
    ///
    /// # Errors
    /// What the disk answered.
    pub(super) fn read(&self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::File(path) => Box::new(File::open(path)?),
            Self::Stored(stored) => Box::new(Straight::new(Blocks::new(stored), 0)),
        })
    }

    /// Reads it here and there.
    ///
    /// # Errors
    /// What the disk answered.
    pub(super) fn chunks(&self) -> io::Result<Chunks> {
        Ok(match self {
            Self::File(path) => Chunks::File(File::open(path)?),
            Self::Stored(stored) => Chunks::Stored(Blocks::new(stored)),
        })
    }
}

/// A file of a store in blocks, the last ones kept: what reads in small pieces asks the store for large ones.
#[derive(Clone)]
pub(super) struct Blocks {
    stored: Arc<dyn Ranges>,
    kept: Arc<Mutex<VecDeque<(u64, Bytes)>>>,
}

impl Blocks {
    fn new(stored: &Arc<dyn Ranges>) -> Self {
        Self {
            stored: Arc::clone(stored),
            kept: Arc::default(),
        }
    }

    /// What is left of the block that holds this place; nothing at the end.
    fn at(&self, place: u64) -> io::Result<Bytes> {
        let size = self.stored.size_bytes();
        if place >= size {
            return Ok(Bytes::new());
        }
        let (number, inside) = (place / BLOCK_BYTES, (place % BLOCK_BYTES) as usize);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, block)) = kept.iter().find(|(known, _)| *known == number) {
            return Ok(block.slice(inside..));
        }
        let begin = number * BLOCK_BYTES;
        let block = self.stored.read(begin..(begin + BLOCK_BYTES).min(size))?;
        if kept.len() == KEPT_BLOCKS {
            kept.pop_front();
        }
        kept.push_back((number, block.clone()));
        Ok(block.slice(inside..))
    }
}

/// Blocks one after another.
pub(super) struct Straight {
    blocks: Blocks,
    place: u64,
    left: Bytes,
}

impl Straight {
    fn new(blocks: Blocks, place: u64) -> Self {
        Self {
            blocks,
            place,
            left: Bytes::new(),
        }
    }
}

impl Read for Straight {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            self.left = self.blocks.at(self.place)?;
        }
        let taken = self.left.len().min(into.len());
        into[..taken].copy_from_slice(&self.left.split_to(taken));
        self.place += taken as u64;
        Ok(taken)
    }
}

/// What a Parquet reader reads from.
pub(super) enum Chunks {
    File(File),
    Stored(Blocks),
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.len(),
            Self::Stored(blocks) => blocks.stored.size_bytes(),
        }
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read + Send>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(match self {
            Self::File(file) => Box::new(file.get_read(start)?),
            Self::Stored(blocks) => Box::new(Straight::new(blocks.clone(), start)),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        match self {
            Self::File(file) => file.get_bytes(start, length),
            // A page that is larger than a block is asked for as it is.
            Self::Stored(blocks) if length as u64 > BLOCK_BYTES => {
                Ok(blocks.stored.read(start..start + length as u64)?)
            }
            Self::Stored(blocks) => {
                let mut bytes = vec![0; length];
                Straight::new(blocks.clone(), start)
                    .read_exact(&mut bytes)
                    .map_err(|error| ParquetError::External(Box::new(error)))?;
                Ok(bytes.into())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Memory(Bytes, AtomicUsize);

    impl Ranges for Memory {
        fn name(&self) -> String {
            "memory".to_owned()
        }

        fn size_bytes(&self) -> u64 {
            self.0.len() as u64
        }

        fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
            self.1.fetch_add(1, Ordering::SeqCst);
            Ok(self.0.slice(range.start as usize..range.end as usize))
        }
    }

    #[test]
    fn a_stored_file_is_read_whole_and_in_pieces_by_blocks() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
        let stored = Arc::new(Memory(bytes.clone().into(), AtomicUsize::new(0)));
        let blob = Blob::Stored(stored.clone());
        let mut read = Vec::new();
        blob.read().unwrap().read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        assert_eq!(stored.1.swap(0, Ordering::SeqCst), 3);
        let chunks = blob.chunks().unwrap();
        assert_eq!(chunks.len(), 3_000_000);
        for (start, length) in [(0, 10), (1_048_570, 20), (5, 2_000_000), (2_999_999, 1)] {
            let piece = chunks.get_bytes(start, length).unwrap();
            assert!(piece[..] == bytes[start as usize..start as usize + length]);
        }
        assert_eq!(stored.1.load(Ordering::SeqCst), 4);
        assert!(chunks.get_bytes(2_999_999, 2).is_err());
    }
}
