//! The timely half of a process: its workers, and the threads at both ends of the dataflow.

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
use super::lower::{Shared, lower};
use super::machine::Machine;
use super::reaper::Reaper;
use super::sink::{self, Outlet};
use super::source::{self, Gate};
use super::{RunError, RunErrorKind};
use crate::plan::{Plan, StageIndex};

/// How long a worker sleeps at most; everything that concerns it wakes it, so this is only a precaution.
const NAP: Duration = Duration::from_secs(1);
/// How long a sink may take to come back from a commit after the job has failed.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the workers of a process are started with.
pub(super) struct Workers<'a> {
    pub plan: &'a Plan,
    pub ends: Ends,
    /// Connections to the other processes, if there are any.
    pub sockets: Option<Vec<Option<TcpStream>>>,
    pub span: tracing::Span,
}

impl Workers<'_> {
    /// Runs the dataflow to its end. Returns where the rows are.
    pub fn run(self, machine: &Machine, built: Built) -> Result<Vec<String>, RunError> {
        let abort = Arc::clone(&machine.services.abort);
        let observer = Arc::clone(&machine.services.observer);
        let id = |index: StageIndex| self.plan.graph[index].id.as_str();
        let tokio = tokio::runtime::Handle::current();
        let gate = Arc::new(Gate::new(self.ends.sinks.len(), &self.plan.limits));
        let (reaper, reaper_thread) = Reaper::start().map_err(no_threads)?;

        let mut outlets = Vec::new();
        let mut writers = Vec::new();
        for (place, (index, sink)) in built.sinks.into_iter().enumerate() {
            let (parcels, writer) =
                sink::write(place, id(index), sink, tokio.clone(), &gate, &abort)
                    .map_err(no_threads)?;
            writers.push(writer);
            outlets.push(Outlet {
                id: id(index).to_owned(),
                parcels,
                observer: Arc::clone(&observer),
                abort: Arc::clone(&abort),
                counts: place == 0,
            });
        }
        let feed = match built.source {
            None => None,
            Some(source) => {
                if let Some(total) = source.total_rows() {
                    observer.progress.set_total(total);
                }
                let id = id(self.ends.source);
                // Its thread ends with the rows, or when nobody takes them any more.
                let (feed, _) =
                    source::read(id, source, tokio, &gate, &abort).map_err(no_threads)?;
                Some(feed)
            }
        };
        let shared = Shared {
            plan: self.plan.clone(),
            ends: self.ends,
            stages: machine.stages.iter().cloned().collect(),
            observer,
            abort: Arc::clone(&abort),
            gate,
            reaper,
            span: self.span,
            feed: Mutex::new(feed),
            outlets: Mutex::new(outlets),
        };
        run_timely(shared, self.sockets)?;

        let outputs = collect(writers, &abort);
        if let Some(error) = abort.error() {
            return Err(error);
        }
        // The last handle went with the workers; what was buried is being dropped.
        let _ = reaper_thread.join();
        Ok(outputs)
    }
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

/// Waits for the sinks to finish; after a failure, only a little.
fn collect(writers: Vec<JoinHandle<Option<String>>>, abort: &Abort) -> Vec<String> {
    let mut until = None;
    let mut outputs = Vec::new();
    for writer in writers {
        while !writer.is_finished() {
            if abort.is_set() {
                let until = *until.get_or_insert_with(|| Instant::now() + PATIENCE);
                if Instant::now() >= until {
                    return Vec::new();
                }
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Ok(Some(output)) = writer.join() {
            outputs.push(output);
        }
    }
    outputs
}

fn no_threads(error: std::io::Error) -> RunError {
    RunError::new(
        RunErrorKind::Setup,
        format!("a thread cannot be started: {error}"),
    )
}
