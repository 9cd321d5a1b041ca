//! Where files are: the `stores:` of a pipeline file, over opendal.
//!
//! A store is a service (`fs`, `memory`) and its settings. The services stand in one list, [`SERVICES`]; an entry says
//! which settings it takes and opens it, so that a new service is a file of its own and a line there. Everything above
//! that list sees a [`Store`]: locate a file, fetch it, put one there.
//!
//! Two rules hold for every service:
//!
//! * **A path from a row stays inside the store.** It becomes a [`Key`] first, which has no way up and no root; a store
//!   on the local file system also follows the symbolic links and refuses those that lead out.
//! * **A file is there whole or not at all.** Downloads and uploads are written under a temporary name and renamed, or
//!   go to a service that shows a file only when its writer closes it.
//!
//! A file on a local store is used in place; only what lies elsewhere is copied.

mod error;
mod fs;
mod key;
mod memory;
mod service;
mod settings;
mod store;

pub use error::{StoreError, StoreErrorKind};
pub use key::Key;
pub use service::{Access, LocalRoot, Opened, SERVICES, Service, SettingSpec};
pub use settings::{Settings, check_settings};
pub use store::{Store, Stored};
