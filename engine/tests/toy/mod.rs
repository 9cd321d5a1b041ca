//! Plans of toy operators, built without a pipeline file: what the tests of the run share.
//!
//! A spec's `build` is a plain function, and the tests want closures. So each closure gets a number, and the number is
//! the stage's only parameter.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clipsieve_engine::operator::{
    Answer, AsyncTransform, BatchError, Batched, Batcher, BuildContext, Call, Common, Deadline,
    Delivered, Document, Executor, Gather, Item, Models, Operator, OperatorError, OperatorSpec,
    Outcome, ParamValue, Params, Placement, Planner, PortKind, Ports, Receipt, Row, Signature,
    Sink, Source, SourceRow, Stores, Transform, Unit, Value,
};
use clipsieve_engine::plan::{Limits, Part, Plan, Retry, Stage, StageIndex, Tap, Threads};
use clipsieve_engine::run::{RunError, RunOptions, RunReport, run};
use futures::future::BoxFuture;
use petgraph::graph::DiGraph;
use serde_json::json;

pub type Result<T> = std::result::Result<T, OperatorError>;
type Maker = Box<dyn Fn(&BuildContext<'_>) -> Result<Operator> + Send + Sync>;

static MAKERS: Mutex<Vec<Arc<Maker>>> = Mutex::new(Vec::new());

fn build(context: &BuildContext<'_>) -> Result<Operator> {
    let number = usize::try_from(context.setting.params.int("toy")).unwrap();
    let maker = Arc::clone(&MAKERS.lock().unwrap()[number]);
    maker(context)
}

const NUMBER: PortKind = PortKind("number");

const fn spec(name: &'static str, ports: Ports, executor: Executor) -> OperatorSpec {
    OperatorSpec {
        name,
        summary: "A toy.",
        doc: "A toy.",
        example: "toy: { op: toy }",
        ports,
        params: &[],
        executor,
        concurrency: 0,
        check: None,
        demand: None,
        planner: Planner::NONE,
        build,
    }
}

const fn way(inputs: &'static [PortKind], output: Option<PortKind>) -> Ports {
    match (inputs, output) {
        ([], _) => Ports::Fixed(&[Signature {
            inputs: &[],
            output: Some(PortKind::RECORD),
        }]),
        (_, None) => Ports::Fixed(&[Signature {
            inputs: &[PortKind::DOCUMENT],
            output: None,
        }]),
        _ => Ports::Fixed(&[Signature {
            inputs: &[NUMBER],
            output: Some(NUMBER),
        }]),
    }
}

static SOURCE: OperatorSpec = spec("toy_source", way(&[], Some(PortKind::RECORD)), Executor::Io);
static SINK: OperatorSpec = spec("toy_sink", way(&[PortKind::DOCUMENT], None), Executor::Io);
static CPU: OperatorSpec = spec("toy_cpu", way(&[NUMBER], Some(NUMBER)), Executor::Cpu);
static IO: OperatorSpec = spec("toy_io", way(&[NUMBER], Some(NUMBER)), Executor::Io);
static DEVICE: OperatorSpec = spec("toy_device", way(&[NUMBER], Some(NUMBER)), Executor::Device);
static PARTED: OperatorSpec = OperatorSpec {
    planner: Planner {
        common: Some(Common {
            part: "part",
            pass: "pass",
            identity: |_| Ok(None),
            build: |contexts| build(&contexts[0]),
        }),
        ..Planner::NONE
    },
    ..spec("toy_parted", way(&[NUMBER], Some(NUMBER)), Executor::Cpu)
};
static GATHER: OperatorSpec = spec(
    "toy_gather",
    Ports::Gather {
        accepts: &[NUMBER],
        output: PortKind::DOCUMENT,
    },
    Executor::Cpu,
);

/// A graph under construction.
pub struct Toy {
    pub plan: Plan,
}

impl Toy {
    pub fn new() -> Self {
        Self {
            plan: Plan {
                name: "toy".to_owned(),
                graph: DiGraph::new(),
                order: Vec::new(),
                limits: Limits {
                    items: 8,
                    memory_bytes: 1 << 30,
                    disk_bytes: 1 << 30,
                    item_timeout: Duration::from_secs(30),
                    epoch_rows: 16,
                    open_epochs: 4,
                },
                processes: 1,
                workers: 1,
                threads: Threads { cpu: 4, io: 2 },
                models: Models::new(),
                stores: Stores::new(),
            },
        }
    }

    pub fn stage(
        &mut self,
        id: &str,
        spec: &'static OperatorSpec,
        inputs: &[StageIndex],
        make: impl Fn(&BuildContext<'_>) -> Result<Operator> + Send + Sync + 'static,
    ) -> StageIndex {
        let mut makers = MAKERS.lock().unwrap();
        makers.push(Arc::new(Box::new(make)));
        let mut params = Params::default();
        params.insert("toy", ParamValue::Int(makers.len() as i64 - 1));
        drop(makers);
        let index = self.plan.graph.add_node(Stage {
            id: id.to_owned(),
            spec,
            params,
            inputs: inputs.to_vec(),
            input_kinds: vec![NUMBER; inputs.len()],
            output: Some(NUMBER),
            placement: Placement {
                executor: spec.executor,
                device: (spec.executor == Executor::Device).then(|| "toy:0".to_owned()),
                concurrency: 4,
                acquire_timeout: Duration::from_secs(30),
                threads: 1,
            },
            retry: Retry {
                attempts: 1,
                backoff: Duration::from_millis(5),
            },
            timeout: Duration::from_secs(30),
            demand: None,
            wishes: Vec::new(),
            aliases: Vec::new(),
            parts: Vec::new(),
            taps: BTreeMap::new(),
            common: None,
            cost: None,
        });
        for (port, input) in inputs.iter().enumerate() {
            self.plan.graph.add_edge(*input, index, port);
        }
        self.plan.order.push(index);
        index
    }

    pub fn tune(&mut self, index: StageIndex, change: impl FnOnce(&mut Stage)) -> StageIndex {
        change(&mut self.plan.graph[index]);
        index
    }

    /// Rows `{"n": 0}`, `{"n": 1}` …
    pub fn source(&mut self, rows: u64) -> StageIndex {
        self.source_of(move || {
            let mut next = 0..rows;
            Box::new(move || Ok(next.next().map(good)))
        })
    }

    pub fn source_of(&mut self, make: impl Fn() -> Rows + Send + Sync + 'static) -> StageIndex {
        self.stage("rows", &SOURCE, &[], move |_| {
            Ok(Operator::Source(Box::new(ToySource(make()))))
        })
    }

    /// A stage on the `cpu` executor.
    pub fn cpu(
        &mut self,
        id: &str,
        inputs: &[StageIndex],
        work: impl Fn(&Call, &[Value]) -> Result<Outcome> + Send + Sync + Clone + 'static,
    ) -> StageIndex {
        self.stage(id, &CPU, inputs, move |_| Ok(transform(work.clone())))
    }

    /// A stage on the `cpu` executor that says how many bytes it needs.
    pub fn sized(
        &mut self,
        id: &str,
        inputs: &[StageIndex],
        bytes: impl Fn(&Call) -> Result<u64> + Send + Sync + Clone + 'static,
        work: impl Fn(&Call, &[Value]) -> Result<Outcome> + Send + Sync + Clone + 'static,
    ) -> StageIndex {
        self.stage(id, &CPU, inputs, move |_| {
            Ok(Operator::Transform(Box::new(ToyTransform {
                warm_up: Box::new(|| Ok(())),
                bytes: Box::new(bytes.clone()),
                work: Box::new(work.clone()),
            })))
        })
    }

    /// A stage on a device of its own.
    pub fn device(
        &mut self,
        id: &str,
        inputs: &[StageIndex],
        work: impl Fn(&Call, &[Value]) -> Result<Outcome> + Send + Sync + Clone + 'static,
    ) -> StageIndex {
        self.stage(id, &DEVICE, inputs, move |_| Ok(transform(work.clone())))
    }

    /// A stage on the `cpu` executor with this warm-up.
    pub fn warm(
        &mut self,
        id: &str,
        inputs: &[StageIndex],
        warm_up: impl Fn() -> Result<()> + Send + Sync + Clone + 'static,
    ) -> StageIndex {
        self.stage(id, &CPU, inputs, move |_| {
            Ok(Operator::Transform(Box::new(ToyTransform {
                warm_up: Box::new(warm_up.clone()),
                bytes: Box::new(|_| Ok(0)),
                work: Box::new(|_, inputs| Ok(Outcome::Value(inputs[0].clone()))),
            })))
        })
    }

    /// A stage on the `io` executor.
    pub fn io<F>(
        &mut self,
        id: &str,
        inputs: &[StageIndex],
        work: impl Fn(Call, Vec<Value>) -> F + Send + Sync + Clone + 'static,
    ) -> StageIndex
    where
        F: Future<Output = Result<Outcome>> + Send + 'static,
    {
        self.stage(id, &IO, inputs, move |_| {
            let work = work.clone();
            Ok(Operator::AsyncTransform(Box::new(ToyAsync(
                move |call, inputs| {
                    let future: BoxFuture<'static, _> = Box::pin(work(call, inputs));
                    future
                },
            ))))
        })
    }

    /// A stage on the `device` executor whose items are cut into units, as many as `units` says, each of a shape; its
    /// answer is the sum of the units' answers.
    pub fn batched(
        &mut self,
        id: &str,
        inputs: &[StageIndex],
        batcher: &Arc<ToyBatcher>,
        units: impl Fn(i64) -> Result<Vec<(u64, i64)>> + Send + Sync + Clone + 'static,
    ) -> StageIndex {
        let batcher = Arc::clone(batcher);
        self.stage(id, &DEVICE, inputs, move |_| {
            let batcher: Arc<dyn Batcher> = Arc::<ToyBatcher>::clone(&batcher);
            Ok(Operator::Batched(
                Box::new(ToyBatched(units.clone())),
                batcher,
            ))
        })
    }

    /// Several stages in one node, whose answers are what `work` says.
    pub fn parts(
        &mut self,
        ids: &[&str],
        inputs: &[StageIndex],
        work: impl Fn(&Call, &[Value]) -> Result<Outcome> + Send + Sync + Clone + 'static,
    ) -> StageIndex {
        let index = self.stage(ids[0], &PARTED, inputs, move |_| {
            Ok(transform(work.clone()))
        });
        let params = self.plan.graph[index].params.clone();
        self.plan.graph[index].parts = ids
            .iter()
            .map(|id| Part {
                id: (*id).to_owned(),
                params: params.clone(),
                wishes: Vec::new(),
                aliases: Vec::new(),
                cost: None,
            })
            .collect();
        index
    }

    /// Lets a port take from a part of a node, which the file calls `id`.
    pub fn tap(&mut self, index: StageIndex, port: usize, id: &str, part: Option<usize>) {
        let of = self.plan.graph[index].inputs[port];
        let of = self.plan.graph[of].id.clone();
        let tap = Tap {
            id: id.to_owned(),
            part,
            renames: vec![(of, id.to_owned())],
        };
        self.plan.graph[index].taps.insert(port, tap);
    }

    /// Adds one to each number.
    pub fn add_one(&mut self, id: &str, input: StageIndex) -> StageIndex {
        self.cpu(id, &[input], |_, inputs| {
            Ok(Outcome::value(number(&inputs[0])? + 1))
        })
    }

    /// A document that tells every input's answer.
    pub fn tell(&mut self, inputs: &[StageIndex]) -> StageIndex {
        self.gather("result", inputs, |item, answers| {
            Ok(Value::new(tell(item, answers)))
        })
    }

    pub fn gather(
        &mut self,
        id: &str,
        inputs: &[StageIndex],
        work: impl Fn(&Item, &[(String, Answer)]) -> Result<Value> + Send + Sync + Clone + 'static,
    ) -> StageIndex {
        self.stage(id, &GATHER, inputs, move |_| {
            Ok(Operator::Gather(Box::new(ToyGather(work.clone()))))
        })
    }

    pub fn sink(&mut self, input: StageIndex) -> Table {
        let table = Table::default();
        let made = table.clone();
        let id = format!("table{}", self.plan.order.len());
        self.stage(&id, &SINK, &[input], move |_| {
            Ok(Operator::Sink(Box::new(made.clone())))
        });
        table
    }

    pub fn run(&self) -> std::result::Result<RunReport, RunError> {
        run(&self.plan, RunOptions::default())
    }

    /// Runs the plan on so many workers and gives the rows of its only table.
    pub fn rows_on(&self, workers: usize, table: &Table) -> Vec<String> {
        table.clear();
        let mut plan = self.plan.clone();
        plan.workers = workers;
        let report = run(&plan, RunOptions::default()).unwrap();
        let rows = table.rows();
        assert_eq!(rows.len() as u64, report.rows_read);
        rows
    }
}

pub fn good(n: u64) -> SourceRow {
    let json = json!({ "n": n });
    SourceRow {
        row: Row(json.as_object().unwrap().clone()),
        problem: None,
    }
}

/// The number in a value: of another toy stage, or of the source's row.
pub fn number(value: &Value) -> Result<i64> {
    if value.is::<Row>() {
        return Ok(value.get::<Row>()?.0["n"].as_i64().unwrap());
    }
    value.get::<i64>().copied()
}

/// An answer in words.
pub fn words(answer: &Answer) -> String {
    match answer {
        Answer::Value(value) => number(value).unwrap().to_string(),
        Answer::Skipped(why) => format!("skipped: {why}"),
        Answer::Failed(failure) => format!(
            "failed: {} {:?} {} after {}",
            failure.stage, failure.kind, failure.error, failure.attempts
        ),
    }
}

pub fn tell(item: &Item, answers: &[(String, Answer)]) -> Document {
    let mut row = item.row.clone();
    let mut failed = false;
    for (id, answer) in answers {
        failed |= matches!(answer, Answer::Failed(_));
        row.0.insert(id.clone(), words(answer).into());
    }
    Document { row, failed }
}

fn transform(
    work: impl Fn(&Call, &[Value]) -> Result<Outcome> + Send + Sync + 'static,
) -> Operator {
    Operator::Transform(Box::new(ToyTransform {
        warm_up: Box::new(|| Ok(())),
        bytes: Box::new(|_| Ok(0)),
        work: Box::new(work),
    }))
}

pub type Rows = Box<dyn FnMut() -> Result<Option<SourceRow>> + Send>;
struct ToySource(Rows);

impl Source for ToySource {
    fn next_row(&mut self) -> Result<Option<SourceRow>> {
        (self.0)()
    }
}

type Work = Box<dyn Fn(&Call, &[Value]) -> Result<Outcome> + Send + Sync>;
type Measure = Box<dyn Fn(&Call) -> Result<u64> + Send + Sync>;

struct ToyTransform {
    warm_up: Box<dyn Fn() -> Result<()> + Send + Sync>,
    bytes: Measure,
    work: Work,
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

struct ToyBatched<F>(F);

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

struct ToyAsync<F>(F);

impl<F> AsyncTransform for ToyAsync<F>
where
    F: Fn(Call, Vec<Value>) -> BoxFuture<'static, Result<Outcome>> + Send + Sync,
{
    fn apply<'a>(&'a self, call: &'a Call, inputs: &'a [Value]) -> BoxFuture<'a, Result<Outcome>> {
        (self.0)(call.clone(), inputs.to_vec())
    }
}

struct ToyGather<F>(F);

impl<F> Gather for ToyGather<F>
where
    F: Fn(&Item, &[(String, Answer)]) -> Result<Value> + Send + Sync,
{
    fn gather(&self, item: &Item, answers: &[(String, Answer)]) -> Result<Value> {
        (self.0)(item, answers)
    }
}

/// A sink that keeps what it is given.
#[derive(Clone, Default)]
pub struct Table(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    commits: Vec<Vec<Delivered>>,
    times: Vec<Instant>,
    finished: bool,
    fail_commit: Option<usize>,
}

impl Table {
    pub fn clear(&self) {
        *self.0.lock().unwrap() = Kept::default();
    }

    /// Makes the commit of this number fail.
    pub fn fail_commit(&self, number: usize) {
        self.0.lock().unwrap().fail_commit = Some(number);
    }

    pub fn finished(&self) -> bool {
        self.0.lock().unwrap().finished
    }

    /// The sequences of each commit.
    pub fn commits(&self) -> Vec<Vec<u64>> {
        let kept = self.0.lock().unwrap();
        let sequences = |rows: &Vec<Delivered>| rows.iter().map(|row| row.sequence).collect();
        kept.commits.iter().map(sequences).collect()
    }

    /// When each commit came.
    pub fn times(&self) -> Vec<Instant> {
        self.0.lock().unwrap().times.clone()
    }

    /// All rows in the order of the input, as text.
    pub fn rows(&self) -> Vec<String> {
        self.sorted().iter().map(text).collect()
    }

    fn sorted(&self) -> Vec<Delivered> {
        let mut rows = self.0.lock().unwrap().commits.concat();
        rows.sort_by_key(|row| row.sequence);
        rows
    }

    /// One column of all rows, in the order of the input.
    pub fn column(&self, name: &str) -> Vec<String> {
        let cell = |row: &Delivered| match &row.result {
            Ok(document) => document.row.text(name).unwrap().to_owned(),
            Err((_, failure)) => format!(
                "failed: {} {:?} {}",
                failure.stage, failure.kind, failure.error
            ),
        };
        self.sorted().iter().map(cell).collect()
    }
}

pub fn text(row: &Delivered) -> String {
    match &row.result {
        Ok(document) => {
            let mark = if document.failed { "failed" } else { "good" };
            format!(
                "{} {mark} {}",
                row.sequence,
                serde_json::to_string(&document.row.0).unwrap()
            )
        }
        Err((_, failure)) => format!("{} broken {failure:?}", row.sequence),
    }
}

impl Sink for Table {
    fn resume(&mut self, _receipts: &[Receipt]) -> Result<()> {
        Ok(())
    }

    fn publish(&mut self, part: u64, rows: &[Delivered]) -> Result<Receipt> {
        let mut kept = self.0.lock().unwrap();
        if kept.fail_commit == Some(kept.commits.len()) {
            return Err(OperatorError::config("the disk is full"));
        }
        assert_eq!(part, kept.commits.len() as u64);
        kept.commits.push(rows.to_vec());
        kept.times.push(Instant::now());
        Ok(json!(part))
    }

    fn finish(&mut self, receipts: &[Receipt]) -> Result<String> {
        let mut kept = self.0.lock().unwrap();
        assert_eq!(receipts.len(), kept.commits.len());
        kept.finished = true;
        Ok("here".to_owned())
    }
}

/// Counts how many are inside at once, and the most that ever were.
#[derive(Clone, Default)]
pub struct Crowd(Arc<Mutex<(usize, usize)>>);

pub struct Inside(Crowd);

impl Crowd {
    pub fn enter(&self) -> Inside {
        let mut count = self.0.lock().unwrap();
        count.0 += 1;
        count.1 = count.1.max(count.0);
        Inside(self.clone())
    }

    pub fn most(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().0 -= 1;
    }
}

pub fn sleep(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}
