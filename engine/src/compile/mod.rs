//! The compiler: from a pipeline file to a [`Plan`].
//!
//! Compiling is an ordered list of passes over one `Draft`, a file each. A pass reports what it finds and
//! goes on with what is sound, so that one run tells of every mistake; it stays silent about whatever is only a
//! consequence of a mistake that an earlier pass reported. A plan comes out if nothing that was found is an error, and a
//! graph to look at comes out in any case.
//!
//! Nothing here touches the environment by itself: variables, the machine's size and the checks of models and stores are
//! given by the caller, so the same input compiles to the same output anywhere.

mod assemble;
mod check;
mod demand;
mod draft;
mod fit;
mod keys;
mod nearest;
mod params;
mod parse;
mod place;
mod prune;
mod resolve;
mod shape;
mod share;
mod split;
mod stage;
mod substitute;
mod typed;
mod types;

use draft::Draft;
pub use nearest::nearest;
pub(crate) use typed::default_of;

use crate::operator::Registry;
use crate::pipeline::Diagnostic;
use crate::plan::{LogicalGraph, Plan};

/// A pipeline file.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// What diagnostics call it: its path.
    pub name: &'a str,
    /// What stands in it.
    pub text: &'a [u8],
}

/// What a plan is made for.
pub struct Options<'a> {
    /// The operators that the file may name.
    pub registry: &'a Registry,
    /// Values of params from the command line, as `--set key=value` gives them; a later one wins.
    pub sets: &'a [(String, String)],
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The machine that the run will have.
    pub machine: Machine,
    /// Worker processes; 0 counts as 1.
    pub processes: usize,
    /// Timely workers in each process; 0 counts as 1.
    pub workers: usize,
}

/// The machine that a run will have. All its processes share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Cores that may be used.
    pub cores: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes that are free on the disk of temporary files.
    pub disk_bytes: u64,
    /// What `device: auto` means on it: `cpu` or `cuda:0`.
    pub device: String,
}

/// What came out of compiling a file.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// The plan, if the file is free of errors.
    pub plan: Option<Plan>,
    /// The graph as written, errors on its nodes.
    pub graph: LogicalGraph,
    /// Everything that was found, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

impl Compiled {
    /// The errors among the diagnostics; empty if and only if there is a plan.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|found| found.is_error())
    }
}

/// A pass: works on what is sound in the draft, reports what is not.
type Pass = fn(&mut Draft<'_>);

/// The passes, in order.
const PASSES: &[Pass] = &[
    parse::parse,
    substitute::substitute,
    resolve::resolve,
    shape::shape,
    types::types,
    check::check,
    prune::prune,
    keys::keys,
    demand::demand,
    split::split,
    share::share,
    place::place,
    fit::fit,
];

/// Compiles a pipeline file.
pub fn compile(source: &Source<'_>, options: &Options<'_>) -> Compiled {
    let mut draft = Draft::new(*source, options);
    for pass in PASSES {
        pass(&mut draft);
    }
    for found in &mut draft.diagnostics {
        found.file = source.name.to_string();
    }
    Diagnostic::sort(&mut draft.diagnostics);
    let graph = draft.logical();
    Compiled {
        plan: draft.plan,
        graph,
        diagnostics: draft.diagnostics,
    }
}
