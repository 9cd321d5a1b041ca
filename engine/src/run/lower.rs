//! The plan as a dataflow: one operator a stage, and four around them.
//!
//! ```text
//! source ─(to the worker with most credits)→ enter ─→ stage … stage ─→ leave ─(to worker 0)→ gather
//!                                              └─(to worker 0)→ credits
//! ```
//!
//! Every worker builds the same graph, as timely asks for. Source, credits and gather do something on worker 0 only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use timely::worker::Worker;
use tracing::info_span;

use super::abort::Abort;
use super::build::Ends;
use super::credits::{self, Account};
use super::enter::{self, Entrance};
use super::executors::StageRuntime;
use super::feed::Feed;
use super::gate::Gate;
use super::message::Epoch;
use super::reaper::Reaper;
use super::sink::{self, Outlet};
use super::source::{self, Intake};
use super::stage;
use super::voice::Voice;
use crate::lock::lock;
use crate::observe::Observer;
use crate::plan::{Plan, StageIndex};

/// What the workers of a process share.
pub(super) struct Shared {
    pub plan: Plan,
    pub ends: Ends,
    pub stages: HashMap<StageIndex, Arc<StageRuntime>>,
    pub observer: Arc<Observer>,
    pub abort: Arc<Abort>,
    pub gate: Arc<Gate>,
    pub reaper: Reaper,
    pub span: tracing::Span,
    /// Of rows that cannot be worked on from the start.
    pub voice: Arc<Voice>,
    /// What only worker 0 has; it takes them out.
    pub feed: Mutex<Option<Feed>>,
    pub outlets: Mutex<Vec<Outlet>>,
}

/// Builds the dataflow of one worker.
pub(super) fn lower(worker: &mut Worker, shared: &Shared) {
    let index = worker.index();
    let worker_span = info_span!(parent: &shared.span, "worker", worker = index);
    let plan = &shared.plan;
    // One worker of each process but the first, which has the outlets.
    let first_elsewhere = index > 0 && index.is_multiple_of(plan.workers.max(1));
    let id = |index: &StageIndex| plan.graph[*index].id.clone();

    worker.dataflow_named::<Epoch, _, _>("clipsieve", |scope| {
        let account = Account::new(scope.peers());
        let feed = || lock(&shared.feed).take();
        let intake = (index == 0).then(feed).flatten().map(|feed| Intake {
            feed,
            account: account.clone(),
            gate: Arc::clone(&shared.gate),
            observer: Arc::clone(&shared.observer),
            epoch_rows: plan.limits.epoch_rows.max(1) as u64,
        });
        let source = id(&shared.ends.source);
        let entries = source::build(scope, &source, intake);
        let entrance = Entrance {
            credits: plan.limits.items.max(1),
            item_timeout: plan.limits.item_timeout,
            voice: Arc::clone(&shared.voice),
        };
        let (items, notes) = enter::build(scope, entries, entrance);
        credits::collect(notes, account);

        let mut streams = HashMap::from([(shared.ends.source, items)]);
        let mut outlets = if index == 0 {
            std::mem::take(&mut *lock(&shared.outlets)).into_iter()
        } else {
            Vec::new().into_iter()
        };
        for at in &plan.order {
            let stage = &plan.graph[*at];
            let inputs: Vec<_> = stage
                .inputs
                .iter()
                .filter_map(|input| streams.get(input).cloned())
                .collect();
            if let Some(runtime) = shared.stages.get(at) {
                let span = info_span!(parent: &worker_span, "stage", stage_id = %stage.id, op = stage.spec.name);
                let (taps, reaper) = (stage.taps.clone(), shared.reaper.clone());
                let stream = stage::build(scope, runtime, inputs, taps, span, reaper);
                streams.insert(*at, stream);
            } else if shared.ends.sinks.contains(at) {
                for (answers, tap) in inputs.into_iter().zip(stage.taps.clone()) {
                    let tells = (first_elsewhere && *at == shared.ends.sinks[0])
                        .then(|| Arc::clone(&shared.observer));
                    let rows = sink::leave(answers, tap, tells, shared.reaper.clone());
                    sink::gather(rows, outlets.next());
                }
            }
        }
    });
}
