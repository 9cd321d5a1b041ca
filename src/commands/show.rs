//! `clipsieve show`: result rows as a table for people.

use std::io;

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Map, Value as Json};

use super::results::Results;
use super::{Exit, output};
use crate::cli::Show;
use crate::words::{self, counted};

/// Runs the command.
///
/// # Errors
/// Trouble with stdout.
pub fn run(arguments: &Show) -> io::Result<Exit> {
    let table = match table(arguments) {
        Ok(table) => table,
        Err(error) => {
            output::tell(&format!("error: {error}"));
            return Ok(Exit::Usage);
        }
    };
    output::print(&format!("{table}\n"))?;
    Ok(Exit::Done)
}

fn table(arguments: &Show) -> Result<Table, String> {
    let mut table = Table::new();
    table
        .load_preset(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(columns) = words::piped_columns() {
        table.set_width(columns);
    }
    table.set_header(["video", "frame", "verdicts"]);
    let is_wanted = |row: &Json| !arguments.failed || has_failed(row);
    let rows = Results::open(&arguments.rows)?
        .map(|row| row.map(Json::Object))
        .filter(|row| row.as_ref().map_or(true, is_wanted));
    for row in rows.take(arguments.limit.unwrap_or(usize::MAX)) {
        let row = row?;
        table.add_row([text(&row, "/video_id"), frame(&row), verdicts(&row)]);
    }
    Ok(table)
}

fn has_failed(row: &Json) -> bool {
    text(row, "/result_info/succeed") != "true"
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
    if has_failed(row) {
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
    format!(
        "{} of {}",
        counts.join(", "),
        counted(entry.len(), "window")
    )
}
