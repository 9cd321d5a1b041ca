//! `clipsieve check`: everything that is wrong with a pipeline file, and with the stores it names.

use std::io::{self, IsTerminal};

use clipsieve_engine::operator::Registry;
use clipsieve_operators::connect::{Connection, connect};
use serde_json::json;

use super::{Exit, output, pipeline, snippets};
use crate::cli::{Check, TextOrJson};
use crate::words::counted;

/// Runs the command.
///
/// # Errors
/// Trouble with stdout.
pub fn run(arguments: &Check, registry: &Registry) -> io::Result<Exit> {
    let loaded = match pipeline::load(&arguments.pipeline, registry, 0) {
        Ok(loaded) => loaded,
        Err(message) => {
            output::tell(&format!("error: {message}"));
            return Ok(Exit::Usage);
        }
    };
    let plan = loaded.compiled.plan.as_ref();
    let connections = match plan {
        Some(plan) if arguments.connect => connect(plan),
        _ => Vec::new(),
    };
    let text = match arguments.format {
        TextOrJson::Json => {
            let mut found = json!({ "pipeline": loaded.name, "sound": plan.is_some(), "diagnostics": loaded.compiled.diagnostics });
            if arguments.connect {
                found["stores"] = json!(connections);
            }
            format!("{found:#}\n")
        }
        TextOrJson::Text => {
            let mut text = snippets::render(&loaded, io::stdout().is_terminal());
            text.extend(connections.iter().map(line));
            if let Some(plan) = plan {
                text.push_str(&format!(
                    "{}: sound, {}\n",
                    loaded.name,
                    counted(plan.order.len(), "stage")
                ));
            }
            text
        }
    };
    output::print(&text)?;
    let usable = connections.iter().all(|connection| connection.usable);
    Ok(match plan {
        None => Exit::Usage,
        Some(_) if !usable => Exit::Died,
        Some(_) => Exit::Done,
    })
}

fn line(connection: &Connection) -> String {
    let mark = if connection.usable { "" } else { "error: " };
    format!("{mark}store `{}`: {}\n", connection.store, connection.told)
}
