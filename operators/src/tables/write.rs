//! Which table a URI names to be written.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clipsieve_engine::operator::{OperatorError, Pace, Receipt, Row, Stores};
use clipsieve_odps::UploadOptions;
use serde_json::json;

use super::format::extensions;
use super::odps::{self, OdpsTarget};
use super::open::check_text;
use super::stored::StoreUri;
use super::{FORMATS, Format, JsonlWriter, Output, Spool};
use crate::stores::{Access, Store};

/// Writes rows to a table, part by part. What is promised of parts and receipts stands at the engine's
/// [`Sink`](clipsieve_engine::operator::Sink).
pub trait RowWriter: Send {
    /// How rows are put into parts.
    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// Whether a later process can go on with the table.
    fn resumes(&self) -> bool {
        true
    }

    /// Goes on behind the last of these parts; from now on the table is kept for later processes.
    ///
    /// # Errors
    /// What they speak of is not there, or the output cannot be written to.
    fn resume(&mut self, receipts: &[Receipt]) -> io::Result<()>;

    /// Adds the rows of a part.
    ///
    /// # Errors
    /// What the output answered; nothing of the part counts then.
    fn publish(&mut self, part: u64, rows: &[Cow<'_, Row>]) -> io::Result<Receipt>;

    /// Makes the table visible. Returns where it is, for people.
    ///
    /// # Errors
    /// What the output answered.
    fn finish(&mut self, receipts: &[Receipt]) -> io::Result<String>;
}

/// What a table is written with.
#[derive(Clone, Copy)]
pub struct Writing<'a> {
    /// The stores of the pipeline file, for `store://NAME/…`.
    pub stores: &'a Stores,
    /// The ODPS service, if it is not that of the environment.
    pub endpoint: Option<&'a str>,
    /// What happens to the rows and partitions of ODPS.
    pub upload: UploadOptions,
    /// A folder for rows that wait for a table which is not of this machine's file system.
    pub scratch: &'a Path,
}

/// Begins the table that a URI names.
///
/// # Errors
/// `Config` if the format is not known or the place cannot be written to.
pub fn create(uri: &str, writing: &Writing<'_>) -> Result<Box<dyn RowWriter>, OperatorError> {
    check_target(uri).map_err(OperatorError::config)?;
    let (target, folder) = if odps::is_odps(uri) {
        let target = OdpsTarget::open(uri, writing.endpoint, writing.upload)?;
        (Target::Odps(Box::new(target)), writing.scratch)
    } else if let Some(place) = StoreUri::parse(uri) {
        let place = place.map_err(OperatorError::config)?;
        let store = Store::named(writing.stores, place.store, Access::Write)?;
        (
            Target::Stored(store, place.path.to_owned()),
            writing.scratch,
        )
    } else {
        let output = Output::create(uri)?;
        if format_of(uri).is_lines() {
            return Ok(Box::new(JsonlWriter::new(output)));
        }
        // Beside the table: where that fits, the rows do too, more or less.
        let folder = match Path::new(uri).parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        (Target::File(output), folder)
    };
    let spool = Spool::create(folder).map_err(|error| {
        OperatorError::config(format!(
            "cannot write `{uri}`: {} takes no temporary file: {error}",
            folder.display()
        ))
    })?;
    let waiting = match &target {
        Target::File(_) => PathBuf::from(format!("{uri}.rows.partial")),
        // What is not of this machine's file system has its rows in the working folder.
        _ => PathBuf::from(format!(".clipsieve/rows-{:016x}.partial", hash(uri))),
    };
    Ok(Box::new(Whole {
        spool,
        waiting,
        finished: false,
        format: format_of(uri),
        target,
    }))
}

/// A table that is written when all its rows are there. Until then they are kept as JSON lines; a part's receipt is their
/// length behind it.
struct Whole {
    spool: Spool,
    /// The file that they are kept in for later processes, if they are.
    waiting: PathBuf,
    finished: bool,
    format: &'static Format,
    target: Target,
}

/// Where it is written to.
enum Target {
    File(Output),
    Stored(Store, String),
    Odps(Box<OdpsTarget>),
}

impl RowWriter for Whole {
    fn resume(&mut self, receipts: &[Receipt]) -> io::Result<()> {
        self.spool.resume(&self.waiting, length_in(receipts)?)
    }

    fn publish(&mut self, _: u64, rows: &[Cow<'_, Row>]) -> io::Result<Receipt> {
        self.spool.add(rows)?;
        Ok(json!({ "bytes": self.spool.bytes() }))
    }

    fn finish(&mut self, _: &[Receipt]) -> io::Result<String> {
        let told = match &mut self.target {
            Target::File(output) => {
                output.start_over()?;
                let mut buffer = BufWriter::with_capacity(1 << 18, &mut *output);
                (self.format.write)(&mut self.spool, &mut buffer)?;
                buffer.flush()?;
                drop(buffer);
                output.finish()?
            }
            Target::Stored(store, path) => {
                let mut output = store
                    .create(path, "application/octet-stream")
                    .map_err(io::Error::other)?;
                (self.format.write)(&mut self.spool, &mut output)?;
                output.finish().map_err(io::Error::other)?
            }
            Target::Odps(target) => target
                .write(&mut self.spool)
                .map_err(|error| io::Error::other(error.full_message()))?,
        };
        self.finished = true;
        Ok(told)
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        // Not in `finish`: until the ledger knows, a later process may have to finish again.
        if self.finished || self.spool.bytes() == 0 {
            self.spool.remove();
        }
    }
}

/// The length in the last of these receipts; 0 if there are none.
pub(super) fn length_in(receipts: &[Receipt]) -> io::Result<u64> {
    let Some(receipt) = receipts.last() else {
        return Ok(0);
    };
    receipt["bytes"].as_u64().ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the ledger's receipt {receipt} is not one of this table"),
        )
    })
}

/// FNV-1a: the same in every build, which the standard library's hash is not.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Checks whether a table of this URI can be written. Touches nothing.
///
/// # Errors
/// Why not, and what can, as a lowercase fragment.
pub fn check_target(uri: &str) -> Result<(), String> {
    if uri == "-" {
        return Ok(());
    }
    let target = format!(
        "name a file ({}), one in a store (`store://NAME/PATH`), a table of ODPS, or `-` for standard output",
        extensions()
    );
    check_text(uri, &target)?;
    if odps::is_odps(uri) || Format::of(Path::new(uri)).is_some() {
        return Ok(());
    }
    Err(format!("`{uri}` is no table by its extension; {target}"))
}

/// The format of a target; that of standard output where the name says none.
fn format_of(uri: &str) -> &'static Format {
    Format::of(Path::new(uri)).unwrap_or(&FORMATS[0])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clipsieve_engine::operator::Source;
    use serde_json::Value as Json;

    use super::super::Reading;
    use super::*;

    fn create(uri: &str) -> Box<dyn RowWriter> {
        let writing = Writing {
            stores: &Stores::new(),
            endpoint: None,
            upload: UploadOptions::default(),
            scratch: Path::new("/tmp"),
        };
        super::create(uri, &writing).unwrap()
    }

    fn open(uri: &str) -> Box<dyn Source> {
        let reading = Reading {
            stores: &Stores::new(),
            endpoint: None,
            limit: None,
            scratch: Path::new("/tmp"),
        };
        super::super::open(uri, &reading).unwrap()
    }

    #[test]
    fn an_unknown_extension_lists_the_known_ones() {
        let told = check_target("out.txt").err().unwrap();
        assert!(
            told.starts_with("`out.txt` is no table by its extension; name a file (.jsonl, .ndjson, .csv, .tsv, .parquet, .parq), "),
            "{told}"
        );
        for uri in [
            "-",
            "out.NDJSON",
            "store://s/a/out.parquet",
            "odps://p/t/ds=1",
        ] {
            check_target(uri).unwrap();
        }
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
                let mut writer = create(uri);
                let all: Vec<Cow<'_, Row>> = rows.iter().map(Cow::Borrowed).collect();
                for (part, rows) in all.chunks(700).enumerate() {
                    writer.publish(part as u64, rows).unwrap();
                }
                assert!(!path.exists());
                assert_eq!(writer.finish(&[]).unwrap(), uri);
                let mut source = open(uri);
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
            create(uri).finish(&[]).unwrap();
            assert!(open(uri).next_row().unwrap().is_none());
        }
    }
}
