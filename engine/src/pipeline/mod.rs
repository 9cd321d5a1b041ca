//! The pipeline file as written: its values, the place of every key and value, and what can be said of them.
//!
//! Two readers go over the same text. `serde_yaml` says what the values are; the events of `saphyr-parser` say where each
//! key and value stands, and refuse early what no pipeline needs (anchors, endless nesting). [`read`] joins the two into
//! a tree of [`Node`]s, so that whatever is found wrong later has its exact place. What keys there are is declared once,
//! in [`mod@format`], for the compiler, the documentation and the editor schema alike.

mod code;
mod diagnostic;
pub mod format;
mod marks;
mod node;
mod read;
mod text;
mod values;

pub use code::Code;
pub use diagnostic::{Diagnostic, Location, Severity};
pub use node::{Content, Entry, Key, Node, Scalar, ScalarValue};
pub use read::read;

pub(crate) use read::join;
pub(crate) use text::{one_line, quoted};
