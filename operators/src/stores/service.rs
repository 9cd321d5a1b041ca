use std::path::PathBuf;

use opendal::Operator;

use super::{Settings, StoreError, fs, memory};

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To take files out: what it stands on has to be there.
    Read,
    /// To put files in: a folder that is missing is made.
    Write,
}

/// A setting of a service; its value is text.
#[derive(Debug, Clone, Copy)]
pub struct SettingSpec {
    /// Its key in the store's settings.
    pub name: &'static str,
    /// Whether it has to be there.
    pub required: bool,
    /// What it means, one sentence.
    pub doc: &'static str,
}

/// A kind of store: what `type:` may name.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Its `type:`.
    pub name: &'static str,
    /// One line: what it is.
    pub summary: &'static str,
    /// The settings it takes beside `type`.
    pub settings: &'static [SettingSpec],
    /// Opens a store of this kind.
    pub open: fn(&Settings, Access) -> Result<Opened, StoreError>,
}

/// The folder of a store that lies on the local file system.
#[derive(Debug, Clone)]
pub struct LocalRoot {
    /// Absolute, symbolic links followed.
    pub real: PathBuf,
    /// Absolute, as the settings spell it.
    pub spelled: PathBuf,
}

/// What a service gives a store to work with.
pub struct Opened {
    /// The opendal operator, without layers.
    pub operator: Operator,
    /// Where the files lie on the local file system, if they do.
    pub local_root: Option<LocalRoot>,
    /// What stands before a key in a URL, without the last `/` and not percent-encoded.
    pub base_url: String,
}

/// All services, in the order in which messages list them.
pub const SERVICES: &[Service] = &[fs::FS, memory::MEMORY];
