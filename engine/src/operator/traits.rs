use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Answer, Batched, Batcher, Call, Failure, Item, OperatorError, Outcome, Row, Value};

/// A built operator: one stage's worth of it, shared by all workers of a process.
pub enum Operator {
    /// Blocking work, on the `cpu` executor or on the `device` executor.
    Transform(Box<dyn Transform>),
    /// Work that goes through a device in batches, on the `device` executor.
    Batched(Box<dyn Batched>, Arc<dyn Batcher>),
    /// Waiting work, on the `io` executor.
    AsyncTransform(Box<dyn AsyncTransform>),
    /// Puts the answers of several stages together, failed ones included.
    Gather(Box<dyn Gather>),
    /// Where items come from. Built in one process only.
    Source(Box<dyn Source>),
    /// Where result rows go. Built in one process only.
    Sink(Box<dyn Sink>),
}

/// Work that keeps a thread busy. Called from several threads at once, at most as often as the stage's concurrency.
pub trait Transform: Send + Sync {
    /// Called once in each process before the first item: load, allocate, run once.
    ///
    /// # Errors
    /// Any error here ends the job before it starts.
    fn warm_up(&self) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Bytes of memory that the answer for this item will hold. The run waits until they fit into its memory budget
    /// before it calls [`Transform::apply`]; an item that could never fit fails with a row that says so.
    ///
    /// # Errors
    /// As [`Transform::apply`].
    fn footprint_bytes(&self, _call: &Call, _inputs: &[Value]) -> Result<u64, OperatorError> {
        Ok(0)
    }

    /// Works on one item. `inputs` are in port order.
    ///
    /// # Errors
    /// Whatever keeps it from an answer; the run retries temporary errors and turns the last one into a row.
    fn apply(&self, call: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError>;
}

/// Work that mostly waits for something else.
pub trait AsyncTransform: Send + Sync {
    /// As [`Transform::warm_up`].
    ///
    /// # Errors
    /// Any error here ends the job before it starts.
    fn warm_up(&self) -> Result<(), OperatorError> {
        Ok(())
    }

    /// Works on one item. The future is dropped when the deadline passes.
    fn apply<'a>(
        &'a self,
        call: &'a Call,
        inputs: &'a [Value],
    ) -> BoxFuture<'a, Result<Outcome, OperatorError>>;
}

/// Puts the answers of several stages together. It is called for every item, also when stages skipped it or failed.
pub trait Gather: Send + Sync {
    /// Called with every value as it comes, before those of the other inputs are there: what this returns is kept in its
    /// place and given to [`Gather::gather`]. A value may hold things that no row needs (a file on the disk, frames), and
    /// the last input may come much later.
    fn lean(&self, _value: &Value) -> Option<Value> {
        None
    }

    /// The answers with the ids of the stages that gave them, in port order.
    ///
    /// # Errors
    /// Only a broken promise between operators; the item's row then tells of it.
    fn gather(&self, item: &Item, answers: &[(String, Answer)]) -> Result<Value, OperatorError>;
}

/// One row from a source, and what is wrong with it, if something is: the item then fails with that error.
pub struct SourceRow {
    /// The row, as far as it could be read.
    pub row: Row,
    /// Why it cannot be worked on.
    pub problem: Option<OperatorError>,
}

/// Where items come from.
pub trait Source: Send {
    /// The next row, or `None` at the end.
    ///
    /// # Errors
    /// The table cannot be read any further: this ends the job.
    fn next_row(&mut self) -> Result<Option<SourceRow>, OperatorError>;

    /// How many rows there are in all, if that is known.
    fn total_rows(&self) -> Option<u64> {
        None
    }

    /// What tells this input from another one under the same name (size and time of a file, the names in a folder …), or
    /// nothing where that cannot be told. A run is continued only over the same input: rows are known by their position in
    /// it.
    fn fingerprint(&self) -> Option<String> {
        None
    }
}

/// One result row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The columns.
    pub row: Row,
    /// Whether the row tells of a failure.
    pub failed: bool,
}

/// What a sink is given for one item.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivered {
    /// Position of the input row, from 0.
    pub sequence: u64,
    /// The result row; or the input row and the failure, when even the last stage before the sink failed.
    pub result: Result<Document, (Row, Failure)>,
}

impl Delivered {
    /// Whether the row tells of a failure.
    pub fn has_failed(&self) -> bool {
        self.result
            .as_ref()
            .map_or(true, |document| document.failed)
    }
}

/// What a sink says of a part that it has published: whatever it needs to find the part again. The ledger keeps it and
/// understands none of it.
pub type Receipt = serde_json::Value;

/// How rows are put into parts. A part is published when it has this many rows, or when its first row has waited this
/// long; a row that waits is lost to a crash, and is worked on again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Rows in a part, at most.
    pub rows: usize,
    /// Longest time that a row waits for others, at least.
    pub wait: Duration,
}

impl Default for Pace {
    /// For sinks to which a part costs little: many small ones.
    fn default() -> Self {
        Self {
            rows: 4096,
            wait: Duration::from_millis(50),
        }
    }
}

/// Where result rows go. Called from one thread, in one process.
///
/// Rows come in *parts*, numbered from 0 over the whole run, whatever crashes lie in it:
///
/// ```text
/// resume(receipts so far) → publish(part) → [the ledger records its receipt] → publish → … → finish(all receipts)
/// ```
///
/// A part counts from the moment in which the ledger has its receipt. A crash between `publish` and that moment leaves a part
/// that nobody knows of: after the next `resume` the same number comes again, with other rows in it, and has to replace
/// it. A crash after `finish` and before the ledger knows leads to a second `finish` with the same receipts.
pub trait Sink: Send {
    /// Called once before the first part, with the receipts of all parts that the ledger holds, in order (none in a new
    /// run). What was published beyond them is to be taken away, now or by the part that replaces it. In a run without a
    /// ledger it is not called, and what such a sink published is to vanish if it is dropped unfinished.
    ///
    /// # Errors
    /// What the receipts speak of is not there, or nothing can be written: this ends the job.
    fn resume(&mut self, receipts: &[Receipt]) -> Result<(), OperatorError>;

    /// Puts the rows of a part, sorted by sequence, where no crash can take them away again. After a `Temporary` error it is
    /// called again with the same rows and the same number.
    ///
    /// # Errors
    /// The rows cannot be written. Anything but `Temporary` ends the job.
    fn publish(&mut self, part: u64, rows: &[Delivered]) -> Result<Receipt, OperatorError>;

    /// All rows are in: makes the table visible, whole, under its name. Returns where it is, for people.
    ///
    /// # Errors
    /// As [`Sink::publish`].
    fn finish(&mut self, receipts: &[Receipt]) -> Result<String, OperatorError>;

    /// How its rows are put into parts.
    fn pace(&self) -> Pace {
        Pace::default()
    }

    /// Whether a later run can go on from its receipts. If not, the run keeps no ledger.
    fn resumes(&self) -> bool {
        true
    }
}
