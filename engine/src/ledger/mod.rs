//! What is committed of a run, so that a run which ends early is continued and not begun again.
//!
//! A ledger is a few files on a [`Shelf`] (a folder; network file systems will do):
//!
//! ```text
//! run.json       what is run: an id, the pipeline as far as rows depend on it, the hashes of its models
//! journal.jsonl  one line a record: parts, attempts, deaths, verdicts
//! holder.json    who works on it now, with a heartbeat
//! ```
//!
//! The journal only grows, by whole lines, each on disk before the run goes on. What it says is what counts: a part whose
//! line is not there was never published, whatever its sink may hold ([`Sink`](crate::operator::Sink) says how sinks
//! live with that). A crash can leave a torn last line, which is cut off. So at every instruction a row is either recorded
//! or will be worked on again, and never both.
//!
//! Rows are known by their position in the input. That is why a run is continued only over the same input, and why the
//! pipeline and the models must be the same too, unless the one who runs it accepts the changes.
//!
//! One run at a time: `holder.json` is made by an operation that only one can win, and says who holds the ledger. There
//! are no locks that could hang. A holder whose process is gone, or whose heartbeat stood still for [`hold::STALE`]
//! (seen with one's own clock: clocks of machines differ), loses it to the next who asks. A holder that finds its token
//! gone ends its run.

mod error;
pub mod hold;
mod identity;
mod journal;
mod record;
mod rows;
mod shelf;

pub use error::LedgerError;
pub use hold::{Hold, Holder};
pub use identity::{Difference, Identity};
pub use journal::Ledger;
pub use record::{Record, Standing, Verdict, Working};
pub use rows::RowSet;
pub use shelf::{Folder, Shelf, folder};
