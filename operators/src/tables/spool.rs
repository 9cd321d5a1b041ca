//! Rows on their way to a table that can only be written whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write};
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
    lines: BufWriter<File>,
    columns: Columns,
    rows: u64,
}

impl Spool {
    /// An empty one in this folder.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let lines = tempfile::tempfile_in(folder)?;
        Ok(Self {
            lines: BufWriter::with_capacity(1 << 18, lines),
            columns: Columns::default(),
            rows: 0,
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn add(&mut self, row: &Row) -> io::Result<()> {
        self.columns.see(row);
        self.rows += 1;
        serde_json::to_writer(&mut self.lines, &row.0)?;
        self.lines.write_all(b"\n")
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
        self.lines.flush()?;
        let file = self.lines.get_mut();
        file.seek(SeekFrom::Start(0))?;
        io::copy(file, output).map(drop)
    }

    /// Hands all rows on, some at a time. At least one batch is handed on, an empty one if there are no rows.
    ///
    /// # Errors
    /// What the disk answered, or the first error of `take`.
    pub(super) fn each_batch<E: From<io::Error>>(
        &mut self,
        mut take: impl FnMut(&[Row]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.lines.flush()?;
        let file = self.lines.get_mut();
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
            spool
                .add(&Row(json!({"n": n}).as_object().unwrap().clone()))
                .unwrap();
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
