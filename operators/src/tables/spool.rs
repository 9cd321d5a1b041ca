//! Rows on their way to a table that can only be written whole.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

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
///
/// The file has no name and ends with the process, or it has one and a later process goes on with it ([`Spool::resume`]).
pub struct Spool {
    lines: File,
    /// The file's name, if it is kept.
    kept: Option<PathBuf>,
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
            kept: None,
            length: 0,
            columns: Columns::default(),
            rows: 0,
            buffer: Vec::new(),
        })
    }

    /// Goes on with the first `length` bytes of a file, which is made if it is missing; what is behind them is cut off.
    ///
    /// # Errors
    /// There are fewer, or what the disk answered.
    pub fn resume(&mut self, path: &Path, length: u64) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let there = file.metadata()?.len();
        if there < length {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "{} has {there} bytes, and the ledger has recorded {length}; rows that were done are gone, so start over (`--fresh`)",
                    path.display()
                ),
            ));
        }
        file.set_len(length)?;
        file.sync_all()?;
        self.columns = Columns::default();
        self.rows = 0;
        let mut lines = BufReader::with_capacity(1 << 18, &mut file);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line)? > 0 {
            let columns = serde_json::from_slice(&line).map_err(io::Error::from)?;
            self.columns.see(&Row(columns));
            self.rows += 1;
            line.clear();
        }
        drop(lines);
        file.seek(SeekFrom::Start(length))?;
        self.lines = file;
        self.length = length;
        self.kept = Some(path.to_owned());
        Ok(())
    }

    /// Removes the file that is kept.
    pub fn remove(&mut self) {
        if let Some(path) = self.kept.take() {
            // Whoever writes this table next begins anew.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Bytes of the rows so far.
    pub fn bytes(&self) -> u64 {
        self.length
    }

    /// Adds rows: all of them, or after an error none. In a file that is kept they are on disk when this returns.
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
        let written = self
            .lines
            .write_all(&self.buffer)
            .and_then(|()| match self.kept {
                Some(_) => self.lines.sync_data(),
                None => Ok(()),
            });
        if let Err(error) = written {
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
    fn a_later_one_goes_on_behind_what_was_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/rows.partial");
        let row = |n: u64| Cow::Owned(Row(json!({"n": n}).as_object().unwrap().clone()));
        let create = || Spool::create(folder.path()).unwrap();
        let mut first = create();
        first.resume(&path, 0).unwrap();
        first.add(&[row(0), row(1)]).unwrap();
        let recorded = first.bytes();
        first.add(&[row(9)]).unwrap();
        drop(first);
        let mut second = create();
        second.resume(&path, recorded).unwrap();
        second.add(&[row(2)]).unwrap();
        assert_eq!(second.rows(), 3);
        let mut seen = Vec::new();
        second
            .each_batch::<io::Error>(|rows| {
                seen.extend(rows.iter().map(|row| row.0["n"].clone()));
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, [0, 1, 2]);
        second.remove();
        assert!(!path.exists());
        assert!(create().resume(&path, 1).is_err());
    }

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
