//! Operators for people at a terminal of 80 columns.

use std::fmt::Write;

use clipsieve_engine::operator::{Fallback, OperatorSpec, Registry};

use super::{runs_on, ways};
use crate::words::{COLUMNS, wrapped};

/// All of them, a line each.
pub fn list(registry: &Registry) -> String {
    let names = registry.iter().map(|spec| spec.name.len());
    let width = names.max().unwrap_or(0);
    let mut text = String::new();
    for spec in registry.iter() {
        let name = format!("{:width$}  ", spec.name);
        text.push_str(&wrapped(spec.summary, COLUMNS, &name, width + 2));
    }
    text.push_str("\n`clipsieve operators NAME` explains one.\n");
    text
}

/// Everything about one.
pub fn page(spec: &OperatorSpec) -> String {
    let mut text = wrapped(spec.summary, COLUMNS, &format!("{}: ", spec.name), 0);
    text.push('\n');
    for paragraph in spec.doc.split("\n\n") {
        if paragraph.starts_with('|') {
            text.push_str(&table(paragraph));
        } else {
            text.push_str(&indented(paragraph, 0));
        }
        text.push('\n');
    }
    text.push_str("Ports\n");
    for way in ways(spec, str::to_string) {
        text.push_str(&wrapped(&way, COLUMNS, "  ", 6));
    }
    let _ = write!(text, "\nRuns on\n  {}\n", runs_on(spec).replace('`', ""));
    if !spec.params.is_empty() {
        text.push_str("\nParameters (with:)\n");
        for param in spec.params {
            let unit = param
                .unit
                .map_or(String::new(), |unit| format!(" ({unit})"));
            let fallback = match param.fallback {
                Fallback::Required => "; required".to_string(),
                Fallback::Absent => String::new(),
                Fallback::Is(value) => format!("; default {value}"),
            };
            let kind = format!("{}: {}{unit}{fallback}", param.name, param.ty);
            text.push_str(&indented(&kind, 2));
            text.push_str(&indented(param.doc, 6));
        }
    }
    let _ = write!(text, "\nExample\n  {}\n", spec.example);
    text
}

/// A Markdown table as a list: the first column, and the others below it.
fn table(markdown: &str) -> String {
    let rows = markdown.lines().filter(|line| !line.contains("|--"));
    let mut text = String::new();
    for row in rows.skip(1) {
        let cells = row.trim().trim_matches('|').split('|').map(str::trim);
        let cells: Vec<&str> = cells.collect();
        text.push_str(&indented(&cells[0].replace('`', ""), 2));
        text.push_str(&indented(&cells[1..].join("; "), 6));
    }
    text
}

fn indented(paragraph: &str, indent: usize) -> String {
    wrapped(paragraph, COLUMNS, &" ".repeat(indent), indent)
}
