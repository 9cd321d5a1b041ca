use std::fmt;

/// What kind of trouble an [`Error`] is, for whoever decides what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Set up wrongly: a URI, an endpoint, missing credentials.
    Config,
    /// The key is not known, or the signature was refused.
    Credentials,
    /// The key is known and may not do this.
    Permission,
    /// The project, table or partition is not there.
    NotFound,
    /// The session is over: it was committed, or is older than a day.
    Expired,
    /// What came is not what was sent: a checksum, a row count or a frame is wrong.
    Corrupt,
    /// The server is busy or out of order, or the network is; it may work later.
    Temporary,
    /// The server refused for a reason of its own.
    Refused,
}

/// Why something could not be done. Its text never holds a key.
#[derive(Debug, Clone)]
pub struct Error {
    /// The kind of trouble.
    pub kind: ErrorKind,
    /// What was tried and what came of it, as a lowercase fragment.
    pub message: String,
    /// The server's word for it, such as `NoSuchPartition`, if it gave one.
    pub code: Option<String>,
    /// The id under which the server's operators find the request, if it gave one.
    pub request_id: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
            request_id: None,
        }
    }

    /// Says what was tried, before what came of it.
    pub(crate) fn context(mut self, tried: impl fmt::Display) -> Self {
        self.message = format!("{tried}: {}", self.message);
        self
    }

    /// Whether it may work when it is tried again.
    pub fn is_temporary(&self) -> bool {
        self.kind == ErrorKind::Temporary
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(id) = &self.request_id {
            write!(f, " (request {id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
