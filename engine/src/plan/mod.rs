//! The plan: the compiled and placed graph. All that a run will use stands here; the dry run prints it.

mod logical;
pub mod render;
mod sharing;

use std::collections::BTreeMap;
use std::time::Duration;

use petgraph::graph::{DiGraph, NodeIndex};
use serde_json::Value as Json;

pub use logical::{LogicalGraph, LogicalInput, LogicalStage};
pub use sharing::Shared;

use crate::operator::{Cost, Models, OperatorSpec, Params, Placement, PortKind, Stores, Wish};

/// The index of a stage in a [`Plan`].
pub type StageIndex = NodeIndex<u32>;

/// How often a failed call of a stage is tried again.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles from then on, up to 30 s or itself if that is longer, and is shortened
    /// at random by up to half.
    pub backoff: Duration,
}

/// One stage, ready to be built.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Its id in the file.
    pub id: String,
    /// Its operator.
    pub spec: &'static OperatorSpec,
    /// Its parameters, defaults filled in.
    pub params: Params,
    /// The stages it takes from, in port order.
    pub inputs: Vec<StageIndex>,
    /// What it takes of each of them, in port order.
    pub taps: Vec<Tap>,
    /// The kinds of its inputs, in port order.
    pub input_kinds: Vec<PortKind>,
    /// The kind of its output; `None` for a sink.
    pub output: Option<PortKind>,
    /// Where it runs and how wide.
    pub placement: Placement,
    /// How failed calls are tried again.
    pub retry: Retry,
    /// Longest time one attempt may take.
    pub timeout: Duration,
    /// What it asks of its inputs.
    pub demand: Option<Json>,
    /// What its consumers ask of it.
    pub wishes: Vec<Wish>,
    /// Other stages of the file that are equal to it, by id: it does their work.
    pub aliases: Vec<String>,
    /// If it does the work of stages that differ: all of them, itself first. Empty otherwise.
    pub parts: Vec<Part>,
    /// What names the work that it has in common with others, where sharing is on.
    pub common: Option<Json>,
    /// What its work is estimated to cost. Of several parts, what they cost together.
    pub cost: Option<Cost>,
}

/// One of the stages whose work a node does.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its id in the file.
    pub id: String,
    /// Its parameters, defaults filled in.
    pub params: Params,
    /// What its consumers ask of it.
    pub wishes: Vec<Wish>,
    /// Other stages of the file that are equal to it, by id: its answer is theirs.
    pub aliases: Vec<String>,
    /// What it would cost alone.
    pub cost: Option<Cost>,
}

/// What an input takes: the answer of a node, or a part of it, under the names that the file has for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tap {
    /// The id of the stage that the file takes from; another one than the node's if the node does its work.
    pub id: String,
    /// Which part of the node's answer it is, if the node has parts.
    pub part: Option<usize>,
    /// Ids of nodes, and what the file calls them here: a failure is told under the name that the author wrote.
    pub renames: Vec<(String, String)>,
}

/// The bounds of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Items in flight at once, each worker.
    pub items: usize,
    /// Bytes of frames in flight at once and of weights on the CPU, each process.
    pub memory_bytes: u64,
    /// Bytes of the local disk that items may take at once, each process.
    pub disk_bytes: u64,
    /// Longest time an item may be in flight.
    pub item_timeout: Duration,
    /// Input rows in an epoch, with one timestamp.
    pub epoch_rows: usize,
    /// Full epochs' worth of rows that may be read and not yet committed.
    pub open_epochs: usize,
}

/// Threads of one process, beside timely's workers.
#[derive(Debug, Clone, PartialEq)]
pub struct Threads {
    /// Of the `cpu` executor, shared by all its stages (and by device stages placed on the CPU).
    pub cpu: usize,
    /// Of the `io` executor.
    pub io: usize,
}

/// A compiled, placed graph.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The pipeline's name.
    pub name: String,
    /// The stages; an edge goes from a stage to one that takes from it and holds the input port's index.
    pub graph: DiGraph<Stage, usize>,
    /// All stages, inputs before consumers.
    pub order: Vec<StageIndex>,
    /// What the stages of the file take from, by id; also those whose work another one does.
    pub written_from: BTreeMap<String, Vec<String>>,
    /// The bounds of the run.
    pub limits: Limits,
    /// Worker processes.
    pub processes: usize,
    /// Timely workers in each process.
    pub workers: usize,
    /// Threads in each process.
    pub threads: Threads,
    /// The models that stages use.
    pub models: Models,
    /// The stores that stages use.
    pub stores: Stores,
}

impl Plan {
    /// All stages, inputs before consumers.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.order.iter().map(|index| &self.graph[*index])
    }

    /// The place of a stage in [`Plan::order`]: later stages are nearer to the sink.
    pub fn rank(&self, index: StageIndex) -> Option<usize> {
        self.order.iter().position(|other| *other == index)
    }
}
