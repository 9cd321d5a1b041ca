use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;

use super::{Depot, Disk, Executor, Params, PortKind};
use crate::observe::Tally;

/// A model that the pipeline file names.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its folder.
    pub path: PathBuf,
    /// Files of it that lie outside its folder, by what they are: `backbone`.
    pub elsewhere: BTreeMap<String, PathBuf>,
    /// What its configuration says, as far as the operators' check of it tells (architecture, labels, sizes).
    pub facts: Json,
    /// The store of the file that it came from, if it came from one.
    pub store: Option<String>,
}

/// The models of a pipeline by name.
pub type Models = BTreeMap<String, Model>;

/// A store that the pipeline file names: its settings as written, variables filled in.
#[derive(Clone)]
pub struct Store {
    /// The settings. Some may be secrets.
    pub settings: Json,
}

/// Says nothing of the settings: some may be secrets.
impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store(..)")
    }
}

/// The stores of a pipeline by name.
pub type Stores = BTreeMap<String, Store>;

/// What is known of a stage while the pipeline is compiled.
pub struct Setting<'a> {
    /// The stage's id.
    pub stage: &'a str,
    /// Its validated parameters, defaults filled in.
    pub params: &'a Params,
    /// The kinds of its inputs, in port order.
    pub inputs: &'a [PortKind],
    /// All models of the pipeline.
    pub models: &'a Models,
    /// All stores of the pipeline.
    pub stores: &'a Stores,
}

/// Something an operator finds wrong with how a stage is set up.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The parameter it is about; the stage as a whole if `None`.
    pub param: Option<String>,
    /// What was found and what is allowed, as a lowercase fragment.
    pub message: String,
    /// How to mend it.
    pub help: Option<String>,
}

impl Finding {
    /// A finding about the stage as a whole.
    pub fn stage(message: impl Into<String>) -> Self {
        Self {
            param: None,
            message: message.into(),
            help: None,
        }
    }

    /// A finding about a parameter.
    pub fn param(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            message: message.into(),
            help: None,
        }
    }

    /// Adds how to mend it.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// What one consumer of a stage asks of it; the engine carries it, the operators agree on what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The id of the stage that asks.
    pub stage: String,
    /// What it asks for.
    pub wanted: Json,
}

/// Where and how wide a stage runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    /// The executor that does the work.
    pub executor: Executor,
    /// `cpu`, `cuda:0` …; set for stages on the `device` executor.
    pub device: Option<String>,
    /// How many items the stage works on at once in a process; for a device stage, its model instances.
    pub concurrency: usize,
    /// How long an item may wait for a model instance (device stages).
    pub acquire_timeout: Duration,
    /// Threads that one call may use inside (intra-op threads of a model, threads of a decoder).
    pub threads: usize,
}

/// All that an operator is given when a stage is built.
pub struct BuildContext<'a> {
    /// The stage as it was compiled.
    pub setting: Setting<'a>,
    /// What this stage asked of its inputs, if it asks anything.
    pub demand: Option<&'a Json>,
    /// What its consumers ask of it.
    pub wishes: &'a [Wish],
    /// The [identity](super::Common::identity) of the work that it has in common with others, where sharing is on.
    pub common: Option<&'a Json>,
    /// What the stages of the process have in common.
    pub depot: &'a Depot,
    /// Where it runs.
    pub placement: &'a Placement,
    /// A folder for temporary files, removed when the run ends.
    pub scratch: &'a Path,
    /// The space that files in it may take.
    pub disk: &'a Disk,
    /// Counts that the run's summary tells.
    pub tally: &'a Tally,
}
