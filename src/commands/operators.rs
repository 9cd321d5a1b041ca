//! `clipsieve operators`: what a pipeline can be made of.

use std::fmt::Write;
use std::io;

use clipsieve_engine::operator::{Fallback, OperatorSpec, ParamSpec, ParamType, Ports, Registry};

use super::{Exit, output};
use crate::cli::{Operators, OperatorsFormat};

/// Runs the command.
///
/// # Errors
/// Trouble with stdout.
pub fn run(arguments: &Operators, registry: &Registry) -> io::Result<Exit> {
    let text = match (&arguments.name, arguments.format) {
        (None, OperatorsFormat::Text) => list(registry),
        (None, OperatorsFormat::Markdown) => markdown(registry),
        (Some(name), _) => match registry.get(name) {
            Some(spec) => explain(spec),
            None => {
                let known: Vec<_> = registry.iter().map(|spec| spec.name).collect();
                output::tell(&format!(
                    "error: no operator is called `{name}`; there are {}",
                    known.join(", ")
                ));
                return Ok(Exit::Usage);
            }
        },
    };
    output::print(&text)?;
    Ok(Exit::Done)
}

fn list(registry: &Registry) -> String {
    let width = registry
        .iter()
        .map(|spec| spec.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for spec in registry.iter() {
        let _ = writeln!(text, "{:width$}  {}", spec.name, spec.summary);
    }
    text.push_str("\n`clipsieve operators NAME` explains one.\n");
    text
}

/// The operator table of the docs.
fn markdown(registry: &Registry) -> String {
    let mut text = String::from("| operator | takes → gives | what it does |\n|---|---|---|\n");
    for spec in registry.iter() {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            spec.name,
            ports(spec).join("<br>"),
            spec.summary
        );
    }
    text
}

fn explain(spec: &OperatorSpec) -> String {
    let mut text = format!("{}: {}\n\n", spec.name, spec.summary);
    for paragraph in spec.doc.split("\n\n") {
        if paragraph.starts_with('|') {
            text.push_str(&table(paragraph));
        } else {
            text.push_str(&wrapped(paragraph, 80, ""));
        }
        text.push('\n');
    }
    text.push_str("Ports\n");
    for way in ports(spec) {
        let _ = writeln!(text, "  {way}");
    }
    if !spec.params.is_empty() {
        text.push_str("\nParameters (with:)\n");
        for param in spec.params {
            let kind = format!(
                "{}: {}{}",
                param.name,
                type_name(&param.ty, param.unit),
                fallback(param)
            );
            text.push_str(&wrapped(&kind, 80, "  "));
            text.push_str(&wrapped(param.doc, 80, "      "));
        }
    }
    let _ = write!(text, "\nExample\n  {}\n", spec.example);
    text
}

/// `video, regions → video`, one line for each way in which the operator may be wired.
fn ports(spec: &OperatorSpec) -> Vec<String> {
    match &spec.ports {
        Ports::Fixed(ways) => ways
            .iter()
            .map(|way| {
                let inputs: Vec<_> = way.inputs.iter().map(ToString::to_string).collect();
                let output = way
                    .output
                    .map_or("rows out".to_string(), |kind| kind.to_string());
                let inputs = if inputs.is_empty() {
                    "rows in".to_string()
                } else {
                    inputs.join(", ")
                };
                format!("{inputs} → {output}")
            })
            .collect(),
        Ports::Gather { accepts, output } => {
            let kinds: Vec<_> = accepts.iter().map(ToString::to_string).collect();
            vec![format!("one or more of {} → {output}", kinds.join(", "))]
        }
    }
}

fn type_name(ty: &ParamType, unit: Option<&str>) -> String {
    let unit = unit.map(|unit| format!(" {unit}")).unwrap_or_default();
    match ty {
        ParamType::Bool => "true or false".to_string(),
        ParamType::Int { min, max } => format!("whole number, {min} to {max}{unit}"),
        ParamType::Float { min, max } => format!("number, {min} to {max}{unit}"),
        ParamType::Text => "text".to_string(),
        ParamType::Choice(words) => words.join(" | "),
        ParamType::Duration => "duration, such as 4s or 20m".to_string(),
        ParamType::Bytes => "bytes, such as 512MB".to_string(),
        ParamType::Uri => "path or URI".to_string(),
        ParamType::Model => "name under `models:`".to_string(),
        ParamType::Store => "name under `stores:`".to_string(),
        ParamType::List(inner) => format!("list of ({})", type_name(inner, None)),
    }
}

fn fallback(param: &ParamSpec) -> String {
    match param.fallback {
        Fallback::Required => "; required".to_string(),
        Fallback::Absent => String::new(),
        Fallback::Is(value) => format!("; default {value}"),
    }
}

/// A Markdown table as a list: the first column, and the others below it.
fn table(markdown: &str) -> String {
    let rows = markdown.lines().filter(|line| !line.contains("|--"));
    let mut text = String::new();
    for row in rows.skip(1) {
        let cells: Vec<&str> = row
            .trim()
            .trim_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        let _ = writeln!(text, "  {}", cells[0].trim_matches('`'));
        text.push_str(&wrapped(&cells[1..].join("; "), 80, "      "));
    }
    text
}

/// A paragraph in lines of at most `width` characters, each after `indent`.
fn wrapped(paragraph: &str, width: usize, indent: &str) -> String {
    let mut text = String::new();
    let mut line = String::from(indent);
    for word in paragraph.split_whitespace() {
        if line.trim().is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() > width {
            text.push_str(&line);
            text.push('\n');
            line = format!("{indent}{word}");
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    text.push_str(&line);
    text.push('\n');
    text
}
