use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Difference, Identity, RowSet};
use crate::operator::Receipt;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// What the input is; written before the first row is read.
    Input {
        /// See [`Source::fingerprint`](crate::operator::Source::fingerprint).
        fingerprint: Option<String>,
    },
    /// Somebody begins to work.
    Attempt {
        /// When, for people.
        at: String,
        /// With how many processes.
        processes: usize,
    },
    /// Rows are published.
    Part {
        /// Its number.
        number: u64,
        /// Which rows.
        rows: RowSet,
        /// How many of them tell of a failure.
        failed: u64,
        /// What each sink needs to find them, in plan order.
        receipts: Vec<Receipt>,
    },
    /// A process died.
    Death {
        /// How, for people.
        how: String,
        /// What it was working on.
        working: Vec<Working>,
    },
    /// A row killed too many processes: it is not worked on again, its result row tells of it.
    Verdict(Verdict),
    /// The pipeline or a model is not as it was, and whoever runs it accepts that.
    Accepted {
        /// What is not as it was.
        differences: Vec<Difference>,
        /// What it is now.
        identity: Identity,
    },
    /// The table is there.
    Finished {
        /// Where, one for each sink.
        outputs: Vec<String>,
    },
}

/// A stage that is working on a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Working {
    /// The row's position in the input.
    pub row: u64,
    /// The stage's id.
    pub stage: String,
}

/// Why a row is not worked on again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The row's position in the input.
    pub row: u64,
    /// The stage in which it kills.
    pub stage: String,
    /// How, for people.
    pub how: String,
    /// How many processes it killed.
    pub deaths: u32,
}

/// What the journal comes to.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The rows that are published.
    pub rows: RowSet,
    /// How many of them tell of a failure.
    pub failed: u64,
    /// The receipts of all parts in order, each with one for each sink.
    pub parts: Vec<Vec<Receipt>>,
    /// How often somebody began to work.
    pub attempts: u64,
    /// At how many deaths a row was being worked on, and where at the last; of rows that are not published.
    pub deaths: BTreeMap<u64, (u32, String)>,
    /// Rows that are not to be worked on, and not published yet.
    pub verdicts: BTreeMap<u64, Verdict>,
    /// The input, once it is known.
    pub input: Option<Option<String>>,
    /// Where the table is, once it is there.
    pub finished: Option<Vec<String>>,
}

impl Standing {
    /// Adds a record; or why it cannot follow those before it.
    pub(super) fn add(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Input { fingerprint } => self.input = Some(fingerprint),
            Record::Attempt { .. } => self.attempts += 1,
            Record::Part {
                number,
                rows,
                failed,
                receipts,
            } => {
                if number != self.parts.len() as u64 {
                    return Err(format!(
                        "part {number} comes after {} others",
                        self.parts.len()
                    ));
                }
                if !self.rows.insert_all(&rows) {
                    return Err(format!("part {number} holds rows that an earlier one has"));
                }
                for (start, end) in rows.ranges() {
                    let row = |row: &u64| (start..end).contains(row);
                    self.deaths.retain(|other, _| !row(other));
                    self.verdicts.retain(|other, _| !row(other));
                }
                self.failed += failed;
                self.parts.push(receipts);
            }
            Record::Death { working, .. } => {
                let mut counted = None;
                for Working { row, stage } in working {
                    if self.rows.contains(row) {
                        continue;
                    }
                    let (deaths, last) = self.deaths.entry(row).or_default();
                    // Two stages at work on one row are one reason to suspect it.
                    if counted != Some(row) {
                        *deaths += 1;
                    }
                    counted = Some(row);
                    *last = stage;
                }
            }
            Record::Verdict(verdict) => {
                self.verdicts.insert(verdict.row, verdict);
            }
            Record::Accepted { .. } => {}
            Record::Finished { outputs } => self.finished = Some(outputs),
        }
        Ok(())
    }
}
