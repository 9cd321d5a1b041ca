//! Result rows, from any table that `run` wrote.

use std::path::Path;

use clipsieve_engine::operator::{Row, Source, Stores};
use clipsieve_operators::tables::{self, Blob, JsonlReader, Reading};
use serde_json::{Map, Value as Json};

/// The rows of a table, one after another.
pub struct Results {
    name: String,
    rows: Box<dyn Source>,
    /// Whether it is a table that still grows, whose last line may be cut off.
    grows: bool,
    number: u64,
}

impl Results {
    /// Opens a table. One that still grows (`TABLE.partial`) holds JSON lines, whatever the table will be.
    ///
    /// # Errors
    /// A message: there is no such table, or it cannot be read.
    pub fn open(name: &str) -> Result<Self, String> {
        let grows = name.ends_with(".partial") && Path::new(name).is_file();
        let rows: Box<dyn Source> = if grows {
            Box::new(JsonlReader::open(&Blob::file(name)).map_err(|error| error.message)?)
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
            grows,
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
            // A line that is being written just now.
            Some(_) if self.grows && matches!(self.rows.next_row(), Ok(None)) => return Ok(None),
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
