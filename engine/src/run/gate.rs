//! What keeps the source in bounds, and lets it be closed early.
//!
//! What bounds the open epochs is their rows: at most `limits.open_epochs` full epochs' worth of rows are in flight or
//! waiting to be committed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use timely::scheduling::activate::SyncActivator;

use crate::plan::Limits;

/// How many rows are committed; what the source looks at to keep the open epochs bounded.
pub(super) struct Gate {
    committed: AtomicU64,
    room: u64,
    closed: AtomicBool,
    pub source: Waker,
}

impl Gate {
    pub fn new(limits: &Limits) -> Self {
        let room = limits.epoch_rows.saturating_mul(limits.open_epochs).max(1);
        Self {
            committed: AtomicU64::new(0),
            room: room as u64,
            closed: AtomicBool::new(false),
            source: Waker::default(),
        }
    }

    /// So many rows more are committed.
    pub fn commit(&self, rows: u64) {
        self.committed.fetch_add(rows, Ordering::SeqCst);
        self.source.wake();
    }

    /// No further row is to go in: what is in flight is finished, and that is all.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.source.wake();
    }

    /// Whether [`Gate::close`] was called.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// How many rows may be on their way at once.
    pub fn room(&self) -> u64 {
        self.room
    }

    /// Whether there is room for another row, where so many were read.
    pub fn has_room(&self, read: u64) -> bool {
        read - self.committed.load(Ordering::SeqCst) < self.room
    }
}

/// A way to wake an operator that does not exist yet.
#[derive(Default)]
pub(super) struct Waker(OnceLock<SyncActivator>);

impl Waker {
    pub fn set(&self, activator: SyncActivator) {
        // One dataflow a run: it is set once.
        let _ = self.0.set(activator);
    }

    pub fn wake(&self) {
        if let Some(activator) = self.0.get() {
            // Fails only when the worker is gone.
            let _ = activator.activate();
        }
    }
}
