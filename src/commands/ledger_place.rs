//! Where the ledger of a run lies, if nobody says.

use std::path::{Path, PathBuf};

use clipsieve_engine::plan::{Plan, Stage};

/// The folder of the run's ledger: what is named, or `TABLE.ledger` beside the table, so that it is found again wherever the
/// run goes on; for a table that is no local file, a folder under `.clipsieve` in the working directory. None for standard
/// output, which cannot be continued.
pub fn of(named: Option<&Path>, plan: &Plan) -> Option<PathBuf> {
    if writes_to_stdout(plan) {
        return None;
    }
    if let Some(folder) = named {
        return Some(folder.to_owned());
    }
    let sink = sinks(plan).next()?;
    match sink.params.opt_text("uri") {
        Some(uri) if !uri.contains("://") => Some(PathBuf::from(format!("{uri}.ledger"))),
        _ => {
            let target: Vec<String> = sink
                .params
                .iter()
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            let hash = hash(&target.join("\n"));
            Some(PathBuf::from(format!(
                ".clipsieve/{}-{hash:016x}.ledger",
                word(&plan.name)
            )))
        }
    }
}

/// Whether rows themselves go to stdout: the summary must then stay out of them.
pub fn writes_to_stdout(plan: &Plan) -> bool {
    sinks(plan).any(|stage| stage.params.opt_text("uri") == Some("-"))
}

fn sinks(plan: &Plan) -> impl Iterator<Item = &Stage> {
    let stages = plan.order.iter().map(|index| &plan.graph[*index]);
    stages.filter(|stage| stage.spec.is_sink())
}

fn word(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect()
}

/// FNV-1a: the same in every build, which the standard library's hash is not.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
