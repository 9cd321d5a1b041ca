//! What an operator is, seen from the engine.
//!
//! An operator is one constant, an [`OperatorSpec`], listed once in a [`Registry`]. The spec holds everything a person
//! or the compiler asks of it: name, summary, ports, parameters, example, executor. Its `build` function turns the
//! validated parameters of one stage into an [`Operator`], which the run calls once for each item.
//!
//! An operator sees typed input and gives a typed answer. It knows nothing of timely, of threads, of rows in a table, of
//! retries or of the stage it serves: those wrap it. It may block (it runs on an executor, never on a timely worker), and
//! it should look at [`Deadline::expired`] wherever it loops over data it does not control.

mod batch;
mod context;
mod depot;
mod disk;
mod error;
mod item;
mod kind;
mod params;
mod planner;
mod registry;
mod spec;
mod traits;
pub mod units;
mod value;

pub use batch::{BatchError, Batched, Batcher, Unit};
pub use context::{BuildContext, Finding, Model, Models, Placement, Setting, Store, Stores, Wish};
pub use depot::Depot;
pub use disk::{Disk, DiskBudget, DiskSpace};
pub use error::{ErrorKind, OperatorError};
pub use item::{Call, Deadline, Item, Row};
pub use kind::PortKind;
pub use params::{Fallback, ParamSpec, ParamType, ParamValue, Params};
pub use planner::{Common, Cost, Planner, RowKey};
pub use registry::{Continuation, Registry, ResourceChecks, StoreProblem};
pub use spec::{Executor, OperatorSpec, Ports, Signature};
pub use traits::{
    AsyncTransform, Delivered, Document, Gather, Operator, Pace, Receipt, Sink, Source, SourceRow,
    Transform,
};
pub use value::{Answer, Failure, Outcome, Value};
