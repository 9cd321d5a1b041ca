//! Operators for programs: editors, forms, generators of pipelines.

use clipsieve_engine::operator::{
    Fallback, OperatorSpec, ParamSpec, ParamType, PortKind, Ports, Registry,
};
use serde_json::{Value as Json, json};

use super::runs_on;

/// All of them, in the order of the list.
pub fn all(registry: &Registry) -> Json {
    registry.iter().map(one).collect()
}

/// Everything about one.
pub fn one(spec: &OperatorSpec) -> Json {
    json!({
        "name": spec.name,
        "summary": spec.summary,
        "doc": spec.doc,
        "example": spec.example,
        "ports": ports(&spec.ports),
        "executor": spec.executor,
        "runs_on": runs_on(spec).replace('`', ""),
        "params": spec.params.iter().map(param).collect::<Vec<_>>(),
    })
}

/// Ways of wiring: of inputs in order, or of one or more inputs that are each of `any_of`. A source has no inputs, a sink
/// no output.
fn ports(ports: &Ports) -> Json {
    let names = |kinds: &[PortKind]| kinds.iter().map(|kind| kind.0).collect::<Vec<_>>();
    match ports {
        Ports::Fixed(ways) => ways
            .iter()
            .map(|way| json!({ "inputs": names(way.inputs), "output": way.output.map(|kind| kind.0) }))
            .collect(),
        Ports::Gather { accepts, output } => {
            json!([{ "any_of": names(accepts), "output": output.0 }])
        }
    }
}

/// `default` is as it would be written in a file, and is missing where there is none.
fn param(param: &ParamSpec) -> Json {
    let mut about = json!({
        "name": param.name,
        "type": type_of(&param.ty),
        "allowed": param.ty.to_string(),
        "required": param.fallback == Fallback::Required,
    });
    if let Fallback::Is(value) = param.fallback {
        about["default"] = json!(value);
    }
    if let Some(unit) = param.unit {
        about["unit"] = json!(unit);
    }
    about["doc"] = json!(param.doc);
    about
}

fn type_of(ty: &ParamType) -> Json {
    let named = |name: &str| json!({ "name": name });
    match ty {
        ParamType::Bool => named("bool"),
        ParamType::Int { min, max } => json!({ "name": "int", "min": min, "max": max }),
        ParamType::Float { min, max } => json!({ "name": "float", "min": min, "max": max }),
        ParamType::Text => named("text"),
        ParamType::Choice(words) => json!({ "name": "choice", "choices": words }),
        ParamType::Duration => named("duration"),
        ParamType::Bytes => named("bytes"),
        ParamType::Uri => named("uri"),
        ParamType::Model => named("model"),
        ParamType::Store => named("store"),
        ParamType::List(inner) => json!({ "name": "list", "of": type_of(inner) }),
    }
}
