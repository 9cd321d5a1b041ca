use super::lanes::draw;
use super::layout::{COLUMNS, cell, column, counted, heading, push_line, wrap};
use crate::plan::{LogicalGraph, LogicalStage};

pub(super) fn render(graph: &LogicalGraph) -> String {
    let mut out = String::new();
    let name = if graph.name.is_empty() {
        "(no name)"
    } else {
        &graph.name
    };
    heading(&mut out, name, "logical view");
    for line in graph
        .description
        .iter()
        .flat_map(|text| wrap(text, COLUMNS))
    {
        push_line(&mut out, &line);
    }
    push_line(&mut out, &totals(graph));
    out.push('\n');

    let order = graph.order();
    let mut place = vec![0; order.len()];
    for (position, stage) in order.iter().enumerate() {
        place[*stage] = position;
    }
    let mut consumers = vec![Vec::new(); order.len()];
    for (index, stage) in graph.stages.iter().enumerate() {
        for from in stage.inputs.iter().filter_map(|input| input.stage) {
            consumers[place[from]].push(place[index]);
        }
    }
    let symbols: Vec<char> = order
        .iter()
        .map(|stage| symbol(&graph.stages[*stage]))
        .collect();
    let rows = draw(&consumers, &symbols);
    let lane_width = rows.first().map_or(2, |row| row.node.chars().count());
    let stages = &graph.stages;
    let id_width = column(stages.iter().map(|stage| &*stage.id), 5, 18);
    let op_width = column(stages.iter().map(|stage| &*stage.op), 8, 16);
    let kinds: Vec<&str> = stages.iter().map(gives).collect();
    let kind_width = column(kinds.iter().copied(), 5, 10);
    let line = |lanes: &str, id: &str, op: &str, kind: &str, from: &str| {
        format!(
            "{lanes} {}  {}  {}  {from}",
            cell(id, id_width),
            cell(op, op_width),
            cell(kind, kind_width)
        )
    };
    if !order.is_empty() {
        let lanes = " ".repeat(lane_width);
        push_line(
            &mut out,
            &line(&lanes, "stage", "operator", "gives", "takes from"),
        );
    }
    let from_width = COLUMNS.saturating_sub(lane_width + id_width + op_width + kind_width + 7);
    let note_width = COLUMNS.saturating_sub(lane_width + 5);
    for (stage, row) in order.iter().zip(&rows) {
        let (stage, kind) = (&graph.stages[*stage], kinds[*stage]);
        let mut from = wrap(&takes(stage), from_width).into_iter();
        let first = from.next().unwrap_or_default();
        push_line(
            &mut out,
            &line(&row.node, &stage.id, &stage.op, kind, &first),
        );
        for more in from {
            push_line(&mut out, &line(&row.rest, "", "", "", &more));
        }
        for note in notes(stage) {
            for (index, text) in wrap(&note, note_width).into_iter().enumerate() {
                let indent = if index == 0 { "  " } else { "    " };
                push_line(&mut out, &format!("{} {indent}{text}", row.rest));
            }
        }
    }
    out
}

fn totals(graph: &LogicalGraph) -> String {
    let mut parts = vec![counted(graph.stages.len(), "stage")];
    let off = graph.off().count();
    if off > 0 {
        parts.push(format!("{off} off (○)"));
    }
    let broken = graph
        .stages
        .iter()
        .filter(|stage| stage.has_errors())
        .count();
    if broken > 0 {
        parts.push(format!("{broken} with errors (✗)"));
    }
    parts.join(", ")
}

fn symbol(stage: &LogicalStage) -> char {
    match (stage.has_errors(), &stage.off) {
        (true, _) => '✗',
        (false, Some(_)) => '○',
        (false, None) => '●',
    }
}

/// The kind a stage gives: nothing for a sink, `?` if it is not known.
fn gives(stage: &LogicalStage) -> &'static str {
    match stage.output {
        Some(kind) => kind.0,
        None if stage.spec.is_some_and(|spec| spec.is_sink()) => "",
        None => "?",
    }
}

fn takes(stage: &LogicalStage) -> String {
    let names = stage.inputs.iter().map(|input| match input.stage {
        Some(_) => input.name.clone(),
        None => format!("{}(?)", input.name),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// What else there is to say of a stage: why it is off, what is wrong with it.
pub(super) fn notes(stage: &LogicalStage) -> Vec<String> {
    let off = stage.off.iter().map(|why| format!("off: {why}"));
    let found = stage.diagnostics.iter().map(|found| {
        let at = found
            .location
            .map(|at| format!("{at} "))
            .unwrap_or_default();
        let help = found
            .help
            .as_ref()
            .map(|help| format!(" ({help})"))
            .unwrap_or_default();
        format!(
            "{at}{}[{}] {}{help}",
            found.severity, found.code, found.message
        )
    });
    off.chain(found).collect()
}
