use std::sync::Arc;

use super::{BatchLine, Lane, Pool, Services, StageRuntime, Work};
use crate::operator::{Batcher, Executor};
use crate::plan::{Plan, Stage, StageIndex};
use crate::run::{RunError, RunErrorKind};

/// The stages of a process on their executors.
pub(in crate::run) struct Placed {
    pub stages: Vec<(StageIndex, Arc<StageRuntime>)>,
    pub pools: Vec<Arc<Pool>>,
    pub lines: Vec<Arc<BatchLine>>,
}

/// Puts the built operators on their executors. Must be called within a tokio runtime, which becomes the `io` executor.
pub(in crate::run) fn place(
    plan: &Plan,
    work: Vec<(StageIndex, Work)>,
    services: &Arc<Services>,
) -> Result<Placed, RunError> {
    let rank = |index| plan.rank(index).unwrap_or(0);
    let batched = work.iter().filter_map(|(index, work)| match work {
        Work::Batched(_, batcher) => Some((Arc::clone(batcher), rank(*index))),
        _ => None,
    });
    let mut executors = Executors {
        services,
        ranks: plan.order.len(),
        batched: batched.collect(),
        pools: Vec::new(),
        lines: Vec::new(),
    };
    let cpu = executors.add_pool("cpu", plan.threads.cpu)?;
    let mut stages = Vec::new();
    for (index, work) in work {
        let stage = &plan.graph[index];
        let placement = &stage.placement;
        let on_device = placement.executor == Executor::Device;
        let runtime = StageRuntime {
            id: stage.id.clone(),
            rank: rank(index),
            input_ids: stage.taps.iter().map(|tap| tap.id.clone()).collect(),
            parts: stage.parts.iter().map(|part| part.id.clone()).collect(),
            lane: executors.lane(stage, &work, &cpu)?,
            work,
            retry: stage.retry.clone(),
            timeout: stage.timeout,
            concurrency: placement.concurrency.max(1),
            acquire_timeout: on_device.then_some(placement.acquire_timeout),
            services: Arc::clone(services),
            places: Default::default(),
            voice: Default::default(),
        };
        stages.push((index, Arc::new(runtime)));
    }
    Ok(Placed {
        stages,
        pools: executors.pools,
        lines: executors.lines,
    })
}

/// The executors that stages have needed so far.
struct Executors<'a> {
    services: &'a Arc<Services>,
    /// How many stages the plan has.
    ranks: usize,
    /// The batchers of all stages that have one, and the stages' ranks.
    batched: Vec<(Arc<dyn Batcher>, usize)>,
    pools: Vec<Arc<Pool>>,
    lines: Vec<Arc<BatchLine>>,
}

impl Executors<'_> {
    fn add_pool(&mut self, name: &str, width: usize) -> Result<Arc<Pool>, RunError> {
        let tokio = tokio::runtime::Handle::current();
        let pool = Pool::new(name, width, self.ranks, tokio, &self.services.abort);
        let pool = pool.map_err(|error| {
            RunError::new(
                RunErrorKind::Setup,
                format!("the threads of an executor cannot be started: {error}"),
            )
        })?;
        self.pools.push(Arc::clone(&pool));
        Ok(pool)
    }

    /// The executor that does a stage's work.
    fn lane(&mut self, stage: &Stage, work: &Work, cpu: &Arc<Pool>) -> Result<Lane, RunError> {
        Ok(match work {
            Work::Async(_) => Lane::Io(tokio::runtime::Handle::current()),
            Work::Batched(_, batcher) => Lane::Batch(self.line(stage, batcher, cpu)?),
            Work::Transform(_) | Work::Gather(_) => Lane::Pool(self.threads(stage, cpu)?),
        })
    }

    /// The line before a batcher: its stages have one.
    fn line(
        &mut self,
        stage: &Stage,
        batcher: &Arc<dyn Batcher>,
        cpu: &Arc<Pool>,
    ) -> Result<Arc<BatchLine>, RunError> {
        if let Some(line) = self.lines.iter().find(|line| line.is_before(batcher)) {
            return Ok(Arc::clone(line));
        }
        let threads = self.threads(stage, cpu)?;
        // The last of its stages says how near to the sink it is.
        let stages = self.batched.iter();
        let stages = stages.filter(|(other, _)| Arc::ptr_eq(other, batcher));
        let rank = stages.map(|(_, rank)| *rank).max().unwrap_or(0);
        let instances = stage.placement.concurrency;
        let services = Arc::clone(self.services);
        let line = BatchLine::new(Arc::clone(batcher), threads, rank, instances, services);
        self.lines.push(Arc::clone(&line));
        Ok(line)
    }

    /// The threads that a stage's work is done on: those of the `cpu` executor, or on another device its own.
    fn threads(&mut self, stage: &Stage, cpu: &Arc<Pool>) -> Result<Arc<Pool>, RunError> {
        let placement = &stage.placement;
        let device = placement.device.as_deref().unwrap_or("cpu");
        match placement.executor {
            Executor::Device if device != "cpu" => self.add_pool(&stage.id, placement.concurrency),
            _ => Ok(Arc::clone(cpu)),
        }
    }
}
