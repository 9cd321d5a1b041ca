//! `clipsieve graph`: a dry run. It builds no model and touches no store.

use std::io::{self, IsTerminal};

use clipsieve_engine::plan::render::{dot, mermaid, text};

use super::{Exit, output, pipeline, snippets};
use crate::cli::{Graph, GraphFormat, View};

/// Runs the command.
///
/// # Errors
/// Trouble with stdout.
pub fn run(arguments: &Graph) -> io::Result<Exit> {
    let loaded = match pipeline::load(&arguments.pipeline) {
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
    let drawn = match (arguments.view, &compiled.plan) {
        // A file with errors has no plan; its graph shows where they are.
        (View::Logical, _) | (View::Physical, None) => match arguments.format {
            GraphFormat::Text => text::logical(&compiled.graph),
            GraphFormat::Dot => dot::logical(&compiled.graph),
            GraphFormat::Mermaid => mermaid::logical(&compiled.graph),
        },
        (View::Physical, Some(plan)) => match arguments.format {
            GraphFormat::Text => text::physical(plan),
            GraphFormat::Dot => dot::physical(plan),
            GraphFormat::Mermaid => mermaid::physical(plan),
        },
    };
    output::print(&drawn)?;
    Ok(if compiled.plan.is_some() {
        Exit::Done
    } else {
        Exit::Usage
    })
}
