//! Files into a store.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::sums::{Crc64, crc64_of, crc64_told, md5_of, md5_of_etag};
use super::{Key, LocalRoot, Store, StoreError, StoreErrorKind, local, runtime};

/// Size of the pieces in which a file is uploaded; a file of one piece goes up in one request.
const PIECE_BYTES: u64 = 8 << 20;
/// Most pieces of one upload: S3 takes 10,000.
const MOST_PIECES: u64 = 9_000;
/// Pieces that are on their way at once.
const PIECES_AT_ONCE: usize = 4;
/// How often a file is put before its stage hears of trouble.
const TRIES: u32 = 3;

impl Store {
    /// Puts a local file into the store, replacing what was there, and returns its URL. It appears when it is whole.
    ///
    /// A large file goes up in several parts. A file that lies there already, byte for byte, is left alone, so that
    /// doing it again costs a question. What was begun and given up is taken away.
    ///
    /// # Errors
    /// `BadInput` if the key leaves the store; else what the store or the local disk answered.
    pub async fn put_file(
        &self,
        key: &str,
        from: &Path,
        content_type: &str,
    ) -> Result<String, StoreError> {
        let key = self.key_of(key)?;
        let url = self.url_of(key.as_str());
        let from = from.to_path_buf();
        if let Some(root) = self.0.local_root.clone() {
            runtime::run(runtime::blocking(move || put_locally(&root, &key, &from))).await?;
            return Ok(url);
        }
        let upload = Upload {
            store: self.clone(),
            key,
            content_type: content_type.to_owned(),
        };
        upload.put(from).await?;
        Ok(url)
    }
}

fn put_locally(root: &LocalRoot, key: &Key, from: &Path) -> Result<(), StoreError> {
    let partial = local::partial_path(root, key)?;
    // Takes the half-written file along when something fails; finds nothing after the renaming.
    let partial = tempfile::TempPath::try_from_path(partial)
        .map_err(|error| StoreError::of_io("naming a temporary file", &error))?;
    let write = || -> io::Result<()> {
        // Not `fs::copy`, which would hand on the permissions of a temporary file.
        let mut to = File::create_new(&partial)?;
        io::copy(&mut File::open(from)?, &mut to)?;
        to.sync_all()
    };
    write().map_err(|error| StoreError::of_io(&format!("writing `{key}`"), &error))?;
    std::fs::rename(&partial, root.real.join(key.as_str()))
        .map_err(|error| StoreError::of_io(&format!("renaming to `{key}`"), &error))
}

/// One upload, which outlives whoever asked for it just long enough to clean up.
#[derive(Clone)]
pub(super) struct Upload {
    pub store: Store,
    pub key: Key,
    pub content_type: String,
}

impl Upload {
    async fn put(self, from: PathBuf) -> Result<(), StoreError> {
        // Dropped when nobody waits any longer.
        let (_asker, wanted) = tokio::sync::oneshot::channel::<()>();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // Not a task that ends with this future: it has to take away what it began.
        runtime::spawn_detached(async move {
            // Fails only when nobody waits any longer.
            let _ = sender.send(self.put_with_tries(&from, wanted).await);
        })?;
        receiver.await.unwrap_or_else(|_| {
            let message = "the upload was lost";
            Err(StoreError::new(StoreErrorKind::Temporary, message))
        })
    }

    async fn put_with_tries(
        &self,
        from: &Path,
        mut wanted: tokio::sync::oneshot::Receiver<()>,
    ) -> Result<(), StoreError> {
        let mut tried = 0;
        loop {
            let error = match self.put_once(from, &mut wanted).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            tried += 1;
            if tried == TRIES || error.kind != StoreErrorKind::Temporary || is_over(&mut wanted) {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(250 << tried)).await;
        }
    }

    async fn put_once(
        &self,
        from: &Path,
        wanted: &mut tokio::sync::oneshot::Receiver<()>,
    ) -> Result<(), StoreError> {
        let (path, reading) = (from.to_path_buf(), format!("reading {}", from.display()));
        let of_disk = {
            let reading = reading.clone();
            move |error: std::io::Error| StoreError::of_io(&reading, &error)
        };
        let opening = of_disk.clone();
        let (file, bytes) = runtime::blocking(move || {
            let file = File::open(path).map_err(&opening)?;
            let bytes = file.metadata().map_err(&opening)?.len();
            Ok((Arc::new(file), bytes))
        })
        .await?;
        if self.lies_there(&file, bytes).await? {
            return Ok(());
        }
        let step = PIECE_BYTES.max(bytes.div_ceil(MOST_PIECES));
        let mut writer = self.open(step as usize).await?;
        let (mut at, mut sum) = (0, Crc64::new());
        while at < bytes {
            if is_over(wanted) {
                give_up(&mut writer).await;
                return Err(self.trouble("it was stopped"));
            }
            let (piece_of, of_disk) = (Arc::clone(&file), of_disk.clone());
            let length = step.min(bytes - at) as usize;
            let piece = runtime::blocking(move || {
                let mut piece = vec![0; length];
                piece_of.read_exact_at(&mut piece, at).map_err(of_disk)?;
                Ok(piece)
            })
            .await;
            let written = match piece {
                Ok(piece) => {
                    sum.update(&piece);
                    let written = writer.write(piece).await;
                    written.map_err(|error| self.of_store(&error))
                }
                Err(error) => Err(error),
            };
            if let Err(error) = written {
                give_up(&mut writer).await;
                return Err(error);
            }
            at += length as u64;
        }
        if let Err(error) = writer.close().await {
            give_up(&mut writer).await;
            return Err(self.of_store(&error));
        }
        self.verify(bytes, sum.value()).await
    }

    /// Opens a writer that sends pieces of this size.
    pub async fn open(&self, piece_bytes: usize) -> Result<opendal::Writer, StoreError> {
        let operator = &self.store.0.operator;
        let mut opening = operator.writer_with(self.key.as_str());
        if operator.info().capability().write_with_content_type {
            opening = opening.content_type(&self.content_type);
        }
        opening
            .chunk(piece_bytes)
            .concurrent(PIECES_AT_ONCE)
            .await
            .map_err(|error| self.of_store(&error))
    }

    /// Whether the store has these bytes under this key already, as far as it can tell.
    async fn lies_there(&self, file: &Arc<File>, bytes: u64) -> Result<bool, StoreError> {
        let Ok(found) = self.store.0.operator.stat(self.key.as_str()).await else {
            return Ok(false);
        };
        if found.content_length() != bytes {
            return Ok(false);
        }
        let file = Arc::clone(file);
        if let Some(told) = crc64_told(&found) {
            return Ok(runtime::blocking(move || crc64_of(&file)).await? == told);
        }
        match md5_of_etag(found.etag()) {
            Some(told) => Ok(runtime::blocking(move || md5_of(&file)).await? == told),
            None => Ok(false),
        }
    }

    /// Checks that the store has as many bytes as were sent, and those, as far as it tells.
    pub async fn verify(&self, bytes: u64, crc64: u64) -> Result<(), StoreError> {
        let found = self.store.0.operator.stat(self.key.as_str()).await;
        let found = found.map_err(|error| self.of_store(&error))?;
        let lie = found.content_length();
        if lie != bytes {
            return Err(self.trouble(&format!("{bytes} bytes were sent and {lie} lie there")));
        }
        match crc64_told(&found) {
            Some(told) if told != crc64 => Err(self.trouble(&format!(
                "the CRC-64 of what was sent is {crc64}, the store says {told}"
            ))),
            _ => Ok(()),
        }
    }

    pub fn of_store(&self, error: &opendal::Error) -> StoreError {
        self.store.failed(&format!("writing `{}`", self.key), error)
    }

    pub fn trouble(&self, what: &str) -> StoreError {
        let message = format!("writing `{}`: {what}", self.key);
        StoreError::new(StoreErrorKind::Temporary, message)
    }
}

/// Takes away the parts of an upload that will not be finished. Stores drop what is left of them in their own time.
pub(super) async fn give_up(writer: &mut opendal::Writer) {
    if let Err(error) = writer.abort().await {
        tracing::debug!("an upload that was given up could not be taken away: {error}");
    }
}

fn is_over(wanted: &mut tokio::sync::oneshot::Receiver<()>) -> bool {
    matches!(
        wanted.try_recv(),
        Err(tokio::sync::oneshot::error::TryRecvError::Closed)
    )
}
