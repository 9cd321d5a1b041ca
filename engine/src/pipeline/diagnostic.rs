use std::fmt;

use serde::Serialize;

use super::Code;
use super::text::one_line;

/// A place in the pipeline file, counted from 1 in lines and characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
    /// How many characters it covers, if it is a key or a value on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
}

impl Location {
    /// A place without an extent.
    pub fn at(line: usize, column: usize) -> Self {
        Self {
            line,
            column,
            length: None,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// How bad a [`Diagnostic`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The pipeline cannot be run.
    Error,
    /// It can, but something is probably not meant so.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// Something that is wrong with a pipeline: what, where, and how to mend it.
///
/// Printed on one line: `pipelines/x.yaml:12:20: error[C034] stages.vfx.with.frames: expected …, got … (help)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The pipeline file, as it was named to the compiler.
    pub file: String,
    /// How bad it is.
    pub severity: Severity,
    /// Of what kind it is.
    pub code: Code,
    /// What it is about: `stages.vfx.with.frames`, or `--set frames` for a value from the command line. May be empty.
    pub path: String,
    /// Where that stands in the file; `None` for the file as a whole and for the command line.
    pub location: Option<Location>,
    /// What was found and what is allowed, as a lowercase fragment.
    pub message: String,
    /// How to mend it, as a lowercase fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error; the file's name is filled in when it is reported.
    pub fn error(
        code: Code,
        path: impl Into<String>,
        location: impl Into<Option<Location>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            file: String::new(),
            severity: Severity::Error,
            code,
            path: path.into(),
            location: location.into(),
            message: message.into(),
            help: None,
        }
    }

    /// A warning; the file's name is filled in when it is reported.
    pub fn warning(
        code: Code,
        path: impl Into<String>,
        location: impl Into<Option<Location>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, path, location, message)
        }
    }

    /// Adds how to mend it, if that is known.
    pub fn with_help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help = help.into();
        self
    }

    /// Whether it keeps the pipeline from running.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Whether it is about a stage or something in it.
    pub fn concerns_stage(&self, id: &str) -> bool {
        let rest = self.path.strip_prefix("stages.");
        rest.and_then(|rest| rest.strip_prefix(id))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    /// Sorts by place: the command line first, then down the file. Nothing is left to the order of discovery.
    pub fn sort(list: &mut [Diagnostic]) {
        list.sort_by(|a, b| {
            let key = |d: &Diagnostic| {
                (
                    d.location.map(|at| (at.line, at.column)),
                    d.severity,
                    d.code,
                )
            };
            (key(a), &a.path, &a.message).cmp(&(key(b), &b.path, &b.message))
        });
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = self.location {
            write!(f, "{}:{at}: ", self.file)?;
        } else if !self.path.starts_with("--") {
            write!(f, "{}: ", self.file)?;
        }
        write!(f, "{}[{}]", self.severity, self.code)?;
        if !self.path.is_empty() {
            write!(f, " {}", one_line(&self.path))?;
        }
        write!(f, ": {}", one_line(&self.message))?;
        match &self.help {
            Some(help) => write!(f, " ({})", one_line(help)),
            None => Ok(()),
        }
    }
}
