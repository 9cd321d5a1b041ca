//! A plan as a timely dataflow.
//!
//! [`run`] takes a [`Plan`](crate::plan::Plan) to its last row. In each process it builds the operators, warms them up, and starts
//! timely workers that do nothing but move items: which stage an item is due at, whether it is whole where branches
//! meet, whether its epoch can be committed. The work itself is done by executors beside them.
//!
//! ```text
//!              timely worker (never waits)                                     executors (may wait)
//! source ──→ enter ──→ stage ──→ stage ──→ leave ──→ gather ──→ committing thread
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
//! * A row is committed when it is done: published by the sinks, then recorded in the ledger. What is recorded is never
//!   worked on again, what is not always is (`commit.rs`, and the [`ledger`](crate::ledger)).
//!
//! What a run relies on and does not check again is what the compiler promises of a plan: kinds fit, every stage's
//! answer reaches a sink. What it does check at the end is conservation: as many rows out as in.

mod abort;
mod board;
mod budget;
mod build;
mod children;
mod clock;
pub mod cluster;
mod commit;
mod connect;
mod credits;
mod enter;
mod error;
mod executors;
mod feed;
pub mod fleet;
mod gate;
mod inbox;
mod job;
mod lower;
mod machine;
mod message;
mod numbers;
mod panics;
mod patience;
mod reaper;
mod scratch;
mod secret;
mod sink;
mod source;
mod stage;
pub mod supervisor;
mod taps;
mod voice;
mod workers;

pub use board::{Asked, Board};
pub use error::{
    EXIT_JOB_FAILED, EXIT_PEER_LOST, EXIT_STOPPED, EXIT_TRY_AGAIN, RunError, RunErrorKind,
};
pub use job::{RunOptions, RunReport, run};
pub use secret::Secret;
