use std::path::PathBuf;

use opendal::Operator;

use super::{Settings, StoreError, alluxio, fs, http, memory, oss, s3};

/// What a store is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To take files out: what it stands on has to be there.
    Read,
    /// To put files in: a folder that is missing is made.
    Write,
}

/// What the value of a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    /// Text.
    Text,
    /// Text that may hold `{column}`: each row then has a store of its own.
    OfRow,
    /// `true` or `false`.
    Switch,
    /// A credential: `${env:NAME}` or `file:PATH`, never the thing itself.
    Secret,
}

/// A setting of a service.
#[derive(Debug, Clone, Copy)]
pub struct SettingSpec {
    /// Its key in the store's settings.
    pub name: &'static str,
    /// What it may be.
    pub kind: SettingKind,
    /// Whether it has to be there.
    pub required: bool,
    /// What it means, one sentence.
    pub doc: &'static str,
}

impl SettingSpec {
    /// A setting that may be absent.
    pub(super) const fn new(name: &'static str, kind: SettingKind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            required: false,
            doc,
        }
    }

    /// A setting that has to be there.
    pub(super) const fn needed(name: &'static str, kind: SettingKind, doc: &'static str) -> Self {
        Self {
            name,
            kind,
            required: true,
            doc,
        }
    }
}

/// The setting of all services that are reached over a network.
pub(super) const TIMEOUT: SettingSpec = SettingSpec::new(
    "timeout",
    SettingKind::Text,
    "Longest silence while a request is answered, such as 5s; 30s if not given. What is silent for longer is asked again.",
);

/// What services of buckets have in common.
pub(super) const BUCKET: SettingSpec = SettingSpec::needed(
    "bucket",
    SettingKind::OfRow,
    "The bucket; may use the row's columns: `{oss_bucket}`.",
);
pub(super) const ROOT: SettingSpec = SettingSpec::new(
    "root",
    SettingKind::OfRow,
    "The folder in the bucket; all of it if not given. May use the row's columns.",
);
pub(super) const ANONYMOUS: SettingSpec = SettingSpec::new(
    "anonymous",
    SettingKind::Switch,
    "`true` for a public bucket: requests are not signed.",
);

/// A kind of store: what `type:` may name.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Its `type:`.
    pub name: &'static str,
    /// One line: what it is.
    pub summary: &'static str,
    /// The settings it takes beside `type`.
    pub settings: &'static [SettingSpec],
    /// Opens a store of this kind. No network is touched.
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
pub const SERVICES: &[Service] = &[
    fs::FS,
    s3::S3,
    oss::OSS,
    alluxio::ALLUXIO,
    http::HTTP,
    memory::MEMORY,
];
