//! What a run tells of itself while it goes on.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clipsieve_models::training::Task;
use serde_json::{Map, Value, json};

use super::rounded;
use crate::error::Error;

/// Sums since the last line of metrics.
pub(super) struct Window {
    steps: f64,
    clips: usize,
    loss: f64,
    losses: Vec<f64>,
    began: Instant,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            steps: 0.0,
            clips: 0,
            loss: 0.0,
            losses: Vec::new(),
            began: Instant::now(),
        }
    }
}

impl Window {
    pub(super) fn add(&mut self, clips: usize, loss: f64, losses: &[f64]) {
        self.losses.resize(losses.len(), 0.0);
        self.steps += 1.0;
        self.clips += clips;
        self.loss += loss;
        for (sum, loss) in self.losses.iter_mut().zip(losses) {
            *sum += loss;
        }
    }

    pub(super) fn take(&mut self, tasks: &[Task]) -> Map<String, Value> {
        let window = std::mem::take(self);
        let mut line = Map::new();
        line.insert("loss".into(), json!(rounded(window.loss / window.steps)));
        for (task, sum) in tasks.iter().zip(&window.losses) {
            line.insert(task.name.clone(), json!(rounded(sum / window.steps)));
        }
        let elapsed = window.began.elapsed().max(Duration::from_millis(1));
        line.insert(
            "clips_per_second".into(),
            json!(rounded(window.clips as f64 / elapsed.as_secs_f64())),
        );
        line
    }
}

/// `metrics.jsonl` of a run, also shown on stderr.
pub(super) struct Metrics {
    path: PathBuf,
    file: fs::File,
}

impl Metrics {
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("metrics.jsonl");
        let file = fs::File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(Error::io("opening", &path))?;
        Ok(Self { path, file })
    }

    pub(super) fn write(&mut self, line: Map<String, Value>) -> Result<(), Error> {
        let line = Value::Object(line).to_string();
        eprintln!("{line}");
        writeln!(self.file, "{line}").map_err(Error::io("writing", &self.path))
    }
}
