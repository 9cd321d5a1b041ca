//! The thread that commits rows: every sink publishes them, then the ledger records that.
//!
//! Rows come as they are done and are put into parts as large as the sinks like them ([`Pace`]), or as large as they get
//! while the part before is written. The longer a run has been going, and the longer a part takes to be written, the longer a
//! row may wait for its part, up to [`LONGEST_WAIT`]: a crash then costs about a thousandth of the time already spent at
//! most, the ledger stays short, and a slow disk is not kept busy with small parts.
//!
//! A row of several sinks waits until all of them have it, so a part holds the same rows for each.
//!
//! Trouble that may pass (a full disk, a store that is away) is waited out: the same part is written again, with growing
//! pauses, while the source stands still because nothing is committed. Only when that takes too long the run ends
//! ([`Patience`]).

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::abort::Abort;
use super::gate::Gate;
use super::panics::{self, EXECUTOR_THREAD};
use super::patience::Patience;
use super::{RunError, RunErrorKind};
use crate::ledger::{Ledger, Record, RowSet};
use crate::observe::Observer;
use crate::operator::{Delivered, ErrorKind, OperatorError, Pace, Receipt, Sink};

/// Longest time that a row may wait for its part, for sinks that like them small.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How many times longer than the writing of the part before the waiting is, at least.
const REST: u32 = 4;
/// How often the thread looks whether the job has ended.
const TICK: Duration = Duration::from_millis(50);

/// What the committing thread is told.
pub(super) enum Parcel {
    /// Rows of the sink at this place, in any order.
    Rows(usize, Vec<Delivered>),
    /// All rows of one of the sinks are here.
    End,
}

/// What came of the sinks.
pub(super) enum Committed {
    /// The tables are finished, and where they are.
    Finished(Vec<String>),
    /// The run was told to end early; what is done is committed.
    Early,
}

/// What the thread works with.
pub(super) struct Committer {
    /// The sinks with their ids, in plan order.
    pub sinks: Vec<(String, Box<dyn Sink>)>,
    pub ledger: Option<Ledger>,
    pub gate: Arc<Gate>,
    pub abort: Arc<Abort>,
    pub observer: Arc<Observer>,
    /// Whether only some of the rows were wanted: the tables are not to be finished then.
    pub partial: bool,
}

impl Committer {
    /// Tells the sinks where they stand. Only with a ledger: without one every run is new.
    pub fn resume(&mut self) -> Result<(), RunError> {
        let Some(ledger) = &self.ledger else {
            return Ok(());
        };
        for (place, (id, sink)) in self.sinks.iter_mut().enumerate() {
            let broken = |kind, message| RunError::at(kind, id, message);
            if !sink.resumes() {
                return Err(broken(
                    RunErrorKind::SinkRefused,
                    "what it writes cannot be continued, so the run cannot have a ledger"
                        .to_owned(),
                ));
            }
            let receipts = receipts_of(ledger, place);
            match panics::catch(|| sink.resume(&receipts)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(broken(kind_of(&error), error.full_message())),
                Err(panic) => return Err(broken(RunErrorKind::Sink, panic)),
            }
        }
        Ok(())
    }

    /// Starts the thread. It returns nothing if the job ended before.
    pub fn start(
        self,
        tokio: tokio::runtime::Handle,
    ) -> std::io::Result<(Sender<Parcel>, JoinHandle<Option<Committed>>)> {
        let (sender, parcels) = unbounded();
        let handle = std::thread::Builder::new()
            .name(format!("{EXECUTOR_THREAD}write"))
            .spawn(move || {
                let _entered = tokio.enter();
                let abort = Arc::clone(&self.abort);
                match Thread::new(self).run(&parcels) {
                    Ok(committed) => committed,
                    Err(error) => {
                        abort.with(error);
                        None
                    }
                }
            })?;
        Ok((sender, handle))
    }
}

fn receipts_of(ledger: &Ledger, place: usize) -> Vec<Receipt> {
    let parts = ledger.standing().parts.iter();
    parts.filter_map(|part| part.get(place).cloned()).collect()
}

struct Thread {
    its: Committer,
    pace: Pace,
    started: Instant,
    /// Rows that some sinks have and others not yet.
    halves: HashMap<u64, Vec<Option<Delivered>>>,
    /// Rows that all sinks have, for each sink.
    waiting: Vec<Vec<Delivered>>,
    /// When the first of them came.
    since: Option<Instant>,
    /// How long the part before took.
    took: Duration,
    /// What is committed, by earlier runs too.
    rows: RowSet,
    /// How many rows are committed, by this run alone.
    committed: u64,
    /// Receipts where no ledger keeps them, for each sink.
    receipts: Vec<Vec<Receipt>>,
    parts: u64,
}

impl Thread {
    fn new(its: Committer) -> Self {
        let paces = || its.sinks.iter().map(|(_, sink)| sink.pace());
        let pace = Pace {
            rows: paces().map(|pace| pace.rows).max().unwrap_or(1).max(1),
            wait: paces().map(|pace| pace.wait).max().unwrap_or_default(),
        };
        let standing = its.ledger.as_ref().map(Ledger::standing);
        Self {
            pace,
            started: Instant::now(),
            halves: HashMap::new(),
            waiting: its.sinks.iter().map(|_| Vec::new()).collect(),
            since: None,
            took: Duration::ZERO,
            rows: standing
                .map(|standing| standing.rows.clone())
                .unwrap_or_default(),
            committed: 0,
            receipts: its.sinks.iter().map(|_| Vec::new()).collect(),
            parts: standing.map_or(0, |standing| standing.parts.len() as u64),
            its,
        }
    }

    fn run(mut self, parcels: &Receiver<Parcel>) -> Result<Option<Committed>, RunError> {
        let mut open = self.its.sinks.len();
        while open > 0 {
            let pause = self.due().map_or(TICK, |due| {
                due.saturating_duration_since(Instant::now()).min(TICK)
            });
            match parcels.recv_timeout(pause) {
                Ok(Parcel::Rows(place, rows)) => self.take(place, rows)?,
                Ok(Parcel::End) => open -= 1,
                Err(RecvTimeoutError::Timeout) => {}
                // The workers are gone: the job has ended.
                Err(RecvTimeoutError::Disconnected) => return self.leave(),
            }
            if self.its.abort.is_set() {
                return self.leave();
            }
            // All that came meanwhile goes with it.
            while let Ok(parcel) = parcels.try_recv() {
                match parcel {
                    Parcel::Rows(place, rows) => self.take(place, rows)?,
                    Parcel::End => open -= 1,
                }
                if self.waiting[0].len() >= self.part_rows() {
                    break;
                }
            }
            let full = self.waiting[0].len() >= self.part_rows();
            if full || self.due().is_some_and(|due| due <= Instant::now()) {
                self.commit()?;
            }
        }
        self.commit()?;
        let read = self.its.observer.progress.read();
        if self.committed != read || !self.halves.is_empty() {
            return Err(self.bug(format!(
                "{read} rows went in and {} came out",
                self.committed
            )));
        }
        if self.its.partial || self.its.gate.is_closed() {
            return Ok(Some(Committed::Early));
        }
        self.finish()
            .map(|outputs| Some(Committed::Finished(outputs)))
    }

    /// A job that is told to stop keeps what is done; one that failed leaves it to the next run.
    fn leave(mut self) -> Result<Option<Committed>, RunError> {
        let stopped = self.its.abort.error();
        if stopped.is_some_and(|error| error.kind == RunErrorKind::Stopped) {
            self.commit()?;
        }
        Ok(None)
    }

    /// When the rows that wait are to be committed.
    fn due(&self) -> Option<Instant> {
        // Without a ledger nothing is gained by waiting.
        let wait = match &self.its.ledger {
            None => Duration::ZERO,
            Some(_) => {
                let grown = (self.started.elapsed() / 1000).max(self.took * REST);
                self.pace.wait.max(grown.min(LONGEST_WAIT))
            }
        };
        self.since.map(|since| since + wait)
    }

    /// Rows that a part has at most; fewer where the source would have to wait for them.
    fn part_rows(&self) -> usize {
        let room = usize::try_from(self.its.gate.room() / 4).unwrap_or(usize::MAX);
        self.pace.rows.min(room).max(1)
    }

    fn take(&mut self, place: usize, rows: Vec<Delivered>) -> Result<(), RunError> {
        for row in rows {
            let sequence = row.sequence;
            if self.waiting.len() == 1 {
                self.count(sequence)?;
                self.waiting[0].push(row);
            } else {
                let sinks = self.waiting.len();
                let half = self
                    .halves
                    .entry(sequence)
                    .or_insert_with(|| vec![None; sinks]);
                if half[place].replace(row).is_some() {
                    return Err(self.bug(format!("row {sequence} came out twice")));
                }
                if half.iter().any(Option::is_none) {
                    continue;
                }
                self.count(sequence)?;
                for (waiting, row) in self
                    .waiting
                    .iter_mut()
                    .zip(self.halves.remove(&sequence).unwrap_or_default())
                {
                    waiting.extend(row);
                }
            }
        }
        if !self.waiting[0].is_empty() {
            self.since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    fn count(&mut self, sequence: u64) -> Result<(), RunError> {
        if self.rows.insert(sequence) {
            return Ok(());
        }
        Err(self.bug(format!("row {sequence} came out twice")))
    }

    /// Publishes the rows that wait, and records that.
    fn commit(&mut self) -> Result<(), RunError> {
        self.since = None;
        let count = self.waiting[0].len();
        if count == 0 {
            return Ok(());
        }
        let begun = Instant::now();
        let part: RowSet = self.waiting[0].iter().map(|row| row.sequence).collect();
        let failed = self.waiting[0].iter().filter(|row| row.has_failed());
        let failed = failed.count() as u64;
        let mut receipts = Vec::new();
        for ((id, sink), rows) in self.its.sinks.iter_mut().zip(&mut self.waiting) {
            rows.sort_unstable_by_key(|row| row.sequence);
            let number = self.parts;
            let receipt = insist(id, &self.its.abort, || sink.publish(number, rows))?;
            receipts.push(receipt);
            rows.clear();
        }
        self.record(part, failed, receipts)?;
        self.parts += 1;
        self.committed += count as u64;
        self.took = begun.elapsed();
        self.its.gate.commit(count as u64);
        Ok(())
    }

    fn record(
        &mut self,
        rows: RowSet,
        failed: u64,
        receipts: Vec<Receipt>,
    ) -> Result<(), RunError> {
        let Some(ledger) = &mut self.its.ledger else {
            for (all, receipt) in self.receipts.iter_mut().zip(receipts) {
                all.push(receipt);
            }
            return Ok(());
        };
        let record = Record::Part {
            number: self.parts,
            rows,
            failed,
            receipts,
        };
        insist_ledger(ledger, &self.its.abort, &record)
    }

    fn finish(mut self) -> Result<Vec<String>, RunError> {
        let mut outputs = Vec::new();
        for (place, (id, sink)) in self.its.sinks.iter_mut().enumerate() {
            let receipts = match &self.its.ledger {
                Some(ledger) => receipts_of(ledger, place),
                None => std::mem::take(&mut self.receipts[place]),
            };
            let output = insist(id, &self.its.abort, || sink.finish(&receipts))?;
            outputs.push(output);
        }
        if let Some(ledger) = &mut self.its.ledger {
            let record = Record::Finished {
                outputs: outputs.clone(),
            };
            insist_ledger(ledger, &self.its.abort, &record)?;
        }
        Ok(outputs)
    }

    fn bug(&self, message: String) -> RunError {
        let message = format!("{message}; this is a bug, and the output is not finished");
        RunError::at(RunErrorKind::Internal, &self.its.sinks[0].0, message)
    }
}

/// Does a sink's work, again and again while the trouble may pass.
fn insist<T>(
    id: &str,
    abort: &Abort,
    mut work: impl FnMut() -> Result<T, OperatorError>,
) -> Result<T, RunError> {
    let mut patience = Patience::new();
    loop {
        let (message, kind, passes) = match panics::catch(&mut work) {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => {
                let kind = kind_of(&error);
                (error.full_message(), kind, kind == RunErrorKind::Sink)
            }
            Err(panic) => (panic, RunErrorKind::Sink, false),
        };
        if passes {
            tracing::warn!(stage = %id, "rows cannot be written, trying again: {message}");
            if patience.wait(abort) {
                continue;
            }
        }
        return Err(RunError::at(kind, id, message));
    }
}

/// Whether an output that could not be written may be another time.
fn kind_of(error: &OperatorError) -> RunErrorKind {
    match error.kind {
        ErrorKind::Temporary => RunErrorKind::Sink,
        _ => RunErrorKind::SinkRefused,
    }
}

fn insist_ledger(ledger: &mut Ledger, abort: &Abort, record: &Record) -> Result<(), RunError> {
    let mut patience = Patience::new();
    loop {
        let Err(error) = ledger.record(record.clone()) else {
            return Ok(());
        };
        if error.is_temporary() {
            tracing::warn!("trying again: {error}");
            if patience.wait(abort) {
                continue;
            }
        }
        return Err(error.into());
    }
}
