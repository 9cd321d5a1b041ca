//! All of a process that is not timely: executors, memory, clock.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::board::{Asked, Board};
use super::budget::Budget;
use super::build;
use super::executors::{self, BatchLine, Pool, Services, StageRuntime, Work};
use super::gate::Gate;
use super::{RunError, RunErrorKind};
use crate::observe::Observer;
use crate::plan::{Plan, StageIndex};

/// How long calls may take to end once they are stopped; those that do not are left to themselves.
const PATIENCE: Duration = Duration::from_secs(1);

/// The working half of a process; the timely workers are the other one.
pub(super) struct Machine {
    pub services: Arc<Services>,
    pub stages: Vec<(StageIndex, Arc<StageRuntime>)>,
    /// What lets rows in.
    pub gate: Arc<Gate>,
    pools: Vec<Arc<Pool>>,
    lines: Vec<Arc<BatchLine>>,
    clock: JoinHandle<()>,
}

impl Machine {
    /// Starts the threads. Must be called within a tokio runtime, which becomes the `io` executor.
    pub fn start(
        plan: &Plan,
        work: Vec<(StageIndex, Work)>,
        observer: &Arc<Observer>,
        disk: &Arc<Budget>,
        board: &Arc<Board>,
    ) -> Result<Self, RunError> {
        let gate = Arc::new(Gate::new(&plan.limits));
        let services = Arc::new(Services {
            budget: Budget::memory(plan.frame_bytes(), &observer.memory),
            disk: Arc::clone(disk),
            clock: Arc::default(),
            abort: Arc::default(),
            observer: Arc::clone(observer),
            board: Arc::clone(board),
            item_timeout: plan.limits.item_timeout,
            io_threads: plan.threads.io.max(1),
            io_blocked: AtomicUsize::new(0),
        });
        let placed = executors::place(plan, work, &services)?;
        let stages: Vec<_> = placed
            .stages
            .iter()
            .map(|(_, stage)| Arc::clone(stage))
            .collect();
        let clock = std::thread::Builder::new()
            .name("clipsieve-clock".to_owned())
            .spawn({
                let (services, lines) = (Arc::clone(&services), placed.lines.clone());
                let gate = Arc::clone(&gate);
                move || {
                    let obey = || obey(&services, &gate);
                    services.clock.run(&stages, &lines, &services.budget, obey);
                }
            })
            .map_err(|error| {
                RunError::new(
                    RunErrorKind::Setup,
                    format!("the clock's thread cannot be started: {error}"),
                )
            })?;
        Ok(Self {
            services,
            stages: placed.stages,
            pools: placed.pools,
            lines: placed.lines,
            gate,
            clock,
        })
    }

    /// Warms all stages up.
    pub fn warm_up(&self) -> Result<(), RunError> {
        build::warm_up(&self.stages)
    }

    /// Ends all threads. After a run to the end nothing is left to do; otherwise what goes on is told to stop, and waited
    /// for a little.
    pub fn stop(self) {
        self.services.clock.stop();
        // It panics only by a bug, and the run is over.
        let _ = self.clock.join();
        for (_, stage) in &self.stages {
            stage.stop();
        }
        for line in &self.lines {
            line.stop();
        }
        self.services.budget.clear();
        self.services.disk.clear();
        let until = Instant::now() + PATIENCE;
        while self.stages.iter().any(|(_, stage)| stage.busy()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        for pool in &self.pools {
            pool.stop(until);
        }
    }
}

/// Shows that this process lives, and does what it is asked for.
fn obey(services: &Services, gate: &Gate) {
    services.board.beat();
    match services.board.asked() {
        Asked::GoOn => {}
        Asked::Finish if gate.is_closed() => {}
        Asked::Finish => gate.close(),
        Asked::Stop if services.abort.is_set() => {}
        Asked::Stop => services.abort.with(RunError::new(
            RunErrorKind::Stopped,
            "stopped before its last row",
        )),
    }
}
