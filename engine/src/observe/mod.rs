//! What a run tells while it goes and when it ends.
//!
//! Everything here is a handful of atomics: the run adds to them wherever something happens, and whoever draws a
//! progress line or serves metrics reads them whenever it likes. Nobody waits for anybody. A snapshot is therefore not
//! a consistent cut (a row may be counted as read and not yet as in flight), but each number in it was true.
//!
//! For logs the run speaks `tracing`: a span `run` holds spans `worker`, which hold spans `stage` (`stage_id`, `op`). An
//! item that fails for good is one line at `error` (after the first few of a stage at `debug`, for they stand in the rows),
//! a stage that recovered by trying again one at `warn`. That it tries again is at `info`, and so is at the end a line for each
//! stage; what happens to every item is at `debug`. Items are named by what identifies their row: its id or path.

mod observer;
mod progress;
mod stages;
mod tally;

pub use observer::{ByteGauge, Observer};
pub use progress::{Progress, ProgressSnapshot};
pub use stages::{StageSnapshot, StageStats};
pub use tally::Tally;
