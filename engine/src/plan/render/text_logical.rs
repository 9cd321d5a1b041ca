use super::lanes::draw;
use super::layout::{COLUMNS, column, heading, push_line, push_notes, row, wrap};
use crate::operator::units::counted;
use crate::plan::{LogicalGraph, LogicalStage};

/// Width that is kept for what a stage takes from.
const LEAST_FROM: usize = 10;

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
    stages(&mut out, graph);
    out
}

fn stages(out: &mut String, graph: &LogicalGraph) {
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
    let op_width = column(stages.iter().map(|stage| &*stage.op), 8, 24);
    let kinds: Vec<&str> = stages.iter().map(gives).collect();
    let kind_width = column(kinds.iter().copied(), 5, 10);
    let width = COLUMNS.saturating_sub(lane_width + 1);
    // The ids give way where no name of an input would fit any more.
    let id_most = width.saturating_sub(op_width + kind_width + 6 + LEAST_FROM);
    let ids = stages.iter().map(|stage| &*stage.id);
    let id_width = column(ids, 5, id_most.clamp(5, 32));
    let from_width = width.saturating_sub(id_width + op_width + kind_width + 6);
    let lines = |names: [&str; 4]| {
        let widths = [id_width, op_width, kind_width, from_width];
        let cells: Vec<(&str, usize)> = names.into_iter().zip(widths).collect();
        row(&cells, width)
    };
    if !order.is_empty() {
        let lanes = " ".repeat(lane_width);
        for line in lines(["stage", "operator", "gives", "takes from"]) {
            push_line(out, &format!("{lanes} {line}"));
        }
    }
    for (stage, lanes) in order.iter().zip(&rows) {
        let (stage, kind) = (&graph.stages[*stage], kinds[*stage]);
        let from = takes(stage);
        // Names that the last column cannot hold stand below.
        let fits = |name: &str| name.chars().count() <= from_width;
        let is_below = !from.split(' ').all(fits);
        let mut more = Vec::new();
        let mut first = String::new();
        if !is_below {
            more = wrap(&from, from_width);
            first = more.remove(0);
        }
        let mut drawn = &lanes.node;
        for line in lines([&stage.id, &stage.op, kind, &first]) {
            push_line(out, &format!("{drawn} {line}"));
            drawn = &lanes.rest;
        }
        for from in more {
            for line in lines(["", "", "", &from]) {
                push_line(out, &format!("{drawn} {line}"));
            }
        }
        let below = is_below.then(|| format!("takes from {from}"));
        push_notes(out, drawn, below.into_iter().chain(notes(stage)));
    }
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
