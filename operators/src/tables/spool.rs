//! Rows on their way to a table that can only be written whole.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use clipsieve_engine::operator::Row;

use super::columns::Columns;

/// A batch is full with so many rows, or so many bytes of them.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 8 << 20;

/// A temporary file of JSON lines, removed when it is dropped, and what columns its rows have.
///
/// A table other than JSON lines has something at its beginning, or wants something known at its end, that no row by
/// itself can tell: the columns of a CSV, the types of a Parquet, an upload session that is committed once. So rows are
/// kept here until all are in; the memory that takes does not grow with them.
pub struct Spool {
    lines: File,
    /// Bytes of the rows so far.
    length: u64,
    columns: Columns,
    rows: u64,
    buffer: Vec<u8>,
}

impl Spool {
    /// An empty one in this folder.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let lines = tempfile::tempfile_in(folder)?;
        Ok(Self {
            lines,
            length: 0,
            columns: Columns::default(),
            rows: 0,
            buffer: Vec::new(),
        })
    }

    /// Adds rows: all of them, or after an error none.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn add(&mut self, rows: &[Cow<'_, Row>]) -> io::Result<()> {
        self.buffer.clear();
        // Rows that were very large do not keep their memory.
        self.buffer.shrink_to(1 << 20);
        for row in rows {
            serde_json::to_writer(&mut self.buffer, &row.0)?;
            self.buffer.push(b'\n');
        }
        if let Err(error) = self.lines.write_all(&self.buffer) {
            self.lines.set_len(self.length)?;
            self.lines.seek(SeekFrom::Start(self.length))?;
            return Err(error);
        }
        self.length += self.buffer.len() as u64;
        self.rows += rows.len() as u64;
        for row in rows {
            self.columns.see(row);
        }
        Ok(())
    }

    /// The columns of the rows so far.
    pub(super) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Copies the rows as JSON lines.
    ///
    /// # Errors
    /// What one of the two answered.
    pub(super) fn copy(&mut self, output: &mut dyn Write) -> io::Result<()> {
        let file = &mut self.lines;
        file.seek(SeekFrom::Start(0))?;
        io::copy(file, output)?;
        file.seek(SeekFrom::End(0)).map(drop)
    }

    /// Hands all rows on, some at a time. At least one batch is handed on, an empty one if there are no rows.
    ///
    /// # Errors
    /// What the disk answered, or the first error of `take`.
    pub(super) fn each_batch<E: From<io::Error>>(
        &mut self,
        mut take: impl FnMut(&[Row]) -> Result<(), E>,
    ) -> Result<(), E> {
        let file = &mut self.lines;
        file.seek(SeekFrom::Start(0))?;
        let mut lines = BufReader::with_capacity(1 << 18, &mut *file);
        let mut line = Vec::new();
        let mut batch = Vec::new();
        let mut bytes = 0;
        loop {
            line.clear();
            let ended = lines.read_until(b'\n', &mut line)? == 0;
            if !ended {
                bytes += line.len();
                let columns = serde_json::from_slice(&line).map_err(io::Error::from)?;
                batch.push(Row(columns));
            }
            if ended || batch.len() == BATCH_ROWS || bytes >= BATCH_BYTES {
                if !batch.is_empty() || self.rows == 0 {
                    take(&batch)?;
                }
                batch.clear();
                bytes = 0;
            }
            if ended {
                break;
            }
        }
        file.seek(SeekFrom::End(0))?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_come_back_in_order_and_more_than_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::create(folder.path()).unwrap();
        let mut empty = 0;
        spool
            .each_batch::<io::Error>(|rows| {
                empty += 1;
                assert!(rows.is_empty());
                Ok(())
            })
            .unwrap();
        assert_eq!(empty, 1);
        let rows = BATCH_ROWS * 2 + 3;
        for n in 0..rows {
            let row = Row(json!({"n": n}).as_object().unwrap().clone());
            spool.add(&[Cow::Owned(row)]).unwrap();
        }
        for _ in 0..2 {
            let (mut seen, mut batches) = (0, 0);
            spool
                .each_batch::<io::Error>(|rows| {
                    batches += 1;
                    for row in rows {
                        assert_eq!(row.0["n"], seen);
                        seen += 1;
                    }
                    Ok(())
                })
                .unwrap();
            assert_eq!((seen, batches), (rows, 3));
        }
        assert_eq!(spool.columns().names().collect::<Vec<_>>(), ["n"]);
        // The file has no name: nothing is left behind, however the process ends.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
