use serde::Serialize;
use serde_json::Value as Json;

use super::{
    BuildContext, Finding, Operator, OperatorError, ParamSpec, Planner, PortKind, Setting, Wish,
};

/// Where a stage's work runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Executor {
    /// Asynchronous tasks: work that waits for disks and networks.
    Io,
    /// A pool of threads, one a core: work that computes.
    Cpu,
    /// A pool of model instances on a device.
    Device,
}

/// One way in which a stage may be wired: the kinds of its inputs in order, and of its output.
#[derive(Debug, Clone, Copy)]
pub struct Signature {
    /// Kinds of the inputs, in the order of `from`. Empty for a source.
    pub inputs: &'static [PortKind],
    /// Kind of the output; `None` for a sink.
    pub output: Option<PortKind>,
}

/// How a stage may be wired.
#[derive(Debug, Clone, Copy)]
pub enum Ports {
    /// One of these ways.
    Fixed(&'static [Signature]),
    /// One or more inputs, each of any of these kinds. Takes answers, failed ones included.
    Gather {
        /// Kinds that are taken.
        accepts: &'static [PortKind],
        /// Kind of the output.
        output: PortKind,
    },
}

/// Everything there is to know of an operator. Help, docs, editor schema and validation come from here.
pub struct OperatorSpec {
    /// Its `op:` name; also the name of its file and, in capitals, of its constant.
    pub name: &'static str,
    /// One line: what it does.
    pub summary: &'static str,
    /// What it does, why, and what to know (Markdown paragraphs).
    pub doc: &'static str,
    /// A stage as an author writes it, one line of YAML: `clip: { op: sample, from: decoded }`.
    pub example: &'static str,
    /// How it may be wired.
    pub ports: Ports,
    /// Its parameters (`with:`).
    pub params: &'static [ParamSpec],
    /// Where it runs.
    pub executor: Executor,
    /// Items at once in a process if the file does not say; 0 leaves it to the plan (cores, or one model instance).
    pub concurrency: usize,
    /// Checks what a parameter's type cannot say. Touches no store and builds no model.
    pub check: Option<fn(&Setting<'_>) -> Vec<Finding>>,
    /// What this stage asks of its inputs, given what its consumers ask of it. Called from the sinks backwards.
    pub demand: Option<DemandFn>,
    /// What else the compiler may ask; mostly [`Planner::NONE`].
    pub planner: Planner,
    /// Builds a stage.
    pub build: fn(&BuildContext<'_>) -> Result<Operator, OperatorError>,
}

/// See [`OperatorSpec::demand`].
pub type DemandFn = fn(&Setting<'_>, &[Wish]) -> Result<Option<Json>, Finding>;

impl OperatorSpec {
    /// Whether items come from it.
    pub fn is_source(&self) -> bool {
        matches!(self.ports, Ports::Fixed(ways) if ways.iter().all(|way| way.inputs.is_empty()))
    }

    /// Whether rows end in it.
    pub fn is_sink(&self) -> bool {
        matches!(self.ports, Ports::Fixed(ways) if ways.iter().all(|way| way.output.is_none()))
    }

    /// Whether it takes answers, failed ones included.
    pub fn is_gather(&self) -> bool {
        matches!(self.ports, Ports::Gather { .. })
    }

    /// The parameter of this name.
    pub fn param(&self, name: &str) -> Option<&'static ParamSpec> {
        self.params.iter().find(|param| param.name == name)
    }
}

impl std::fmt::Debug for OperatorSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OperatorSpec({})", self.name)
    }
}
