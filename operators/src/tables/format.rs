//! Which table a URI names.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use clipsieve_engine::operator::{OperatorError, Pace, Receipt, Row, Source};

use super::{Output, files, jsonl};

/// A format of tables.
pub struct Format {
    /// What people call it.
    pub name: &'static str,
    /// The file extensions that mean it, in lower case.
    pub extensions: &'static [&'static str],
    /// Opens a reader of a file.
    pub open: fn(&Path) -> Result<Box<dyn Source>, OperatorError>,
    /// Begins a table in an output.
    pub create: fn(Output) -> Box<dyn RowWriter>,
}

/// All formats; the first is that of standard output.
pub const FORMATS: &[Format] = &[jsonl::JSONL];

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

/// Opens the rows that a URI names: a folder, a glob, a table or a video file.
///
/// # Errors
/// `Config` if there is nothing of that name, nothing in it, or nothing that can be read.
pub fn open(uri: &str) -> Result<Box<dyn Source>, OperatorError> {
    check_uri(uri).map_err(OperatorError::config)?;
    let path = Path::new(uri);
    let about = match std::fs::metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if files::is_glob(uri) {
                return Ok(Box::new(files::glob(uri)?));
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
        Err(error) => return Err(cannot_read(path, &error)),
    };
    if about.is_dir() {
        return Ok(Box::new(files::folder(path)?));
    }
    if let Some(format) = by_extension(path) {
        return (format.open)(path);
    }
    if files::is_video(path) {
        return Ok(Box::new(files::single(path)));
    }
    Err(OperatorError::config(format!(
        "`{uri}` is neither a table nor a video by its extension; {}",
        what_to_name()
    )))
}

/// Begins the table that a URI names.
///
/// # Errors
/// `Config` if the format is not known or the place cannot be written to.
pub fn create(uri: &str) -> Result<Box<dyn RowWriter>, OperatorError> {
    let format = writable(uri).map_err(OperatorError::config)?;
    Ok((format.create)(Output::create(uri)?))
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
    by_extension(Path::new(uri))
        .ok_or_else(|| format!("`{uri}` is no table by its extension; {target}"))
}

/// Checks what can be told of a URI without touching anything.
///
/// # Errors
/// What is wrong, as a lowercase fragment.
pub fn check_uri(uri: &str) -> Result<(), String> {
    check_text(uri, &what_to_name())
}

/// What is wrong with a URI whatever it is used for; `help` says what may be named.
fn check_text(uri: &str, help: &str) -> Result<(), String> {
    if uri.trim().is_empty() {
        return Err(format!("the uri is empty; {help}"));
    }
    if uri.contains('\0') {
        return Err("the uri holds a NUL character".to_owned());
    }
    if let Some((scheme, _)) = uri.split_once("://") {
        return Err(format!("tables of `{scheme}://` are not supported; {help}"));
    }
    Ok(())
}

/// That a path cannot be read, why, and how to mend it.
pub(super) fn cannot_read(path: &Path, error: &io::Error) -> OperatorError {
    let help = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; let the user that runs clipsieve read it, and enter the folders above it"
        }
        _ => "",
    };
    OperatorError::config(format!("cannot read {}: {error}{help}", path.display()))
}

fn by_extension(path: &Path) -> Option<&'static Format> {
    let extension = path.extension()?.to_str()?.to_lowercase();
    FORMATS
        .iter()
        .find(|format| format.extensions.contains(&extension.as_str()))
}

/// All extensions of tables: `.jsonl, .ndjson`.
fn extensions() -> String {
    let all: Vec<String> = FORMATS
        .iter()
        .flat_map(|format| format.extensions)
        .map(|extension| format!(".{extension}"))
        .collect();
    all.join(", ")
}

/// What a URI may be, for messages.
fn what_to_name() -> String {
    format!(
        "name a folder of videos, a glob (`clips/**/*.mp4`), a video, or a table ({})",
        extensions()
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

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
        assert!(text.contains("a table (.jsonl, .ndjson)"), "{text}");
        assert!(refused("").contains("empty"));
        assert!(refused("odps://p/t").contains("`odps://` are not supported"));
    }

    #[test]
    fn an_unknown_extension_lists_the_known_ones() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.txt");
        fs::write(&path, "").unwrap();
        assert!(refused(path.to_str().unwrap()).contains("neither a table nor a video"));
        assert_eq!(
            writable("out.csv").err().unwrap(),
            "`out.csv` is no table by its extension; name a file (.jsonl, .ndjson), or `-` for standard output"
        );
        assert_eq!(writable("out.NDJSON").unwrap().name, "JSON lines");
        assert_eq!(writable("-").unwrap().name, "JSON lines");
    }

    #[test]
    fn a_path_that_exists_is_no_glob() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("odd[1].jsonl");
        fs::write(&odd, "{}\n").unwrap();
        assert_eq!(open(odd.to_str().unwrap()).unwrap().total_rows(), Some(1));
    }

    #[test]
    fn a_refusal_says_how_to_mend_it() {
        let error = cannot_read(Path::new("x"), &io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            error.message,
            "cannot read x: permission denied; let the user that runs clipsieve read it, and enter the folders above it"
        );
    }
}
