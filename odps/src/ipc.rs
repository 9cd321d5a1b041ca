//! Arrow batches as the messages of a stream that has neither schema nor end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;

use super::{Error, ErrorKind};

/// The messages of batches, one after another.
pub(crate) fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>, Error> {
    let failed =
        |error: ArrowError| Error::new(ErrorKind::Config, format!("the rows do not fit: {error}"));
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(failed)?;
    // The message of the schema is what has been written so far; the end is only written by `finish`.
    let head = writer.get_ref().len();
    for batch in batches {
        writer.write(batch).map_err(failed)?;
    }
    let mut bytes = std::mem::take(writer.get_mut());
    bytes.drain(..head);
    Ok(bytes)
}

/// Batches of messages that come in pieces.
pub(crate) struct Decode {
    decoder: StreamDecoder,
}

impl Decode {
    pub fn new(schema: &SchemaRef) -> Result<Self, Error> {
        let writer = StreamWriter::try_new(Vec::new(), schema).map_err(damaged)?;
        let mut decoder = StreamDecoder::new();
        let mut head = Buffer::from(writer.get_ref().as_slice());
        decoder.decode(&mut head).map_err(damaged)?;
        Ok(Self { decoder })
    }

    /// Takes a piece more; the batches that it completes go to `batches`.
    pub fn push(
        &mut self,
        piece: Bytes,
        batches: &mut impl Extend<RecordBatch>,
    ) -> Result<(), Error> {
        let mut buffer = Buffer::from(piece);
        while !buffer.is_empty() {
            // Of messages that contradict themselves arrow finds some by its own assertions. The decoder is not used again.
            let decoded = catch_unwind(AssertUnwindSafe(|| self.decoder.decode(&mut buffer)));
            let decoded = decoded.unwrap_or_else(|_| {
                let what = "a message contradicts itself".to_owned();
                Err(ArrowError::IpcError(what))
            });
            batches.extend(decoded.map_err(damaged)?);
        }
        Ok(())
    }

    /// There are no more pieces.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.decoder.finish().map_err(damaged)
    }
}

fn damaged(error: ArrowError) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("the rows are not those of the table's schema: {error}"),
    )
}
