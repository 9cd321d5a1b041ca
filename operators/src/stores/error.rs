use std::io;

use clipsieve_engine::operator::{ErrorKind, OperatorError};

/// Longest message, in characters.
const LONGEST_MESSAGE: usize = 600;

/// What kind of trouble a [`StoreError`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The store answers, and it has no such file.
    NotFound,
    /// The path, or what lies there, cannot be used: it leaves the store, is a folder, is empty.
    BadInput,
    /// It may work in a moment.
    Temporary,
    /// The store is set up wrongly or refuses us: wrong settings, no permission.
    Config,
}

/// Why a store could not do what it was asked, as a lowercase fragment.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What kind of trouble it is.
    pub kind: StoreErrorKind,
    /// What failed, and why.
    pub message: String,
}

impl StoreError {
    /// An error of this kind with this message.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The path, or what lies there, cannot be used.
    pub fn bad_input(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::BadInput, message)
    }

    /// The store is set up wrongly.
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Config, message)
    }

    /// What the file system answered while `doing` was done.
    pub(crate) fn of_io(doing: &str, error: &io::Error) -> Self {
        use io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound | Io::NotADirectory => StoreErrorKind::NotFound,
            Io::PermissionDenied | Io::ReadOnlyFilesystem | Io::Unsupported => {
                StoreErrorKind::Config
            }
            Io::InvalidFilename | Io::InvalidInput | Io::IsADirectory => StoreErrorKind::BadInput,
            _ if error.raw_os_error() == Some(libc::ELOOP) => StoreErrorKind::BadInput,
            _ => StoreErrorKind::Temporary,
        };
        Self::new(kind, format!("{doing}: {error}"))
    }

    /// What a service answered while `doing` was done. An answer that opendal cannot name counts as temporary: the
    /// number of attempts bounds what that costs.
    pub(crate) fn of_service(doing: &str, error: &opendal::Error) -> Self {
        use opendal::ErrorKind as Service;
        let kind = match error.kind() {
            Service::NotFound | Service::NotADirectory => StoreErrorKind::NotFound,
            Service::IsADirectory => StoreErrorKind::BadInput,
            Service::PermissionDenied | Service::ConfigInvalid | Service::Unsupported => {
                StoreErrorKind::Config
            }
            _ => StoreErrorKind::Temporary,
        };
        let said = match plain(error.message()) {
            // The answer to a `HEAD` has no body that could tell.
            said if said.is_empty() => "the server gives no reason".to_owned(),
            said => said,
        };
        let text = match std::error::Error::source(error) {
            Some(cause) => format!("{doing}: {said}: {}", causes(cause)),
            None => format!("{doing}: {said}"),
        };
        // What a server says of itself can be long; the beginning tells.
        let mut short: String = text.chars().take(LONGEST_MESSAGE).collect();
        if short.len() < text.len() {
            short.push('…');
        }
        Self::new(kind, short)
    }
}

/// What a server said, in one line: of a page of HTML its text.
fn plain(said: &str) -> String {
    let mut text = String::with_capacity(said.len());
    let mut in_tag = false;
    let is_page = said.trim_start().starts_with('<');
    for letter in said.chars() {
        match letter {
            '<' if is_page => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                text.push(' ');
            }
            letter if !in_tag => text.push(letter),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// An error and what caused it, joined by `: `.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// For those who write as to a file. What is refused has a kind that says so, and does not look as if it might pass.
impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind {
            StoreErrorKind::NotFound => io::ErrorKind::NotFound,
            StoreErrorKind::BadInput => io::ErrorKind::InvalidData,
            StoreErrorKind::Config => io::ErrorKind::PermissionDenied,
            StoreErrorKind::Temporary => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

impl From<StoreError> for OperatorError {
    fn from(error: StoreError) -> Self {
        let kind = match error.kind {
            StoreErrorKind::NotFound | StoreErrorKind::BadInput => ErrorKind::BadInput,
            StoreErrorKind::Temporary => ErrorKind::Temporary,
            StoreErrorKind::Config => ErrorKind::Config,
        };
        OperatorError::new(kind, error.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_say_whether_a_retry_can_help() {
        let of = |kind: io::ErrorKind| StoreError::of_io("reading `a`", &kind.into()).kind;
        assert_eq!(of(io::ErrorKind::NotFound), StoreErrorKind::NotFound);
        assert_eq!(of(io::ErrorKind::NotADirectory), StoreErrorKind::NotFound);
        assert_eq!(of(io::ErrorKind::PermissionDenied), StoreErrorKind::Config);
        assert_eq!(of(io::ErrorKind::InvalidFilename), StoreErrorKind::BadInput);
        assert_eq!(of(io::ErrorKind::StorageFull), StoreErrorKind::Temporary);
        assert_eq!(of(io::ErrorKind::TimedOut), StoreErrorKind::Temporary);
        let looped = io::Error::from_raw_os_error(libc::ELOOP);
        assert_eq!(
            StoreError::of_io("x", &looped).kind,
            StoreErrorKind::BadInput
        );
    }

    #[test]
    fn service_errors_say_whether_a_retry_can_help() {
        let of = |kind| StoreError::of_service("x", &opendal::Error::new(kind, "why")).kind;
        assert_eq!(of(opendal::ErrorKind::NotFound), StoreErrorKind::NotFound);
        assert_eq!(
            of(opendal::ErrorKind::PermissionDenied),
            StoreErrorKind::Config
        );
        assert_eq!(of(opendal::ErrorKind::Unsupported), StoreErrorKind::Config);
        assert_eq!(
            of(opendal::ErrorKind::RateLimited),
            StoreErrorKind::Temporary
        );
        assert_eq!(
            of(opendal::ErrorKind::Unexpected),
            StoreErrorKind::Temporary
        );
    }

    #[test]
    fn what_a_server_says_is_told_in_one_line() {
        let page =
            "<!DOCTYPE HTML>\n<html>\n  <body><h1>Error</h1>\n<p>Code: 501</p></body></html>\n";
        assert_eq!(plain(page), "Error Code: 501");
        assert_eq!(plain("a < b >\n c"), "a < b > c");
    }

    #[test]
    fn a_missing_file_is_the_items_fault_and_a_refusal_the_stages() {
        let kind = |kind| OperatorError::from(StoreError::new(kind, "why")).kind;
        assert_eq!(kind(StoreErrorKind::NotFound), ErrorKind::BadInput);
        assert_eq!(kind(StoreErrorKind::BadInput), ErrorKind::BadInput);
        assert_eq!(kind(StoreErrorKind::Temporary), ErrorKind::Temporary);
        assert_eq!(kind(StoreErrorKind::Config), ErrorKind::Config);
    }
}
