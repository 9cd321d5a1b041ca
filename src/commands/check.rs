//! `clipsieve check`: everything that is wrong with a pipeline file.

use std::io::{self, IsTerminal};

use clipsieve_engine::operator::Registry;
use serde_json::json;

use super::{Exit, output, pipeline, snippets};
use crate::cli::{Check, TextOrJson};

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
    let sound = loaded.compiled.plan.is_some();
    let text = match arguments.format {
        TextOrJson::Json => {
            let found = json!({ "pipeline": loaded.name, "sound": sound, "diagnostics": loaded.compiled.diagnostics });
            format!("{found:#}\n")
        }
        TextOrJson::Text => {
            let mut text = snippets::render(&loaded, io::stdout().is_terminal());
            if let Some(plan) = &loaded.compiled.plan {
                text.push_str(&format!(
                    "{}: sound, {} stages\n",
                    loaded.name,
                    plan.order.len()
                ));
            }
            text
        }
    };
    output::print(&text)?;
    Ok(if sound { Exit::Done } else { Exit::Usage })
}
