use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value as Json};

use crate::lock::lock;

/// One row of a table: column names and JSON values, in column order.
///
/// Serialized as JSON text, so that it crosses processes in any serde format, self-describing or not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row(pub Map<String, Json>);

impl Row {
    /// The text of a column, if it is there and is text.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.0.get(column).and_then(Json::as_str)
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text)
            .map(Row)
            .map_err(serde::de::Error::custom)
    }
}

/// One input row on its way through the graph, shared by all stages that work on it.
///
/// It also owns what has to live exactly as long as the item: the memory that it was granted, and whatever an operator hands
/// to [`Item::keep`] (a downloaded file, a scratch folder). All of it is dropped when the item has left the graph and the
/// last call for it is over.
pub struct Item {
    /// Position of the row in the input, from 0.
    pub sequence: u64,
    /// The input row as it was read.
    pub row: Row,
    /// When the item entered the graph (wall clock, for the row).
    pub started_at: SystemTime,
    /// When the item has to have left the graph.
    pub deadline: Deadline,
    kept: Mutex<Vec<Box<dyn Any + Send>>>,
}

impl Item {
    /// An item that entered the graph now.
    pub fn new(sequence: u64, row: Row, deadline: Deadline) -> Self {
        Self {
            sequence,
            row,
            started_at: SystemTime::now(),
            deadline,
            kept: Mutex::default(),
        }
    }

    /// Keeps a value alive until the item has left the graph, then drops it.
    pub fn keep(&self, value: impl Any + Send) {
        lock(&self.kept).push(Box::new(value));
    }
}

/// A point in time after which work is to stop, and a switch that stops it earlier. Clones share the switch.
#[derive(Debug, Clone)]
pub struct Deadline {
    at: Option<Instant>,
    cancelled: Arc<AtomicBool>,
}

impl Deadline {
    /// A deadline that never comes by itself.
    pub fn never() -> Self {
        Self {
            at: None,
            cancelled: Arc::default(),
        }
    }

    /// A deadline this far in the future.
    pub fn after(duration: Duration) -> Self {
        Self {
            at: Instant::now().checked_add(duration),
            cancelled: Arc::default(),
        }
    }

    /// One that comes then, made from one that is over if there is one.
    pub(crate) fn at_or_never(at: Option<Instant>, spare: Option<Deadline>) -> Self {
        let cancelled = spare.map_or_else(Arc::default, |spare| spare.cancelled);
        Self { at, cancelled }
    }

    /// Itself for another use, if nobody else has it and it was not cancelled.
    pub(crate) fn into_spare(mut self) -> Option<Self> {
        let switch = Arc::get_mut(&mut self.cancelled)?;
        (!*switch.get_mut()).then_some(self)
    }

    /// When the last of several has come, with a switch of its own.
    pub fn latest<'a>(deadlines: impl IntoIterator<Item = &'a Deadline>) -> Self {
        let mut latest = deadlines.into_iter().map(|deadline| deadline.at);
        // `None` never comes, and is later than all others.
        let at = latest.try_fold(None::<Instant>, |latest, at| {
            at.map(|at| Some(latest.map_or(at, |latest| latest.max(at))))
        });
        Self {
            at: at.flatten(),
            cancelled: Arc::default(),
        }
    }

    /// Stops the work now.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether the work is to stop.
    pub fn expired(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed) || self.at.is_some_and(|at| Instant::now() >= at)
    }

    /// As [`Deadline::expired`], where it is known how late it is.
    pub(crate) fn expired_at(&self, now: Instant) -> bool {
        self.cancelled.load(Ordering::Relaxed) || self.at.is_some_and(|at| now >= at)
    }

    /// When it comes, if it comes by itself.
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Time left, zero once it has come; `None` if it never comes by itself.
    pub fn remaining(&self) -> Option<Duration> {
        self.at
            .map(|at| at.saturating_duration_since(Instant::now()))
    }
}

/// One call of an operator: for which item, which attempt, until when.
#[derive(Clone)]
pub struct Call {
    /// The item that is worked on.
    pub item: Arc<Item>,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// When this attempt has to be over.
    pub deadline: Deadline,
}
