//! The clipsieve engine: it compiles a pipeline file into a typed graph, plans it, and runs it as a timely dataflow.
//!
//! The engine knows no video and no model. What it knows of the work is an [`operator::OperatorSpec`]: names, ports,
//! parameters and a way to build it; what flows between stages is an opaque [`operator::Value`]. The modules form a
//! line, each using only those before it (but for [`observe::Tally`], in which operators count):
//!
//! ```text
//! operator  what an operator is: spec, ports, parameters, traits, registry
//! pipeline  the file as written, with the position of every key and value
//! plan      the compiled and placed graph, and its pictures
//! compile   the passes from a file to a plan, one file each, one ordered list
//! ledger    what is committed of a run, so that it can be continued
//! observe   what a run tells while it goes and when it ends
//! run       a plan as a timely dataflow: lowering, executors, credits, cluster
//! ```

pub mod compile;
pub mod ledger;
mod lock;
pub mod observe;
pub mod operator;
pub mod pipeline;
pub mod plan;
mod process;
mod random;
pub mod run;
