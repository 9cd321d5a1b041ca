use std::collections::BTreeSet;

use crate::operator::{OperatorSpec, PortKind};
use crate::pipeline::Diagnostic;

/// The graph as the file writes it, sound or not: what the `logical` view draws.
///
/// It exists for every file that is YAML at all. Stages switched off are still in it, and so are broken ones, with what
/// is wrong with them.
#[derive(Debug, Clone, Default)]
pub struct LogicalGraph {
    /// The pipeline's name; empty if the file does not give one.
    pub name: String,
    /// Its description, if the file gives one.
    pub description: Option<String>,
    /// The stages, in the order of the file.
    pub stages: Vec<LogicalStage>,
}

/// One stage as written, and what the compiler found out about it.
#[derive(Debug, Clone)]
pub struct LogicalStage {
    /// Its id.
    pub id: String,
    /// The operator's name as written; empty if there is none.
    pub op: String,
    /// The operator, if there is one of that name.
    pub spec: Option<&'static OperatorSpec>,
    /// What `from` names, in order.
    pub inputs: Vec<LogicalInput>,
    /// The kind of its output, as far as it is known; sinks have none.
    pub output: Option<PortKind>,
    /// Why it is left out of the plan, if it is.
    pub off: Option<String>,
    /// What is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

/// One entry of a stage's `from`.
#[derive(Debug, Clone)]
pub struct LogicalInput {
    /// The name as written.
    pub name: String,
    /// The stage of that name (an index into [`LogicalGraph::stages`]), if there is one.
    pub stage: Option<usize>,
}

impl LogicalStage {
    /// Whether something about it keeps the pipeline from running.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

impl LogicalGraph {
    /// The kind on the edge that an input stands for, if it is known.
    pub fn kind(&self, input: &LogicalInput) -> Option<PortKind> {
        input.stage.and_then(|index| self.stages[index].output)
    }

    /// The stages that are left out of the plan, and why.
    pub fn off(&self) -> impl Iterator<Item = (&str, &str)> {
        let stages = self.stages.iter();
        stages.filter_map(|stage| Some((stage.id.as_str(), stage.off.as_deref()?)))
    }

    /// The names in `from` that are no stage's, each once: they are drawn as stages that are missing.
    pub fn missing(&self) -> Vec<&str> {
        let names: BTreeSet<&str> = self
            .stages
            .iter()
            .flat_map(|stage| &stage.inputs)
            .filter(|input| input.stage.is_none())
            .map(|input| input.name.as_str())
            .collect();
        names.into_iter().collect()
    }

    /// Indices of all stages, inputs before consumers and otherwise in the order of the file. Stages of a cycle come in
    /// the order of the file as soon as nothing else can come first.
    pub fn order(&self) -> Vec<usize> {
        let mut done = vec![false; self.stages.len()];
        let mut order = Vec::with_capacity(self.stages.len());
        while order.len() < self.stages.len() {
            let ready = |index: &usize| {
                self.stages[*index]
                    .inputs
                    .iter()
                    .all(|input| input.stage.is_none_or(|stage| done[stage]))
            };
            let waiting = || (0..self.stages.len()).filter(|index| !done[*index]);
            let Some(next) = waiting().find(ready).or_else(|| waiting().next()) else {
                break;
            };
            done[next] = true;
            order.push(next);
        }
        order
    }
}
