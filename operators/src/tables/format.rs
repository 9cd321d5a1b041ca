//! The formats of tables.

use std::io::{self, Write};
use std::path::Path;

use clipsieve_engine::operator::{OperatorError, Source};

use super::{Blob, Names, Spool, csv, jsonl, parquet};

/// Opens a reader of a table whose columns have these names.
type Open = fn(&Blob, &Names) -> Result<Box<dyn Source>, OperatorError>;

/// A format of tables.
pub struct Format {
    /// What people call it.
    pub name: &'static str,
    /// The file extensions that mean it, in lower case.
    pub extensions: &'static [&'static str],
    /// Opens a reader of a table, whose columns are checked if they are known before its rows.
    pub open: Open,
    /// Writes a table of these rows.
    pub write: fn(&mut Spool, &mut (dyn Write + Send)) -> io::Result<()>,
}

/// All formats; the first is that of standard output.
pub const FORMATS: &[Format] = &[jsonl::JSONL, csv::CSV, csv::TSV, parquet::PARQUET];

impl Format {
    /// The format that a path's extension means.
    pub fn of(path: &Path) -> Option<&'static Self> {
        let extension = path.extension()?.to_str()?.to_lowercase();
        FORMATS
            .iter()
            .find(|format| format.extensions.contains(&extension.as_str()))
    }

    /// Whether it is the format in which rows are kept.
    pub(super) fn is_lines(&self) -> bool {
        self.name == FORMATS[0].name
    }
}

/// All extensions of tables: `.jsonl, .ndjson, .csv …`.
pub(super) fn extensions() -> String {
    let all: Vec<String> = FORMATS
        .iter()
        .flat_map(|format| format.extensions)
        .map(|extension| format!(".{extension}"))
        .collect();
    all.join(", ")
}

/// That something cannot be read, why, and how to mend it.
pub(super) fn cannot_read(name: &str, error: &io::Error) -> OperatorError {
    let help = match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; let the user that runs clipsieve read it, and enter the folders above it"
        }
        _ => "",
    };
    OperatorError::config(format!("cannot read {name}: {error}{help}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_how_to_mend_it() {
        let error = cannot_read("x", &io::ErrorKind::PermissionDenied.into());
        assert_eq!(
            error.message,
            "cannot read x: permission denied; let the user that runs clipsieve read it, and enter the folders above it"
        );
    }

    #[test]
    fn an_extension_means_one_format() {
        let all: Vec<&str> = FORMATS
            .iter()
            .flat_map(|format| format.extensions)
            .copied()
            .collect();
        for (index, extension) in all.iter().enumerate() {
            assert!(!all[..index].contains(extension), "{extension}");
            assert!(Format::of(Path::new(&format!("x.{}", extension.to_uppercase()))).is_some());
        }
        assert!(Format::of(Path::new("x.mp4")).is_none());
        assert!(FORMATS[0].is_lines());
    }
}
