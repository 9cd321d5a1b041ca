//! Which table a URI names to be written.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use clipsieve_engine::operator::{ErrorKind, OperatorError, Pace, Receipt, Row, Stores};
use clipsieve_odps::UploadOptions;

use super::format::extensions;
use super::odps::{self, OdpsTarget};
use super::open::check_text;
use super::output::Growing;
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
    /// A folder for rows that wait for a table which is not of this machine's file system, and for a later process that
    /// goes on with it: [`WAITING`] for a run.
    pub waiting: &'a Path,
}

/// Begins the table that a URI names.
///
/// # Errors
/// `Config` if the format is not known or the place cannot be written to.
pub fn create(uri: &str, writing: &Writing<'_>) -> Result<Box<dyn RowWriter>, OperatorError> {
    check_target(uri).map_err(OperatorError::config)?;
    let waiting = || -> Result<Growing, OperatorError> {
        let path = writing.waiting.join(format!("{}.rows", word(uri)));
        Growing::create(&path.to_string_lossy())
    };
    let format = Format::of(Path::new(uri)).unwrap_or(&FORMATS[0]);
    let (growing, target) = if odps::is_odps(uri) {
        let target = OdpsTarget::open(uri, writing.endpoint, writing.upload)?;
        (waiting()?, Target::Odps(Box::new(target)))
    } else if let Some(place) = StoreUri::parse(uri) {
        let place = place.map_err(OperatorError::config)?;
        let store = Store::named(writing.stores, place.store, Access::Write)?;
        // Told before the first row, not after the last one.
        store.check_writing()?;
        let path = place.path.to_owned();
        (waiting()?, Target::Stored(store, path, format))
    } else if uri == "-" || format.is_lines() {
        return Ok(Box::new(JsonlWriter::new(Output::create(uri)?)));
    } else {
        let growing = Growing::create(uri)?;
        let file = growing.target().to_path_buf();
        (growing, Target::File(file, format))
    };
    Ok(Box::new(Whole {
        waiting: growing.partial().to_path_buf(),
        rows: JsonlWriter::new(Output::File(growing)),
        target,
        bytes: 0,
        finished: false,
    }))
}

/// Where the rows of a run wait for a table that is not of this machine's file system; its ledger lies there too.
pub const WAITING: &str = ".clipsieve";

/// A table that is written when all its rows are there. Until then they wait as JSON lines.
struct Whole {
    rows: JsonlWriter,
    waiting: PathBuf,
    target: Target,
    /// How many bytes of rows there are.
    bytes: u64,
    finished: bool,
}

/// Where it is written to.
enum Target {
    File(PathBuf, &'static Format),
    Stored(Store, String, &'static Format),
    Odps(Box<OdpsTarget>),
}

impl RowWriter for Whole {
    fn resume(&mut self, receipts: &[Receipt]) -> io::Result<()> {
        self.rows.resume(receipts)?;
        self.bytes = receipts.last().map_or(0, bytes_of);
        let (notes, bytes) = (self.note(), self.bytes);
        match &mut self.target {
            Target::Odps(target) => target.resume(notes, bytes),
            _ => Ok(()),
        }
    }

    fn publish(&mut self, part: u64, rows: &[Cow<'_, Row>]) -> io::Result<Receipt> {
        // Of the parts before this one, which are recorded: this one may come again.
        if let Target::Odps(target) = &mut self.target {
            let sent = target.send_ahead(&self.waiting, self.bytes);
            sent.map_err(|error| of_odps(&error))?;
        }
        let receipt = self.rows.publish(part, rows)?;
        self.bytes = bytes_of(&receipt);
        Ok(receipt)
    }

    fn finish(&mut self, _receipts: &[Receipt]) -> io::Result<String> {
        let place = match &mut self.target {
            Target::Odps(target) => {
                let place = target.finish(&self.waiting, self.bytes);
                place.map_err(|error| of_odps(&error))?
            }
            Target::File(target, format) => {
                write_file(target, format, &mut Spool::open(&self.waiting)?)?;
                target.display().to_string()
            }
            Target::Stored(store, path, format) => {
                let mut spool = Spool::open(&self.waiting)?;
                let mut output = store.create(path, "application/octet-stream")?;
                (format.write)(&mut spool, &mut output)?;
                output.finish()?
            }
        };
        self.finished = true;
        Ok(place)
    }
}

fn bytes_of(receipt: &Receipt) -> u64 {
    receipt["bytes"].as_u64().unwrap_or(0)
}

fn of_odps(error: &OperatorError) -> io::Error {
    let kind = match error.kind {
        ErrorKind::Temporary => io::ErrorKind::Other,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error.full_message())
}

impl Whole {
    /// Where an upload stands that may have been committed.
    fn note(&self) -> PathBuf {
        self.waiting.with_extension("upload")
    }
}

/// The rows are let go only here: a process that ends right after `finish` may be asked to do it once more.
impl Drop for Whole {
    fn drop(&mut self) {
        if self.finished {
            let _ = fs::remove_file(&self.waiting);
            let _ = fs::remove_file(self.note());
            // Only if nothing else waits there.
            if let Some(folder) = self.waiting.parent().filter(|path| path.ends_with(WAITING)) {
                let _ = fs::remove_dir(folder);
            }
        }
    }
}

/// Writes a file beside its final place, and gives it its name when it is on disk.
fn write_file(target: &Path, format: &Format, spool: &mut Spool) -> io::Result<()> {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".partial-whole");
    let partial = tempfile::TempPath::try_from_path(target.with_file_name(name))?;
    let mut output = BufWriter::with_capacity(1 << 18, File::create(&partial)?);
    (format.write)(spool, &mut output)?;
    let file = output
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    partial.persist(target).map_err(|error| error.error)?;
    // The new name is on disk when the folder is.
    match target.parent().filter(|path| !path.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// A URI as a file's name.
fn word(uri: &str) -> String {
    uri.chars()
        .map(|c| {
            if c.is_alphanumeric() || "=.-_".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect()
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clipsieve_engine::operator::Source;
    use serde_json::{Value as Json, json};

    use super::super::Reading;
    use super::*;

    fn create(uri: &str) -> Box<dyn RowWriter> {
        let writing = Writing {
            stores: &Stores::new(),
            endpoint: None,
            upload: UploadOptions::default(),
            waiting: Path::new("/nowhere"),
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

    #[test]
    fn a_table_of_any_format_goes_on_where_an_earlier_process_ended() {
        let folder = tempfile::tempdir().unwrap();
        let row = |n: u64| Row(json!({ "n": n }).as_object().unwrap().clone());
        for extension in ["jsonl", "csv", "parquet"] {
            let path = folder.path().join(format!("t.{extension}"));
            let uri = path.to_str().unwrap();
            std::fs::write(&path, "old").unwrap();
            let mut first = create(uri);
            first.resume(&[]).unwrap();
            let receipt = first.publish(0, &[Cow::Owned(row(0))]).unwrap();
            // The ledger never came to know of this part.
            first.publish(1, &[Cow::Owned(row(7))]).unwrap();
            drop(first);
            assert_eq!(std::fs::read(&path).unwrap(), b"old");
            let receipts = [receipt];
            let mut second = create(uri);
            second.resume(&receipts).unwrap();
            let last = second.publish(1, &[Cow::Owned(row(1))]).unwrap();
            let receipts = [receipts[0].clone(), last];
            second.finish(&receipts).unwrap();
            // It may have been killed before the ledger came to know of this.
            second.finish(&receipts).unwrap();
            drop(second);
            let mut source = open(uri);
            let mut seen = Vec::new();
            while let Some(row) = source.next_row().unwrap() {
                seen.push(row.row.0["n"].to_string().replace('"', ""));
            }
            assert_eq!(seen, ["0", "1"], "{extension}");
            std::fs::remove_file(&path).unwrap();
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
