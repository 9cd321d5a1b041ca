//! Tables of ODPS (MaxCompute) as Arrow batches.
//!
//! A table is named by a [`TableUri`], `odps://project/table/ds=20250115`, and spoken to by a [`Client`]: its schema, a
//! [`Download`] that gives its rows by ranges, an [`Upload`] that takes rows by blocks and shows them all at once when it
//! is committed. Rows go through the Tunnel in its Arrow form, whose frames carry CRC32C checksums that are always
//! verified; a stream that ends early is an error and never a short table.
//!
//! What a server may do wrong is tried again where that is safe ([`retry`]): reads from the row they broke off at, a
//! block by sending it again under its number (which replaces it), the commit only after the session was asked whether
//! it had come through.
//!
//! The protocol is that of the public SDKs (pyodps 0.13). Nothing here knows what the rows mean.

mod client;
mod credentials;
mod download;
mod error;
mod frame;
mod ipc;
#[cfg(test)]
mod mutants;
pub mod retry;
mod schema;
mod sign;
mod upload;
mod uri;

pub use client::{Client, Endpoints};
pub use credentials::Credentials;
pub use download::{Download, Rows};
pub use error::{Error, ErrorKind};
pub use schema::{Column, TableSchema};
pub use upload::{Upload, UploadOptions};
pub use uri::TableUri;
