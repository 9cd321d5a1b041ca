//! Which table a URI names to be written.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use clipsieve_engine::operator::{OperatorError, Row};

use super::format::extensions;
use super::open::check_text;
use super::{FORMATS, Format, JsonlWriter, Output, Spool};

/// Writes rows to a table, which is to be seen only once it is finished.
pub trait RowWriter: Send {
    /// Adds a row.
    ///
    /// # Errors
    /// What the output answered.
    fn write(&mut self, row: &Row) -> io::Result<()>;

    /// Hands on what was added so far, so that people can watch it grow.
    ///
    /// # Errors
    /// What the output answered.
    fn flush(&mut self) -> io::Result<()>;

    /// Makes the table visible. Returns where it is, for people.
    ///
    /// # Errors
    /// What the output answered.
    fn finish(self: Box<Self>) -> io::Result<String>;
}

/// Begins the table that a URI names.
///
/// # Errors
/// `Config` if the format is not known or the place cannot be written to.
pub fn create(uri: &str) -> Result<Box<dyn RowWriter>, OperatorError> {
    let format = writable(uri).map_err(OperatorError::config)?;
    let output = Output::create(uri)?;
    if format.is_lines() {
        return Ok(Box::new(JsonlWriter::new(output)));
    }
    // Beside the table: where that fits, the rows do too, more or less.
    let folder = match Path::new(uri).parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let spool = Spool::create(folder).map_err(|error| {
        OperatorError::config(format!(
            "cannot write `{uri}`: its folder {} takes no temporary file: {error}",
            folder.display()
        ))
    })?;
    Ok(Box::new(Whole {
        spool,
        format,
        output,
    }))
}

/// A table that is written when all its rows are there.
struct Whole {
    spool: Spool,
    format: &'static Format,
    output: Output,
}

impl RowWriter for Whole {
    fn write(&mut self, row: &Row) -> io::Result<()> {
        self.spool.add(row)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<String> {
        let mut output = BufWriter::with_capacity(1 << 18, self.output);
        (self.format.write)(&mut self.spool, &mut output)?;
        output.flush()?;
        let output = output
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        output.finish()
    }
}

/// The format in which a table of this URI is written. Touches nothing.
///
/// # Errors
/// Why there is none, and which there are, as a lowercase fragment.
pub fn writable(uri: &str) -> Result<&'static Format, String> {
    if uri == "-" {
        return Ok(&FORMATS[0]);
    }
    let target = format!("name a file ({}), or `-` for standard output", extensions());
    check_text(uri, &target)?;
    Format::of(Path::new(uri))
        .ok_or_else(|| format!("`{uri}` is no table by its extension; {target}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn an_unknown_extension_lists_the_known_ones() {
        assert_eq!(
            writable("out.txt").err().unwrap(),
            "`out.txt` is no table by its extension; name a file (.jsonl, .ndjson, .csv, .tsv, .parquet, .parq), or `-` for standard output"
        );
        assert_eq!(writable("out.NDJSON").unwrap().name, "JSON lines");
        assert_eq!(writable("-").unwrap().name, "JSON lines");
    }

    #[test]
    fn what_is_written_in_any_format_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<Row> = (0..5000)
            .map(|n| {
                let row = json!({
                    "video_id": format!("v{n}"), "video_tag": null, "info": {"k": [n, "ü,\n\""]},
                    "shard": n, "share": f64::from(n) / 4.0, "ok": n % 2 == 0,
                });
                Row(row.as_object().unwrap().clone())
            })
            .collect();
        for format in FORMATS {
            for extension in format.extensions {
                let path = folder.path().join(format!("t.{extension}"));
                let uri = path.to_str().unwrap();
                let mut writer = create(uri).unwrap();
                for row in &rows {
                    writer.write(row).unwrap();
                }
                writer.flush().unwrap();
                assert!(!path.exists());
                assert_eq!(writer.finish().unwrap(), uri);
                let mut source = super::super::open(uri).unwrap();
                assert_eq!(source.total_rows(), Some(5000));
                for row in &rows {
                    let mut read = source.next_row().unwrap().unwrap().row;
                    if let Some(Json::String(info)) = read.0.get("info") {
                        let info = serde_json::from_str(info).unwrap();
                        read.0.insert("info".to_owned(), info);
                    }
                    let plain = |value: &Json| match value {
                        Json::Null => String::new(),
                        Json::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    for (name, value) in &row.0 {
                        assert_eq!(plain(&read.0[name]), plain(value), "{extension}: {name}");
                        if !["csv", "tsv"].contains(extension) {
                            assert_eq!(&read.0[name], value);
                        }
                    }
                }
                assert!(source.next_row().unwrap().is_none());
                std::fs::remove_file(&path).unwrap();
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_table_without_rows_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        for extension in ["jsonl", "parquet"] {
            let path = folder.path().join(format!("t.{extension}"));
            let uri = path.to_str().unwrap();
            create(uri).unwrap().finish().unwrap();
            assert!(
                super::super::open(uri)
                    .unwrap()
                    .next_row()
                    .unwrap()
                    .is_none()
            );
        }
    }
}
