//! Copies out of a store: in ranged parts, resumed where they were cut, checked, and renamed when they are whole.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use opendal::{Buffer, BufferStream};
use tempfile::TempPath;

use super::sums::{crc64_of, md5_of, md5_of_etag};
use super::transport::NO_RANGES;
use super::{Store, StoreError, StoreErrorKind, Stored, local, runtime};

/// Files up to this size come in one piece, larger ones in parts of it.
const PART_BYTES: u64 = 8 << 20;
/// Parts of one file that are on their way at once.
const PARTS_AT_ONCE: usize = 4;
/// Bytes that are gathered before they are written to the disk.
const WRITE_BYTES: usize = 1 << 20;
/// How often a part that was cut goes on without a byte in between.
const RESUMES: u32 = 4;
/// How often a file is begun again.
const FRESH_STARTS: usize = 3;

impl Store {
    /// Copies a file out of the store. `to` appears when the copy is whole, replacing what was there.
    ///
    /// A large file comes in several parts at once. A part that is cut goes on where it was cut. The length, and the CRC-64
    /// that OSS tells or the MD5 where the store's ETag is one, are checked; a file that changes meanwhile is begun again. `holding` is dropped when
    /// nothing of the copy lies on the disk any more, or all of it lies at `to`: the right to the space, for example.
    ///
    /// # Errors
    /// What the store or the local disk answered; `Temporary` if what came is not what the store had announced.
    pub async fn download(
        &self,
        stored: &Stored,
        to: &Path,
        holding: impl Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        self.download_in(stored, to, PARTS_AT_ONCE, holding).await
    }

    /// As [`Store::download`], with so many parts on their way at once.
    ///
    /// # Errors
    /// As [`Store::download`].
    pub async fn download_in(
        &self,
        stored: &Stored,
        to: &Path,
        parts_at_once: usize,
        holding: impl Send + Sync + 'static,
    ) -> Result<(), StoreError> {
        let (store, stored) = (self.clone(), stored.clone());
        let folder = to.parent().unwrap_or(Path::new(".")).to_path_buf();
        let (partial, holding) = runtime::run(async move {
            // Captured by this block, it goes after everything in it, also when the block is stopped half way.
            let _held = &holding;
            let partial = store.copy_out(&stored, &folder, parts_at_once).await?;
            Ok((partial, holding))
        })
        .await?;
        // Here and not in there: that may go on for a moment after nobody waits any longer.
        let done = partial
            .persist(to)
            .map_err(|error| StoreError::of_io(&format!("writing {}", to.display()), &error.error));
        drop(holding);
        done
    }

    /// The whole of a file under a temporary name in a folder, which goes away with what is returned.
    async fn copy_out(
        &self,
        stored: &Stored,
        folder: &Path,
        parts_at_once: usize,
    ) -> Result<TempPath, StoreError> {
        let writing = format!("writing in {}", folder.display());
        let of_disk = |error: std::io::Error| StoreError::of_io(&writing, &error);
        let (file, partial) = tempfile::Builder::new()
            .prefix(local::PARTIAL)
            .tempfile_in(folder)
            .map_err(of_disk)?
            .into_parts();
        let file = Arc::new(file);
        let mut sums = Vec::new();
        for last in (0..FRESH_STARTS).map(|start| start + 1 == FRESH_STARTS) {
            let came = match self.bytes_of(stored, &file, &writing, parts_at_once).await {
                Ok(()) => self.judge_sum(stored, &file, &mut sums).await,
                Err(error) => Err(error),
            };
            match came {
                Ok(()) => return Ok(partial),
                Err(error) if last || error.kind != StoreErrorKind::Temporary => return Err(error),
                Err(error) => {
                    tracing::debug!(store = self.name(), key = %stored.key, "begun again: {error}");
                }
            }
        }
        Err(StoreError::new(StoreErrorKind::Temporary, writing))
    }

    /// All bytes of the file, each at its place.
    async fn bytes_of(
        &self,
        stored: &Stored,
        file: &Arc<File>,
        writing: &str,
        parts_at_once: usize,
    ) -> Result<(), StoreError> {
        let in_parts = self.0.has_ranges.load(Ordering::Relaxed) && stored.bytes > PART_BYTES;
        let step = if in_parts { PART_BYTES } else { stored.bytes };
        let parts = (0..stored.bytes.div_ceil(step))
            .map(|part| part * step..((part + 1) * step).min(stored.bytes));
        stream::iter(parts)
            .map(|range| self.part(stored, range, file, writing))
            .buffer_unordered(parts_at_once.max(1))
            .try_collect()
            .await
    }

    async fn part(
        &self,
        stored: &Stored,
        range: Range<u64>,
        file: &Arc<File>,
        writing: &str,
    ) -> Result<(), StoreError> {
        let mut at = range.start;
        let mut pieces = Pieces::new(self, stored, range);
        let mut gathered: Vec<u8> = Vec::new();
        loop {
            let piece = pieces.next().await?;
            let is_end = piece.is_none();
            for bytes in piece.into_iter().flatten() {
                gathered.extend_from_slice(&bytes);
            }
            if gathered.len() < WRITE_BYTES && !is_end {
                continue;
            }
            let (file, writing) = (Arc::clone(file), writing.to_owned());
            let full = std::mem::take(&mut gathered);
            let length = full.len() as u64;
            runtime::blocking(move || {
                file.write_all_at(&full, at)
                    .map_err(|error| StoreError::of_io(&writing, &error))
            })
            .await?;
            at += length;
            if is_end {
                return Ok(());
            }
        }
    }

    /// Compares the checksum of what came with the one that the store tells: a CRC-64, or an ETag that looks like an MD5.
    ///
    /// Not every such ETag is one (S3 with keys of its own encrypts before it counts). If the same bytes come twice
    /// and both times differ from the ETag, it is the ETag that is something else, and this store is no longer asked.
    async fn judge_sum(
        &self,
        stored: &Stored,
        file: &Arc<File>,
        sums: &mut Vec<String>,
    ) -> Result<(), StoreError> {
        let wrong = |name: &str, sum: &str, told: &str| {
            StoreError::new(
                StoreErrorKind::Temporary,
                format!(
                    "reading `{}`: the {name} of what came is {sum}, the store says {told}",
                    stored.key
                ),
            )
        };
        if let Some(told) = stored.crc64 {
            let copy = Arc::clone(file);
            let sum = runtime::blocking(move || crc64_of(&copy)).await?;
            return match sum == told {
                true => Ok(()),
                false => Err(wrong("CRC-64", &sum.to_string(), &told.to_string())),
            };
        }
        let Some(told) = md5_of_etag(stored.etag.as_deref()) else {
            return Ok(());
        };
        if !self.0.has_md5.load(Ordering::Relaxed) {
            return Ok(());
        }
        let copy = Arc::clone(file);
        let sum = runtime::blocking(move || md5_of(&copy)).await?;
        if sum == told {
            return Ok(());
        }
        if sums.contains(&sum) {
            self.0.has_md5.store(false, Ordering::Relaxed);
            tracing::debug!(
                store = self.name(),
                "its ETags are no MD5; they are not compared any more"
            );
            return Ok(());
        }
        sums.push(sum.clone());
        Err(wrong("MD5", &sum, &told))
    }

    /// The bytes of a range of a file, for readers.
    pub(super) async fn range(
        &self,
        stored: &Stored,
        range: Range<u64>,
    ) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        let mut pieces = Pieces::new(self, stored, range);
        while let Some(piece) = pieces.next().await? {
            for part in piece {
                bytes.extend_from_slice(&part);
            }
        }
        Ok(bytes)
    }
}

/// The bytes of a range, piece by piece. What is cut goes on where it was cut.
struct Pieces<'a> {
    store: &'a Store,
    stored: &'a Stored,
    at: u64,
    end: u64,
    resumes: u32,
    stream: Option<BufferStream>,
}

impl<'a> Pieces<'a> {
    fn new(store: &'a Store, stored: &'a Stored, range: Range<u64>) -> Self {
        Self {
            store,
            stored,
            at: range.start,
            end: range.end,
            resumes: 0,
            stream: None,
        }
    }

    /// The next piece, or `None` after the last.
    async fn next(&mut self) -> Result<Option<Buffer>, StoreError> {
        loop {
            let cut = match self.try_next().await {
                Ok(Some(piece)) => {
                    self.at += piece.len() as u64;
                    self.resumes = 0;
                    return Ok(Some(piece));
                }
                Ok(None) if self.at == self.end => return Ok(None),
                Ok(None) => self.trouble(format!("{} bytes are missing", self.end - self.at)),
                Err(error) => error,
            };
            self.stream = None;
            let has_ranges = self.store.0.has_ranges.load(Ordering::Relaxed);
            let is_over = self.resumes == RESUMES || (self.at > 0 && !has_ranges);
            if is_over || cut.kind != StoreErrorKind::Temporary {
                return Err(cut);
            }
            let pause = Duration::from_millis(100 << self.resumes);
            self.resumes += 1;
            tokio::time::sleep(pause).await;
        }
    }

    async fn try_next(&mut self) -> Result<Option<Buffer>, StoreError> {
        if self.at == self.end {
            return Ok(None);
        }
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let range = self.at..self.end;
                match open(self.store, self.stored, range).await {
                    Ok(opened) => self.stream.insert(opened),
                    Err(error) => return Err(self.of_store(&error)),
                }
            }
        };
        let piece = match stream.try_next().await {
            Ok(piece) => piece,
            Err(error) => return Err(self.of_store(&error)),
        };
        match piece {
            Some(piece) if piece.len() as u64 > self.end - self.at => {
                Err(self.trouble("more bytes came than were asked for".to_owned()))
            }
            piece => Ok(piece),
        }
    }

    fn of_store(&self, error: &opendal::Error) -> StoreError {
        if error.kind() == opendal::ErrorKind::Unsupported && error.message() == NO_RANGES {
            self.store.0.has_ranges.store(false, Ordering::Relaxed);
            return self.trouble(NO_RANGES.to_owned());
        }
        let doing = format!("reading `{}`", self.stored.key);
        self.store.failed(&doing, error)
    }

    fn trouble(&self, what: String) -> StoreError {
        let message = format!("reading `{}`: {what}", self.stored.key);
        StoreError::new(StoreErrorKind::Temporary, message)
    }
}

/// Asks for a range of the file, in the state in which it was found.
async fn open(store: &Store, stored: &Stored, range: Range<u64>) -> opendal::Result<BufferStream> {
    let operator = &store.0.operator;
    let mut opening = operator.reader_with(stored.key.as_str());
    let etag = stored.etag.as_deref();
    if let Some(etag) = etag.filter(|etag| !etag.starts_with("W/"))
        && operator.info().capability().read_with_if_match
    {
        opening = opening.if_match(etag);
    }
    let reader = opening.await?;
    if range == (0..stored.bytes) {
        reader.into_stream(..).await
    } else {
        reader.into_stream(range).await
    }
}
