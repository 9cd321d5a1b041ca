//! Where the rows go.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use clipsieve_engine::operator::{Delivered, OperatorError, Receipt, Sink};
use serde_json::json;

use super::Result;

/// A sink that keeps what it is given.
#[derive(Clone, Default)]
pub struct Table(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    commits: Vec<Vec<Delivered>>,
    times: Vec<Instant>,
    finished: bool,
    fail_commit: Option<usize>,
}

impl Table {
    pub fn clear(&self) {
        *self.0.lock().unwrap() = Kept::default();
    }

    /// Makes the commit of this number fail.
    pub fn fail_commit(&self, number: usize) {
        self.0.lock().unwrap().fail_commit = Some(number);
    }

    pub fn finished(&self) -> bool {
        self.0.lock().unwrap().finished
    }

    /// The sequences of each commit.
    pub fn commits(&self) -> Vec<Vec<u64>> {
        let kept = self.0.lock().unwrap();
        let sequences = |rows: &Vec<Delivered>| rows.iter().map(|row| row.sequence).collect();
        kept.commits.iter().map(sequences).collect()
    }

    /// When each commit came.
    pub fn times(&self) -> Vec<Instant> {
        self.0.lock().unwrap().times.clone()
    }

    /// All rows in the order of the input, as text.
    pub fn rows(&self) -> Vec<String> {
        self.sorted().iter().map(text).collect()
    }

    fn sorted(&self) -> Vec<Delivered> {
        let mut rows = self.0.lock().unwrap().commits.concat();
        rows.sort_by_key(|row| row.sequence);
        rows
    }

    /// One column of all rows, in the order of the input.
    pub fn column(&self, name: &str) -> Vec<String> {
        let cell = |row: &Delivered| match &row.result {
            Ok(document) => document.row.text(name).unwrap().to_owned(),
            Err((_, failure)) => format!(
                "failed: {} {:?} {}",
                failure.stage, failure.kind, failure.error
            ),
        };
        self.sorted().iter().map(cell).collect()
    }
}

pub fn text(row: &Delivered) -> String {
    match &row.result {
        Ok(document) => {
            let mark = if document.failed { "failed" } else { "good" };
            format!(
                "{} {mark} {}",
                row.sequence,
                serde_json::to_string(&document.row.0).unwrap()
            )
        }
        Err((_, failure)) => format!("{} broken {failure:?}", row.sequence),
    }
}

impl Sink for Table {
    fn resume(&mut self, _receipts: &[Receipt]) -> Result<()> {
        Ok(())
    }

    fn publish(&mut self, part: u64, rows: &[Delivered]) -> Result<Receipt> {
        let mut kept = self.0.lock().unwrap();
        if kept.fail_commit == Some(kept.commits.len()) {
            return Err(OperatorError::config("the disk is full"));
        }
        assert_eq!(part, kept.commits.len() as u64);
        kept.commits.push(rows.to_vec());
        kept.times.push(Instant::now());
        Ok(json!(part))
    }

    fn finish(&mut self, receipts: &[Receipt]) -> Result<String> {
        let mut kept = self.0.lock().unwrap();
        assert_eq!(receipts.len(), kept.commits.len());
        kept.finished = true;
        Ok("here".to_owned())
    }
}
