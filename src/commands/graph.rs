//! `clipsieve graph`: a dry run. It builds no model: it reads their `config.json`, and the bytes of encoders that several
//! could share. It touches no store but to bring a model that lies in one.

mod json;

use std::io::{self, IsTerminal};

use clipsieve_engine::operator::Registry;
use clipsieve_engine::plan::render::{Format, logical, physical};

use super::{Exit, output, pipeline, snippets};
use crate::cli::{Graph, GraphFormat, View};

/// Runs the command.
///
/// # Errors
/// Trouble with stdout.
pub fn run(arguments: &Graph, registry: &Registry) -> io::Result<Exit> {
    let loaded = match pipeline::load(&arguments.pipeline, registry, 0) {
        Ok(loaded) => loaded,
        Err(message) => {
            output::tell(&format!("error: {message}"));
            return Ok(Exit::Usage);
        }
    };
    let findings = snippets::render(&loaded, io::stderr().is_terminal());
    if !findings.is_empty() {
        output::tell(findings.trim_end());
    }
    let compiled = &loaded.compiled;
    // A file with errors has no plan; its graph shows where they are.
    let plan = compiled.plan.as_ref();
    let plan = plan.filter(|_| arguments.view == View::Physical);
    let draw = |format| match plan {
        Some(plan) => physical(plan, format),
        None => logical(&compiled.graph, format),
    };
    let drawn = match arguments.format {
        GraphFormat::Text => draw(Format::Text),
        GraphFormat::Dot => draw(Format::Dot),
        GraphFormat::Mermaid => draw(Format::Mermaid),
        GraphFormat::Json => {
            let graph = match plan {
                Some(plan) => json::physical(plan),
                None => json::logical(&compiled.graph),
            };
            format!("{graph:#}\n")
        }
    };
    output::print(&drawn)?;
    Ok(if compiled.plan.is_some() {
        Exit::Done
    } else {
        Exit::Usage
    })
}
