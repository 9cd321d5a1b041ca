//! `clipsieve operators`: what a pipeline can be made of.

mod json;
mod markdown;
mod text;

use std::io;

use clipsieve_engine::compile::nearest;
use clipsieve_engine::operator::{Executor, OperatorSpec, Ports, Registry};

use super::{Exit, output};
use crate::cli::{Operators, OperatorsFormat};

/// Runs the command.
///
/// # Errors
/// Trouble with stdout.
pub fn run(arguments: &Operators, registry: &Registry) -> io::Result<Exit> {
    let one = match &arguments.name {
        None => None,
        Some(name) => match registry.get(name) {
            Some(spec) => Some(spec),
            None => {
                output::tell(&unknown(name, registry));
                return Ok(Exit::Usage);
            }
        },
    };
    let text = match (one, arguments.format) {
        (None, OperatorsFormat::Text) => text::list(registry),
        (None, OperatorsFormat::Markdown) => markdown::table(registry),
        (None, OperatorsFormat::Json) => format!("{:#}\n", json::all(registry)),
        (Some(spec), OperatorsFormat::Text) => text::page(spec),
        (Some(spec), OperatorsFormat::Markdown) => markdown::section(spec),
        (Some(spec), OperatorsFormat::Json) => format!("{:#}\n", json::one(spec)),
    };
    output::print(&text)?;
    Ok(Exit::Done)
}

fn unknown(name: &str, registry: &Registry) -> String {
    let known: Vec<_> = registry.iter().map(|spec| spec.name).collect();
    let known_or_near = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.join(", ")),
    };
    format!("error: no operator is called `{name}`; {known_or_near}")
}

/// `video, regions → video`, one for each way in which the operator may be wired. `kind` writes a kind.
fn ways(spec: &OperatorSpec, kind: impl Fn(&str) -> String) -> Vec<String> {
    let list = |kinds: &[_]| {
        let kinds = kinds
            .iter()
            .map(|one: &clipsieve_engine::operator::PortKind| kind(one.0));
        kinds.collect::<Vec<_>>().join(", ")
    };
    match &spec.ports {
        Ports::Fixed(ways) => ways
            .iter()
            .map(|way| {
                let inputs = match way.inputs {
                    [] => "rows in".to_string(),
                    inputs => list(inputs),
                };
                let output = way
                    .output
                    .map_or("rows out".to_string(), |output| kind(output.0));
                format!("{inputs} → {output}")
            })
            .collect(),
        Ports::Gather { accepts, output } => {
            vec![format!(
                "one or more of {} → {}",
                list(accepts),
                kind(output.0)
            )]
        }
    }
}

/// Where the operator's work is done, in Markdown.
fn runs_on(spec: &OperatorSpec) -> &'static str {
    match spec.executor {
        _ if spec.is_source() || spec.is_sink() => "one thread of its own",
        Executor::Io => "the `io` executor",
        Executor::Cpu => "the `cpu` threads",
        Executor::Device => "a device (`device:`), as a pool of instances",
    }
}
