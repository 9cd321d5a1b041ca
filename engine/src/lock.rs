use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock, also after a panic of somebody who held it: what stands behind our locks is used as it was left.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
