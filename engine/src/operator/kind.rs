use std::fmt;

/// The type of what flows on an edge, by its name in messages and docs (`video`, `clip` …).
///
/// The engine compares kinds and prints them; what stands behind a name is the operators' business. Two kinds are
/// named here because the engine itself hands them out and takes them in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKind(pub &'static str);

impl PortKind {
    /// One input row: what a source emits. Its [`Value`](super::Value) holds a [`Row`](super::Row).
    pub const RECORD: PortKind = PortKind("record");
    /// One result row: what a sink takes. Its [`Value`](super::Value) holds a [`Document`](super::Document).
    pub const DOCUMENT: PortKind = PortKind("document");
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
