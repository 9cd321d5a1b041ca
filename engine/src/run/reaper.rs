//! A thread that drops things.
//!
//! Dropping an item frees its frames and deletes its files, which can take a while; the last to let go of one is mostly a
//! timely worker, which must not be held up. What is buried here still holds its credit, so it cannot pile up.

use std::any::Any;
use std::thread::JoinHandle;

use crossbeam::channel::{Sender, unbounded};

use super::panics::EXECUTOR_THREAD;

/// A handle to the thread; it ends when the last handle is gone and everything is dropped.
#[derive(Clone)]
pub(super) struct Reaper(Sender<Box<dyn Any + Send>>);

impl Reaper {
    pub fn start() -> std::io::Result<(Self, JoinHandle<()>)> {
        let (sender, receiver) = unbounded::<Box<dyn Any + Send>>();
        let handle = std::thread::Builder::new()
            .name(format!("{EXECUTOR_THREAD}drop"))
            .spawn(move || {
                for thing in receiver {
                    // A destructor that panics is a bug of its operator; the item has its row already.
                    if let Err(panic) = super::panics::catch(move || drop(thing)) {
                        tracing::error!("while an item was dropped: {panic}");
                    }
                }
            })?;
        Ok((Self(sender), handle))
    }

    /// Drops a value, elsewhere.
    pub fn bury(&self, thing: impl Any + Send) {
        // Fails only when the thread is gone; the value is dropped here then.
        let _ = self.0.send(Box::new(thing));
    }
}
