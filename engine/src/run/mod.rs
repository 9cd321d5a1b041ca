//! A plan as a timely dataflow.
//!
//! [`run`] takes a [`Plan`](crate::plan::Plan) to its last row. In each process it builds the operators, warms them up, and starts
//! timely workers that do nothing but move items: which stage an item is due at, whether it is whole where branches
//! meet, whether its epoch can be committed. The work itself is done by executors beside them.
//!
//! ```text
//!              timely worker (never waits)                                     executors (may wait)
//! source ──→ enter ──→ stage ──→ stage ──→ leave ──→ gather ──→ sink's thread
//!    ↑ rows             │ ↑ answers, which wake the worker
//! reading thread        ↓ │ jobs
//!                  line for a place ──→ call: deadline, attempts, memory, panics ──→ operator
//! ```
//!
//! Four ideas carry it; each has a file that begins with an essay:
//!
//! * An item is answered once by every stage, whatever happens in it, so joins need no frontier (`stage.rs`, `executors`).
//! * Credits bound what is in flight, and nothing else does: all queues are unbounded and short (`credits.rs`).
//! * Memory is granted before it is used, in a way that cannot get stuck (`budget.rs`).
//! * An epoch is committed when timely's frontier has passed it, so a sink sees whole epochs in order (`source.rs`,
//!   `sink.rs`).
//!
//! What a run relies on and does not check again is what the compiler promises of a plan: kinds fit, every stage's
//! answer reaches a sink. What it does check at the end is conservation: as many rows out as in.

mod abort;
mod budget;
mod build;
mod clock;
pub mod cluster;
mod connect;
mod credits;
mod enter;
mod error;
mod executors;
mod inbox;
mod job;
mod lower;
mod machine;
mod message;
mod numbers;
mod panics;
mod reaper;
mod scratch;
mod sink;
mod source;
mod stage;
mod taps;
mod workers;

pub use error::{RunError, RunErrorKind};
pub use job::{RunOptions, RunReport, run};
pub use panics::{EXIT_JOB_FAILED, EXIT_PEER_LOST};
