//! Plans of toy operators, built without a pipeline file: what the tests of the run share.
//!
//! A spec's `build` is a plain function, and the tests want closures. So each closure gets a number, and the number is
//! the stage's only parameter.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clipsieve_engine::operator::{
    Answer, Batcher, BuildContext, Call, Common, Document, Executor, Item, Models, Operator,
    OperatorError, OperatorSpec, Outcome, ParamValue, Params, Placement, Planner, PortKind, Ports,
    Row, Signature, SourceRow, Stores, Value,
};
use clipsieve_engine::plan::{Limits, Part, Plan, Retry, Stage, StageIndex, Tap, Threads};
use clipsieve_engine::run::{RunError, RunOptions, RunReport, run};
use futures::future::BoxFuture;
use petgraph::graph::DiGraph;
use serde_json::json;

mod table;
mod work;

pub use table::Table;
pub use work::{Rows, ToyBatcher};
use work::{ToyAsync, ToyBatched, ToyGather, ToySource, ToyTransform, transform};

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
                written_from: BTreeMap::new(),
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
        let tap = |node: &StageIndex| Tap {
            id: self.plan.graph[*node].id.clone(),
            part: None,
            renames: Vec::new(),
        };
        let taps = inputs.iter().map(tap).collect();
        let index = self.plan.graph.add_node(Stage {
            id: id.to_owned(),
            spec,
            params,
            inputs: inputs.to_vec(),
            taps,
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
        let tap = &mut self.plan.graph[index].taps[port];
        let of = std::mem::replace(&mut tap.id, id.to_owned());
        tap.part = part;
        tap.renames = vec![(of, id.to_owned())];
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

    /// Runs the plan with a table of what these stages answered.
    pub fn table_of(&mut self, stages: &[StageIndex]) -> Table {
        let result = self.tell(stages);
        let table = self.sink(result);
        self.run().unwrap();
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
