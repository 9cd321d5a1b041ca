//! The clips that a rule is fitted on: from the cache, and from what `validate --scores` wrote.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clipsieve_operators::rule::log_odds;
use serde::Deserialize;

use super::FOLDS;
use crate::chance::{Chance, fnv};
use crate::dataset::{Dataset, NOT_JUDGED, Split};
use crate::error::Error;

/// A clip to fit on.
pub struct Clip {
    /// The part that its source belongs to.
    pub fold: u64,
    /// The kind of its defect, or of what is clean.
    pub kind: String,
    /// Whether it has the defect.
    pub is_defect: bool,
    /// One a signal; NaN where there is none.
    pub values: Vec<f64>,
    /// The log-odds of the network, if its sources were kept from the network.
    pub network: Option<f64>,
}

/// A clip, as `validate --scores` writes it.
#[derive(Deserialize)]
struct Line {
    task: String,
    source: String,
    kind: Option<String>,
    label: u8,
    score: f64,
    signals: BTreeMap<String, Option<f64>>,
}

/// The part that a source belongs to: what shares a photograph or a film stays together.
fn fold(source: &str) -> u64 {
    let first = source.split('+').next().unwrap_or_default();
    Chance::of(0, "fold", fnv(first.as_bytes())).bits() % FOLDS
}

/// The clips of the task in a file of scores, with these signals.
///
/// # Errors
/// If the file cannot be read or a line is not what `validate` writes.
pub fn from_scores(path: &Path, task: &str, signals: &[&str]) -> Result<Vec<Clip>, Error> {
    let text = fs::read_to_string(path).map_err(Error::io("reading", path))?;
    let mut clips = Vec::new();
    for line in text.lines() {
        let line: Line = serde_json::from_str(line).map_err(|error| Error::file(path, error))?;
        if line.task != task {
            continue;
        }
        let of = |name: &&str| line.signals.get(*name).copied().flatten();
        let values = signals.iter().map(|name| of(name).unwrap_or(f64::NAN));
        clips.push(Clip {
            fold: fold(&line.source),
            is_defect: line.label == 1,
            values: values.collect(),
            network: Some(log_odds(line.score)),
            kind: line.kind.unwrap_or_default(),
        });
    }
    Ok(clips)
}

/// The clips of the task in one split of the cache, with these signals; none if the cache has no such split.
///
/// # Errors
/// If the cache cannot be read, or does not know the task or a signal.
pub fn from_cache(
    cache: &Path,
    split: Split,
    task: &str,
    signals: &[&str],
) -> Result<Vec<Clip>, Error> {
    let set = if task == "rotation" { task } else { "shared" };
    let Ok(dataset) = Dataset::open(cache, set, split) else {
        return Ok(Vec::new());
    };
    let column = dataset.task(task)?;
    let place = |name: &&str| dataset.names.signals.iter().position(|have| have == name);
    let places = signals.iter().map(|name| {
        place(name).ok_or_else(|| Error::file(cache, format!("its clips have no `{name}`")))
    });
    let places: Vec<usize> = places.collect::<Result<_, _>>()?;
    let mut clips = Vec::new();
    for number in 0..dataset.len() {
        let shard = dataset.shard(number)?;
        for (row, note) in shard.notes.iter().enumerate() {
            let label = shard.labels[[row, column]];
            if label == NOT_JUDGED {
                continue;
            }
            let value = |place: &usize| f64::from(shard.signals[[row, *place]]);
            clips.push(Clip {
                fold: fold(&note.source),
                kind: note.kinds.get(task).cloned().unwrap_or_default(),
                is_defect: label == 1,
                values: places.iter().map(value).collect(),
                network: None,
            });
        }
    }
    Ok(clips)
}
