//! Where the stores' requests run.
//!
//! One small runtime serves the whole process, because a pooled connection belongs to the runtime that opened it. Work is
//! sent there from wherever a file is wanted: asynchronous callers await it, blocking ones wait for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::{OnceLock, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::{StoreError, StoreErrorKind};

/// Threads of the runtime: they wait for the network and encrypt.
const THREADS: usize = 2;
/// How often a blocking caller asks whether it is still wanted.
const TICK: Duration = Duration::from_millis(50);

fn runtime() -> Result<&'static Runtime, StoreError> {
    static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();
    let made = RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("clipsieve-stores")
            .enable_all()
            .build()
            .map_err(|error| error.to_string())
    });
    made.as_ref().map_err(|error| {
        let message = format!("the threads of the stores cannot be started: {error}");
        StoreError::new(StoreErrorKind::Temporary, message)
    })
}

/// Work that goes on in the stores' runtime; dropping this stops it.
pub(super) struct Task<T>(JoinHandle<Result<T, StoreError>>);

/// Starts work in the stores' runtime.
///
/// # Errors
/// The runtime cannot be started.
pub(super) fn spawn<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<Task<T>, StoreError> {
    Ok(Task(runtime()?.spawn(work)))
}

impl<T> Future for Task<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|joined| {
            joined.unwrap_or_else(|error| {
                let message = format!("the store's work was lost: {error}");
                Err(StoreError::new(StoreErrorKind::Temporary, message))
            })
        })
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Does the work in the stores' runtime.
///
/// # Errors
/// Those of the work.
pub(super) async fn run<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    spawn(work)?.await
}

/// Does the work in the stores' runtime and waits for it on this thread. Not for asynchronous callers.
///
/// # Errors
/// Those of the work.
pub fn wait<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    wait_while(work, &|| true)
}

/// As [`wait`], and gives up when the answer is no longer wanted.
///
/// # Errors
/// Those of the work; `Temporary` if it was given up.
pub fn wait_while<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    wanted: &dyn Fn() -> bool,
) -> Result<T, StoreError> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let _task = spawn(async move {
        // Fails only when nobody waits any longer.
        let _ = sender.send(work.await);
        Ok(())
    })?;
    receive(&receiver, wanted)
}

/// Waits on this thread for what work in the stores' runtime sends, as long as it is wanted.
pub(super) fn receive<T>(
    receiver: &mpsc::Receiver<Result<T, StoreError>>,
    wanted: &dyn Fn() -> bool,
) -> Result<T, StoreError> {
    let lost = |message| Err(StoreError::new(StoreErrorKind::Temporary, message));
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(result) => return result,
            Err(mpsc::RecvTimeoutError::Timeout) if wanted() => {}
            Err(mpsc::RecvTimeoutError::Timeout) => {
                return lost("the work was stopped while a store was waited for");
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return lost("the store's work was lost"),
        }
    }
}

/// Starts work that goes on to its end whatever becomes of the one who started it.
///
/// # Errors
/// The runtime cannot be started.
pub(super) fn spawn_detached(
    work: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StoreError> {
    drop(runtime()?.spawn(work));
    Ok(())
}

/// Runs something that blocks on the disk without holding up the network.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StoreError::new(
            StoreErrorKind::Temporary,
            format!("a disk's work was lost: {error}"),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn blocking_callers_get_the_answer_or_give_up() {
        assert_eq!(wait(async { Ok(7) }).unwrap(), 7);
        let error = wait_while(std::future::pending::<Result<(), StoreError>>(), &|| false);
        assert_eq!(error.unwrap_err().kind, StoreErrorKind::Temporary);
    }
}
