//! Where the work of stages is done.
//!
//! A stage hands a [`Job`] (one item's inputs and where to put the answer) to its [`StageRuntime`], which all workers of the
//! process share. The runtime gives the job one of the stage's places, as many as the stage's concurrency, or lets it
//! wait in line for one; the line is bounded because each job in it belongs to an item that holds a credit. A job
//! with a place goes to the stage's executor:
//!
//! * [`Pool`]: a fixed number of threads. One pool is the `cpu` executor, shared by all stages that compute, by those
//!   that gather, and by device stages placed on the CPU; it takes the stage nearest to the sink first, so that items
//!   finish and their memory is free before new ones begin. A device stage on another device has a pool of its own.
//! * [`io`]: the tasks of a tokio runtime.
//! * [`BatchLine`]: stages whose items go through a model in batches have one line before it, and no places of their own.
//!
//! What a call is (attempts, deadlines, memory, panics, statistics) stands in `calls.rs`, the same for all.

mod batch;
mod calls;
pub(super) mod io;
mod job;
mod place;
mod pool;
mod stage;
mod table;

pub(super) use batch::BatchLine;
pub(super) use job::{Inputs, Job};
pub(super) use place::place;
pub(super) use pool::{Pool, PoolThread, Task};
pub(super) use stage::{Lane, Services, StageRuntime, Work};
