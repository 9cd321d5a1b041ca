use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clipsieve_engine::operator::{OperatorError, Stores};
use futures::TryStreamExt;
use opendal::Operator;
use opendal::layers::{RetryLayer, TimeoutLayer};
use serde_json::Value as Json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Access, Key, LocalRoot, Settings, StoreError, StoreErrorKind};

/// Longest wait for a question to a store (is it there, rename it).
const ASK_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for one piece of a file.
const PIECE_TIMEOUT: Duration = Duration::from_secs(60);
/// Further tries of one request inside one attempt of a stage: they mend blips, the stage's `retry` mends outages.
const BLIP_TRIES: usize = 2;
/// Size of the pieces in which a file is uploaded.
const PIECE_BYTES: usize = 4 << 20;

/// An opened store: a place that files are taken from and put to. Clones share it.
///
/// Its methods need a tokio runtime with a timer.
#[derive(Debug, Clone)]
pub struct Store {
    name: String,
    operator: Operator,
    local_root: Option<LocalRoot>,
    base_url: String,
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
}

impl Store {
    /// Opens the store that the pipeline file calls `name`.
    ///
    /// # Errors
    /// `Config` if there is none of that name, or as [`Store::open`].
    pub fn named(stores: &Stores, name: &str, access: Access) -> Result<Self, OperatorError> {
        let store = stores.get(name).ok_or_else(|| {
            let known: Vec<&str> = stores.keys().map(String::as_str).collect();
            OperatorError::config(format!(
                "there is no store `{name}` under `stores:`; it has: {}",
                known.join(", ")
            ))
        })?;
        Self::open(name, &store.settings, access)
            .map_err(|error| OperatorError::config(format!("store `{name}`: {}", error.message)))
    }

    /// Opens the store of these settings.
    ///
    /// # Errors
    /// `Config` if the settings are not sound, or if a local folder is not there ([`Access::Read`]) or cannot be made
    /// ([`Access::Write`]).
    pub fn open(name: &str, settings: &Json, access: Access) -> Result<Self, StoreError> {
        let settings = Settings::parse(settings)?;
        let opened = (settings.service.open)(&settings, access)?;
        let operator = opened
            .operator
            .layer(
                TimeoutLayer::new()
                    .with_timeout(ASK_TIMEOUT)
                    .with_io_timeout(PIECE_TIMEOUT),
            )
            .layer(
                RetryLayer::new()
                    .with_max_times(BLIP_TRIES)
                    .with_min_delay(Duration::from_millis(200))
                    .with_jitter(),
            );
        Ok(Self {
            name: name.to_owned(),
            operator,
            local_root: opened.local_root,
            base_url: opened.base_url,
        })
    }

    /// What the pipeline file calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Finds a file by the path that a row gives: relative to the store's root, or absolute and inside it (stores on
    /// the local file system).
    ///
    /// # Errors
    /// `NotFound` if there is none; `BadInput` if the path leaves the store or names a folder, a special file or an
    /// empty one; else what the store answered.
    pub async fn locate(&self, path: &str) -> Result<Stored, StoreError> {
        let key = self.key_of(path)?;
        let (local, bytes, is_file, is_dir) = match &self.local_root {
            Some(root) => {
                let local = inside(root, &key).await?;
                let found = tokio::fs::metadata(&local)
                    .await
                    .map_err(|error| StoreError::of_io(&format!("looking at `{key}`"), &error))?;
                (Some(local), found.len(), found.is_file(), found.is_dir())
            }
            None => {
                let found = self.operator.stat(key.as_str()).await.map_err(|error| {
                    StoreError::of_service(&format!("looking at `{key}`"), &error)
                })?;
                (
                    None,
                    found.content_length(),
                    found.is_file(),
                    found.is_dir(),
                )
            }
        };
        let refuse = |what: &str| Err(StoreError::bad_input(format!("`{key}` is {what}")));
        if is_dir {
            return refuse("a folder; a file is needed");
        }
        if !is_file {
            return refuse("a special file; a regular one is needed");
        }
        if bytes == 0 {
            return refuse("an empty file");
        }
        Ok(Stored { key, bytes, local })
    }

    /// Copies a file out of the store. `to` appears when the copy is whole, replacing what was there.
    ///
    /// # Errors
    /// What the store or the local disk answered; `Temporary` if fewer or more bytes came than the store had announced.
    pub async fn download(&self, stored: &Stored, to: &Path) -> Result<(), StoreError> {
        let key = &stored.key;
        let reading = format!("reading `{key}`");
        let of_store = |error: opendal::Error| StoreError::of_service(&reading, &error);
        let writing = format!("writing {}", to.display());
        let of_disk = |error: std::io::Error| StoreError::of_io(&writing, &error);

        // Dropped with this future when the deadline passes, and takes the half-written file along.
        let (file, partial) = tempfile::Builder::new()
            .prefix(".partial-")
            .tempfile_in(to.parent().unwrap_or(Path::new(".")))
            .map_err(of_disk)?
            .into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let reader = self.operator.reader(key.as_str()).await.map_err(of_store)?;
        let mut pieces = reader.into_stream(..).await.map_err(of_store)?;
        let mut bytes = 0;
        while let Some(mut piece) = pieces.try_next().await.map_err(of_store)? {
            bytes += piece.len() as u64;
            file.write_all_buf(&mut piece).await.map_err(of_disk)?;
        }
        file.flush().await.map_err(of_disk)?;
        if bytes != stored.bytes {
            return Err(StoreError::new(
                StoreErrorKind::Temporary,
                format!("{reading}: {bytes} bytes came of {}", stored.bytes),
            ));
        }
        partial.persist(to).map_err(|error| of_disk(error.error))
    }

    /// Puts a local file into the store, replacing what was there, and returns its URL. It appears when it is whole.
    ///
    /// # Errors
    /// `BadInput` if the key leaves the store; else what the store or the local disk answered.
    pub async fn upload(
        &self,
        from: &Path,
        key: &str,
        content_type: &str,
    ) -> Result<String, StoreError> {
        let key = self.key_of(key)?;
        let Some(root) = &self.local_root else {
            // Such a service shows the file only when its writer closes it.
            self.write(from, key.as_str(), content_type).await?;
            return Ok(self.url_of(key.as_str()));
        };
        inside_existing(root, &key).await?;
        let partial = partial_name(&key);
        // Takes the half-written file along when this future is dropped or fails; finds nothing after the renaming.
        let _guard = tempfile::TempPath::try_from_path(root.real.join(&partial))
            .map_err(|error| StoreError::of_io("naming a temporary file", &error))?;
        self.write(from, &partial, content_type).await?;
        self.operator
            .rename(&partial, key.as_str())
            .await
            .map_err(|error| StoreError::of_service(&format!("renaming to `{key}`"), &error))?;
        Ok(self.url_of(key.as_str()))
    }

    /// The URL of a file in this store, for rows and people. Characters that end or break a URL are percent-encoded,
    /// letters of all scripts stay.
    pub fn url_of(&self, key: &str) -> String {
        let mut url = String::new();
        for letter in format!("{}/{key}", self.base_url).chars() {
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
    fn key_of(&self, path: &str) -> Result<Key, StoreError> {
        let inner = self.local_root.as_ref().and_then(|root| {
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

    async fn write(&self, from: &Path, key: &str, content_type: &str) -> Result<(), StoreError> {
        let reading = format!("reading {}", from.display());
        let of_disk = |error: std::io::Error| StoreError::of_io(&reading, &error);
        let of_store =
            |error: opendal::Error| StoreError::of_service(&format!("writing `{key}`"), &error);

        let mut file = tokio::fs::File::open(from).await.map_err(of_disk)?;
        let mut opening = self.operator.writer_with(key);
        if self.operator.info().capability().write_with_content_type {
            opening = opening.content_type(content_type);
        }
        let mut writer = opening.await.map_err(of_store)?;
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let read = (&mut file)
                .take(PIECE_BYTES as u64)
                .read_to_end(&mut piece)
                .await
                .map_err(of_disk)?;
            if read == 0 {
                break;
            }
            writer.write(piece).await.map_err(of_store)?;
        }
        writer.close().await.map(drop).map_err(of_store)
    }
}

/// Where a file lies, symbolic links followed, if that is inside the root.
async fn inside(root: &LocalRoot, key: &Key) -> Result<PathBuf, StoreError> {
    let real = match tokio::fs::canonicalize(root.real.join(key.as_str())).await {
        Ok(real) => real,
        Err(error) => {
            let answer = StoreError::of_io(&format!("looking for `{key}`"), &error);
            let root_gone = answer.kind == StoreErrorKind::NotFound
                && !tokio::fs::try_exists(&root.real).await.unwrap_or(false);
            return Err(if root_gone {
                StoreError::new(
                    StoreErrorKind::Temporary,
                    format!("the store's `root` {} is gone", root.real.display()),
                )
            } else {
                answer
            });
        }
    };
    if real.starts_with(&root.real) {
        Ok(real)
    } else {
        Err(leads_out(key))
    }
}

/// Checks that what exists of a key's folders lies inside the root.
async fn inside_existing(root: &LocalRoot, key: &Key) -> Result<(), StoreError> {
    let folder = root.real.join(key.folder());
    for ancestor in folder.ancestors().take_while(|path| *path != root.real) {
        match tokio::fs::canonicalize(ancestor).await {
            Ok(real) if real.starts_with(&root.real) => return Ok(()),
            Ok(_) => return Err(leads_out(key)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(StoreError::of_io(
                    &format!("looking for the folder of `{key}`"),
                    &error,
                ));
            }
        }
    }
    Ok(())
}

fn leads_out(key: &Key) -> StoreError {
    StoreError::bad_input(format!(
        "`{key}` leaves the store's root through a symbolic link; set `root` to a folder that holds both ends"
    ))
}

/// A temporary name beside a key, different for each upload of all processes of a host.
fn partial_name(key: &Key) -> String {
    static UPLOADS: AtomicU64 = AtomicU64::new(0);
    let upload = UPLOADS.fetch_add(1, Ordering::Relaxed);
    let name = format!(".partial-{}-{upload}", std::process::id());
    match key.folder() {
        "" => name,
        folder => format!("{folder}/{name}"),
    }
}

#[cfg(test)]
mod tests;
