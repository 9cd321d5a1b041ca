//! Rows on their way to a table that can only be written whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

use clipsieve_engine::operator::Row;

use super::columns::Columns;

/// A batch is full with so many rows, or so many bytes of them.
const BATCH_ROWS: usize = 4096;
pub(super) const BATCH_BYTES: usize = 8 << 20;

/// Rows that were kept as JSON lines until all are in, and what columns they have.
///
/// A table other than JSON lines has something at its beginning, or wants something known at its end, that no row by
/// itself can tell: the columns of a CSV, the types of a Parquet, an upload session that is committed once. So its rows
/// wait in a file, which grows part by part as a table of JSON lines does; the memory that takes does not grow with them.
pub struct Spool {
    file: Option<File>,
    columns: Columns,
    rows: u64,
}

impl Spool {
    /// The rows of this file; none if it is not there. It is read once, for the columns.
    ///
    /// # Errors
    /// What the disk answered.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = match File::open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut spool = Self {
            file,
            columns: Columns::default(),
            rows: 0,
        };
        let (mut columns, mut count) = (Columns::default(), 0);
        spool.each_batch::<io::Error>(|rows| {
            rows.iter().for_each(|row| columns.see(row));
            count += rows.len() as u64;
            Ok(())
        })?;
        (spool.columns, spool.rows) = (columns, count);
        Ok(spool)
    }

    /// The columns of the rows.
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
        let Some(file) = &mut self.file else {
            return Ok(());
        };
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
        let Some(file) = &mut self.file else {
            return take(&[]);
        };
        let mut batches = 0;
        each_batch(file, 0..u64::MAX, BATCH_BYTES, |rows, _| {
            batches += 1;
            take(rows).map(|()| true)
        })?;
        match batches {
            0 => take(&[]),
            _ => Ok(()),
        }
    }
}

/// Hands the rows on that lie between two places of a file, a few or about `batch_bytes` of them at a time, each time with the place behind them, until
/// `take` says that it has enough. Both places are beginnings of lines, or the end.
///
/// # Errors
/// What the disk answered, or the first error of `take`.
pub(super) fn each_batch<E: From<io::Error>>(
    file: &mut File,
    range: Range<u64>,
    batch_bytes: usize,
    mut take: impl FnMut(&[Row], u64) -> Result<bool, E>,
) -> Result<(), E> {
    file.seek(SeekFrom::Start(range.start))?;
    let length = range.end - range.start;
    let mut lines = BufReader::with_capacity(1 << 18, file).take(length);
    let mut line = Vec::new();
    let mut batch = Vec::new();
    let (mut at, mut bytes) = (range.start, 0);
    loop {
        line.clear();
        let ended = lines.read_until(b'\n', &mut line)? == 0;
        if !ended {
            bytes += line.len();
            let columns = serde_json::from_slice(&line).map_err(io::Error::from)?;
            batch.push(Row(columns));
        }
        if ended || batch.len() == BATCH_ROWS || bytes >= batch_bytes {
            at += bytes as u64;
            if !batch.is_empty() && !take(&batch, at)? {
                return Ok(());
            }
            batch.clear();
            bytes = 0;
        }
        if ended {
            return Ok(());
        }
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
        let path = folder.path().join("rows");
        let mut empty = 0;
        Spool::open(&path)
            .unwrap()
            .each_batch::<io::Error>(|rows| {
                empty += 1;
                assert!(rows.is_empty());
                Ok(())
            })
            .unwrap();
        assert_eq!(empty, 1);
        let rows = BATCH_ROWS * 2 + 3;
        let lines: Vec<String> = (0..rows)
            .map(|n| json!({"n": n}).to_string() + "\n")
            .collect();
        std::fs::write(&path, lines.concat()).unwrap();
        let mut spool = Spool::open(&path).unwrap();
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
        assert_eq!(spool.rows(), rows as u64);
        assert_eq!(spool.columns().names().collect::<Vec<_>>(), ["n"]);
    }
}
