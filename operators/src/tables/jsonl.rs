//! Tables of one JSON object a line (`.jsonl`, `.ndjson`).

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use clipsieve_engine::operator::{OperatorError, Receipt, Row, Source, SourceRow};
use serde_json::{Map, Value as Json, json};

use super::format::cannot_read;
use super::lines::{BYTE_ORDER_MARK, LONGEST_LINE_BYTES, Line, count_filled, next_line};
use super::{Blob, Format, Output, RowWriter};
use crate::json::kind_of;

/// How much of a line that is no row is shown in its result row.
const SHOWN_CHARS: usize = 200;

/// JSON lines.
pub(super) const JSONL: Format = Format {
    name: "JSON lines",
    extensions: &["jsonl", "ndjson"],
    open: |blob, _| Ok(Box::new(JsonlReader::open(blob)?)),
    write: |spool, output| spool.copy(output),
};

/// Reads JSON lines, one at a time.
///
/// Lines of white space are skipped. A line that is no JSON object becomes the row `{input_line, input_text}` (its number
/// from 1, its beginning) with what is wrong. A byte order mark, `\r\n` and a missing last `\n` are all right.
pub struct JsonlReader<R = BufReader<Box<dyn Read + Send>>> {
    input: R,
    /// The table's name in messages.
    name: String,
    longest_line_bytes: usize,
    total_rows: Option<u64>,
    fingerprint: Option<String>,
    line: u64,
    buffer: Vec<u8>,
}

impl JsonlReader {
    /// Opens a table. A local one of at most 1 GiB is read through once to count its rows.
    ///
    /// # Errors
    /// `Config` if it cannot be opened or read.
    pub fn open(blob: &Blob) -> Result<Self, OperatorError> {
        let refuse = |error: io::Error| cannot_read(&blob.name(), &error);
        let total_rows = match blob.countable().map_err(refuse)? {
            true => Some(blob.read().and_then(count_rows).map_err(refuse)?),
            false => None,
        };
        let input = BufReader::with_capacity(1 << 18, blob.read().map_err(refuse)?);
        let mut reader = Self::new(input, blob.name(), LONGEST_LINE_BYTES);
        reader.total_rows = total_rows;
        reader.fingerprint = blob.fingerprint();
        Ok(reader)
    }
}

impl<R: BufRead> JsonlReader<R> {
    /// Reads from `input`, called `name` in messages, refusing lines of more than this many bytes.
    pub fn new(input: R, name: String, longest_line_bytes: usize) -> Self {
        Self {
            input,
            name,
            longest_line_bytes,
            total_rows: None,
            fingerprint: None,
            line: 0,
            buffer: Vec::new(),
        }
    }

    fn bad_row(&self, text: &[u8], why: &str) -> SourceRow {
        let mut shown: String = String::from_utf8_lossy(text)
            .chars()
            .take(SHOWN_CHARS)
            .collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        let row = Map::from_iter([
            ("input_line".to_owned(), json!(self.line)),
            ("input_text".to_owned(), json!(shown)),
        ]);
        SourceRow {
            row: Row(row),
            problem: Some(OperatorError::bad_input(format!(
                "line {} of {}: {why}",
                self.line, self.name
            ))),
        }
    }
}

impl<R: BufRead + Send> Source for JsonlReader<R> {
    fn next_row(&mut self) -> Result<Option<SourceRow>, OperatorError> {
        loop {
            let found = next_line(&mut self.input, self.longest_line_bytes, &mut self.buffer)
                .map_err(|error| {
                    OperatorError::temporary(format!(
                        "cannot read {} after line {}: {error}",
                        self.name, self.line
                    ))
                })?;
            self.line += 1;
            let text = match self.line {
                1 => without_mark(&self.buffer),
                _ => &self.buffer,
            }
            .trim_ascii();
            match found {
                Line::End => return Ok(None),
                Line::TooLong(bytes) => {
                    let why = format!(
                        "{bytes} bytes long; at most {} are taken",
                        self.longest_line_bytes
                    );
                    return Ok(Some(self.bad_row(text, &why)));
                }
                Line::Whole if text.is_empty() => {}
                Line::Whole => {
                    return Ok(Some(match object(text) {
                        Ok(columns) => SourceRow {
                            row: Row(columns),
                            problem: None,
                        },
                        Err(why) => self.bad_row(text, &why),
                    }));
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

/// The JSON object that a line holds, or why it holds none.
fn object(line: &[u8]) -> Result<Map<String, Json>, String> {
    let text = std::str::from_utf8(line).map_err(|error| {
        format!(
            "not UTF-8 (byte {} of the line)",
            error.valid_up_to().saturating_add(1)
        )
    })?;
    match serde_json::from_str(text) {
        Ok(Json::Object(columns)) => Ok(columns),
        Ok(other) => Err(format!(
            "a JSON object is needed, this is {}",
            kind_of(&other)
        )),
        Err(error) => {
            // serde_json's own "line 1" would be taken for the table's.
            let said = error.to_string();
            let why = said.split(" at line ").next().unwrap_or(&said);
            Err(format!("not JSON: {why} (column {})", error.column()))
        }
    }
}

fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
}

fn count_rows(mut file: impl Read) -> io::Result<u64> {
    let mut head = Vec::new();
    (&mut file)
        .take(BYTE_ORDER_MARK.len() as u64)
        .read_to_end(&mut head)?;
    count_filled(Cursor::new(without_mark(&head)).chain(file))
}

/// Writes JSON lines; a part's receipt is the length of the table behind it.
pub struct JsonlWriter {
    output: Output,
    buffer: Vec<u8>,
}

impl JsonlWriter {
    /// Writes into `output`.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            buffer: Vec::new(),
        }
    }
}

impl RowWriter for JsonlWriter {
    fn resumes(&self) -> bool {
        matches!(self.output, Output::File(_))
    }

    fn resume(&mut self, receipts: &[Receipt]) -> io::Result<()> {
        let length = match receipts.last() {
            None => 0,
            Some(receipt) => receipt["bytes"].as_u64().ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("the ledger's receipt {receipt} is not one of JSON lines"),
                )
            })?,
        };
        self.output.resume(length)
    }

    fn publish(&mut self, _part: u64, rows: &[Cow<'_, Row>]) -> io::Result<Receipt> {
        self.buffer.clear();
        // A part that was very large does not keep its memory.
        self.buffer.shrink_to(1 << 20);
        for row in rows {
            serde_json::to_writer(&mut self.buffer, &row.0)?;
            self.buffer.push(b'\n');
        }
        let bytes = self.output.append(&self.buffer)?;
        Ok(json!({ "bytes": bytes }))
    }

    fn finish(&mut self, _receipts: &[Receipt]) -> io::Result<String> {
        self.output.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], longest: usize) -> Vec<SourceRow> {
        let mut reader = JsonlReader::new(bytes, "t.jsonl".to_owned(), longest);
        let mut rows = Vec::new();
        while let Some(row) = reader.next_row().unwrap() {
            rows.push(row);
        }
        rows
    }

    fn problem(row: &SourceRow) -> &str {
        row.problem.as_ref().map_or("", |error| &error.message)
    }

    #[test]
    fn marks_line_ends_and_empty_lines_do_not_matter() {
        let rows = read(
            b"\xEF\xBB\xBF{\"a\": 1}\r\n\r\n  \n{\"a\": 2}\n\t{\"a\": 3} ",
            100,
        );
        let values: Vec<&Json> = rows.iter().map(|row| &row.row.0["a"]).collect();
        assert_eq!(values, [1, 2, 3]);
        assert!(rows.iter().all(|row| row.problem.is_none()));
        assert!(read(b"", 100).is_empty());
        assert!(read(b"\xEF\xBB\xBF", 100).is_empty());
    }

    #[test]
    fn columns_keep_their_order() {
        let rows = read(br#"{"z": 1, "a": {"y": 2, "b": 3}}"#, 100);
        assert_eq!(
            serde_json::to_string(&rows[0].row.0).unwrap(),
            r#"{"z":1,"a":{"y":2,"b":3}}"#
        );
    }

    #[test]
    fn a_line_that_is_no_row_tells_its_number_and_why() {
        let rows = read(
            b"{}\n\n{\"a\": }\n[1]\nnull\n\xFF\xFE{}\n{\"a\": 1e999}\n{\"a\": 1} {}\n{\"a\"",
            100,
        );
        let problems: Vec<&str> = rows.iter().map(problem).collect();
        assert_eq!(
            problems,
            [
                "",
                "line 3 of t.jsonl: not JSON: expected value (column 7)",
                "line 4 of t.jsonl: a JSON object is needed, this is a list",
                "line 5 of t.jsonl: a JSON object is needed, this is null",
                "line 6 of t.jsonl: not UTF-8 (byte 1 of the line)",
                "line 7 of t.jsonl: not JSON: number out of range (column 11)",
                "line 8 of t.jsonl: not JSON: trailing characters (column 10)",
                "line 9 of t.jsonl: not JSON: EOF while parsing an object (column 4)",
            ]
        );
        assert_eq!(
            Json::Object(rows[1].row.0.clone()),
            json!({"input_line": 3, "input_text": "{\"a\": }"})
        );
        let deep = "[".repeat(100_000);
        assert!(
            problem(&read(format!("{{\"a\": {deep}").as_bytes(), 1 << 20)[0]).contains("recursion")
        );
    }

    #[test]
    fn a_long_line_is_refused_and_shown_short() {
        let long = format!("{{\"a\": \"{}\"}}\n{{}}\n", "x".repeat(5000));
        let rows = read(long.as_bytes(), 1000);
        assert_eq!(
            problem(&rows[0]),
            "line 1 of t.jsonl: 5009 bytes long; at most 1000 are taken"
        );
        let shown = rows[0].row.text("input_text").unwrap();
        assert_eq!(shown.chars().count(), SHOWN_CHARS + 1);
        assert!(rows[1].problem.is_none());
    }

    #[test]
    fn a_file_is_counted_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        for (bytes, rows) in [
            (b"{}\n\n{}\nbad\n".as_slice(), 3),
            (b"\xEF\xBB\xBF\n{}", 1),
            (b"\xEF\xBB\xBF", 0),
            (b"{", 1),
            (b"", 0),
        ] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(
                JsonlReader::open(&Blob::file(&path)).unwrap().total_rows(),
                Some(rows)
            );
        }
    }

    #[test]
    fn a_disk_that_fails_ends_the_table() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("disk on fire"))
            }
        }
        let input = BufReader::new(b"{}\n{\"a".as_slice().chain(Broken));
        let mut reader = JsonlReader::new(input, "t.jsonl".to_owned(), 100);
        assert!(reader.next_row().unwrap().is_some());
        let error = reader.next_row().err().unwrap();
        assert_eq!(
            error.message,
            "cannot read t.jsonl after line 1: disk on fire"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Any bytes: no panic, and one row for each line that holds more than white space, counted before or read.
        #[test]
        fn every_filled_line_is_a_row(
            pieces in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..12),
                    Just(b"{\"video_path\": \"a\"}".to_vec()),
                    Just(b"\n".to_vec()),
                    Just(b" \r\n".to_vec()),
                    Just(b"\xEF\xBB\xBF".to_vec()),
                    Just(vec![b'x'; 80]),
                ],
                0..24,
            )
        ) {
            let bytes = pieces.concat();
            let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
            let filled = text
                .split(|byte| *byte == b'\n')
                .filter(|line| line.iter().any(|byte| !byte.is_ascii_whitespace()))
                .count();
            let rows = read(&bytes, 64);
            prop_assert_eq!(rows.len(), filled);
            prop_assert_eq!(count_filled(text).unwrap(), filled as u64);
            for row in rows {
                prop_assert!(row.problem.is_some() || !row.row.0.contains_key("input_line"));
            }
        }
    }
}
