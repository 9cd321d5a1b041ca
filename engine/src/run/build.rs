//! From the plan's stages to operators: built once a process, warmed up before the first item.

use std::path::Path;
use std::sync::Arc;

use super::executors::{StageRuntime, Work};
use super::panics::{self, EXECUTOR_THREAD};
use super::scratch::Scratch;
use super::{RunError, RunErrorKind};
use crate::observe::{Observer, Tally};
use crate::operator::{
    Batcher, BuildContext, Depot, Disk, Executor, Operator, OperatorError, Setting, Sink, Source,
};
use crate::plan::{Plan, Stage, StageIndex};

/// What was built of a plan in this process.
#[derive(Default)]
pub(super) struct Built {
    /// The stages between source and sinks.
    pub work: Vec<(StageIndex, Work)>,
    /// The source, in the process that has it.
    pub source: Option<Box<dyn Source>>,
    /// The sinks, in the process that has them, in plan order.
    pub sinks: Vec<(StageIndex, Box<dyn Sink>)>,
}

/// The stages at both ends of a plan.
pub(super) struct Ends {
    pub source: StageIndex,
    pub sinks: Vec<StageIndex>,
}

/// Finds the ends and checks what the run relies on; the compiler promises all of it.
pub(super) fn ends(plan: &Plan) -> Result<Ends, RunError> {
    let broken =
        |stage: &Stage, message: &str| Err(RunError::at(RunErrorKind::Setup, &stage.id, message));
    let mut source = None;
    let mut sinks = Vec::new();
    for (rank, index) in plan.order.iter().enumerate() {
        let stage = &plan.graph[*index];
        let known = |input| plan.order[..rank].contains(input);
        if !stage.inputs.iter().all(known) {
            return broken(stage, "it takes from a stage that does not come before it");
        }
        if stage.spec.is_source() {
            if source.replace(*index).is_some() {
                return broken(stage, "it is a second source; a run has one");
            }
        } else if stage.inputs.is_empty() {
            return broken(stage, "it takes from no stage");
        } else if stage.spec.is_sink() {
            if stage.inputs.len() != 1 {
                return broken(stage, "a sink takes from one stage");
            }
            sinks.push(*index);
        }
    }
    match source {
        Some(source) if !sinks.is_empty() => Ok(Ends { source, sinks }),
        _ => Err(RunError::new(
            RunErrorKind::Setup,
            "a run needs a source and a sink",
        )),
    }
}

/// Builds all operators; source and sinks only where `holds_ends`, and before all others: what is wrong with the tables is
/// told before models are read, which takes long.
pub(super) fn build(
    plan: &Plan,
    scratch: &Scratch,
    disk: &Disk,
    observer: &Observer,
    holds_ends: bool,
) -> Result<Built, RunError> {
    let mut built = Built::default();
    let depot = Depot::default();
    let ranked = || plan.order.iter().enumerate();
    let is_end = |index: StageIndex| {
        let spec = plan.graph[index].spec;
        spec.is_source() || spec.is_sink()
    };
    let ends = ranked().filter(|(_, index)| holds_ends && is_end(**index));
    for (rank, index) in ends.chain(ranked().filter(|(_, index)| !is_end(**index))) {
        let stage = &plan.graph[*index];
        let failed = |message| RunError::at(RunErrorKind::WarmUp, &stage.id, message);
        let folder = scratch.stage(rank, &stage.id).map_err(|error| {
            failed(format!(
                "no folder for temporary files can be made: {error}"
            ))
        })?;
        let tally = observer.stage(rank).tally();
        match build_stage(plan, stage, &folder, &depot, disk, tally).map_err(failed)? {
            Operator::Source(source) => built.source = Some(source),
            Operator::Sink(sink) => built.sinks.push((*index, sink)),
            Operator::Transform(work) => built.work.push((*index, Work::Transform(work))),
            Operator::Batched(work, batcher) => {
                built.work.push((*index, Work::Batched(work, batcher)));
            }
            Operator::AsyncTransform(work) => built.work.push((*index, Work::Async(work))),
            Operator::Gather(work) => built.work.push((*index, Work::Gather(work))),
        }
    }
    Ok(built)
}

fn build_stage(
    plan: &Plan,
    stage: &Stage,
    scratch: &Path,
    depot: &Depot,
    disk: &Disk,
    tally: &Tally,
) -> Result<Operator, String> {
    let base = BuildContext {
        setting: Setting {
            stage: &stage.id,
            params: &stage.params,
            inputs: &stage.input_kinds,
            models: &plan.models,
            stores: &plan.stores,
        },
        demand: stage.demand.as_ref(),
        wishes: &stage.wishes,
        common: stage.common.as_ref(),
        depot,
        placement: &stage.placement,
        scratch,
        disk,
        tally,
    };
    let operator = quietly(|| match (&*stage.parts, stage.spec.planner.common) {
        ([], _) => (stage.spec.build)(&base),
        (parts, Some(common)) => {
            let contexts = parts.iter().map(|part| BuildContext {
                setting: Setting {
                    stage: &part.id,
                    params: &part.params,
                    ..base.setting
                },
                wishes: &part.wishes,
                ..base
            });
            (common.build)(&contexts.collect::<Vec<_>>())
        }
        (_, None) => Err(OperatorError::internal(
            "the plan has parts for an operator that has nothing in common",
        )),
    })?;
    let executor = stage.placement.executor;
    let fits = match &operator {
        Operator::Source(_) => stage.spec.is_source(),
        Operator::Sink(_) => stage.spec.is_sink(),
        Operator::Gather(_) => stage.spec.is_gather() && executor == Executor::Cpu,
        Operator::Transform(_) => executor != Executor::Io,
        Operator::Batched(..) => executor == Executor::Device,
        Operator::AsyncTransform(_) => executor == Executor::Io,
    };
    if fits {
        return Ok(operator);
    }
    Err(format!(
        "operator `{}` builds something else than its ports and executor say (a bug in the operator)",
        stage.spec.name
    ))
}

/// Runs an operator's code before there are items; what it panics with is told in one line.
fn quietly<T: Send>(work: impl FnOnce() -> Result<T, OperatorError> + Send) -> Result<T, String> {
    let tokio = tokio::runtime::Handle::try_current().ok();
    let run = move || {
        let _entered = tokio.as_ref().map(tokio::runtime::Handle::enter);
        match panics::catch(work) {
            Ok(result) => result.map_err(|error| error.full_message()),
            Err(panic) => Err(panic),
        }
    };
    // On a thread of the executors' name, since the panic hook goes by that.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(format!("{EXECUTOR_THREAD}build"))
            .spawn_scoped(scope, run)
            .map_err(|error| format!("no thread can be started: {error}"))?;
        thread
            .join()
            .unwrap_or_else(|_| Err("it panicked".to_owned()))
    })
}

/// Warms all stages up, all at once: most of the time goes into reading models.
pub(super) fn warm_up(stages: &[(StageIndex, Arc<StageRuntime>)]) -> Result<(), RunError> {
    let runtime = tokio::runtime::Handle::try_current().ok();
    // A batcher has one warm-up, however many stages it has.
    let mut warm: Vec<&Arc<dyn Batcher>> = Vec::new();
    let cold: Vec<&Arc<StageRuntime>> = stages
        .iter()
        .map(|(_, stage)| stage)
        .filter(|stage| match &stage.work {
            Work::Batched(_, batcher) => {
                let is_cold = !warm.iter().any(|other| Arc::ptr_eq(other, batcher));
                warm.push(batcher);
                is_cold
            }
            _ => true,
        })
        .collect();
    let results: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = cold
            .iter()
            .map(|stage| {
                let runtime = runtime.clone();
                scope.spawn(move || {
                    let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
                    quietly(|| match &stage.work {
                        Work::Transform(work) => work.warm_up(),
                        Work::Async(work) => work.warm_up(),
                        Work::Batched(_, batcher) => batcher.warm_up(),
                        Work::Gather(_) => Ok(()),
                    })
                })
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or_else(|_| Err("it panicked".to_owned()))
        };
        threads.into_iter().map(join).collect()
    });
    for (stage, result) in cold.iter().zip(results) {
        result.map_err(|message| RunError::at(RunErrorKind::WarmUp, &stage.id, message))?;
    }
    Ok(())
}
