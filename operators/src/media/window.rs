//! Packets read straight from their places in a file.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::MediaError;
use super::medium::{Meter, Metered};

/// So much is read at once, as long as it will be needed.
const AHEAD_BYTES: u64 = 256 << 10;

/// A part of a file that was read last.
pub(crate) struct Window {
    reader: Metered,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub fn new(reader: Metered) -> Self {
        Self {
            reader,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// `length` bytes from `offset` on; `None` if the file is shorter. What follows, up to `until`, will be asked for too.
    pub fn get(
        &mut self,
        name: &Path,
        offset: u64,
        length: usize,
        until: u64,
        meter: &Meter,
    ) -> Result<Option<&[u8]>, MediaError> {
        let end = offset + length as u64;
        let held = self.start..self.start + self.bytes.len() as u64;
        if offset < held.start || end > held.end {
            let wanted = until.saturating_sub(offset).min(AHEAD_BYTES);
            self.bytes.clear();
            self.start = offset;
            let read = self.reader.seek(SeekFrom::Start(offset)).and_then(|_| {
                let wanted = wanted.max(length as u64);
                (&mut self.reader).take(wanted).read_to_end(&mut self.bytes)
            });
            if let Err(error) = read {
                meter.check(name)?;
                return Err(MediaError::io("read", name, error));
            }
        }
        let at = (offset - self.start) as usize;
        Ok(self.bytes.get(at..at + length))
    }
}
