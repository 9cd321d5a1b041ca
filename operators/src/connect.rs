//! Whether the stores of a plan answer: `clipsieve check --connect`.

use clipsieve_engine::operator::ParamType;
use clipsieve_engine::plan::Plan;
use serde::Serialize;

use crate::stores::{Access, Place, wait};
use crate::tables;
use crate::write_table::WRITE_TABLE;

/// What came of asking one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// What the pipeline file calls it.
    pub store: String,
    /// Whether it can be used, as far as can be told.
    pub usable: bool,
    /// What it did: `answers`, `takes files`, or why it cannot be used. Holds no secrets.
    pub told: String,
}

/// Asks every store that the plan's stages use: those that files are put into for whether they take one, the others for
/// whether they answer and take our credentials.
pub fn connect(plan: &Plan) -> Vec<Connection> {
    plan.stores
        .keys()
        .map(|name| {
            let told = ask(plan, name);
            Connection {
                store: name.clone(),
                usable: told.is_ok(),
                told: told.unwrap_or_else(|error| error),
            }
        })
        .collect()
}

fn ask(plan: &Plan, name: &str) -> Result<String, String> {
    let access = if is_written(plan, name) {
        Access::Write
    } else {
        Access::Read
    };
    let place = Place::named(&plan.stores, name, access).map_err(|error| {
        let own = format!("store `{name}`: ");
        error.message.trim_start_matches(&own).to_owned()
    })?;
    let Some(store) = place.fixed().cloned() else {
        return Ok("depends on the row; asked when a row comes".to_owned());
    };
    let work = async move {
        match access {
            Access::Read => store.probe().await.map(|()| "answers"),
            Access::Write => store.probe_writing().await.map(|()| "takes files"),
        }
    };
    wait(work).map(str::to_owned).map_err(|error| error.message)
}

/// Whether some stage puts files into the store: it names it in a parameter that takes one store, or writes a table there.
/// Lists of stores are places to look in.
fn is_written(plan: &Plan, name: &str) -> bool {
    plan.graph.node_weights().any(|stage| {
        let mut params = stage.spec.params.iter();
        let writes_tables = stage.spec.name == WRITE_TABLE.name;
        params.any(|spec| match spec.ty {
            ParamType::Store => stage.params.opt_text(spec.name) == Some(name),
            ParamType::Uri if writes_tables => {
                let uri = stage.params.opt_text(spec.name);
                uri.and_then(tables::store_of) == Some(name)
            }
            _ => false,
        })
    })
}
