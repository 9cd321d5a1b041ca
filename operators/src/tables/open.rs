//! Which rows a URI names.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clipsieve_engine::operator::{OperatorError, Source, Stores};

use super::claims::{place_of, place_of_file};
use super::format::{cannot_read, extensions};
use super::odps::{self, OdpsReader};
use super::several::{Opens, When};
use super::stored::{self, StoreUri};
use super::{Blob, Format, Names, Several, files};
use crate::stores::Access;

/// What a URI is opened with.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// The stores of the pipeline file, for `store://NAME/…`.
    pub stores: &'a Stores,
    /// The ODPS service, if it is not that of the environment.
    pub endpoint: Option<&'a str>,
    /// No more rows are wanted, as far as that spares work.
    pub limit: Option<u64>,
    /// A folder for temporary files.
    pub scratch: &'a Path,
}

/// What is asked of tables as they are opened, and which ones they were.
#[derive(Clone, Default)]
pub struct Intake {
    names: Names,
    places: Arc<Mutex<Vec<String>>>,
}

impl Intake {
    /// Tables whose columns have these names.
    pub fn new(names: Names) -> Self {
        Self {
            names,
            places: Arc::default(),
        }
    }

    /// Where the tables lie that were found so far.
    pub fn places(&self) -> Vec<String> {
        self.all().clone()
    }

    /// A table that is found at this place is read, now or later.
    pub(super) fn note(&self, place: String) {
        self.all().push(place);
    }

    /// What is asked of a table that is opened then.
    pub(super) fn at(&self, when: When) -> Self {
        let names = match when {
            When::First => self.names.clone(),
            When::Later => self.names.unchecked(),
        };
        Self {
            names,
            places: Arc::clone(&self.places),
        }
    }

    /// Opens a table.
    pub(super) fn open(
        &self,
        format: &Format,
        blob: &Blob,
    ) -> Result<Box<dyn Source>, OperatorError> {
        self.note(blob.place());
        Ok(self.names.over((format.open)(blob, &self.names)?))
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens the rows that URIs name, one after another.
///
/// # Errors
/// As [`open`], of any of them; and `Config` if a table has not the columns that are needed.
pub fn open_all(
    uris: &[&str],
    reading: &Reading<'_>,
    intake: &Intake,
) -> Result<Box<dyn Source>, OperatorError> {
    if let [uri] = uris {
        return open_into(uri, reading, intake);
    }
    let opens = |uri: &&str| -> Opens {
        let (uri, stores) = ((*uri).to_owned(), reading.stores.clone());
        let (endpoint, limit) = (reading.endpoint.map(str::to_owned), reading.limit);
        let (scratch, intake) = (reading.scratch.to_path_buf(), intake.clone());
        // Of more than are counted, the later ones are opened after the sinks are built. (A file is known before, what is in a
        // folder or matches a glob is not.)
        if let Some(place) = place_of(&uri, &stores, Access::Read) {
            intake.note(place);
        }
        Box::new(move |when| {
            let reading = Reading {
                stores: &stores,
                endpoint: endpoint.as_deref(),
                limit,
                scratch: &scratch,
            };
            open_into(&uri, &reading, &intake.at(when))
        })
    };
    Ok(Box::new(Several::new(uris.iter().map(opens).collect())?))
}

/// Opens the rows that a URI names: a folder, a glob, a table or a video file.
///
/// # Errors
/// `Config` if there is nothing of that name, nothing in it, or nothing that can be read.
pub fn open(uri: &str, reading: &Reading<'_>) -> Result<Box<dyn Source>, OperatorError> {
    open_into(uri, reading, &Intake::default())
}

fn open_into(
    uri: &str,
    reading: &Reading<'_>,
    intake: &Intake,
) -> Result<Box<dyn Source>, OperatorError> {
    check_uri(uri).map_err(OperatorError::config)?;
    if odps::is_odps(uri) {
        let Reading {
            endpoint,
            limit,
            scratch,
            ..
        } = *reading;
        let names = &intake.names;
        let rows = OdpsReader::open(uri, endpoint, limit, scratch, names)?;
        return Ok(names.over(Box::new(rows)));
    }
    if let Some(place) = StoreUri::parse(uri) {
        let place = place.map_err(OperatorError::config)?;
        return stored::open(uri, place, reading.stores, intake);
    }
    let path = Path::new(uri);
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if files::is_glob(uri) {
                return several(files::glob(uri)?, intake);
            }
            let from = match std::env::current_dir() {
                Ok(folder) if path.is_relative() => format!(" (seen from {})", folder.display()),
                _ => String::new(),
            };
            return Err(OperatorError::config(format!(
                "`{uri}` does not exist{from}; {}",
                what_to_name()
            )));
        }
        Err(error) => return Err(cannot_read(uri, &error)),
    };
    if about.is_dir() {
        return several(files::folder(path)?, intake);
    }
    if let Some(format) = Format::of(path) {
        return intake.open(format, &Blob::file(path));
    }
    if files::is_video(path) {
        return Ok(Box::new(files::single(path)));
    }
    Err(OperatorError::config(format!(
        "`{uri}` is neither a table nor a video by its extension; {}",
        what_to_name()
    )))
}

/// Videos as rows, or the rows of tables.
fn several(found: files::Found, intake: &Intake) -> Result<Box<dyn Source>, OperatorError> {
    Ok(match found {
        files::Found::Videos(videos) => Box::new(videos),
        files::Found::Tables(paths) => {
            let table = |path: PathBuf| {
                intake.note(place_of_file(&path));
                Some((Format::of(&path)?, Blob::file(path)))
            };
            Box::new(Several::files(
                paths.into_iter().filter_map(table).collect(),
                intake,
            )?)
        }
    })
}

/// Checks what can be told of a URI without touching anything.
///
/// # Errors
/// What is wrong, as a lowercase fragment.
pub fn check_uri(uri: &str) -> Result<(), String> {
    check_text(uri, &what_to_name())
}

/// What is wrong with a URI whatever it is used for; `help` says what may be named.
pub(super) fn check_text(uri: &str, help: &str) -> Result<(), String> {
    if uri.trim().is_empty() {
        return Err(format!("the uri is empty; {help}"));
    }
    if uri.contains('\0') {
        return Err("the uri holds a NUL character".to_owned());
    }
    if odps::is_odps(uri) {
        return odps::check(uri).map(drop);
    }
    if let Some(place) = StoreUri::parse(uri) {
        return place.map(drop);
    }
    match uri.split_once("://") {
        Some((scheme @ ("s3" | "oss" | "http" | "https" | "file"), _)) => Err(format!(
            "`{scheme}://` is reached through a store: put it under `stores:` and name `store://NAME/PATH`"
        )),
        Some((scheme, _)) => Err(format!("tables of `{scheme}://` are not supported; {help}")),
        None => Ok(()),
    }
}

/// What a URI may be, for messages.
fn what_to_name() -> String {
    format!(
        "name a folder of videos, a glob (`clips/**/*.mp4`), a video, a table ({}), or one of these in a store (`store://NAME/…`) or in ODPS (`odps://PROJECT/TABLE/NAME=VALUE`)",
        extensions()
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn open(uri: &str) -> Result<Box<dyn Source>, OperatorError> {
        let reading = Reading {
            stores: &Stores::new(),
            endpoint: None,
            limit: None,
            scratch: Path::new("/tmp"),
        };
        super::open(uri, &reading)
    }

    fn refused(uri: &str) -> String {
        open(uri).err().unwrap().message
    }

    #[test]
    fn what_is_not_there_says_what_to_name() {
        let text = refused("no/such.jsonl");
        assert!(
            text.starts_with("`no/such.jsonl` does not exist (seen from /"),
            "{text}"
        );
        assert!(text.contains("a table (.jsonl, .ndjson, .csv"), "{text}");
        assert!(refused("").contains("empty"));
        assert!(refused("ftp://p/t").contains("`ftp://` are not supported"));
        assert!(refused("s3://bucket/t.parquet").contains("name `store://NAME/PATH`"));
        assert!(refused("store:///t").contains("names no store"));
        assert!(refused("odps://p").contains("it is odps://PROJECT/TABLE"));
        assert!(refused("store://nowhere/t.csv").contains("nowhere"));
    }

    #[test]
    fn an_unknown_extension_is_neither_table_nor_video() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.txt");
        fs::write(&path, "").unwrap();
        assert!(refused(path.to_str().unwrap()).contains("neither a table nor a video"));
    }

    #[test]
    fn a_path_that_exists_is_no_glob() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("odd[1].jsonl");
        fs::write(&odd, "{}\n").unwrap();
        assert_eq!(open(odd.to_str().unwrap()).unwrap().total_rows(), Some(1));
    }

    #[test]
    fn tables_of_a_folder_or_a_glob_are_read_one_after_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("b.jsonl"), "{\"n\": \"3\"}\n").unwrap();
        fs::write(path("a.csv"), "n\n1\n2\n").unwrap();
        fs::write(path("_SUCCESS"), "").unwrap();
        for uri in [
            folder.path().to_str().unwrap().to_owned(),
            path("*"),
            path("*.[cj]*"),
        ] {
            let mut source = open(&uri).unwrap();
            assert_eq!(source.total_rows(), Some(3));
            let mut seen = Vec::new();
            while let Some(row) = source.next_row().unwrap() {
                seen.push(row.row.text("n").unwrap().to_owned());
            }
            assert_eq!(seen, ["1", "2", "3"], "{uri}");
        }
        // Beside videos a table is but another file: the results of the last run, say.
        fs::write(path("v.mp4"), "video").unwrap();
        let first = |uri: &str| open(uri).unwrap().next_row().unwrap().unwrap().row;
        assert_eq!(
            first(folder.path().to_str().unwrap()).text("video_id"),
            Some("v")
        );
        assert_eq!(first(&path("*")).text("video_id"), Some("v"));
        assert_eq!(first(&path("*.jsonl")).text("n"), Some("3"));
    }
}
