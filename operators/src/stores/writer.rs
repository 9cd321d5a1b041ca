use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::mpsc as std_mpsc;

use tokio::sync::mpsc;

use super::put::{Upload, give_up};
use super::sums::Crc64;
use super::{Store, StoreError, StoreErrorKind, local, runtime};

/// Size of the pieces in which a written file goes up.
const PIECE_BYTES: usize = 8 << 20;
/// Pieces that wait to go up; the writer waits when there are more.
const PIECES_WAITING: usize = 2;

/// Writes a file into a store as it is made. It appears when [`finish`](StoreWriter::finish) says so, and not at all if
/// this is dropped before.
///
/// For callers that block.
pub struct StoreWriter {
    url: String,
    kind: Kind,
}

enum Kind {
    Local {
        file: BufWriter<std::fs::File>,
        partial: tempfile::TempPath,
        to: PathBuf,
    },
    Remote {
        piece: Vec<u8>,
        pieces: mpsc::Sender<Step>,
        outcome: std_mpsc::Receiver<Result<(), StoreError>>,
    },
}

enum Step {
    Piece(Vec<u8>),
    Finish,
}

impl Store {
    /// Begins a file in the store, replacing what is there once it is finished.
    ///
    /// # Errors
    /// `BadInput` if the key leaves the store; else what the store or the local disk answered.
    pub fn create(&self, key: &str, content_type: &str) -> Result<StoreWriter, StoreError> {
        let key = self.key_of(key)?;
        let url = self.url_of(key.as_str());
        if let Some(root) = &self.0.local_root {
            let partial = local::partial_path(root, &key)?;
            let failed = |error| StoreError::of_io(&format!("writing `{key}`"), &error);
            let file = std::fs::File::create_new(&partial).map_err(failed)?;
            let kind = Kind::Local {
                file: BufWriter::with_capacity(1 << 20, file),
                partial: tempfile::TempPath::try_from_path(partial).map_err(failed)?,
                to: root.real.join(key.as_str()),
            };
            return Ok(StoreWriter { url, kind });
        }
        let upload = Upload {
            store: self.clone(),
            key,
            content_type: content_type.to_owned(),
        };
        let (pieces, waiting) = mpsc::channel(PIECES_WAITING);
        let (sender, outcome) = std_mpsc::sync_channel(1);
        runtime::spawn_detached(async move {
            // Fails only when nobody waits any longer.
            let _ = sender.send(send(&upload, waiting).await);
        })?;
        let kind = Kind::Remote {
            piece: Vec::new(),
            pieces,
            outcome,
        };
        Ok(StoreWriter { url, kind })
    }
}

async fn send(upload: &Upload, mut pieces: mpsc::Receiver<Step>) -> Result<(), StoreError> {
    let mut writer = upload.open(PIECE_BYTES).await?;
    let (mut bytes, mut sum) = (0, Crc64::new());
    loop {
        let done = match pieces.recv().await {
            Some(Step::Piece(piece)) => {
                bytes += piece.len() as u64;
                sum.update(&piece);
                writer.write(piece).await
            }
            Some(Step::Finish) => match writer.close().await {
                Ok(_) => return upload.verify(bytes, sum.value()).await,
                Err(error) => Err(error),
            },
            None => {
                give_up(&mut writer).await;
                return Err(upload.trouble("it was not finished"));
            }
        };
        if let Err(error) = done {
            give_up(&mut writer).await;
            return Err(upload.of_store(&error));
        }
    }
}

impl StoreWriter {
    /// Makes the file appear, and returns its URL.
    ///
    /// # Errors
    /// What the store or the local disk answered; then there is no such file.
    pub fn finish(self) -> Result<String, StoreError> {
        match self.kind {
            Kind::Local { file, partial, to } => {
                let failed =
                    |error| StoreError::of_io(&format!("writing {}", to.display()), &error);
                let file = file
                    .into_inner()
                    .map_err(|error| failed(error.into_error()))?;
                file.sync_all().map_err(failed)?;
                std::fs::rename(&partial, &to).map_err(failed)?;
            }
            Kind::Remote {
                piece,
                pieces,
                outcome,
            } => {
                // The one at the other end says why, if it is gone.
                let last = [Step::Piece(piece), Step::Finish];
                let _ = last
                    .into_iter()
                    .try_for_each(|step| put_step(&pieces, step));
                drop(pieces);
                outcome.recv().unwrap_or_else(|_| Err(lost()))?;
            }
        }
        Ok(self.url)
    }
}

impl Write for StoreWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.kind {
            Kind::Local { file, .. } => file.write(bytes),
            Kind::Remote {
                piece,
                pieces,
                outcome,
            } => {
                let taken = bytes.len().min(PIECE_BYTES - piece.len());
                piece.extend_from_slice(&bytes[..taken]);
                if piece.len() == PIECE_BYTES {
                    let full = std::mem::replace(piece, Vec::with_capacity(PIECE_BYTES));
                    if put_step(pieces, Step::Piece(full)).is_err() {
                        let why = outcome.recv().unwrap_or_else(|_| Err(lost()));
                        return Err(why.err().unwrap_or_else(lost).into());
                    }
                }
                Ok(taken)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Kind::Local { file, .. } => file.flush(),
            // What is not a whole piece goes up with the last one.
            Kind::Remote { .. } => Ok(()),
        }
    }
}

/// Hands a step over, waiting on this thread while too many others wait. `Err` if nobody takes it.
fn put_step(pieces: &mpsc::Sender<Step>, mut step: Step) -> Result<(), ()> {
    loop {
        match pieces.try_send(step) {
            Ok(()) => return Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(()),
            Err(mpsc::error::TrySendError::Full(back)) => step = back,
        }
        // Not `blocking_send`: that panics in the threads of a runtime.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn lost() -> StoreError {
    StoreError::new(StoreErrorKind::Temporary, "the upload was lost")
}
