//! `clipsieve show`: result rows as a table for people.

use std::io;

use clipsieve_engine::operator::{Row, Stores};
use clipsieve_operators::tables::{self, Reading};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Map, Value as Json};

use super::{Exit, output};
use crate::cli::Show;

/// Width of the table when stdout is no terminal, in characters.
const PIPED_WIDTH: u16 = 100;

/// Runs the command.
///
/// # Errors
/// Trouble with stdout.
pub fn run(arguments: &Show) -> io::Result<Exit> {
    let reading = Reading {
        stores: &Stores::new(),
        endpoint: None,
        limit: None,
        scratch: &std::env::temp_dir(),
    };
    let mut rows = match tables::open(&arguments.rows, &reading) {
        Ok(rows) => rows,
        Err(error) => return Ok(refuse(&error.message)),
    };
    let mut table = Table::new();
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(PIPED_WIDTH);
    }
    table.set_header(["video", "frame", "verdicts"]);
    for number in 1_u64.. {
        let row = match rows.next_row() {
            Ok(None) => break,
            Ok(Some(read)) => match read.problem {
                Some(problem) => Err(problem.message),
                None => result_row(read.row),
            },
            Err(error) => return Ok(refuse(&error.message)),
        };
        match row {
            Ok(row) => table.add_row([text(&row, "/video_id"), frame(&row), verdicts(&row)]),
            Err(why) => {
                return Ok(refuse(&format!(
                    "row {number} of {} is no result row: {why}",
                    arguments.rows
                )));
            }
        };
    }
    output::print(&format!("{table}\n"))?;
    Ok(Exit::Done)
}

fn refuse(why: &str) -> Exit {
    output::tell(&format!("error: {why}"));
    Exit::Usage
}

/// A row as it was before a table made JSON text of what is nested in it.
fn result_row(mut row: Row) -> Result<Json, String> {
    for column in ["info", "result_info"] {
        if let Some(Json::String(text)) = row.0.get(column) {
            let nested = serde_json::from_str(text)
                .map_err(|error| format!("its `{column}` is not JSON: {error}"))?;
            row.0.insert(column.to_owned(), nested);
        }
    }
    let row = Json::Object(row.0);
    match row.pointer("/result_info/succeed") {
        Some(_) => Ok(row),
        None => Err("it has no `result_info.succeed`".to_string()),
    }
}

fn text(row: &Json, pointer: &str) -> String {
    match row.pointer(pointer) {
        Some(Json::String(text)) => text.clone(),
        None | Some(Json::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

/// What was found in the frame, and what became of it; nothing if nobody looked.
fn frame(row: &Json) -> String {
    if row.pointer("/info/abnormal_region_info").is_none() {
        return String::new();
    }
    let mut found: Vec<String> = Vec::new();
    for region in row
        .pointer("/info/abnormal_region_info/regions")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
    {
        let class = text(region, "/class");
        if !found.contains(&class) {
            found.push(class);
        }
    }
    let crop = row.pointer("/info/abnormal_region_crop");
    let fate = match crop
        .and_then(|crop| crop.get("box"))
        .and_then(Json::as_array)
    {
        Some(edges) => {
            let edge = |index: usize| edges.get(index).and_then(Json::as_i64).unwrap_or(0);
            format!("cropped to {}x{}", edge(2) - edge(0), edge(3) - edge(1))
        }
        None if found.is_empty() => "clean".to_string(),
        None => crop.map_or(String::new(), |crop| {
            format!("kept: {}", text(crop, "/reason"))
        }),
    };
    if !fate.is_empty() {
        found.push(fate);
    }
    found.join("\n")
}

/// One line for each filter, or why there are none.
fn verdicts(row: &Json) -> String {
    let mut lines = Vec::new();
    if text(row, "/result_info/succeed") != "true" {
        lines.push(format!(
            "FAILED in {}: {}",
            text(row, "/result_info/stage"),
            text(row, "/result_info/error")
        ));
    }
    let info = row
        .get("info")
        .and_then(Json::as_object)
        .cloned()
        .unwrap_or_default();
    for (key, entry) in &info {
        let Some(entry) = entry.as_object() else {
            continue;
        };
        let name = key.strip_suffix("_filter").unwrap_or(key);
        if let Some(said) = said(entry) {
            lines.push(format!("{name}: {said}"));
        } else if entry.contains_key("0") {
            lines.push(format!("{name}: {}", segments(entry)));
        }
    }
    lines.join("\n")
}

/// `label 0.93`, or the label and its reasons.
fn said(entry: &Map<String, Json>) -> Option<String> {
    let label = entry.get("label")?.as_str()?;
    let reasons: Vec<_> = entry
        .get("reasons")
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    Some(match entry.get("prob").and_then(Json::as_f64) {
        Some(prob) => format!("{label} {prob:.2}"),
        None if reasons.is_empty() => label.to_string(),
        None => format!("{label} ({})", reasons.join("; ")),
    })
}

/// How many windows have which label: `5 pass, 2 reject`.
fn segments(entry: &Map<String, Json>) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for window in entry.values().filter_map(Json::as_object) {
        let label = window
            .values()
            .filter_map(Json::as_object)
            .find_map(|said| said.get("label")?.as_str());
        let label = label.unwrap_or("no verdict");
        match counts.iter_mut().find(|(known, _)| known == label) {
            Some((_, count)) => *count += 1,
            None => counts.push((label.to_string(), 1)),
        }
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(label, count)| format!("{count} {label}"))
        .collect();
    format!("{} of {} windows", counts.join(", "), entry.len())
}
