//! A video that stays in its store and is read by ranges.

use std::io;

use crate::media::{Interrupt, ReadSeek, Stream};
use crate::stores::{Store, Stored};

/// A file of a store, for those who read only what they need of it.
pub(super) struct StoreStream {
    pub store: Store,
    pub stored: Stored,
}

impl Stream for StoreStream {
    fn reader(&self, interrupt: &Interrupt) -> io::Result<Box<dyn ReadSeek>> {
        let interrupt = interrupt.clone();
        let reader = self
            .store
            .reader(&self.stored, move || !interrupt.is_raised());
        match reader {
            Ok(reader) => Ok(Box::new(reader)),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}
