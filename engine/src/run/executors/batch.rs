//! The line before a model: units of many items and many stages, taken in batches.
//!
//! A [`BatchLine`] stands before one [`Batcher`] and serves all stages that have it. Their jobs wait in `line`, whole. A
//! thread that has an instance cuts as many of them into units as a batch may hold, and takes a batch from the front:
//! units of the first one's shape, of whatever item and stage. So a batch is filled with windows of one video first, and then
//! with those of the next. When it came back the answers are put down in their jobs, and a job whose last answer that was is joined and
//! answered.
//!
//! * A call of a stage begins when its item is cut, not when it gets in line: time in line counts against the item
//!   (`limits.item_timeout`) and not against the stage's `timeout`. An item waits for an *instance* (`acquire_timeout`) only
//!   while it is first in line; behind others it waits for them.
//! * A batch that is not full waits for more units until its first one has waited `max_wait`; nobody waits with a thread
//!   in hand. Where several instances are free, each takes its share instead of the first taking all.
//! * A batch for which the device has no room is put back in line, and batches are half as large from then on. A batch
//!   that fails otherwise is done again unit by unit, so that only what is bad fails.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::calls::{Attempt, Step, Stepped, wrong_executor};
use super::{Job, Pool, PoolThread, Services, StageRuntime, Task, Work};
use crate::lock::lock;
use crate::operator::{BatchError, Batched, Batcher, Call, Deadline, OperatorError, Unit, Value};
use crate::run::panics;

/// The line before one batcher.
pub(in crate::run) struct BatchLine {
    batcher: Arc<dyn Batcher>,
    /// Where its threads are; it has one of them for each instance in use.
    pub pool: Arc<Pool>,
    rank: usize,
    instances: usize,
    services: Arc<Services>,
    state: Mutex<State>,
}

struct State {
    /// Jobs that no instance has looked at yet.
    line: VecDeque<(Arc<StageRuntime>, Job)>,
    /// Units of jobs that have begun.
    units: VecDeque<Piece>,
    /// Instances in use: tasks handed to the pool and not yet through.
    taken: usize,
    /// Most units in a batch.
    limit: usize,
    /// When the job that is first in line got there, or an instance was last taken: whatever is later.
    moved: Instant,
    /// When the clock will look at the line again.
    alarm: Option<Instant>,
}

/// A unit in line.
struct Piece {
    unit: Unit,
    /// Its place among the answers of its job.
    place: usize,
    since: Instant,
    entry: Arc<Entry>,
}

/// A job that has begun.
struct Entry {
    stage: Arc<StageRuntime>,
    call: Call,
    id: u64,
    open: Mutex<Option<Open>>,
}

struct Open {
    attempt: Attempt,
    answers: Vec<Option<Value>>,
    missing: usize,
    busy: Duration,
}

impl BatchLine {
    pub fn new(
        batcher: Arc<dyn Batcher>,
        pool: Arc<Pool>,
        rank: usize,
        instances: usize,
        services: Arc<Services>,
    ) -> Arc<Self> {
        let limit = batcher.batch().max(1);
        Arc::new(Self {
            batcher,
            pool,
            rank,
            instances: instances.max(1),
            services,
            state: Mutex::new(State {
                line: VecDeque::new(),
                units: VecDeque::new(),
                taken: 0,
                limit,
                moved: Instant::now(),
                alarm: None,
            }),
        })
    }

    /// Whether this is the line before that batcher.
    pub fn is_before(&self, batcher: &Arc<dyn Batcher>) -> bool {
        Arc::ptr_eq(&self.batcher, batcher)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes jobs of a stage; `first` puts them before all others.
    pub fn add(
        self: &Arc<Self>,
        stage: &Arc<StageRuntime>,
        jobs: impl IntoIterator<Item = Job>,
        first: bool,
    ) {
        let mut state = self.state();
        if state.line.is_empty() || first {
            state.moved = Instant::now();
        }
        for job in jobs {
            let entry = (Arc::clone(stage), job);
            if first {
                state.line.push_front(entry);
            } else {
                state.line.push_back(entry);
            }
        }
        self.start(state);
    }

    /// The clock's call: a batch need not wait any longer.
    pub fn wake(self: &Arc<Self>) {
        let mut state = self.state();
        state.alarm = None;
        self.start(state);
    }

    /// Takes free instances if there is something for them to do.
    fn start(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        if !self.is_ready(&state, Instant::now()) {
            self.set_alarm(&mut state);
            return;
        }
        let free = self.instances.saturating_sub(state.taken);
        let count = free.min(state.line.len() + state.units.len());
        state.taken += count;
        drop(state);
        let tasks = (0..count).map(|_| Task::Serve(Arc::clone(self)));
        self.pool.push(self.rank, tasks);
    }

    /// Lets the clock look at the line when its first unit has waited long enough.
    fn set_alarm(self: &Arc<Self>, state: &mut State) {
        let Some(first) = state.units.front() else {
            return;
        };
        let at = first.since + self.batcher.max_wait();
        if state.alarm.is_none_or(|alarm| alarm > at) {
            state.alarm = Some(at);
            self.services.clock.wake_at(at, self);
        }
    }

    /// Whether an instance that is free has to look at the line.
    fn is_ready(&self, state: &State, now: Instant) -> bool {
        let waited = |piece: &Piece| now.saturating_duration_since(piece.since);
        !state.line.is_empty()
            || state.units.len() >= state.limit
            || state
                .units
                .front()
                .is_some_and(|piece| waited(piece) >= self.batcher.max_wait())
    }

    /// One batch, on a pool's thread. Returns whether the thread is still the pool's.
    pub fn serve(self: &Arc<Self>, thread: PoolThread) -> bool {
        self.cut();
        if let Some(batch) = self.choose() {
            self.work(batch, thread);
        }
        let is_ours = self.pool.owns(thread);
        let mut state = self.state();
        state.taken -= 1;
        self.start(state);
        is_ours
    }

    /// Begins jobs until there are units for a batch.
    fn cut(&self) {
        loop {
            let mut state = self.state();
            if state.units.len() >= state.limit {
                return;
            }
            let Some((stage, job)) = state.line.pop_front() else {
                return;
            };
            state.moved = Instant::now();
            drop(state);
            let Some(attempt) = stage.begin(job, None) else {
                continue;
            };
            let units = guarded(&stage, &attempt, |batched, values| {
                batched.cut(&attempt.call, values)
            });
            let units = match units {
                Ok(units) if units.is_empty() => {
                    let stepped = joined(&stage, &attempt, Vec::new());
                    stage.end(attempt, stepped);
                    continue;
                }
                Ok(units) => units,
                Err(error) => {
                    stage.end(attempt, Err(error));
                    continue;
                }
            };
            let since = Instant::now();
            let entry = Arc::new(Entry {
                stage,
                call: attempt.call.clone(),
                id: attempt.id(),
                open: Mutex::new(Some(Open {
                    attempt,
                    answers: vec![None; units.len()],
                    missing: units.len(),
                    busy: Duration::ZERO,
                })),
            });
            let pieces = units.into_iter().enumerate().map(|(place, unit)| Piece {
                unit,
                place,
                since,
                entry: Arc::clone(&entry),
            });
            self.state().units.extend(pieces);
        }
    }

    /// Takes a batch, unless it is to wait for more.
    fn choose(&self) -> Option<Vec<Piece>> {
        let mut state = self.state();
        let units = std::mem::take(&mut state.units).into_iter();
        let (units, gone): (Vec<Piece>, Vec<Piece>) =
            units.partition(|piece| piece.entry.is_open());
        state.units = units.into();
        let now = Instant::now();
        let ready = self.is_ready(&state, now);
        // Where it is not, whoever gives the instance back sets the alarm.
        let shape = state.units.front().filter(|_| ready)?.unit.shape;
        let fits = |piece: &&Piece| piece.unit.shape == shape;
        let all = state.units.iter().filter(fits).count() + state.line.len();
        let free = self.instances.saturating_sub(state.taken);
        let most = all.div_ceil(free + 1).clamp(1, state.limit);
        let mut batch = Vec::with_capacity(most);
        let mut rest = VecDeque::with_capacity(state.units.len());
        for piece in std::mem::take(&mut state.units) {
            if batch.len() < most && piece.unit.shape == shape {
                batch.push(piece);
            } else {
                rest.push_back(piece);
            }
        }
        state.units = rest;
        state.moved = now;
        drop(state);
        // Without the lock: what a unit holds may be large.
        drop(gone);
        Some(batch)
    }

    fn work(&self, batch: Vec<Piece>, thread: PoolThread) {
        for piece in &batch {
            piece.entry.stage.hold(piece.entry.id, Some(thread));
        }
        match self.run(&batch) {
            Ok(answers) => {
                for (piece, (answer, busy)) in batch.into_iter().zip(answers) {
                    piece.entry.put(piece.place, answer, busy);
                }
            }
            Err(BatchError::TooLarge(error)) if batch.len() > 1 => self.shrink(batch, &error),
            Err(_) if batch.len() > 1 => {
                for piece in batch {
                    // An answer of the same item before let it go.
                    piece.entry.stage.hold(piece.entry.id, Some(thread));
                    let alone = std::slice::from_ref(&piece);
                    match self.run(alone).map(|answers| answers.into_iter().next()) {
                        Ok(Some((answer, busy))) => piece.entry.put(piece.place, answer, busy),
                        Ok(None) => {}
                        Err(error) => piece.entry.end(Err(of_item(error))),
                    }
                }
            }
            Err(error) => {
                if let Some(piece) = batch.first() {
                    piece.entry.end(Err(of_item(error)));
                }
            }
        }
    }

    /// Runs a batch: an answer for each unit, and its share of the time.
    fn run(&self, batch: &[Piece]) -> Result<Vec<(Value, Duration)>, BatchError> {
        let units: Vec<Value> = batch.iter().map(|piece| piece.unit.work.clone()).collect();
        let deadline = Deadline::latest(batch.iter().map(|piece| &piece.entry.call.deadline));
        let started = Instant::now();
        let answers = panics::catch(|| self.batcher.run(&units, &deadline))
            .unwrap_or_else(|panic| Err(BatchError::Failed(OperatorError::internal(panic))))?;
        if answers.len() != batch.len() {
            return Err(BatchError::Failed(OperatorError::internal(format!(
                "a batch of {} came back with {} answers",
                batch.len(),
                answers.len()
            ))));
        }
        let share = started.elapsed() / u32::try_from(batch.len()).unwrap_or(u32::MAX);
        Ok(answers.into_iter().map(|answer| (answer, share)).collect())
    }

    /// Puts a batch back for which there was no room, and allows only smaller ones from now on.
    fn shrink(&self, batch: Vec<Piece>, error: &OperatorError) {
        let half = (batch.len() / 2).max(1);
        for piece in &batch {
            piece.entry.stage.hold(piece.entry.id, None);
        }
        let stage = batch.first().map(|piece| piece.entry.stage.id.clone());
        let mut state = self.state();
        if half < state.limit {
            tracing::warn!(
                stage,
                "no room for a batch of {}, going on with {half}: {}",
                batch.len(),
                error.full_message()
            );
            state.limit = half;
        }
        for piece in batch.into_iter().rev() {
            state.units.push_front(piece);
        }
    }

    /// Fails what waited too long: the first in line for an instance, all others for their turn.
    pub fn scan(&self, now: Instant) {
        let mut state = self.state();
        let mut late = Vec::new();
        if let Some((stage, job)) = state.line.front() {
            let since = state.moved.max(job.queued_at);
            if let Some(found) = stage.no_instance(since, now) {
                late.extend(state.line.pop_front().map(|waiter| (waiter, found)));
                state.moved = now;
            }
        }
        for (stage, job) in std::mem::take(&mut state.line) {
            match stage.out_of_time(&job, now) {
                Some(found) => late.push(((stage, job), found)),
                None => state.line.push_back((stage, job)),
            }
        }
        let expired: Vec<Arc<Entry>> = state
            .units
            .iter()
            .filter(|piece| piece.entry.call.deadline.expired())
            .map(|piece| Arc::clone(&piece.entry))
            .collect();
        drop(state);
        for ((stage, job), found) in late {
            stage.turn_away(job, found);
        }
        for entry in expired {
            entry.end(Ok(Step::Stopped));
        }
    }

    /// Forgets who waits: the job ends.
    pub fn stop(&self) {
        let mut state = self.state();
        let forgotten = (
            std::mem::take(&mut state.line),
            std::mem::take(&mut state.units),
        );
        drop(state);
        drop(forgotten);
    }
}

impl Entry {
    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        lock(&self.open)
    }

    /// Whether somebody still waits for its answers.
    fn is_open(&self) -> bool {
        self.open().is_some()
    }

    /// Puts down an answer; with the last one the job is answered.
    fn put(&self, place: usize, answer: Value, busy: Duration) {
        let mut open = self.open();
        let Some(here) = open.as_mut() else { return };
        here.busy += busy;
        if here.answers[place].replace(answer).is_none() {
            here.missing -= 1;
        }
        if here.missing > 0 {
            drop(open);
            self.stage.hold(self.id, None);
            return;
        }
        let Some(whole) = open.take() else { return };
        drop(open);
        let Open {
            attempt,
            answers,
            busy,
            ..
        } = whole;
        let answers = answers.into_iter().flatten().collect();
        let stepped = joined(&self.stage, &attempt, answers);
        self.stage.end_after(attempt, stepped, Some(busy));
    }

    /// Ends the job without all of its answers.
    fn end(&self, stepped: Stepped) {
        let Some(open) = self.open().take() else {
            return;
        };
        self.stage.end_after(open.attempt, stepped, Some(open.busy));
    }
}

/// What a unit's error means for its item.
fn of_item(error: BatchError) -> OperatorError {
    match error {
        BatchError::TooLarge(error) | BatchError::Failed(error) => error,
    }
}

/// Calls a stage's own code for one of its calls.
fn guarded<T>(
    stage: &StageRuntime,
    attempt: &Attempt,
    work: impl FnOnce(&dyn Batched, &[Value]) -> Result<T, OperatorError>,
) -> Result<T, OperatorError> {
    attempt.span.in_scope(|| {
        let (Work::Batched(batched, _), Some(values)) = (&stage.work, attempt.inputs.values())
        else {
            return Err(wrong_executor());
        };
        panics::catch(|| work(batched.as_ref(), values))
            .unwrap_or_else(|panic| Err(OperatorError::internal(panic)))
    })
}

fn joined(stage: &StageRuntime, attempt: &Attempt, answers: Vec<Value>) -> Stepped {
    guarded(stage, attempt, |batched, values| {
        batched.join(&attempt.call, values, answers)
    })
    .map(Step::Done)
}
