use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::Board;
use super::budget::{Budget, DiskGrants};
use super::cluster::Member;
use super::commit::Committed;
use super::executors::io;
use super::machine::Machine;
use super::scratch::{Scratch, sweep};
use super::workers::Workers;
use super::{RunError, RunErrorKind, build, connect, panics};
use crate::ledger::Ledger;
use crate::observe::{Observer, StageSnapshot};
use crate::operator::Disk;
use crate::plan::Plan;

/// What a run is given beside the plan.
#[derive(Default)]
pub struct RunOptions {
    /// The folder under which temporary files are made; the system's if `None`.
    pub scratch: Option<PathBuf>,
    /// Counters that somebody watches, made for this plan and this run.
    pub observer: Option<Arc<Observer>>,
    /// Which process of several this is, if the plan has several.
    pub member: Option<Member>,
    /// What is committed of this run already, and where to record what will be. In the process that reads the rows.
    pub ledger: Option<Ledger>,
    /// Works on these rows alone and does not finish the tables; in the process that reads the rows.
    pub only: Option<BTreeSet<u64>>,
    /// Where somebody watches this process and may ask it to end early.
    pub board: Option<Arc<Board>>,
}

/// What a run did.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// Whether the tables are finished; if not, the run was told to end early, or to work on some rows only.
    pub finished: bool,
    /// Rows with a result row, by earlier attempts too. In process 0; elsewhere all counts of rows are zero.
    pub rows_read: u64,
    /// How many of them earlier attempts had committed.
    pub rows_before: u64,
    /// Rows with a result.
    pub succeeded: u64,
    /// Rows that tell of a failure.
    pub failed: u64,
    /// How long it took, warm-up included.
    pub elapsed: Duration,
    /// Where the rows are, for people, one for each sink.
    pub outputs: Vec<String>,
    /// What the stages did in this process, in plan order.
    pub stages: Vec<StageSnapshot>,
    /// Most bytes of memory that were granted to items of this process at once.
    pub memory_peak_bytes: u64,
    /// Most bytes of the local disk that were granted to items of this process at once.
    pub disk_peak_bytes: u64,
}

/// Runs a plan to its last row.
///
/// Trouble with items ends in rows. In a run of several processes this is called in each of them. Several sinks get the
/// same items; the first in plan order is the one whose rows are counted.
///
/// # Errors
/// Whatever keeps the job as a whole from going on. What becomes of rows that were committed before is
/// the sink's business: a JSONL table appears only when it is whole.
pub fn run(plan: &Plan, options: RunOptions) -> Result<RunReport, RunError> {
    panics::install();
    let started = Instant::now();
    let member = options.member.as_ref();
    let process = member.map_or(0, |member| member.process);
    let processes = member.map_or(1, |member| member.hosts.len());
    if plan.processes.max(1) != processes {
        return Err(setup(format!(
            "the plan has {} processes and this is one of {processes}; the launcher has to start them",
            plan.processes
        )));
    }
    let span = tracing::info_span!("run", pipeline = %plan.name, process);
    let _span = span.clone().entered();
    let ends = build::ends(plan)?;
    let observer = options
        .observer
        .unwrap_or_else(|| Arc::new(Observer::new(plan)));

    let parent = options.scratch.unwrap_or_else(std::env::temp_dir);
    sweep(&parent);
    let scratch = Scratch::new(&parent).map_err(|error| {
        setup(format!(
            "no folder for temporary files can be made in {}: {error}",
            parent.display()
        ))
    })?;
    let board = match options.board {
        Some(board) => board,
        None => Arc::new(Board::private().map_err(|error| setup(error.to_string()))?),
    };
    // Connected before anything is loaded: a process that is not there is missed at once.
    let member = options.member.as_ref().filter(|_| processes > 1);
    let sockets = member.map(connect::connect).transpose()?;
    let tokio = io::runtime(plan.threads.io)
        .map_err(|error| setup(format!("the io executor cannot be started: {error}")))?;
    let disk = Budget::disk(plan.limits.disk_bytes, &observer.disk);
    let result = {
        let _entered = tokio.enter();
        let space = Disk::new(Arc::new(DiskGrants(Arc::clone(&disk))));
        build::build(plan, &scratch, &space, &observer, process == 0).and_then(|mut built| {
            let work = std::mem::take(&mut built.work);
            let machine = Machine::start(plan, work, &observer, &disk, &board)?;
            let workers = Workers {
                plan,
                ends,
                sockets,
                span,
                ledger: options.ledger,
                only: options.only,
            };
            let result = machine
                .warm_up()
                .and_then(|()| workers.run(&machine, built));
            machine.stop();
            result
        })
    };
    tokio.shutdown_background();
    drop(scratch);
    let committed = result?;
    let (finished, outputs) = match committed {
        Committed::Finished(outputs) => (true, outputs),
        Committed::Early => (false, Vec::new()),
    };
    let progress = observer.progress.snapshot();
    let stages = observer.stages();
    if process == 0 {
        stages.iter().for_each(tell);
    }
    Ok(RunReport {
        finished,
        rows_before: progress.before,
        rows_read: progress.read,
        succeeded: progress.succeeded,
        failed: progress.failed,
        elapsed: started.elapsed(),
        outputs,
        stages,
        memory_peak_bytes: observer.memory.peak_bytes(),
        disk_peak_bytes: observer.disk.peak_bytes(),
    })
}

/// A stage in a line of the log.
fn tell(stage: &StageSnapshot) {
    let items = stage.values + stage.skipped + stage.failed;
    // Of source and sinks nothing is counted.
    if items + stage.passed_on == 0 {
        return;
    }
    tracing::info!(
        stage = %stage.id,
        "{items} in, {} out, {} skipped, {} failed in {} calls; busy {:.1} s, queued {:.1} s",
        stage.values,
        stage.skipped,
        stage.failed,
        stage.attempts,
        stage.busy.as_secs_f64(),
        stage.queued.as_secs_f64(),
    );
}

fn setup(message: String) -> RunError {
    RunError::new(RunErrorKind::Setup, message)
}
