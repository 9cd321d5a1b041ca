use serde_json::Value as Json;

use super::{Model, OperatorSpec, Setting, Stores, Wish};

/// Checks of what `models:` and `stores:` name, done while a pipeline is compiled. They build no model, and touch no store
/// but to bring a model that lies in one.
#[derive(Clone, Copy)]
pub struct ResourceChecks {
    /// The model at an address: a folder, or whatever else the operators can bring here. Or why there is none.
    pub model: fn(&str, &Stores) -> Result<Model, String>,
    /// Whether a store's settings are sound. The second argument names those whose values came from the environment
    /// instead of standing in the file.
    pub store: fn(&Json, &[&str]) -> Result<(), StoreProblem>,
}

/// What is wrong with a store's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreProblem {
    /// The setting it is about; the store as a whole if `None`.
    pub setting: Option<String>,
    /// What was found and what is allowed, as a lowercase fragment.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
    /// Whether the place in the file holds a secret, so that the line must not be shown.
    pub is_secret: bool,
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
