//! The timely half of a process: its workers, and the threads at both ends of the dataflow.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use timely::WorkerConfig;
use timely::communication::allocator::zero_copy::initialize::initialize_networking_from_sockets;
use timely::communication::allocator::{Allocator, AllocatorBuilder, ProcessBuilder};
use timely::communication::{Config, Hooks, initialize_from};
use timely::worker::Worker;

use super::abort::Abort;
use super::build::{Built, Ends};
use super::commit::{Committed, Committer};
use super::feed::{self, Feed, Wanted};
use super::lower::{Shared, lower};
use super::machine::Machine;
use super::reaper::Reaper;
use super::sink::Outlet;
use super::{RunError, RunErrorKind};
use crate::ledger::Ledger;
use crate::operator::{Sink, Source};
use crate::plan::{Plan, StageIndex};

/// How long a worker sleeps at most; everything that concerns it wakes it, so this is only a precaution.
const NAP: Duration = Duration::from_secs(1);
/// How long a commit may take after the job has ended.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the workers of a process are started with.
pub(super) struct Workers<'a> {
    pub plan: &'a Plan,
    pub ends: Ends,
    /// Connections to the other processes, if there are any.
    pub sockets: Option<Vec<Option<TcpStream>>>,
    pub span: tracing::Span,
    /// In the process that reads the rows.
    pub ledger: Option<Ledger>,
    pub only: Option<BTreeSet<u64>>,
}

impl Workers<'_> {
    /// Runs the dataflow to its end.
    pub fn run(mut self, machine: &Machine, built: Built) -> Result<Committed, RunError> {
        let abort = Arc::clone(&machine.services.abort);
        let (reaper, reaper_thread) = Reaper::start().map_err(no_threads)?;
        let (mut feed, mut outlets, mut committer) = (None, Vec::new(), None);
        if let Some(source) = built.source {
            let attached = self.attach(machine, source, built.sinks)?;
            feed = Some(attached.feed);
            outlets = attached.outlets;
            committer = Some(attached.committer);
        }
        let shared = Shared {
            plan: self.plan.clone(),
            ends: self.ends,
            stages: machine.stages.iter().cloned().collect(),
            observer: Arc::clone(&machine.services.observer),
            abort: Arc::clone(&abort),
            gate: Arc::clone(&machine.gate),
            reaper,
            span: self.span,
            voice: Default::default(),
            feed: Mutex::new(feed),
            outlets: Mutex::new(outlets),
        };
        run_timely(shared, self.sockets)?;

        let committed = committer.and_then(|thread| collect(thread, &abort));
        if let Some(error) = abort.error() {
            return Err(error);
        }
        // The last handle went with the workers; what was buried is being dropped.
        let _ = reaper_thread.join();
        Ok(committed.unwrap_or(Committed::Early))
    }

    /// Starts the threads that read and commit, behind what the ledger says is done.
    fn attach(
        &mut self,
        machine: &Machine,
        source: Box<dyn Source>,
        sinks: Vec<(StageIndex, Box<dyn Sink>)>,
    ) -> Result<Attached, RunError> {
        let (observer, abort) = (&machine.services.observer, &machine.services.abort);
        let id = |index: StageIndex| self.plan.graph[index].id.clone();
        let tokio = tokio::runtime::Handle::current();
        let mut wanted = Wanted {
            only: self.only.take(),
            ..Wanted::default()
        };
        if let Some(ledger) = &mut self.ledger {
            ledger.input(source.fingerprint())?;
            let standing = ledger.standing();
            wanted.go_on_from(standing);
            let done = standing.rows.len() - standing.failed;
            observer.progress.set_before(done, standing.failed);
        }
        if let Some(total) = source.total_rows() {
            observer.progress.set_total(total);
        }
        let sinks = sinks.into_iter().map(|(index, sink)| (id(index), sink));
        let mut commits = Committer {
            sinks: sinks.collect(),
            ledger: self.ledger.take(),
            gate: Arc::clone(&machine.gate),
            abort: Arc::clone(abort),
            observer: Arc::clone(observer),
            partial: wanted.only.is_some(),
        };
        commits.resume()?;
        let places = 0..commits.sinks.len();
        let (parcels, committer) = commits.start(tokio.clone()).map_err(no_threads)?;
        let outlets = places.map(|place| Outlet {
            place,
            parcels: parcels.clone(),
            observer: Arc::clone(observer),
        });
        let source_id = id(self.ends.source);
        // Its thread ends with the rows, or when nobody takes them any more.
        let (feed, _) = feed::read(source_id, source, wanted, tokio, &machine.gate, abort)
            .map_err(no_threads)?;
        Ok(Attached {
            feed,
            outlets: outlets.collect(),
            committer,
        })
    }
}

/// What stands at both ends of the dataflow, in the process that has source and sinks.
struct Attached {
    feed: Feed,
    outlets: Vec<Outlet>,
    committer: JoinHandle<Option<Committed>>,
}

/// Starts the workers and waits until they are through, or the job is to end.
fn run_timely(shared: Shared, sockets: Option<Vec<Option<TcpStream>>>) -> Result<(), RunError> {
    let cluster = |error| RunError::new(RunErrorKind::Cluster, format!("timely: {error}"));
    let threads = shared.plan.workers.max(1);
    let mut connections = None;
    let builders = match sockets {
        None => Config::Process(threads).try_build().map_err(cluster)?.0,
        Some(sockets) => {
            let process = sockets.iter().position(Option::is_none).unwrap_or(0);
            let hooks = Hooks::default();
            let local = ProcessBuilder::new_typed_vector(threads, hooks.refill.clone(), None);
            let (builders, guard) =
                initialize_networking_from_sockets(local, sockets, process, threads, hooks)
                    .map_err(|error| cluster(error.to_string()))?;
            connections = Some(guard);
            builders.into_iter().map(AllocatorBuilder::Tcp).collect()
        }
    };
    let alone = connections.is_none();
    let abort = Arc::clone(&shared.abort);
    let work = move |allocator| work(allocator, &shared, alone);
    let guards = initialize_from(builders, Box::new(()), work).map_err(cluster)?;
    for result in guards.join() {
        // The hook for timely's threads ends the process before this is seen.
        result.map_err(|panic| {
            RunError::new(
                RunErrorKind::Internal,
                format!("a worker panicked: {panic}"),
            )
        })?;
    }
    if abort.is_set() {
        // Its threads end when the other processes do, which end because this one does: nothing to wait for.
        std::mem::forget(connections);
    }
    Ok(())
}

/// One worker's thread.
fn work(allocator: Allocator, shared: &Shared, alone: bool) {
    let mut worker = Worker::new(WorkerConfig::default(), allocator, Some(Instant::now()));
    shared.abort.register_worker();
    lower(&mut worker, shared);
    while worker.has_dataflows() && !shared.abort.is_set() {
        worker.step_or_park(Some(NAP));
    }
    if alone {
        for dataflow in worker.installed_dataflows() {
            worker.drop_dataflow(dataflow);
        }
    } else if worker.has_dataflows() {
        // Dropping it would tell the others that all is done. The end of this process tells them that it is not.
        std::mem::forget(worker);
    }
}

/// Waits for the commits to end; after a failure, only a little.
fn collect(thread: JoinHandle<Option<Committed>>, abort: &Abort) -> Option<Committed> {
    let mut until = None;
    while !thread.is_finished() {
        if abort.is_set() {
            let until = *until.get_or_insert_with(|| Instant::now() + PATIENCE);
            if Instant::now() >= until {
                return None;
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    thread.join().ok().flatten()
}

fn no_threads(error: std::io::Error) -> RunError {
    RunError::new(
        RunErrorKind::Setup,
        format!("a thread cannot be started: {error}"),
    )
}
