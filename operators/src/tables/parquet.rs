//! Parquet tables (`.parquet`, `.parq`).

use std::io::{self, Write};

use arrow_array::RecordBatch;
use clipsieve_engine::operator::{OperatorError, Source, SourceRow};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::{Blob, Format, Names, Spool, cells, columns};

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 1024;
/// A row group is closed when it holds so many bytes, encoded, or so many rows.
const GROUP_BYTES: usize = 32 << 20;
const GROUP_ROWS: usize = 250_000;

/// Parquet.
pub(super) const PARQUET: Format = Format {
    name: "Parquet",
    extensions: &["parquet", "parq"],
    open: |blob, names| Ok(Box::new(ParquetReader::open(blob, names)?)),
    write,
};

/// Reads the rows of a Parquet file, a few of a row group at a time.
pub struct ParquetReader {
    name: String,
    batches: ParquetRecordBatchReader,
    batch: Option<RecordBatch>,
    next: usize,
    read: u64,
    total_rows: Option<u64>,
    fingerprint: Option<String>,
}

impl ParquetReader {
    /// Opens a file.
    ///
    /// # Errors
    /// `Config` if it cannot be read, is no Parquet, has a column of a type that no row's value can be, or has not the
    /// columns that are needed.
    pub fn open(blob: &Blob, names: &Names) -> Result<Self, OperatorError> {
        let name = blob.name();
        let refuse = |why: String| OperatorError::config(format!("cannot read {name}: {why}"));
        let chunks = blob.chunks().map_err(|error| refuse(error.to_string()))?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(chunks)
            .map_err(|error| refuse(plainly(&error)))?;
        if let Some((column, kind)) = cells::unreadable(builder.schema()) {
            return Err(refuse(format!(
                "column `{column}` is of type {kind}, which no row can hold; leave it out of the table"
            )));
        }
        let columns = builder.schema().fields().iter();
        let columns: Vec<&str> = columns.map(|field| field.name().as_str()).collect();
        names.check(&name, &columns)?;
        let total_rows = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
        let batches = builder
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(|error| refuse(plainly(&error)))?;
        Ok(Self {
            name,
            batches,
            batch: None,
            next: 0,
            read: 0,
            total_rows,
            fingerprint: blob.fingerprint(),
        })
    }
}

impl Source for ParquetReader {
    fn next_row(&mut self) -> Result<Option<SourceRow>, OperatorError> {
        loop {
            if let Some(batch) = self
                .batch
                .as_ref()
                .filter(|batch| self.next < batch.num_rows())
            {
                let row = cells::row(batch, self.next);
                self.next += 1;
                self.read += 1;
                return Ok(Some(SourceRow { row, problem: None }));
            }
            match self.batches.next() {
                None => return Ok(None),
                Some(Ok(batch)) => (self.batch, self.next) = (Some(batch), 0),
                Some(Err(error)) => {
                    return Err(OperatorError::config(format!(
                        "cannot read {} after row {}: {error}",
                        self.name, self.read
                    )));
                }
            }
        }
    }

    fn total_rows(&self) -> Option<u64> {
        self.total_rows
    }

    fn fingerprint(&self) -> Option<String> {
        self.fingerprint.clone()
    }
}

/// Writes rows under the narrowest types that hold them all, nested values as JSON text, compressed with zstd.
fn write(spool: &mut Spool, output: &mut (dyn Write + Send)) -> io::Result<()> {
    let schema = spool.columns().schema();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_created_by(concat!("clipsieve ", env!("CARGO_PKG_VERSION")).to_owned())
        .build();
    let failed = |error: ParquetError| match error {
        // What the output answered, and whether it may pass.
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(cause) => io::Error::other(cause),
        },
        error => io::Error::other(error),
    };
    let mut writer =
        ArrowWriter::try_new(output, schema.clone(), Some(properties)).map_err(failed)?;
    spool.each_batch::<io::Error>(|rows| {
        let refuse = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        let mut wrong = None;
        let batch = columns::batch(&schema, rows, |_, why| wrong = Some(why)).map_err(refuse)?;
        if let Some(why) = wrong {
            return Err(refuse(why));
        }
        writer.write(&batch).map_err(failed)?;
        if writer.in_progress_size() >= GROUP_BYTES {
            writer.flush().map_err(failed)?;
        }
        Ok(())
    })?;
    writer.close().map(drop).map_err(failed)
}

/// What the library said, without its own preamble.
fn plainly(error: &ParquetError) -> String {
    let said = error.to_string();
    said.strip_prefix("Parquet error: ")
        .unwrap_or(&said)
        .to_owned()
}
