use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clipsieve_engine::operator::{OperatorError, Stores};
use futures::TryStreamExt;
use opendal::Operator;
use opendal::layers::{RetryLayer, TimeoutLayer};
use serde_json::Value as Json;

use super::secrets::Secrets;
use super::{Access, Key, LocalRoot, Settings, StoreError, StoreErrorKind, local, runtime, sums};

/// Further tries of one request inside one attempt of a stage: they mend blips, the stage's `retry` mends outages.
const BLIP_TRIES: usize = 2;
/// What is looked for to see whether a store answers. Nobody has such a file.
const PROBE: &str = ".clipsieve-probe";

/// An opened store: a place that files are taken from and put to. Clones share it.
///
/// Its asynchronous methods may be awaited in any runtime; [`wait`](super::wait) is for callers that block.
#[derive(Clone)]
pub struct Store(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub name: String,
    pub service: &'static str,
    pub operator: Operator,
    pub local_root: Option<LocalRoot>,
    pub base_url: String,
    /// The endpoint as it is given.
    pub endpoint: Option<String>,
    pub secrets: Secrets,
    /// Whether its server answers ranged requests, as far as is known.
    pub has_ranges: AtomicBool,
    /// Whether its ETags are the MD5 of what lies there, as far as is known.
    pub has_md5: AtomicBool,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({}, {})", self.0.name, self.0.base_url)
    }
}

/// A file that a store has: not a folder, not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its path in the store.
    pub key: Key,
    /// Its size.
    pub bytes: u64,
    /// Where it lies on the local file system, if it does: it can be used there, and no copy is needed.
    pub local: Option<PathBuf>,
    /// What tells this state of it from others, if the store says so.
    pub etag: Option<String>,
    /// The CRC-64 of what lies there, if the store tells it (OSS does).
    pub crc64: Option<u64>,
}

/// A file that a listing names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its path in the store.
    pub key: Key,
    /// Its size.
    pub bytes: u64,
}

impl Store {
    /// Opens the store that the pipeline file calls `name`. Touches no network.
    ///
    /// # Errors
    /// `Config` if there is none of that name, if each row has one of its own (see [`Place`](super::Place)), or as
    /// [`Store::open`].
    pub fn named(stores: &Stores, name: &str, access: Access) -> Result<Self, OperatorError> {
        let settings = settings_named(stores, name)?;
        if settings.depends_on_row() {
            return Err(OperatorError::config(format!(
                "store `{name}`: it uses columns of a row, and this place has no row; use a store with a fixed bucket and root"
            )));
        }
        Self::of_settings(name, &settings, access)
            .map_err(|error| OperatorError::config(format!("store `{name}`: {}", error.message)))
    }

    /// Opens the store of these settings. Touches no network.
    ///
    /// # Errors
    /// `Config` if the settings are not sound, or if a local folder is not there ([`Access::Read`]) or cannot be made
    /// ([`Access::Write`]).
    pub fn open(name: &str, settings: &Json, access: Access) -> Result<Self, StoreError> {
        Self::of_settings(name, &Settings::parse(settings)?, access)
    }

    pub(super) fn of_settings(
        name: &str,
        settings: &Settings,
        access: Access,
    ) -> Result<Self, StoreError> {
        let secrets = Secrets::new(settings.secrets()?);
        let opened =
            (settings.service.open)(settings, access).map_err(|error| secrets.hide(error))?;
        let (patience, endpoint) = (settings.patience()?, settings.endpoint()?);
        let operator = opened
            .operator
            .layer(
                TimeoutLayer::new()
                    .with_timeout(patience)
                    .with_io_timeout(patience),
            )
            .layer(
                RetryLayer::new()
                    .with_max_times(BLIP_TRIES)
                    .with_min_delay(Duration::from_millis(200))
                    .with_jitter(),
            );
        Ok(Self(Arc::new(Inner {
            name: name.to_owned(),
            service: settings.service.name,
            operator,
            local_root: opened.local_root,
            base_url: opened.base_url,
            endpoint,
            secrets,
            has_ranges: AtomicBool::new(true),
            has_md5: AtomicBool::new(true),
        })))
    }

    /// What the pipeline file calls it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether its files lie on the local file system and are used in place.
    pub fn is_local(&self) -> bool {
        self.0.local_root.is_some()
    }

    /// What opendal answered while `doing` was done, without secrets.
    pub(super) fn failed(&self, doing: &str, error: &opendal::Error) -> StoreError {
        self.0.secrets.hide(StoreError::of_service(doing, error))
    }

    /// Finds a file by the path that a row gives: relative to the store's root, or absolute and inside it (stores on
    /// the local file system).
    ///
    /// # Errors
    /// `NotFound` if there is none; `BadInput` if the path leaves the store or names a folder, a special file or an
    /// empty one; else what the store answered.
    pub async fn locate(&self, path: &str) -> Result<Stored, StoreError> {
        let key = self.key_of(path)?;
        let store = self.clone();
        runtime::run(async move { store.look(key).await }).await
    }

    async fn look(self, key: Key) -> Result<Stored, StoreError> {
        let refuse =
            |key: &Key, what: &str| Err(StoreError::bad_input(format!("`{key}` is {what}")));
        let (stored, is_file, is_dir) = match &self.0.local_root {
            Some(root) => {
                let root = root.clone();
                runtime::blocking(move || {
                    let local = local::inside(&root, &key)?;
                    let found = std::fs::metadata(&local).map_err(|error| {
                        StoreError::of_io(&format!("looking at `{key}`"), &error)
                    })?;
                    let stored = Stored {
                        key,
                        bytes: found.len(),
                        local: Some(local),
                        etag: None,
                        crc64: None,
                    };
                    Ok((stored, found.is_file(), found.is_dir()))
                })
                .await?
            }
            None => {
                let found = self.0.operator.stat(key.as_str()).await;
                let found =
                    found.map_err(|error| self.failed(&format!("looking at `{key}`"), &error))?;
                let stored = Stored {
                    key,
                    bytes: found.content_length(),
                    local: None,
                    etag: found.etag().map(str::to_owned),
                    crc64: sums::crc64_told(&found),
                };
                (stored, found.is_file(), found.is_dir())
            }
        };
        if is_dir {
            return refuse(&stored.key, "a folder; a file is needed");
        }
        if !is_file {
            return refuse(&stored.key, "a special file; a regular one is needed");
        }
        if stored.bytes == 0 {
            return refuse(&stored.key, "an empty file");
        }
        Ok(stored)
    }

    /// All files in a folder and the folders in it, in the order of their paths; an empty `folder` is the store's root.
    ///
    /// # Errors
    /// `BadInput` if the folder leaves the store, `Config` if the service cannot list (`http`); else what it answered.
    pub async fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        let folder = match folder.trim_end_matches('/') {
            "" | "." => None,
            folder => Some(self.key_of(folder)?),
        };
        let store = self.clone();
        runtime::run(async move {
            match &store.0.local_root {
                Some(root) => {
                    let root = root.clone();
                    runtime::blocking(move || local::list(&root, folder.as_ref())).await
                }
                None => store.list_remote(folder).await,
            }
        })
        .await
    }

    async fn list_remote(&self, folder: Option<Key>) -> Result<Vec<Listed>, StoreError> {
        let path = folder.map_or_else(|| "/".to_owned(), |key| format!("{key}/"));
        let doing = format!("listing `{path}`");
        let failed = |error: opendal::Error| self.failed(&doing, &error);
        if !self.0.operator.info().capability().list {
            return Err(StoreError::config(format!(
                "{doing}: a store of type `{}` cannot list its files; name them",
                self.0.service
            )));
        }
        let lister = self.0.operator.lister_with(&path).recursive(true);
        let mut lister = lister.await.map_err(failed)?;
        let mut found = Vec::new();
        while let Some(entry) = lister.try_next().await.map_err(failed)? {
            if entry.metadata().is_file()
                && let Ok(key) = Key::parse(entry.path())
            {
                let bytes = entry.metadata().content_length();
                found.push(Listed { key, bytes });
            }
        }
        found.sort_by(|a, b| a.key.as_str().cmp(b.key.as_str()));
        Ok(found)
    }

    /// Removes a file; one that is not there is no error.
    ///
    /// # Errors
    /// `BadInput` if the path leaves the store; else what the store answered.
    pub async fn remove(&self, path: &str) -> Result<(), StoreError> {
        let key = self.key_of(path)?;
        let store = self.clone();
        runtime::run(async move {
            if let Some(root) = &store.0.local_root {
                local::inside_existing(root, &key)?;
            }
            let gone = store.0.operator.delete(key.as_str()).await;
            gone.map_err(|error| store.failed(&format!("removing `{key}`"), &error))
        })
        .await
    }

    /// Asks the store for a file that nobody has, to see whether it answers and takes our credentials.
    ///
    /// # Errors
    /// `Config` if it refuses us, has no such bucket, or is set up wrongly; `Temporary` if it does not answer.
    pub async fn probe(&self) -> Result<(), StoreError> {
        if let Some(root) = &self.0.local_root {
            return match tokio::fs::read_dir(&root.real).await {
                Ok(_) => Ok(()),
                Err(error) => {
                    let doing = format!("looking into {}", root.real.display());
                    Err(StoreError::config(
                        StoreError::of_io(&doing, &error).message,
                    ))
                }
            };
        }
        let store = self.clone();
        runtime::run(async move {
            // A read, because the answer to a `HEAD` has no body that could say why.
            let asked = store.0.operator.read_with(PROBE).range(0..1).await;
            match asked {
                Ok(_) => Ok(()),
                Err(error) => judge_probe(store.failed("asking it for a file", &error), &error),
            }
        })
        .await
    }

    /// Puts a small file into the store and takes it away again, to see whether it can be written to.
    ///
    /// # Errors
    /// `Config` if it refuses; `Temporary` if it does not answer.
    pub async fn probe_writing(&self) -> Result<(), StoreError> {
        let key = format!("{PROBE}-{}", std::process::id());
        let store = self.clone();
        runtime::run(async move {
            let write = store.0.operator.write(&key, "clipsieve was here").await;
            write
                .map_err(|error| store.failed("writing a file to see whether it can be", &error))?;
            let removed = store.0.operator.delete(&key).await;
            if let Err(error) = removed {
                // A store that takes files and gives none back is good enough for uploads.
                tracing::debug!(
                    store = store.name(),
                    "{}",
                    store.failed("removing it", &error)
                );
            }
            Ok(())
        })
        .await
    }

    /// As [`probe_writing`](Store::probe_writing), for a stage that is being built.
    ///
    /// # Errors
    /// `Config` if the store refuses; `Temporary` if it does not answer.
    pub fn check_writing(&self) -> Result<(), OperatorError> {
        let store = self.clone();
        runtime::wait(async move { store.probe_writing().await }).map_err(|error| {
            let told = format!("store `{}`: {error}", self.name());
            match error.kind {
                StoreErrorKind::Temporary => OperatorError::temporary(told),
                _ => OperatorError::config(told),
            }
        })
    }

    /// Whose the buckets are: the same for all endpoints among which a bucket's name means one bucket, and nothing if none is
    /// given.
    pub(crate) fn owner(&self) -> String {
        /// Clouds with an endpoint for each region, or several, and one bucket of a name in all of them.
        const CLOUDS: [&str; 2] = ["amazonaws.com", "aliyuncs.com"];
        let endpoint = self.0.endpoint.as_deref();
        let endpoint = endpoint.unwrap_or(match self.0.service {
            "s3" => CLOUDS[0],
            _ => "",
        });
        let address = endpoint
            .split_once("://")
            .map_or(endpoint, |(_, address)| address)
            .to_lowercase();
        let host = address.split(['/', ':']).next().unwrap_or_default();
        let cloud = CLOUDS.iter().find(|cloud| {
            let before = host.strip_suffix(*cloud);
            before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
        });
        cloud.map_or(address.clone(), |cloud| (*cloud).to_owned())
    }

    /// The URL of a file in this store, for rows and people. Characters that end or break a URL are percent-encoded,
    /// letters of all scripts stay.
    pub fn url_of(&self, key: &str) -> String {
        let mut url = String::new();
        for letter in format!("{}/{key}", self.0.base_url).chars() {
            if letter.is_control() || " \"#%<>?\\^`{|}".contains(letter) {
                for byte in letter.to_string().bytes() {
                    url.push_str(&format!("%{byte:02X}"));
                }
            } else {
                url.push(letter);
            }
        }
        url
    }

    /// The key that a path names, taking absolute paths inside a local root too.
    pub(super) fn key_of(&self, path: &str) -> Result<Key, StoreError> {
        let inner = self.0.local_root.as_ref().and_then(|root| {
            [&root.spelled, &root.real]
                .into_iter()
                .find_map(|root| path.strip_prefix(root.to_str()?))
                .and_then(|rest| rest.strip_prefix('/'))
        });
        match inner {
            Some(inner) => Key::parse(inner),
            None => Key::parse(path),
        }
    }
}

/// The settings of the store that the pipeline file calls `name`.
pub(super) fn settings_named(stores: &Stores, name: &str) -> Result<Settings, OperatorError> {
    let store = stores.get(name).ok_or_else(|| {
        let known: Vec<&str> = stores.keys().map(String::as_str).collect();
        OperatorError::config(format!(
            "there is no store `{name}` under `stores:`; it has: {}",
            known.join(", ")
        ))
    })?;
    Settings::parse(&store.settings)
        .map_err(|error| OperatorError::config(format!("store `{name}`: {}", error.message)))
}

/// What the answer to a question for a missing file says of the store.
fn judge_probe(answer: StoreError, error: &opendal::Error) -> Result<(), StoreError> {
    let says = |word: &str| answer.message.contains(word);
    match answer.kind {
        StoreErrorKind::NotFound if says("NoSuchBucket") => Err(StoreError::config(answer.message)),
        StoreErrorKind::NotFound => Ok(()),
        // An empty answer has no first byte to give.
        _ if error.kind() == opendal::ErrorKind::RangeNotSatisfied => Ok(()),
        // S3 says so of a missing file too, if we may read and not list. Wrong keys have words of their own.
        StoreErrorKind::Config if says("AccessDenied") && !says("Signature") => Ok(()),
        _ => Err(answer),
    }
}

#[cfg(test)]
mod tests;
