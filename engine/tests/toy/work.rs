//! Operators that do what a closure says.

use std::sync::Mutex;
use std::time::Duration;

use clipsieve_engine::operator::{
    Answer, AsyncTransform, BatchError, Batched, Batcher, Call, Deadline, Gather, Item, Operator,
    Outcome, Source, SourceRow, Transform, Unit, Value,
};
use futures::future::BoxFuture;

use super::{Result, number};

pub(super) fn transform(
    work: impl Fn(&Call, &[Value]) -> Result<Outcome> + Send + Sync + 'static,
) -> Operator {
    Operator::Transform(Box::new(ToyTransform {
        warm_up: Box::new(|| Ok(())),
        bytes: Box::new(|_| Ok(0)),
        work: Box::new(work),
    }))
}

pub type Rows = Box<dyn FnMut() -> Result<Option<SourceRow>> + Send>;
pub(super) struct ToySource(pub(super) Rows);

impl Source for ToySource {
    fn next_row(&mut self) -> Result<Option<SourceRow>> {
        (self.0)()
    }
}

type Work = Box<dyn Fn(&Call, &[Value]) -> Result<Outcome> + Send + Sync>;
type Measure = Box<dyn Fn(&Call) -> Result<u64> + Send + Sync>;

pub(super) struct ToyTransform {
    pub(super) warm_up: Box<dyn Fn() -> Result<()> + Send + Sync>,
    pub(super) bytes: Measure,
    pub(super) work: Work,
}

impl Transform for ToyTransform {
    fn warm_up(&self) -> Result<()> {
        (self.warm_up)()
    }

    fn footprint_bytes(&self, call: &Call, _: &[Value]) -> Result<u64> {
        (self.bytes)(call)
    }

    fn apply(&self, call: &Call, inputs: &[Value]) -> Result<Outcome> {
        (self.work)(call, inputs)
    }
}

pub(super) struct ToyBatched<F>(pub(super) F);

impl<F> Batched for ToyBatched<F>
where
    F: Fn(i64) -> Result<Vec<(u64, i64)>> + Send + Sync,
{
    fn cut(&self, _: &Call, inputs: &[Value]) -> Result<Vec<Unit>> {
        let units = (self.0)(number(&inputs[0])?)?;
        let unit = |(shape, work)| Unit {
            shape,
            work: Value::new::<i64>(work),
        };
        Ok(units.into_iter().map(unit).collect())
    }

    fn join(&self, _: &Call, _: &[Value], answers: Vec<Value>) -> Result<Outcome> {
        let answers = answers.iter().map(number);
        answers.sum::<Result<i64>>().map(Outcome::value)
    }
}

type RunBatch = Box<dyn Fn(&[i64]) -> std::result::Result<(), BatchError> + Send + Sync>;

/// Doubles the numbers of a batch, and keeps a list of the batches.
pub struct ToyBatcher {
    pub batch: usize,
    pub max_wait: Duration,
    pub batches: Mutex<Vec<Vec<i64>>>,
    pub run: RunBatch,
}

impl ToyBatcher {
    pub fn new(
        batch: usize,
        run: impl Fn(&[i64]) -> std::result::Result<(), BatchError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            batch,
            max_wait: Duration::ZERO,
            batches: Mutex::default(),
            run: Box::new(run),
        }
    }

    pub fn batches(&self) -> Vec<Vec<i64>> {
        self.batches.lock().unwrap().clone()
    }
}

impl Batcher for ToyBatcher {
    fn batch(&self) -> usize {
        self.batch
    }

    fn max_wait(&self) -> Duration {
        self.max_wait
    }

    fn run(&self, units: &[Value], _: &Deadline) -> std::result::Result<Vec<Value>, BatchError> {
        let numbers = units.iter().map(number).collect::<Result<Vec<_>>>()?;
        self.batches.lock().unwrap().push(numbers.clone());
        (self.run)(&numbers)?;
        Ok(numbers
            .iter()
            .map(|number| Value::new(2 * number))
            .collect())
    }
}

pub(super) struct ToyAsync<F>(pub(super) F);

impl<F> AsyncTransform for ToyAsync<F>
where
    F: Fn(Call, Vec<Value>) -> BoxFuture<'static, Result<Outcome>> + Send + Sync,
{
    fn apply<'a>(&'a self, call: &'a Call, inputs: &'a [Value]) -> BoxFuture<'a, Result<Outcome>> {
        (self.0)(call.clone(), inputs.to_vec())
    }
}

pub(super) struct ToyGather<F>(pub(super) F);

impl<F> Gather for ToyGather<F>
where
    F: Fn(&Item, &[(String, Answer)]) -> Result<Value> + Send + Sync,
{
    fn gather(&self, item: &Item, answers: &[(String, Answer)]) -> Result<Value> {
        (self.0)(item, answers)
    }
}
