use std::path::Path;

use serde_json::Value as Json;

use super::{OperatorSpec, Setting, Wish};

/// Checks of what `models:` and `stores:` name, done while a pipeline is compiled. They read at most a configuration
/// file: a dry run builds no model and touches no store.
#[derive(Clone, Copy)]
pub struct ResourceChecks {
    /// What a model's folder says of itself, or why it is no model.
    pub model: fn(&Path) -> Result<Json, String>,
    /// Whether a store's settings are sound.
    pub store: fn(&Json) -> Result<(), String>,
}

/// How the work of an operator's stages can end behind one of their consumers: the stage answers early, the consumer does a
/// part of its work along with its own, and an operator that no file names does the rest.
#[derive(Clone, Copy)]
pub struct Continuation {
    /// The operator whose stages are continued.
    pub of: &'static str,
    /// Does the rest. Takes the stage's answer and the consumer's; gives what the stage gives, and has its parameters.
    pub by: &'static OperatorSpec,
    /// The id of the consumer, by what consumers ask of the stage; `None` if it does all its work by itself.
    pub behind: fn(&Setting<'_>, &[Wish]) -> Option<String>,
}

/// All operators that a pipeline file may name.
#[derive(Clone)]
pub struct Registry {
    operators: Vec<&'static OperatorSpec>,
    continuations: Vec<Continuation>,
    /// Checks of models and stores.
    pub checks: ResourceChecks,
}

impl Registry {
    /// A registry of these operators.
    pub fn new(
        operators: impl IntoIterator<Item = &'static OperatorSpec>,
        checks: ResourceChecks,
    ) -> Self {
        Self {
            operators: operators.into_iter().collect(),
            continuations: Vec::new(),
            checks,
        }
    }

    /// The same registry with one more operator: how a program of its own adds one.
    pub fn with(mut self, operator: &'static OperatorSpec) -> Self {
        self.operators.push(operator);
        self
    }

    /// The same registry, in which an operator's work can end behind a consumer.
    pub fn continued(mut self, continuation: Continuation) -> Self {
        self.continuations.push(continuation);
        self
    }

    /// How the work of this operator's stages ends behind a consumer, if it ever does.
    pub fn continuation_of(&self, name: &str) -> Option<Continuation> {
        self.continuations
            .iter()
            .find(|continuation| continuation.of == name)
            .copied()
    }

    /// The operator of this name.
    pub fn get(&self, name: &str) -> Option<&'static OperatorSpec> {
        self.operators
            .iter()
            .copied()
            .find(|spec| spec.name == name)
    }

    /// All operators, in the order in which they were listed.
    pub fn iter(&self) -> impl Iterator<Item = &'static OperatorSpec> + '_ {
        self.operators.iter().copied()
    }
}
