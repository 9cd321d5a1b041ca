//! What travels on the edges of the dataflow.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::credits::Credit;
use crate::observe::StageSnapshot;
use crate::operator::{Answer, Delivered, Failure, Item, Row};

/// The timestamp of the dataflow: which epoch a row belongs to.
pub(super) type Epoch = u64;

/// An item's passage through the graph. It is held by every message and every job of the item, and by nothing else:
/// when the last of them is gone the item has left, and its credit goes back.
///
/// An operator holds the [`Item`] only. So a call that never comes back keeps its item's memory, which is true, but
/// not its credit, which would slow the job down for ever.
pub(super) struct Ticket {
    // Fields are dropped in this order: memory is free before the credit lets the next item in.
    pub item: Arc<Item>,
    pub epoch: Epoch,
    _credit: Credit,
}

impl Ticket {
    pub fn new(item: Item, epoch: Epoch, credit: Credit) -> Self {
        Self {
            item: Arc::new(item),
            epoch,
            _credit: credit,
        }
    }
}

/// A stage's answer for an item, on its way to the stages that take from it. Never leaves its worker.
#[derive(Clone)]
pub(super) struct Message {
    pub ticket: Arc<Ticket>,
    pub answer: Answer,
}

/// A row on its way from the source to the worker that will work on it.
#[derive(Serialize, Deserialize)]
pub(super) struct Entry {
    pub worker: usize,
    pub sequence: u64,
    pub epoch: Epoch,
    pub row: Row,
    pub problem: Option<Failure>,
}

/// Credits that came back, on their way from a worker to the source. The first of each worker says that it is ready.
#[derive(Serialize, Deserialize)]
pub(super) struct CreditNote {
    pub worker: usize,
    pub count: usize,
}

/// What goes from the workers to the sink.
#[derive(Serialize, Deserialize)]
pub(super) enum Delivery {
    /// A result row.
    Row(Delivered),
    /// What the stages of a process did; the last thing that it says.
    Stages(Vec<StageSnapshot>),
}
