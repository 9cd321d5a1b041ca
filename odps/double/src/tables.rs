//! What is stored, and the sessions over it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::{Fault, Row, Step};

/// The beginning of 15 January 2025.
const FIRST_CHANGE: i64 = 1_736_899_200;

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: String,
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its columns.
    pub columns: Vec<Column>,
    /// The levels of its partitions.
    pub partition_keys: Vec<Column>,
    pub(crate) partitions: BTreeMap<String, Arc<Vec<Row>>>,
    /// When each partition was changed last, by a clock that goes on with every change.
    changed: BTreeMap<String, i64>,
}

impl Table {
    pub(crate) fn new(columns: &[&str], partition_keys: &[&str]) -> Self {
        let column = |text: &&str| {
            let (name, kind) = text.split_once(' ').unwrap_or((text, "string"));
            Column {
                name: name.to_owned(),
                kind: kind.to_owned(),
            }
        };
        let mut table = Self {
            columns: columns.iter().map(column).collect(),
            partition_keys: partition_keys.iter().map(column).collect(),
            partitions: BTreeMap::new(),
            changed: BTreeMap::new(),
        };
        if partition_keys.is_empty() {
            table.partitions.insert(String::new(), Arc::default());
        }
        table
    }

    /// Adds rows to a partition, which is made if it is missing, or puts them in place of those that are there.
    pub(crate) fn put(&mut self, partition: &str, rows: Vec<Row>, overwrite: bool) {
        let there = self.partitions.entry(partition.to_owned()).or_default();
        let mut all = match overwrite {
            true => Vec::new(),
            false => there.as_ref().clone(),
        };
        all.extend(rows);
        *there = Arc::new(all);
        let last = self.changed.values().max().copied();
        let now = last.unwrap_or(FIRST_CHANGE) + 1;
        self.changed.insert(partition.to_owned(), now);
    }

    /// When a partition was changed last.
    pub(crate) fn changed(&self, partition: &str) -> i64 {
        self.changed.get(partition).copied().unwrap_or(FIRST_CHANGE)
    }

    pub(crate) fn schema(&self) -> Json {
        let list = |columns: &[Column]| -> Json {
            let one = |column: &Column| json!({"name": column.name, "type": column.kind, "comment": "", "nullable": true, "isNullable": true});
            columns.iter().map(one).collect()
        };
        json!({"columns": list(&self.columns), "partitionKeys": list(&self.partition_keys)})
    }
}

pub(crate) struct DownloadSession {
    pub table: (String, String),
    pub partition: String,
    pub rows: Arc<Vec<Row>>,
}

pub(crate) struct UploadSession {
    pub table: (String, String),
    pub partition: String,
    pub overwrite: bool,
    pub blocks: BTreeMap<u64, Vec<Row>>,
    /// Blocks that came damaged and did not come again.
    pub broken: BTreeSet<u64>,
    pub closed: bool,
}

#[derive(Default)]
pub(crate) struct State {
    pub tables: BTreeMap<(String, String), Table>,
    pub downloads: BTreeMap<String, DownloadSession>,
    pub uploads: BTreeMap<String, UploadSession>,
    pub sessions: u64,
    pub faults: VecDeque<(Step, Fault)>,
    pub steps: Vec<Step>,
    pub signatures: Vec<u8>,
}

impl State {
    /// The next fault for a step, once.
    pub fn fault(&mut self, step: Step) -> Option<Fault> {
        let at = self.faults.iter().position(|(known, _)| *known == step)?;
        self.faults.remove(at).map(|(_, fault)| fault)
    }

    pub fn new_id(&mut self) -> String {
        self.sessions += 1;
        format!("20250115000000double{:08}", self.sessions)
    }
}
