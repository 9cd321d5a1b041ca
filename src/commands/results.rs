//! Result rows, from any table that `run` wrote.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use clipsieve_engine::operator::{Row, Source, Stores};
use clipsieve_operators::tables::{
    self, Blob, Format, JsonlReader, LONGEST_LINE_BYTES, Reading, files,
};
use serde_json::{Map, Value as Json};

/// The rows of a table, one after another.
pub struct Results {
    name: String,
    rows: Box<dyn Source>,
    number: u64,
}

impl Results {
    /// Opens a table. A file that no extension tells to be something else holds JSON lines: so does a pipe, and so does a
    /// table that still grows (`TABLE.partial`), whatever it will be. Of the latter, the lines that are whole by now are read.
    ///
    /// # Errors
    /// A message: there is no such table, or it cannot be read.
    pub fn open(name: &str) -> Result<Self, String> {
        let path = Path::new(name);
        let holds_lines = Format::of(path).is_none()
            && !files::is_video(path)
            && std::fs::metadata(path).is_ok_and(|about| !about.is_dir());
        let rows: Box<dyn Source> = if holds_lines && name.ends_with(".partial") && path.is_file() {
            let lines =
                whole_lines(path).map_err(|error| format!("cannot read {name}: {error}"))?;
            let input = BufReader::new(lines);
            Box::new(JsonlReader::new(
                input,
                name.to_string(),
                LONGEST_LINE_BYTES,
            ))
        } else if holds_lines {
            Box::new(JsonlReader::open(&Blob::file(path)).map_err(|error| error.message)?)
        } else {
            let reading = Reading {
                stores: &Stores::new(),
                endpoint: None,
                limit: None,
                scratch: &std::env::temp_dir(),
            };
            tables::open(name, &reading).map_err(|error| error.message)?
        };
        Ok(Self {
            name: name.to_string(),
            rows,
            number: 0,
        })
    }

    /// The next row, as it was before a table made JSON text of what is nested in it.
    fn next_row(&mut self) -> Result<Option<Map<String, Json>>, String> {
        self.number += 1;
        let Some(read) = self.rows.next_row().map_err(|error| error.message)? else {
            return Ok(None);
        };
        let row = match read.problem {
            Some(problem) => Err(problem.message),
            None => result_row(read.row),
        };
        row.map(Some).map_err(|why| {
            format!(
                "row {} of {} is no result row: {why}",
                self.number, self.name
            )
        })
    }
}

impl Iterator for Results {
    type Item = Result<Map<String, Json>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_row().transpose()
    }
}

/// What a file holds up to its last line break by now: what is behind it is being written.
fn whole_lines(path: &Path) -> io::Result<impl Read + Send + use<>> {
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut piece = Vec::new();
    let whole = loop {
        let begin = end.saturating_sub(1 << 16);
        piece.clear();
        file.seek(SeekFrom::Start(begin))?;
        (&mut file).take(end - begin).read_to_end(&mut piece)?;
        if let Some(at) = piece.iter().rposition(|byte| *byte == b'\n') {
            break begin + at as u64 + 1;
        }
        if begin == 0 {
            break 0;
        }
        end = begin;
    };
    file.seek(SeekFrom::Start(0))?;
    Ok(file.take(whole))
}

fn result_row(row: Row) -> Result<Map<String, Json>, String> {
    let mut row = row.0;
    for column in ["info", "result_info"] {
        if let Some(Json::String(text)) = row.get(column) {
            let nested = serde_json::from_str(text)
                .map_err(|error| format!("its `{column}` is not JSON: {error}"))?;
            row.insert(column.to_owned(), nested);
        }
    }
    match row.get("result_info").and_then(|info| info.get("succeed")) {
        Some(_) => Ok(row),
        None => Err("it has no `result_info.succeed`".to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_table_that_grows_is_read_as_far_as_it_was_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv.partial");
        let line = |id: &str| {
            format!("{{\"video_id\": \"{id}\", \"result_info\": {{\"succeed\": \"true\"}}}}\n")
        };
        // A line that is longer than what is looked at from the end at once.
        let long = line(&"x".repeat(200_000));
        let (first, second) = long.split_at(150_000);
        let mut file = File::create(&path).unwrap();
        write!(file, "{}{first}", line("a")).unwrap();
        let opened = || Results::open(path.to_str().unwrap()).unwrap();
        let before = opened();
        write!(file, "{second}{}", line("c")).unwrap();
        assert_eq!(before.map(Result::unwrap).count(), 1);
        assert_eq!(opened().map(Result::unwrap).count(), 3);

        file.set_len(20).unwrap();
        assert_eq!(opened().count(), 0);
    }
}
