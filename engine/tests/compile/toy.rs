//! A small registry of operators over numbers and strings, and ways to compile with it.

use std::collections::BTreeMap;

use clipsieve_engine::compile::{Compiled, Machine, Options, Source, compile};
use clipsieve_engine::operator::{
    BuildContext, Common, Cost, Executor, Fallback, Finding, Model, Operator, OperatorError,
    OperatorSpec, ParamSpec, ParamType, Planner, PortKind, Ports, Registry, ResourceChecks, RowKey,
    Setting, Signature, StoreProblem, Stores, Wish,
};
use serde_json::{Value as Json, json};

const TEXT: PortKind = PortKind("text");
const NUMBER: PortKind = PortKind("number");
const VERDICT: PortKind = PortKind("verdict");

fn build(_: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    Err(OperatorError::internal("toys are not built"))
}

const fn param(name: &'static str, ty: ParamType, fallback: Fallback) -> ParamSpec {
    ParamSpec {
        name,
        ty,
        fallback,
        unit: None,
        doc: "A toy's parameter.",
    }
}

const fn toy(
    name: &'static str,
    ports: Ports,
    params: &'static [ParamSpec],
    executor: Executor,
) -> OperatorSpec {
    OperatorSpec {
        name,
        summary: "a toy",
        doc: "",
        example: "",
        ports,
        params,
        executor,
        concurrency: 0,
        check: None,
        demand: None,
        planner: Planner::NONE,
        build,
    }
}

const fn way(inputs: &'static [PortKind], output: PortKind) -> Signature {
    Signature {
        inputs,
        output: Some(output),
    }
}

static READ_ROWS: OperatorSpec = toy(
    "read_rows",
    Ports::Fixed(&[way(&[], PortKind::RECORD)]),
    &[param("uri", ParamType::Uri, Fallback::Required)],
    Executor::Io,
);

static FETCH: OperatorSpec = toy(
    "fetch",
    Ports::Fixed(&[way(&[PortKind::RECORD], TEXT)]),
    &[
        param("store", ParamType::Store, Fallback::Absent),
        param(
            "tiers",
            ParamType::List(&ParamType::Choice(&["near", "far"])),
            Fallback::Is("[near, far]"),
        ),
        param("pause", ParamType::Duration, Fallback::Is("300ms")),
        param("cache", ParamType::Bytes, Fallback::Is("64MB")),
    ],
    Executor::Io,
);

static COUNT: OperatorSpec = OperatorSpec {
    demand: Some(count_demand),
    planner: Planner {
        serves_each: true,
        // Frames of a megabyte.
        item_bytes: Some(|setting, _| setting.params.int("frames").cast_unsigned() << 20),
        ..Planner::NONE
    },
    ..toy(
        "count",
        Ports::Fixed(&[way(&[TEXT], NUMBER)]),
        &[
            param(
                "frames",
                ParamType::Int { min: 1, max: 512 },
                Fallback::Is("16"),
            ),
            param("word", ParamType::Text, Fallback::Absent),
            param("exact", ParamType::Bool, Fallback::Is("false")),
        ],
        Executor::Cpu,
    )
};

fn count_demand(setting: &Setting<'_>, wishes: &[Wish]) -> Result<Option<Json>, Finding> {
    let frames = setting.params.int("frames");
    let most = wishes
        .iter()
        .filter_map(|wish| wish.wanted["least"].as_i64())
        .max();
    match most {
        Some(most) if most > frames => Err(Finding::param(
            "frames",
            format!("{most} are asked for, but only {frames} are counted"),
        )
        .with_help(format!("set it to {most}"))),
        _ => Ok(Some(json!({ "frames": frames }))),
    }
}

static ADD: OperatorSpec = OperatorSpec {
    check: Some(add_check),
    ..toy(
        "add",
        Ports::Fixed(&[way(&[NUMBER], NUMBER), way(&[NUMBER, NUMBER], NUMBER)]),
        &[param(
            "by",
            ParamType::Int {
                min: -100,
                max: 100,
            },
            Fallback::Is("1"),
        )],
        Executor::Cpu,
    )
};

static WEIGH: OperatorSpec = toy(
    "weigh",
    Ports::Fixed(&[Signature {
        inputs: &[TEXT, NUMBER],
        output: Some(NUMBER),
    }]),
    &[],
    Executor::Cpu,
);

fn add_check(setting: &Setting<'_>) -> Vec<Finding> {
    match setting.params.int("by") {
        13 => vec![Finding::param("by", "13 brings bad luck").with_help("take 12 or 14")],
        _ => Vec::new(),
    }
}

static JUDGE: OperatorSpec = OperatorSpec {
    demand: Some(judge_demand),
    planner: Planner {
        row_key: Some(judge_key),
        cost: Some(judge_cost),
        common: Some(Common {
            part: "head",
            pass: "backbone pass",
            identity: judge_identity,
            build: |_| Err(OperatorError::internal("toys are not built")),
        }),
        ..Planner::NONE
    },
    ..toy(
        "judge",
        Ports::Fixed(&[way(&[NUMBER], VERDICT)]),
        &[
            param("model", ParamType::Model, Fallback::Required),
            param(
                "threshold",
                ParamType::Float { min: 0.0, max: 1.0 },
                Fallback::Is("0.5"),
            ),
            param("key", ParamType::Text, Fallback::Absent),
        ],
        Executor::Device,
    )
};

fn judge_demand(setting: &Setting<'_>, _: &[Wish]) -> Result<Option<Json>, Finding> {
    let facts = setting.models[setting.params.text("model")].facts.clone();
    Ok(Some(json!({ "least": facts["least"] })))
}

fn judge_key(setting: &Setting<'_>) -> Option<RowKey> {
    let key = setting.params.opt_text("key");
    Some(RowKey {
        key: key.unwrap_or(setting.stage).to_string(),
        param: Some("key"),
    })
}

fn judge_cost(setting: &Setting<'_>) -> Option<Cost> {
    setting.models.get(setting.params.text("model"))?;
    Some(Cost {
        unit: "count",
        flop: 10_000_000_000,
        common_flop: 9_000_000_000,
        weight_bytes: 400_000_000,
        common_weight_bytes: 345_000_000,
        input_bytes: 9_437_184,
    })
}

/// Models in one folder have one backbone.
fn judge_identity(setting: &Setting<'_>) -> Result<Option<Json>, Finding> {
    let model = &setting.models[setting.params.text("model")];
    Ok(Some(json!({ "backbone": model.path.parent() })))
}

/// Gives nothing that nobody asks for.
static CHOOSY: OperatorSpec = OperatorSpec {
    demand: Some(|_, wishes| match wishes {
        [] => Err(Finding::stage("no stage takes its numbers")),
        _ => Ok(None),
    }),
    ..toy(
        "choosy",
        Ports::Fixed(&[way(&[NUMBER], NUMBER)]),
        &[],
        Executor::Cpu,
    )
};

/// Many words may stand in its list.
static MEASURE: OperatorSpec = toy(
    "measure",
    Ports::Fixed(&[way(&[NUMBER], NUMBER)]),
    &[param(
        "signals",
        ParamType::List(&ParamType::Choice(&[
            "sharpness",
            "noise",
            "banding",
            "flicker",
            "freeze",
            "black",
            "white",
            "hue",
            "grain",
            "blocks",
            "rings",
            "jitter",
            "shake",
            "zoom",
        ])),
        Fallback::Required,
    )],
    Executor::Cpu,
);

static COLLECT: OperatorSpec = toy(
    "collect",
    Ports::Gather {
        accepts: &[NUMBER, VERDICT],
        output: PortKind::DOCUMENT,
    },
    &[],
    Executor::Cpu,
);

static WRITE_ROWS: OperatorSpec = toy(
    "write_rows",
    Ports::Fixed(&[Signature {
        inputs: &[PortKind::DOCUMENT],
        output: None,
    }]),
    &[param("uri", ParamType::Uri, Fallback::Required)],
    Executor::Io,
);

static MISMADE: OperatorSpec = toy(
    "mismade",
    Ports::Fixed(&[way(&[NUMBER], NUMBER)]),
    &[param(
        "size",
        ParamType::Int { min: 1, max: 8 },
        Fallback::Is("nine"),
    )],
    Executor::Cpu,
);

fn check_model(address: &str, _stores: &Stores) -> Result<Model, String> {
    if !address.starts_with("models/") {
        return Err(format!("{address} holds no config.json"));
    }
    Ok(Model {
        path: address.into(),
        elsewhere: BTreeMap::new(),
        facts: json!({ "least": 8, "labels": ["a", "b"] }),
        store: None,
    })
}

fn check_store(settings: &Json, from_environment: &[&str]) -> Result<(), StoreProblem> {
    if settings.get("password").is_some() && !from_environment.contains(&"password") {
        return Err(StoreProblem {
            setting: Some("password".to_owned()),
            message: "`password` stands in the file in clear".to_owned(),
            help: Some("write `${env:NAME}`".to_owned()),
            is_secret: true,
        });
    }
    let checked = match (settings["type"].as_str(), settings["root"].as_str()) {
        (Some("fs"), Some(root)) if root.starts_with('/') => Ok(()),
        (Some("fs"), root) => Err(format!("root {root:?} is not an absolute path")),
        (None, _) => Err("`type` is missing; known types: fs".to_owned()),
        (Some(other), _) => Err(format!("unknown store type `{other}`; known: fs")),
    };
    checked.map_err(|message| StoreProblem {
        setting: None,
        message,
        help: None,
        is_secret: false,
    })
}

pub fn registry() -> Registry {
    Registry::new(
        [
            &READ_ROWS,
            &FETCH,
            &COUNT,
            &ADD,
            &WEIGH,
            &JUDGE,
            &MEASURE,
            &CHOOSY,
            &COLLECT,
            &WRITE_ROWS,
            &MISMADE,
        ],
        ResourceChecks {
            model: check_model,
            store: check_store,
        },
    )
}

/// The value of `${env:TOKEN}`, which is never to be seen.
pub const TOKEN: &str = "s3cr3t-t0k3n";

/// What a file is compiled for, beside itself.
#[derive(Clone)]
pub struct Bench {
    pub sets: Vec<(String, String)>,
    pub cores: usize,
    pub device: &'static str,
    pub processes: usize,
    pub workers: usize,
}

impl Default for Bench {
    fn default() -> Self {
        Self {
            sets: Vec::new(),
            cores: 8,
            device: "cpu",
            processes: 1,
            workers: 1,
        }
    }
}

impl Bench {
    pub fn set(name: &str, value: &str) -> Self {
        Self {
            sets: vec![(name.to_string(), value.to_string())],
            ..Self::default()
        }
    }

    pub fn compile(&self, text: impl AsRef<[u8]>) -> Compiled {
        let env = |name: &str| match name {
            "TOKEN" => Some(TOKEN.to_string()),
            "FRAMES" => Some("32".to_string()),
            "ROOT" => Some("/data".to_string()),
            _ => None,
        };
        let source = Source {
            name: "toy.yaml",
            text: text.as_ref(),
        };
        let options = Options {
            registry: &registry(),
            sets: &self.sets,
            env: &env,
            machine: Machine {
                cores: self.cores,
                memory_bytes: 16 << 30,
                disk_bytes: 1 << 40,
                device: self.device.to_string(),
            },
            processes: self.processes,
            workers: self.workers,
        };
        compile(&source, &options)
    }

    /// The diagnostics, a line each.
    pub fn lines(&self, text: impl AsRef<[u8]>) -> String {
        let compiled = self.compile(text);
        let lines: Vec<_> = compiled
            .diagnostics
            .iter()
            .map(ToString::to_string)
            .collect();
        lines.join("\n")
    }
}

/// A sound pipeline that uses everything the toys have.
pub const SOUND: &str = "\
name: toy-judge
description: counts words and judges the counts
params:
  input:   { type: uri, default: rows.jsonl, help: where rows are }
  frames:  { type: int, default: 32 }
  strict:  { type: bool, default: true }
stores:
  near: { type: fs, root: /data/near, secret: \"${env:TOKEN}\" }
models:
  mild:  models/mild
  harsh: models/harsh
limits:
  items: 12
  memory: 2GiB
stages:
  rows:    { op: read_rows, with: { uri: \"${input}\" } }
  texts:
    op: fetch
    from: rows
    with: { store: near, tiers: [near], cache: 1GB }
    retry: { attempts: 3, backoff: 2s }
    timeout: 300s
    concurrency: 6
  counted: { op: count, from: texts, with: { frames: \"${frames}\" } }
  raised:  { op: add, from: counted, with: { by: 5 } }
  mild:    { op: judge, from: counted, with: { model: mild } }
  harsh:   { op: judge, from: raised, with: { model: harsh, threshold: 0.9 }, when: \"${strict}\", threads: 2 }
  summed:  { op: add, from: [counted, raised] }
  result:  { op: collect, from: [mild, harsh, summed] }
  table:   { op: write_rows, from: result, with: { uri: results.jsonl } }
";
