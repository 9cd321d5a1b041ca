//! A fixed number of instances, each used by one caller at a time.
//!
//! A model's instances share their weights, but a network that is running has activations and a place in the device's
//! queue; so an instance is taken whole, used, and put back. Nobody waits for ever: taking has a deadline. An instance
//! comes back when its [`Lease`] is dropped, also while a panic unwinds, so a bad item never shrinks the pool.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};

/// Why no instance was had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// A pool needs at least one instance.
    #[error("a pool needs at least one instance")]
    Empty,
    /// All instances were in use until the deadline passed.
    #[error(
        "none of the {size} instances came free within {waited:?} (add instances or allow more time)"
    )]
    Deadline {
        /// How long the caller waited.
        waited: Duration,
        /// How many instances the pool has.
        size: usize,
    },
}

/// A fixed set of instances that are taken exclusively.
///
/// ```no_run,standalone_crate
/// use clipsieve_models::Pool;
/// use std::time::Duration;
///
/// let pool = Pool::new(vec!["a"])?;
/// let lease = pool.acquire(Duration::ZERO)?;
/// assert_eq!(*lease, "a");
/// assert!(pool.acquire(Duration::from_millis(1)).is_err());
/// drop(lease);
/// assert!(pool.acquire(Duration::ZERO).is_ok());
/// # Ok::<(), clipsieve_models::PoolError>(())
/// ```
#[derive(Debug)]
pub struct Pool<T> {
    free: Receiver<T>,
    back: Sender<T>,
    size: usize,
}

impl<T> Pool<T> {
    /// A pool of these instances.
    ///
    /// # Errors
    /// [`PoolError::Empty`] when there are none.
    pub fn new(instances: Vec<T>) -> Result<Self, PoolError> {
        if instances.is_empty() {
            return Err(PoolError::Empty);
        }
        let size = instances.len();
        let (back, free) = bounded(size);
        for instance in instances {
            // There is room for every instance, and the receiver is in hand.
            let _ = back.try_send(instance);
        }
        Ok(Pool { free, back, size })
    }

    /// Takes an instance, waiting up to `deadline` from now for one to come free.
    ///
    /// # Errors
    /// [`PoolError::Deadline`] when none did.
    pub fn acquire(&self, deadline: Duration) -> Result<Lease<'_, T>, PoolError> {
        match self.free.recv_timeout(deadline) {
            Ok(instance) => Ok(Lease {
                instance: Some(instance),
                pool: self,
            }),
            Err(_) => Err(PoolError::Deadline {
                waited: deadline,
                size: self.size,
            }),
        }
    }

    /// How many instances there are, free or in use.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// An instance held by one caller; dropping it gives the instance back.
#[derive(Debug)]
pub struct Lease<'a, T> {
    /// Empty only while it is being dropped.
    instance: Option<T>,
    pool: &'a Pool<T>,
}

impl<T> Deref for Lease<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.instance {
            Some(instance) => instance,
            None => unreachable!("a lease is empty only while it is dropped"),
        }
    }
}

impl<T> DerefMut for Lease<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.instance {
            Some(instance) => instance,
            None => unreachable!("a lease is empty only while it is dropped"),
        }
    }
}

impl<T> Drop for Lease<'_, T> {
    fn drop(&mut self) {
        if let Some(instance) = self.instance.take() {
            // The channel has room for every instance and lives as long as the pool.
            let _ = self.pool.back.try_send(instance);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    #[test]
    fn an_instance_is_never_used_twice_at_once() {
        struct Counted(AtomicUsize);
        let pool = Pool::new(vec![
            Counted(AtomicUsize::new(0)),
            Counted(AtomicUsize::new(0)),
        ])
        .unwrap();
        let done = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let lease = pool.acquire(Duration::from_secs(20)).unwrap();
                        assert_eq!(lease.0.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        lease.0.fetch_sub(1, Ordering::SeqCst);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(
            (done.into_inner(), pool.free.len(), pool.size()),
            (400, 2, 2)
        );
    }

    #[test]
    fn the_deadline_holds() {
        let pool = Pool::new(vec![1, 2]).unwrap();
        let held = (
            pool.acquire(Duration::ZERO).unwrap(),
            pool.acquire(Duration::ZERO).unwrap(),
        );
        assert_eq!(pool.free.len(), 0);
        let waited = Duration::from_millis(40);
        let start = Instant::now();
        let error = pool.acquire(waited).unwrap_err();
        assert!(start.elapsed() >= waited && start.elapsed() < Duration::from_secs(10));
        assert_eq!(error, PoolError::Deadline { waited, size: 2 });
        drop(held);
        assert_eq!(pool.free.len(), 2);
    }

    #[test]
    fn a_waiter_gets_what_comes_back() {
        let pool = Pool::new(vec![String::from("x")]).unwrap();
        let lease = pool.acquire(Duration::ZERO).unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| pool.acquire(Duration::from_secs(20)).map(|l| l.clone()));
            std::thread::sleep(Duration::from_millis(10));
            drop(lease);
            assert_eq!(waiter.join().unwrap().unwrap(), "x");
        });
    }

    #[test]
    fn a_panic_gives_the_instance_back() {
        let pool = Pool::new(vec![0]).unwrap();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut lease = pool.acquire(Duration::ZERO).unwrap();
            *lease += 1;
            panic!("a bad item");
        }));
        assert!(caught.is_err());
        assert_eq!(*pool.acquire(Duration::ZERO).unwrap(), 1);
        assert_eq!(Pool::<u8>::new(vec![]).unwrap_err(), PoolError::Empty);
    }
}
