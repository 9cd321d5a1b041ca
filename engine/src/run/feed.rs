//! The thread that reads the table, a little ahead of the dataflow.
//!
//! Rows that a ledger has, and rows that are not wanted, are read and left out here; the others keep the position they have
//! in the input.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, TryRecvError, bounded};

use super::abort::Abort;
use super::gate::Gate;
use super::panics::{self, EXECUTOR_THREAD};
use super::{RunError, RunErrorKind};
use crate::ledger::{RowSet, Standing, Verdict};
use crate::operator::{ErrorKind, Failure, Row, Source, SourceRow};

/// Rows read ahead of the graph.
const AHEAD: usize = 256;

/// A row, its position in the input, and what is wrong with it.
pub(super) struct Read {
    pub sequence: u64,
    pub row: Row,
    pub problem: Option<Failure>,
}

/// Which rows of the input are to be worked on.
#[derive(Default)]
pub(super) struct Wanted {
    /// Rows that are committed already.
    pub done: RowSet,
    /// Only these, if it says so.
    pub only: Option<BTreeSet<u64>>,
    /// Rows that fail without being worked on.
    pub doomed: HashMap<u64, Failure>,
}

/// The rows as the reading thread delivers them; `None` is the end.
pub(super) struct Feed {
    rows: Receiver<Option<Read>>,
    hungry: Arc<AtomicBool>,
}

/// Starts the thread that reads the table.
pub(super) fn read(
    id: String,
    mut source: Box<dyn Source>,
    mut wanted: Wanted,
    tokio: tokio::runtime::Handle,
    gate: &Arc<Gate>,
    abort: &Arc<Abort>,
) -> std::io::Result<(Feed, JoinHandle<()>)> {
    let (sender, rows) = bounded(AHEAD);
    let hungry = Arc::new(AtomicBool::new(false));
    let feed = Feed {
        rows,
        hungry: Arc::clone(&hungry),
    };
    let (gate, abort) = (Arc::clone(gate), Arc::clone(abort));
    let handle = std::thread::Builder::new()
        .name(format!("{EXECUTOR_THREAD}read"))
        .spawn(move || {
            let _entered = tokio.enter();
            let mut sequence = 0;
            loop {
                let read = panics::catch(|| wanted.next(&mut *source, &mut sequence, &id, &gate));
                let row = match read {
                    Ok(Ok(row)) => row,
                    Ok(Err(message)) | Err(message) => {
                        abort.with(RunError::at(RunErrorKind::Source, &id, message));
                        return;
                    }
                };
                let last = row.is_none();
                if sender.send(row).is_err() {
                    return;
                }
                if hungry.swap(false, Ordering::SeqCst) {
                    gate.source.wake();
                }
                if last {
                    return;
                }
            }
        })?;
    Ok((feed, handle))
}

impl Wanted {
    /// Leaves out what is committed, and fails what must not be worked on.
    pub fn go_on_from(&mut self, standing: &Standing) {
        self.done = standing.rows.clone();
        let failure = |verdict: &Verdict| Failure {
            stage: verdict.stage.clone(),
            kind: ErrorKind::Crash,
            error: format!("killed its process: {}", verdict.how),
            attempts: verdict.deaths,
        };
        let verdicts = standing.verdicts.values();
        self.doomed = verdicts
            .map(|verdict| (verdict.row, failure(verdict)))
            .collect();
    }

    /// The next row that is to be worked on.
    fn next(
        &mut self,
        source: &mut dyn Source,
        sequence: &mut u64,
        source_id: &str,
        gate: &Gate,
    ) -> Result<Option<Read>, String> {
        loop {
            let past = |only: &BTreeSet<u64>| only.last().is_none_or(|last| last < sequence);
            if gate.is_closed() || self.only.as_ref().is_some_and(past) {
                return Ok(None);
            }
            let Some(SourceRow { row, problem }) =
                source.next_row().map_err(|error| error.full_message())?
            else {
                return Ok(None);
            };
            let here = *sequence;
            *sequence += 1;
            let wanted = |only: &BTreeSet<u64>| only.contains(&here);
            if self.done.contains(here) || !self.only.as_ref().is_none_or(wanted) {
                continue;
            }
            let problem = problem.map(|error| Failure {
                stage: source_id.to_owned(),
                kind: error.kind,
                error: error.full_message(),
                attempts: 1,
            });
            return Ok(Some(Read {
                sequence: here,
                row,
                problem: problem.or_else(|| self.doomed.remove(&here)),
            }));
        }
    }
}

impl Feed {
    /// The next row, if there is one now: `Err` if not, `Ok(None)` at the end.
    pub fn take(&self) -> Result<Option<Read>, TryRecvError> {
        let row = self.rows.try_recv();
        if !matches!(row, Err(TryRecvError::Empty)) {
            return row;
        }
        // Say that we are hungry and look again: a row that came in between wakes nobody.
        self.hungry.store(true, Ordering::SeqCst);
        self.rows.try_recv()
    }
}
