//! A graph for programs. No store's settings but its type: they may hold credentials.

use clipsieve_engine::operator::{Cost, ParamValue, Params};
use clipsieve_engine::plan::{LogicalGraph, Part, Plan, Stage};
use serde_json::{Map, Value as Json, json};

/// The stages as the file writes them, with what is wrong.
pub fn logical(graph: &LogicalGraph) -> Json {
    let mut nodes = Vec::new();
    let mut edges = Vec::new();
    for stage in &graph.stages {
        nodes.push(json!({
            "id": stage.id,
            "operator": stage.op,
            "gives": stage.output.map(|kind| kind.0),
            "off": stage.off,
            "diagnostics": stage.diagnostics,
        }));
        edges.extend(stage.inputs.iter().enumerate().map(|(port, input)| {
            let kind = graph.kind(input).map(|kind| kind.0);
            json!({ "from": input.name, "to": stage.id, "port": port, "kind": kind })
        }));
    }
    json!({
        "pipeline": graph.name,
        "description": graph.description,
        "view": "logical",
        "nodes": nodes,
        "edges": edges,
    })
}

/// All that a run of this plan will use.
pub fn physical(plan: &Plan) -> Json {
    let mut edges = Vec::new();
    for stage in plan.stages() {
        let inputs = stage.inputs.iter().zip(&stage.taps).zip(&stage.input_kinds);
        edges.extend(inputs.enumerate().map(|(port, ((from, tap), kind))| {
            let from = &plan.graph[*from].id;
            json!({ "from": from, "to": stage.id, "port": port, "kind": kind.0, "stage": tap.id })
        }));
    }
    let limits = &plan.limits;
    let models = plan.models.iter();
    let models = models.map(|(name, model)| {
        (
            name.clone(),
            json!({ "path": model.path, "facts": model.facts }),
        )
    });
    let stores = plan.stores.iter();
    let stores =
        stores.map(|(name, store)| (name.clone(), json!({ "type": store.settings["type"] })));
    json!({
        "pipeline": plan.name,
        "view": "physical",
        "processes": plan.processes,
        "workers": plan.workers,
        "threads": { "cpu": plan.threads.cpu, "io": plan.threads.io },
        "limits": {
            "items": limits.items,
            "memory_bytes": limits.memory_bytes,
            "disk_bytes": limits.disk_bytes,
            "item_timeout_seconds": limits.item_timeout.as_secs_f64(),
            "epoch_rows": limits.epoch_rows,
            "open_epochs": limits.open_epochs,
        },
        "models": models.collect::<Map<_, _>>(),
        "stores": stores.collect::<Map<_, _>>(),
        "nodes": plan.stages().map(node).collect::<Vec<_>>(),
        "edges": edges,
    })
}

fn node(stage: &Stage) -> Json {
    let placement = &stage.placement;
    let written = stage.written().map(|(id, _)| id);
    json!({
        "id": stage.id,
        "operator": stage.spec.name,
        "does_the_work_of": written.collect::<Vec<_>>(),
        "parameters": params(&stage.params),
        "parts": stage.parts.iter().map(part).collect::<Vec<_>>(),
        "gives": stage.output.map(|kind| kind.0),
        "executor": placement.executor,
        "device": placement.device,
        "concurrency": placement.concurrency,
        "threads": placement.threads,
        "attempts": stage.retry.attempts,
        "backoff_seconds": stage.retry.backoff.as_secs_f64(),
        "timeout_seconds": stage.timeout.as_secs_f64(),
        "asks_its_inputs_for": stage.demand,
        "cost": stage.cost.map(cost),
    })
}

fn part(part: &Part) -> Json {
    json!({ "id": part.id, "parameters": params(&part.params), "cost": part.cost.map(cost) })
}

/// What one unit is estimated to take.
fn cost(cost: Cost) -> Json {
    json!({
        "unit": cost.unit,
        "flop": cost.flop,
        "input_bytes": cost.input_bytes,
        "weight_bytes": cost.weight_bytes,
    })
}

/// Parameters, defaults filled in. Times are as they would be written in a file, sizes are bytes.
fn params(params: &Params) -> Json {
    let values = params.iter();
    Json::Object(
        values
            .map(|(name, of)| (name.to_string(), value(of)))
            .collect(),
    )
}

fn value(of: &ParamValue) -> Json {
    match of {
        ParamValue::Bool(is) => json!(is),
        ParamValue::Int(number) => json!(number),
        ParamValue::Float(number) => json!(number),
        ParamValue::Text(text) => json!(text),
        ParamValue::Duration(_) => json!(of.to_string()),
        ParamValue::Bytes(bytes) => json!(bytes),
        ParamValue::List(values) => values.iter().map(value).collect(),
    }
}
