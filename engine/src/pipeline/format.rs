//! The keys of a pipeline file, declared once: the compiler checks files against these tables, and the documentation and
//! the editor schema are made from them.

use crate::operator::{Fallback, ParamSpec, ParamType};

/// A key that is not read as a plain parameter: a section, or something with a form of its own.
#[derive(Debug, Clone, Copy)]
pub struct KeySpec {
    /// The key.
    pub name: &'static str,
    /// Whether it has to be there.
    pub required: bool,
    /// What it holds, in one or two sentences.
    pub doc: &'static str,
}

const fn key(name: &'static str, required: bool, doc: &'static str) -> KeySpec {
    KeySpec {
        name,
        required,
        doc,
    }
}

/// Keys of the file.
pub const TOP: &[KeySpec] = &[
    key(
        "name",
        true,
        "What the pipeline is called in plans, logs and reports.",
    ),
    key("description", false, "What it is for."),
    key(
        "params",
        false,
        "Values to be given with `--set`, used as `${name}`.",
    ),
    key("stores", false, "Places where files are kept, by name."),
    key("models", false, "Folders of models, by name."),
    key("limits", false, "The bounds of a run."),
    key(
        "share",
        false,
        "`false` keeps every stage to itself: nothing is done once for two of them.",
    ),
    key("stages", true, "The stages, by id."),
];

/// Keys of a param's declaration.
pub const PARAM: &[KeySpec] = &[
    key("type", true, "One of the types in `PARAM_TYPES`."),
    key(
        "default",
        false,
        "What it is if `--set` does not give it. Without a default it has to be given.",
    ),
    key("help", false, "What it does, in a sentence."),
    key("choices", false, "The words that a `choice` may be."),
];

/// The types a param may have.
pub const PARAM_TYPES: &[&str] = &[
    "bool", "int", "float", "text", "uri", "duration", "bytes", "choice",
];

/// Keys of a stage with a form of their own; the others are [`STAGE_SETTINGS`].
pub const STAGE: &[KeySpec] = &[
    key("op", true, "The operator."),
    key(
        "from",
        false,
        "The stage it takes from, or a list of them in the order of the operator's inputs.",
    ),
    key("with", false, "The operator's parameters."),
    key(
        "when",
        false,
        "`false` switches the stage off; mostly `${param}`.",
    ),
    key(
        "retry",
        false,
        "How often a call that failed for a passing reason is made.",
    ),
];

const ANY_COUNT: ParamType = ParamType::Int {
    min: 1,
    max: 65_536,
};

const fn setting(
    name: &'static str,
    ty: ParamType,
    fallback: Fallback,
    doc: &'static str,
) -> ParamSpec {
    ParamSpec {
        name,
        ty,
        fallback,
        unit: None,
        doc,
    }
}

/// Keys of a stage that are read as parameters are. What is absent is chosen when the stage is placed.
pub const STAGE_SETTINGS: &[ParamSpec] = &[
    setting(
        "concurrency",
        ANY_COUNT,
        Fallback::Absent,
        "How many items it works on at once in a process; for a stage on a device, its model instances.",
    ),
    setting(
        "device",
        ParamType::Text,
        Fallback::Absent,
        "`auto`, `cpu`, `cuda` or `cuda:N`; for operators that run on a device.",
    ),
    setting(
        "threads",
        ANY_COUNT,
        Fallback::Absent,
        "Threads that one call may use inside.",
    ),
    setting(
        "acquire_timeout",
        ParamType::Duration,
        Fallback::Is("300s"),
        "How long an item may wait for a model instance; for operators that run on a device.",
    ),
    setting(
        "timeout",
        ParamType::Duration,
        Fallback::Absent,
        "Longest time one attempt may take; the item's timeout if it is not given.",
    ),
    setting(
        "share",
        ParamType::Bool,
        Fallback::Absent,
        "`false` keeps the stage to itself: its work, weights and model instances are its own. What the file's `share` says if not given.",
    ),
];

/// Keys of a stage's `retry`.
pub const RETRY: &[ParamSpec] = &[
    setting(
        "attempts",
        ParamType::Int { min: 1, max: 100 },
        Fallback::Is("1"),
        "Attempts in all.",
    ),
    setting(
        "backoff",
        ParamType::Duration,
        Fallback::Is("1s"),
        "Pause before the second attempt; it doubles from then on, up to 30s or itself if that is longer. Each pause is shortened at random by up to half.",
    ),
];

/// Keys of `limits`. What is absent is chosen for the machine.
pub const LIMITS: &[ParamSpec] = &[
    setting(
        "items",
        ANY_COUNT,
        Fallback::Absent,
        "Items in flight at once, each worker; twice the cpu threads, at least 4, if not given.",
    ),
    setting(
        "memory",
        ParamType::Bytes,
        Fallback::Absent,
        "Bytes of frames in flight at once and of weights on the CPU, each process; a quarter of the machine's memory over the processes if not given.",
    ),
    setting(
        "disk",
        ParamType::Bytes,
        Fallback::Absent,
        "Bytes of downloaded files on the local disk at once, each process; 180 GB or four fifths of what is free, the smaller, over the processes if not given.",
    ),
    setting(
        "item_timeout",
        ParamType::Duration,
        Fallback::Is("1200s"),
        "Longest time an item may be in flight.",
    ),
    setting(
        "epoch_rows",
        ANY_COUNT,
        Fallback::Is("16"),
        "Input rows with one timestamp of the dataflow.",
    ),
    setting(
        "open_epochs",
        ANY_COUNT,
        Fallback::Is("64"),
        "Times `epoch_rows`: rows that may be read and not yet committed.",
    ),
    setting(
        "cpu_threads",
        ParamType::Int { min: 1, max: 4096 },
        Fallback::Absent,
        "Threads of the cpu executor, each process; the cores over the processes if not given.",
    ),
    setting(
        "io_threads",
        ParamType::Int { min: 1, max: 256 },
        Fallback::Is("2"),
        "Threads of the io executor, each process.",
    ),
];
