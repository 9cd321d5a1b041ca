//! Operators for the docs: `docs/operators.md` and the README are made of these.

use std::fmt::Write;

use clipsieve_engine::operator::{Fallback, OperatorSpec, Registry};

use super::{runs_on, ways};

/// All of them, a row each.
pub fn table(registry: &Registry) -> String {
    let mut text = String::from("| operator | takes → gives | what it does |\n|---|---|---|\n");
    for spec in registry.iter() {
        let ways = ways(spec, str::to_string).join("<br>");
        let _ = writeln!(text, "| `{}` | {ways} | {} |", spec.name, spec.summary);
    }
    text
}

/// Everything about one, as a section of a page.
pub fn section(spec: &OperatorSpec) -> String {
    let mut text = format!(
        "## {}\n\n{}\n\n```yaml\n{}\n```\n\n",
        spec.name, spec.doc, spec.example
    );
    let ways = ways(spec, |kind| format!("`{kind}`")).join("; or ");
    let ways = ways.replace("rows in →", "input rows →");
    let ways = ways.replace("→ rows out", "→ result rows");
    let _ = writeln!(text, "**Takes → gives**: {ways}.\n");
    let _ = writeln!(text, "**Runs on**: {}.", runs_on(spec));
    if spec.params.is_empty() {
        text.push_str("\nIt has no parameters.\n");
        return text;
    }
    text.push_str("\n| parameter | value | default | what it does |\n|---|---|---|---|\n");
    for param in spec.params {
        let unit = param
            .unit
            .map_or(String::new(), |unit| format!(" ({unit})"));
        let default = match param.fallback {
            Fallback::Required => "**required**".to_string(),
            Fallback::Absent => "none".to_string(),
            Fallback::Is(value) => format!("`{value}`"),
        };
        let doc = param.doc.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| `{}` | {}{unit} | {default} | {doc} |",
            param.name, param.ty
        );
    }
    text
}
