//! Where files are: the `stores:` of a pipeline file, over opendal.
//!
//! A store is a service (`fs`, `s3`, `oss` …) and its settings. The services stand in one list, [`SERVICES`]; an entry
//! says which settings it takes and opens it, so that a new service is a file of its own and a line there. Everything
//! above that list sees a [`Store`]: locate a file, list a folder, fetch a file, read parts of it, put one there. A
//! [`Place`] is a store that a row may have a say in: `bucket: "{oss_bucket}"`.
//!
//! Rules that hold for every service:
//!
//! * **A path from a row stays inside the store.** It becomes a [`Key`] first, which has no way up and no root; a store
//!   on the local file system also follows the symbolic links and refuses those that lead out, and a web server may not
//!   send us to another host.
//! * **A file is there whole or not at all.** Downloads and uploads are written under a temporary name and renamed, or
//!   go to a service that shows a file only when its writer closes it.
//! * **What came is what lies there.** Lengths are compared, and checksums where there are any; a cut is resumed where it
//!   happened, and an answer that is not the range that was asked for is refused.
//! * **Secrets are not shown.** They come from the environment or a file, and no message holds them.
//!
//! A file on a local store is used in place; only what lies elsewhere is copied. All requests run in one runtime of the
//! process (`runtime.rs`), so that asynchronous and blocking callers share its connections.

mod alluxio;
mod download;
mod error;
mod fs;
mod http;
mod key;
mod local;
mod memory;
mod oss;
mod place;
mod put;
mod reader;
mod runtime;
mod s3;
mod secrets;
mod service;
mod settings;
mod store;
mod sums;
mod transport;
mod writer;

pub use error::{StoreError, StoreErrorKind};
pub use key::Key;
pub use place::Place;
pub use reader::{ReadFault, StoreReader};
pub use runtime::{wait, wait_while};
pub use service::{Access, LocalRoot, Opened, SERVICES, Service, SettingKind, SettingSpec};
pub use settings::{Settings, check_settings};
pub use store::{Listed, Store, Stored};
pub(crate) use sums::hex;
pub use writer::StoreWriter;
