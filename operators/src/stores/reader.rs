use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::runtime::{self, Task};
use super::{Store, StoreError, Stored};

/// What a read after a jump asks for.
const FIRST_BYTES: u64 = 256 << 10;
/// What reads one after another ask for in the end; each asks for twice as much as the one before.
const MOST_BYTES: u64 = 4 << 20;
/// Chunks that are kept: a demuxer goes back and forth between its index and its frames.
const KEPT: usize = 4;

/// Reads a stored file as if it lay here, by ranges, and no more of it than is wanted.
///
/// After a jump it asks for 256 KiB, then for twice as much each time that the reading goes on, up to 4 MiB; from then
/// on the next chunk is asked for while this one is read. So a look at the index of a film costs little, and a whole
/// film streams. At most 24 MiB are held.
///
/// For callers that block. Whatever is cut goes on where it was cut.
pub struct StoreReader(Kind);

enum Kind {
    Local(File),
    Remote(Box<Remote>),
}

/// Why a read failed, kept for those who only see that it did: a demuxer answers "input/output error".
#[derive(Clone, Default)]
pub struct ReadFault(Arc<Mutex<Option<StoreError>>>);

impl ReadFault {
    /// The last error, if there was one since this was last asked.
    pub fn take(&self) -> Option<StoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: &StoreError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
    }
}

struct Remote {
    store: Store,
    stored: Arc<Stored>,
    at: u64,
    chunks: VecDeque<(u64, Vec<u8>)>,
    ahead: Option<Ahead>,
    /// Size of the last chunk, and where it ended.
    last: (u64, u64),
    wanted: Box<dyn Fn() -> bool + Send>,
    fault: ReadFault,
}

/// A chunk that is on its way before anyone asked for it.
struct Ahead {
    range: Range<u64>,
    chunk: Receiver<Result<Vec<u8>, StoreError>>,
    _task: Task<()>,
}

impl Store {
    /// Opens a file for reading here and there. `wanted` is asked now and then while the store is waited for: once it
    /// says no, reads fail.
    ///
    /// # Errors
    /// What the local disk answered; a remote store is asked when something is read.
    pub fn reader(
        &self,
        stored: &Stored,
        wanted: impl Fn() -> bool + Send + 'static,
    ) -> Result<StoreReader, StoreError> {
        if let Some(path) = &stored.local {
            let file = File::open(path)
                .map_err(|error| StoreError::of_io(&format!("opening `{}`", stored.key), &error))?;
            return Ok(StoreReader(Kind::Local(file)));
        }
        Ok(StoreReader(Kind::Remote(Box::new(Remote {
            store: self.clone(),
            stored: Arc::new(stored.clone()),
            at: 0,
            chunks: VecDeque::new(),
            ahead: None,
            last: (0, 0),
            wanted: Box::new(wanted),
            fault: ReadFault::default(),
        }))))
    }
}

impl StoreReader {
    /// Where the reason of a failed read is kept.
    pub fn fault(&self) -> ReadFault {
        match &self.0 {
            Kind::Local(_) => ReadFault::default(),
            Kind::Remote(remote) => remote.fault.clone(),
        }
    }
}

impl Read for StoreReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Local(file) => file.read(into),
            Kind::Remote(remote) => remote.read(into).map_err(|error| {
                remote.fault.set(&error);
                io::Error::other(error)
            }),
        }
    }
}

impl Seek for StoreReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let remote = match &mut self.0 {
            Kind::Local(file) => return file.seek(to),
            Kind::Remote(remote) => remote,
        };
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => remote.at.checked_add_signed(by),
            SeekFrom::End(by) => remote.stored.bytes.checked_add_signed(by),
        };
        remote.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(remote.at)
    }
}

impl Remote {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, StoreError> {
        if self.at >= self.stored.bytes || into.is_empty() {
            return Ok(0);
        }
        loop {
            let at = self.at;
            let holds =
                |(start, bytes): &(u64, Vec<u8>)| *start <= at && at < *start + bytes.len() as u64;
            if let Some((start, bytes)) = self.chunks.iter().find(|chunk| holds(chunk)) {
                let bytes = &bytes[(at - start) as usize..];
                let length = bytes.len().min(into.len());
                into[..length].copy_from_slice(&bytes[..length]);
                self.at += length as u64;
                return Ok(length);
            }
            self.fetch()?;
        }
    }

    /// Brings the chunk that begins here, or the one that is on its way and holds this place.
    fn fetch(&mut self) -> Result<(), StoreError> {
        let ahead = self
            .ahead
            .take()
            .filter(|ahead| ahead.range.contains(&self.at));
        let (start, bytes) = match ahead {
            Some(ahead) => {
                let chunk = self.wait_for(&ahead.chunk)?;
                self.last = (ahead.range.end - ahead.range.start, ahead.range.end);
                (ahead.range.start, chunk)
            }
            None => {
                let goes_on = self.at == self.last.1 && self.last.0 > 0;
                let size = match goes_on {
                    true => (self.last.0 * 2).min(MOST_BYTES),
                    false => FIRST_BYTES,
                };
                let range = self.at..(self.at + size).min(self.stored.bytes);
                self.last = (size, range.end);
                let start = range.start;
                let chunk = self.ask(range)?;
                (start, self.wait_for(&chunk.chunk)?)
            }
        };
        if self.chunks.len() == KEPT {
            self.chunks.pop_front();
        }
        self.chunks.push_back((start, bytes));
        if self.last.0 >= MOST_BYTES && self.last.1 < self.stored.bytes {
            let range = self.last.1..(self.last.1 + MOST_BYTES).min(self.stored.bytes);
            self.ahead = Some(self.ask(range)?);
        }
        Ok(())
    }

    fn ask(&self, range: Range<u64>) -> Result<Ahead, StoreError> {
        let (sender, chunk) = sync_channel(1);
        let (store, stored, asked) = (self.store.clone(), Arc::clone(&self.stored), range.clone());
        let task = runtime::spawn(async move {
            // Fails only when nobody waits any longer.
            let _ = sender.send(store.range(&stored, asked).await);
            Ok(())
        })?;
        Ok(Ahead {
            range,
            chunk,
            _task: task,
        })
    }

    fn wait_for(
        &self,
        chunk: &Receiver<Result<Vec<u8>, StoreError>>,
    ) -> Result<Vec<u8>, StoreError> {
        runtime::receive(chunk, &self.wanted)
    }
}
