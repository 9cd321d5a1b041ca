use std::path::Path;

use serde_json::Value as Json;

use super::OperatorSpec;

/// Checks of what `models:` and `stores:` name, done while a pipeline is compiled. They read at most a configuration
/// file: a dry run builds no model and touches no store.
#[derive(Clone, Copy)]
pub struct ResourceChecks {
    /// What a model's folder says of itself, or why it is no model.
    pub model: fn(&Path) -> Result<Json, String>,
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

/// All operators that a pipeline file may name.
#[derive(Clone)]
pub struct Registry {
    operators: Vec<&'static OperatorSpec>,
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
            checks,
        }
    }

    /// The same registry with one more operator: how a program of its own adds one.
    pub fn with(mut self, operator: &'static OperatorSpec) -> Self {
        self.operators.push(operator);
        self
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
