//! The frames around an Arrow stream.
//!
//! ```text
//! size: u32   [ size bytes   CRC32C of them: u32 ]*   fewer bytes, maybe none   CRC32C of all bytes: u32      (big endian)
//! ```

use bytes::{Buf, Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};

use super::{Error, ErrorKind};

/// The size of the frames that are written.
const CHUNK_BYTES: usize = 65_536;
/// Larger ones are taken for damage.
const LARGEST_CHUNK_BYTES: usize = 256 << 20;

/// CRC32C, the Castagnoli polynomial.
fn digest() -> Digest {
    Digest::new(CrcAlgorithm::Crc32Iscsi)
}

fn crc(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Puts frames round a stream.
pub(crate) fn frame(data: &[u8]) -> Bytes {
    let chunks = data.chunks_exact(CHUNK_BYTES);
    let mut framed = BytesMut::with_capacity(data.len() + 4 * (chunks.len() + 2));
    framed.extend_from_slice(&(CHUNK_BYTES as u32).to_be_bytes());
    let rest = chunks.remainder();
    for chunk in chunks {
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(&crc(chunk).to_be_bytes());
    }
    framed.extend_from_slice(rest);
    framed.extend_from_slice(&crc(data).to_be_bytes());
    framed.freeze()
}

/// Takes the frames off a stream that comes in pieces. Nothing is handed on before its checksum was right.
pub(crate) struct Unframe {
    buffer: BytesMut,
    chunk_bytes: Option<usize>,
    chunks: u64,
    all: Digest,
}

impl Unframe {
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            chunk_bytes: None,
            chunks: 0,
            all: digest(),
        }
    }

    /// Takes a piece more.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole frame's data, if it is there.
    ///
    /// # Errors
    /// `Corrupt` if its checksum is wrong.
    pub fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let size = match self.chunk_bytes {
            Some(size) => size,
            None if self.buffer.len() < 4 => return Ok(None),
            None => {
                let size = self.buffer.get_u32() as usize;
                if size == 0 || size > LARGEST_CHUNK_BYTES {
                    return Err(corrupt(format!(
                        "it says that its frames have {size} bytes"
                    )));
                }
                *self.chunk_bytes.insert(size)
            }
        };
        // The last frame is shorter than the others, so what is this long is not the last one.
        if self.buffer.len() < size + 4 {
            return Ok(None);
        }
        let chunk = self.buffer.split_to(size).freeze();
        let told = self.buffer.get_u32();
        self.chunks += 1;
        self.all.update(&chunk);
        let found = crc(&chunk);
        if found != told {
            return Err(corrupt(format!(
                "frame {} has the checksum {found:08x}, and should have {told:08x}",
                self.chunks
            )));
        }
        Ok(Some(chunk))
    }

    /// The data of the last frame; there are no more pieces.
    ///
    /// # Errors
    /// `Corrupt` if the stream broke off, or if the checksum of all of it is wrong.
    pub fn finish(mut self) -> Result<Bytes, Error> {
        if self.chunk_bytes.is_none() || self.buffer.len() < 4 {
            return Err(corrupt(
                "it ends without the checksum that closes it".to_owned(),
            ));
        }
        let chunk = self.buffer.split_to(self.buffer.len() - 4).freeze();
        let told = self.buffer.get_u32();
        self.all.update(&chunk);
        let found = self.all.finalize() as u32;
        if found != told {
            return Err(corrupt(format!(
                "as a whole it has the checksum {found:08x}, and should have {told:08x}, or it broke off"
            )));
        }
        Ok(chunk)
    }
}

fn corrupt(why: String) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the stream of rows is damaged: {why}"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn unframe(framed: &[u8], piece: usize) -> Result<Vec<u8>, Error> {
        let mut frames = Unframe::new();
        let mut data = Vec::new();
        for piece in framed.chunks(piece) {
            frames.push(piece);
            while let Some(chunk) = frames.next()? {
                data.extend_from_slice(&chunk);
            }
        }
        data.extend_from_slice(&frames.finish()?);
        Ok(data)
    }

    #[test]
    fn it_is_crc32c() {
        assert_eq!(crc(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn data_comes_out_as_it_went_in() {
        for length in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
            let data: Vec<u8> = (0..length).map(|n: u32| (n % 253) as u8).collect();
            for piece in [7, 65_536, 1 << 20] {
                assert!(
                    unframe(&frame(&data), piece).unwrap() == data,
                    "{length} by {piece}"
                );
            }
        }
        // Nothing is a size and the checksum of nothing.
        assert_eq!(frame(b"")[..], [0, 1, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let data: Vec<u8> = (0..70_000_u32).map(|n| (n % 253) as u8).collect();
        let framed = frame(&data);
        for at in [
            0,
            2,
            3,
            4,
            60_000,
            65_540,
            65_543,
            65_544,
            70_004,
            framed.len() - 1,
        ] {
            let mut damaged = framed.to_vec();
            damaged[at] ^= 1;
            assert_eq!(
                unframe(&damaged, 4096).unwrap_err().kind,
                ErrorKind::Corrupt,
                "{at}"
            );
        }
        for length in [
            0,
            3,
            4,
            7,
            8,
            60_000,
            65_540,
            65_544,
            65_548,
            framed.len() - 1,
        ] {
            let error = unframe(&framed[..length], 4096).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Corrupt, "{length}");
        }
    }
}
