//! Tables of comma-separated values with a header (`.csv`), and of tab-separated ones (`.tsv`).

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clipsieve_engine::operator::{OperatorError, Row, Source, SourceRow};
use csv::{ByteRecord, ReaderBuilder, WriterBuilder};
use serde_json::{Map, Value as Json, json};

use super::lines::LONGEST_LINE_BYTES;
use super::{Blob, Format, Names, Spool};

/// Comma-separated values.
pub(super) const CSV: Format = Format {
    name: "CSV",
    extensions: &["csv"],
    open: |blob, names| open(blob, names, b','),
    write: |spool, output| write(spool, output, b','),
};

/// Tab-separated values, quoted as CSV.
pub(super) const TSV: Format = Format {
    name: "TSV",
    extensions: &["tsv"],
    open: |blob, names| open(blob, names, b'\t'),
    write: |spool, output| write(spool, output, b'\t'),
};

fn open(blob: &Blob, names: &Names, separator: u8) -> Result<Box<dyn Source>, OperatorError> {
    let reader = CsvReader::open(blob, separator)?;
    let header: Vec<&str> = reader.header.iter().map(String::as_str).collect();
    names.check(&blob.name(), &header)?;
    Ok(Box::new(reader))
}

/// How much of a line that is no row is shown in its result row.
const SHOWN_CHARS: usize = 200;

/// Reads separated values; every value is text.
///
/// A line with more or fewer values than the header, or one that is not UTF-8, becomes the row `{input_line, input_text}`
/// with what is wrong.
pub struct CsvReader<R> {
    records: csv::Reader<Watched<R>>,
    /// Bytes read when the last record was whole.
    watch: Arc<AtomicU64>,
    name: String,
    header: Vec<String>,
    record: ByteRecord,
    total_rows: Option<u64>,
    fingerprint: Option<String>,
}

impl CsvReader<Box<dyn Read + Send>> {
    /// Opens a file and reads its header. A local one of at most 1 GiB is read through once to count its rows.
    ///
    /// # Errors
    /// `Config` if it cannot be read, or has no header that names each column once.
    pub fn open(blob: &Blob, separator: u8) -> Result<Self, OperatorError> {
        let refuse = |error: io::Error| {
            OperatorError::config(format!("cannot read {}: {error}", blob.name()))
        };
        let total = match blob.countable().map_err(refuse)? {
            true => Some(count(blob.read().map_err(refuse)?, separator).map_err(refuse)?),
            false => None,
        };
        let input = blob.read().map_err(refuse)?;
        let mut reader = Self::new(input, blob.name(), separator, LONGEST_LINE_BYTES as u64)?;
        reader.total_rows = total;
        reader.fingerprint = blob.fingerprint();
        Ok(reader)
    }
}

impl<R: Read> CsvReader<R> {
    /// Reads from `input`, called `name` in messages, refusing records of more than this many bytes.
    ///
    /// # Errors
    /// `Config` if there is no header that names each column once.
    pub fn new(
        input: R,
        name: String,
        separator: u8,
        longest_bytes: u64,
    ) -> Result<Self, OperatorError> {
        let refuse = |why: String| OperatorError::config(format!("cannot read {name}: {why}"));
        let watch = Arc::new(AtomicU64::new(0));
        let watched = Watched {
            input,
            since: Arc::clone(&watch),
            longest_bytes,
            piece: Vec::new(),
            end: 0,
        };
        let mut records = builder(separator).from_reader(watched);
        let header = records
            .headers()
            .map_err(|error| refuse(format!("its header: {}", plainly(&error))))?;
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        if header.is_empty() {
            return Err(refuse(
                "it is empty; a first line must name the columns".to_owned(),
            ));
        }
        for (index, column) in header.iter().enumerate() {
            if header[..index].contains(column) {
                return Err(refuse(format!("its header names column `{column}` twice")));
            }
        }
        watch.store(0, Ordering::Relaxed);
        Ok(Self {
            records,
            watch,
            name,
            header,
            record: ByteRecord::new(),
            total_rows: None,
            fingerprint: None,
        })
    }

    fn row(&self) -> Result<Row, String> {
        let fields = self.record.len();
        if fields != self.header.len() {
            return Err(format!(
                "{fields} value{}, and the header names {} columns",
                if fields == 1 { "" } else { "s" },
                self.header.len()
            ));
        }
        let mut row = Map::with_capacity(fields);
        for (name, value) in self.header.iter().zip(&self.record) {
            let text = std::str::from_utf8(value)
                .map_err(|_| format!("the value of column `{name}` is not UTF-8"))?;
            row.insert(name.clone(), json!(text));
        }
        Ok(Row(row))
    }

    /// The line on which the last record begins, from 1. The library's own number counts the line before it where lines end
    /// with `\r\n`, and empty lines between the two.
    fn line(&self) -> u64 {
        let place = self.records.position();
        let own = self.record.as_slice().iter();
        let within = own.filter(|byte| **byte == b'\n').count() as u64;
        let has_ended = self.records.get_ref().byte_before(place.byte()) == Some(b'\n');
        let ends = place.line().saturating_sub(u64::from(has_ended));
        ends.saturating_sub(within).max(1)
    }

    fn bad_row(&self, line: u64, why: &str) -> SourceRow {
        let fields: Vec<_> = self.record.iter().map(String::from_utf8_lossy).collect();
        let shown: String = fields.join(",").chars().take(SHOWN_CHARS).collect();
        SourceRow {
            row: Row(Map::from_iter([
                ("input_line".to_owned(), json!(line)),
                ("input_text".to_owned(), json!(shown)),
            ])),
            problem: Some(OperatorError::bad_input(format!(
                "line {line} of {}: {why}",
                self.name
            ))),
        }
    }
}

impl<R: Read + Send> Source for CsvReader<R> {
    fn next_row(&mut self) -> Result<Option<SourceRow>, OperatorError> {
        self.watch.store(0, Ordering::Relaxed);
        let before = self.records.position().line();
        match self.records.read_byte_record(&mut self.record) {
            Ok(false) => Ok(None),
            Ok(true) => Ok(Some(match self.row() {
                Ok(row) => SourceRow { row, problem: None },
                Err(why) => self.bad_row(self.line(), &why),
            })),
            Err(error) => Err(OperatorError::temporary(format!(
                "cannot read {} after line {before}: {}",
                self.name,
                plainly(&error)
            ))),
        }
    }

    fn total_rows(&self) -> Option<u64> {
        self.total_rows
    }

    fn fingerprint(&self) -> Option<String> {
        self.fingerprint.clone()
    }
}

/// A reader that gives up on a record without end, which an open quote makes of the rest of a table.
struct Watched<R> {
    input: R,
    since: Arc<AtomicU64>,
    longest_bytes: u64,
    /// What was read last, and how many bytes were read with it.
    piece: Vec<u8>,
    end: u64,
}

impl<R> Watched<R> {
    /// The byte before this place, if it is among those that were read last.
    fn byte_before(&self, place: u64) -> Option<u8> {
        let to_end = usize::try_from(self.end.checked_sub(place)?).ok()?;
        let at = self.piece.len().checked_sub(to_end + 1)?;
        self.piece.get(at).copied()
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.since.load(Ordering::Relaxed) > self.longest_bytes {
            return Err(io::Error::other(format!(
                "the next row is longer than {} bytes; is a quote not closed?",
                self.longest_bytes
            )));
        }
        let read = self.input.read(into)?;
        self.since.fetch_add(read as u64, Ordering::Relaxed);
        if read > 0 {
            self.piece.clear();
            self.piece.extend_from_slice(&into[..read]);
            self.end += read as u64;
        }
        Ok(read)
    }
}

fn builder(separator: u8) -> ReaderBuilder {
    let mut builder = ReaderBuilder::new();
    builder
        .delimiter(separator)
        .flexible(true)
        .buffer_capacity(1 << 18);
    builder
}

fn count(input: impl Read, separator: u8) -> io::Result<u64> {
    let mut reader = CsvReader::new(input, String::new(), separator, LONGEST_LINE_BYTES as u64)
        .map_err(|error| io::Error::other(error.message));
    let Ok(reader) = &mut reader else {
        // What is wrong with it is told when it is read.
        return Ok(0);
    };
    let mut rows = 0;
    loop {
        reader.watch.store(0, Ordering::Relaxed);
        match reader.records.read_byte_record(&mut reader.record) {
            Ok(true) => rows += 1,
            Ok(false) | Err(_) => return Ok(rows),
        }
    }
}

fn plainly(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::Io(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// What the output answered: whether it may pass is told by its kind.
fn of_output(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Writes rows below a header of all their columns: text as it is, null as nothing, everything else as JSON.
fn write(spool: &mut Spool, output: &mut (dyn Write + Send), separator: u8) -> io::Result<()> {
    let mut writer = WriterBuilder::new()
        .delimiter(separator)
        .from_writer(output);
    let names: Vec<String> = spool.columns().names().map(str::to_owned).collect();
    if !names.is_empty() {
        writer.write_record(&names).map_err(of_output)?;
    }
    spool.each_batch::<io::Error>(|rows| {
        for row in rows {
            for name in &names {
                let written = match row.0.get(name) {
                    None | Some(Json::Null) => writer.write_field(""),
                    Some(Json::String(text)) => writer.write_field(text),
                    Some(other) => writer.write_field(other.to_string()),
                };
                written.map_err(of_output)?;
            }
            writer.write_record(None::<&[u8]>).map_err(of_output)?;
        }
        Ok(())
    })?;
    writer.flush()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<SourceRow>, OperatorError> {
        let mut reader = CsvReader::new(bytes, "t.csv".to_owned(), b',', 1 << 19)?;
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row()? {
            rows.push(row);
        }
        Ok(rows)
    }

    #[test]
    fn values_are_text_under_the_names_of_the_header() {
        let rows = read(
            b"\xEF\xBB\xBFvideo_path, info\r\na.mp4,\"{\"\"k\"\": \"\"x,\ny\"\"}\"\r\n\r\nb.mp4,",
        )
        .unwrap();
        assert_eq!(
            Json::Object(rows[0].row.0.clone()),
            json!({"video_path": "a.mp4", "info": "{\"k\": \"x,\ny\"}"})
        );
        assert_eq!(
            Json::Object(rows[1].row.0.clone()),
            json!({"video_path": "b.mp4", "info": ""})
        );
        assert_eq!(rows.len(), 2);
    }

    #[test]
    fn a_line_that_is_no_row_tells_its_number_and_why() {
        let rows = read(b"a,b\n1,2\n1\n1,2,3\n\xFF,2\n\"x\ny\",2\n5\n").unwrap();
        let told: Vec<&str> = rows
            .iter()
            .map(|row| row.problem.as_ref().map_or("", |problem| &problem.message))
            .collect();
        assert_eq!(
            told,
            [
                "",
                "line 3 of t.csv: 1 value, and the header names 2 columns",
                "line 4 of t.csv: 3 values, and the header names 2 columns",
                "line 5 of t.csv: the value of column `a` is not UTF-8",
                "",
                "line 8 of t.csv: 1 value, and the header names 2 columns",
            ]
        );
        assert_eq!(rows[2].row.0["input_text"], "1,2,3");
    }

    #[test]
    fn lines_are_counted_as_editors_count_them_whatever_ends_them() {
        let unix = "a,b\n1,2\n\n1\n\"x\ny\",2\n\"x\ny\"\n\n\n5";
        for end in ["\n", "\r\n"] {
            let text = format!("\u{feff}{}", unix.replace('\n', end));
            let rows = read(text.as_bytes()).unwrap();
            let bad = rows.iter().filter(|row| row.problem.is_some());
            let lines: Vec<&Json> = bad.map(|row| &row.row.0["input_line"]).collect();
            assert_eq!(lines, [4, 7, 11], "{end:?}");
        }
    }

    #[test]
    fn a_header_has_to_name_each_column_once() {
        assert!(read(b"").err().unwrap().message.contains("it is empty"));
        assert!(
            read(b"a,b,a\n")
                .err()
                .unwrap()
                .message
                .contains("`a` twice")
        );
        assert!(read(b"a,b\n").unwrap().is_empty());
    }

    #[test]
    fn an_open_quote_does_not_swallow_memory() {
        let mut bytes = b"a,b\n1,2\n\"x,".to_vec();
        bytes.resize(4 << 20, b'y');
        let error = read(&bytes).err().unwrap();
        assert!(error.message.contains("is a quote not closed?"), "{error}");
        assert!(
            error.message.starts_with("cannot read t.csv after line"),
            "{error}"
        );
    }
}
