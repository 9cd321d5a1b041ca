use std::any::Any;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::{Item, OperatorError};

/// What grants space on the local disk; the run has one.
pub trait DiskBudget: Send + Sync {
    /// Space for an item, once there is some. Dropping what comes gives it back.
    ///
    /// # Errors
    /// `Exhausted` if it can never be had.
    fn reserve(
        &self,
        sequence: u64,
        bytes: u64,
    ) -> BoxFuture<'static, Result<Box<dyn Any + Send + Sync>, OperatorError>>;
}

/// The local disk, as far as a run may fill it (`limits.disk`). Clones share the budget.
///
/// Whoever puts a file into [`BuildContext::scratch`](super::BuildContext::scratch) reserves its size first and keeps the
/// [`DiskSpace`] as long as the file lies there, so that the files of all items together never exceed the budget.
#[derive(Clone)]
pub struct Disk(Option<Arc<dyn DiskBudget>>);

/// Space on the disk that was granted; given back on drop.
pub struct DiskSpace(#[allow(dead_code)] Option<Box<dyn Any + Send + Sync>>);

impl Disk {
    /// A disk with this budget.
    pub fn new(budget: Arc<dyn DiskBudget>) -> Self {
        Self(Some(budget))
    }

    /// A disk without a budget, for programs that call operators by themselves.
    pub fn unbounded() -> Self {
        Self(None)
    }

    /// Waits until an item may put so many bytes on the disk. Dropping the future gives up waiting.
    ///
    /// # Errors
    /// `Exhausted` if the item could never have so much.
    pub async fn reserve(&self, item: &Item, bytes: u64) -> Result<DiskSpace, OperatorError> {
        match &self.0 {
            None => Ok(DiskSpace(None)),
            Some(budget) => {
                let space = budget.reserve(item.sequence, bytes).await?;
                Ok(DiskSpace(Some(space)))
            }
        }
    }
}
