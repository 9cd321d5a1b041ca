//! **shape**: the wiring is sound.
//!
//! Before: operators are known where they can be. After: every input is tied to a stage or reported; there is one source
//! and a sink, no cycle, no stage whose answers reach no sink.
//!
//! That a source reaches every stage needs no check of its own: without a cycle, each stage's inputs lead back to a stage
//! without inputs, and that is the source or was reported for having none. So it is with a stage whose way to a sink ends:
//! only the last one of the way is reported.

use std::collections::VecDeque;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use crate::operator::OperatorSpec;
use crate::pipeline::{Code, Diagnostic, quoted};

use super::draft::Draft;
use super::stage::{InputDraft, StageDraft};

pub(super) fn shape(draft: &mut Draft<'_>) {
    for index in 0..draft.stages.len() {
        inputs(draft, index);
    }
    for index in 0..draft.stages.len() {
        ends(draft, index);
    }
    sources(draft);
    sinks(draft);
    cycles(draft);
}

/// Ties `from` to stages.
fn inputs(draft: &mut Draft<'_>, index: usize) {
    let from = std::mem::take(&mut draft.stages[index].from);
    let is_list = from.len() > 1;
    for (position, node) in from.iter().enumerate() {
        let Some(name) = node.text() else {
            draft.stages[index].from_is_sound = false;
            continue;
        };
        let path = match is_list {
            true => draft.stages[index].path(&format!("from[{position}]")),
            false => draft.stages[index].path("from"),
        };
        if draft.stages[index]
            .inputs
            .iter()
            .any(|input| node.label() == Some(&input.name))
        {
            let message = format!("{} stands twice in `from`", node.shown());
            draft.report(Diagnostic::error(
                Code::DuplicateInput,
                path,
                node.location,
                message,
            ));
            draft.stages[index].from_is_sound = false;
            continue;
        }
        let stage = draft.stages.iter().position(|stage| stage.key.text == name);
        if stage.is_none() {
            let others = draft
                .stages
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index);
            let known: Vec<&str> = others.map(|(_, other)| other.key.text.as_str()).collect();
            let help = draft.suggestion(name, known);
            let message = format!("the pipeline has no stage {}", node.shown());
            let found = Diagnostic::error(Code::UnknownInput, &*path, node.location, message);
            draft.report(found.with_help(help));
        }
        draft.stages[index].inputs.push(InputDraft {
            name: node.label().unwrap_or_default().to_string(),
            location: node.location,
            path,
            stage,
        });
    }
}

/// Whether a stage may take at all, and takes only from stages that give.
fn ends(draft: &mut Draft<'_>, index: usize) {
    let stage = &draft.stages[index];
    let mut found = Vec::new();
    if let Some(spec) = stage.spec {
        let (at, op) = (stage.key.location, quoted(spec.name));
        if spec.is_source()
            && let Some(input) = stage.inputs.first()
        {
            let message = format!("{op} is a source and takes from no stage");
            let path = stage.path("from");
            found.push(Diagnostic::error(
                Code::SourceWithInput,
                path,
                input.location,
                message,
            ));
        }
        if !spec.is_source() && stage.inputs.is_empty() && stage.from_is_sound {
            let message = format!("{op} needs an input, and no `from` is given");
            found.push(Diagnostic::error(
                Code::MissingInput,
                stage.path("from"),
                at,
                message,
            ));
        }
    }
    for input in &stage.inputs {
        if input.stage.is_some_and(|from| draft.stages[from].is_sink()) {
            let message = format!(
                "{} is a sink and gives nothing to take",
                quoted(&input.name)
            );
            let path = &*input.path;
            found.push(Diagnostic::error(
                Code::TakesFromSink,
                path,
                input.location,
                message,
            ));
        }
    }
    draft.diagnostics.extend(found);
}

fn sources(draft: &mut Draft<'_>) {
    let sources: Vec<usize> = (0..draft.stages.len())
        .filter(|index| draft.stages[*index].is_source())
        .collect();
    match sources.as_slice() {
        // A stage whose operator is not known may be the source.
        [] if draft.stages.iter().all(|stage| stage.spec.is_some()) => {
            let known = known(draft, OperatorSpec::is_source);
            report_stages(draft, Code::SourceCount, "no stage is a source", &known);
        }
        [] | [_] => {}
        [first, others @ ..] => {
            let first = &draft.stages[*first].key;
            let message = format!(
                "a second source beside {} at {}; a pipeline has one",
                quoted(&first.text),
                first.location
            );
            let found: Vec<_> = others
                .iter()
                .map(|index| {
                    let (path, at) = draft.stages[*index].place_of(None);
                    Diagnostic::error(Code::SourceCount, path, at, message.clone())
                })
                .collect();
            draft.diagnostics.extend(found);
        }
    }
}

fn sinks(draft: &mut Draft<'_>) {
    if draft.stages.iter().any(|stage| stage.spec.is_none()) {
        return;
    }
    if !draft.stages.iter().any(|stage| stage.is_sink()) {
        let known = known(draft, OperatorSpec::is_sink);
        report_stages(draft, Code::NoSink, "no stage is a sink", &known);
        return;
    }
    // What a misspelt input was meant to be is taken from, though it does not look so.
    let is_open = |stage: &StageDraft| {
        !stage.from_is_sound || stage.inputs.iter().any(|input| input.stage.is_none())
    };
    if draft.stages.iter().any(is_open) {
        return;
    }
    let ends: Vec<usize> = (0..draft.stages.len())
        .filter(|index| !draft.stages[*index].is_sink())
        .filter(|index| draft.consumers(*index).next().is_none())
        .collect();
    for index in ends {
        let (path, at) = draft.stages[index].place_of(None);
        let message = "no stage takes from it, so what it gives reaches no sink";
        draft.report(Diagnostic::error(Code::DeadEnd, path, at, message));
    }
}

fn known(draft: &Draft<'_>, is_meant: fn(&OperatorSpec) -> bool) -> Vec<&'static str> {
    let specs = draft.options.registry.iter();
    specs
        .filter(|spec| is_meant(spec))
        .map(|spec| spec.name)
        .collect()
}

/// Reports something that the stages lack. A file without stages was reported as that.
fn report_stages(draft: &mut Draft<'_>, code: Code, message: &str, known: &[&str]) {
    if draft.stages.is_empty() {
        return;
    }
    let found = Diagnostic::error(code, "stages", draft.file.stages_at, message);
    let help = (!known.is_empty()).then(|| format!("add one of {}", known.join(", ")));
    draft.report(found.with_help(help));
}

/// Reports each knot of cycles once, by its shortest cycle through its first stage.
fn cycles(draft: &mut Draft<'_>) {
    let mut graph: DiGraph<(), ()> = DiGraph::new();
    let nodes: Vec<NodeIndex> = draft.stages.iter().map(|_| graph.add_node(())).collect();
    for (index, stage) in draft.stages.iter().enumerate() {
        // A source that takes and a sink that is taken from were reported; what they close is no cycle of its own.
        let inputs = stage.inputs.iter().filter(|_| !stage.is_source());
        for from in inputs.filter_map(|input| input.stage) {
            if !draft.stages[from].is_sink() {
                graph.add_edge(nodes[from], nodes[index], ());
            }
        }
    }
    for knot in tarjan_scc(&graph) {
        let Some(first) = knot.iter().min().copied() else {
            continue;
        };
        if knot.len() == 1 && !graph.contains_edge(first, first) {
            continue;
        }
        let cycle = shortest_cycle(&graph, first);
        let name = |node: &NodeIndex| draft.stages[node.index()].key.text.as_str();
        let path = cycle.iter().map(name).collect::<Vec<_>>().join(" -> ");
        // The stage before the last of the path is the one that the first takes from.
        let from = cycle.get(cycle.len().saturating_sub(2)).copied();
        let stage = &draft.stages[first.index()];
        let input = stage
            .inputs
            .iter()
            .find(|input| input.stage == from.map(NodeIndex::index));
        let at = input.map_or(stage.key.location, |input| input.location);
        let message = format!("a cycle: {path}");
        let found = Diagnostic::error(Code::Cycle, stage.path("from"), at, message);
        draft.report(found);
    }
}

/// From a node that lies on a cycle along the edges back to itself, by the fewest steps.
fn shortest_cycle(graph: &DiGraph<(), ()>, start: NodeIndex) -> Vec<NodeIndex> {
    let mut reached_from = vec![None; graph.node_count()];
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        let mut next: Vec<NodeIndex> = graph.neighbors(node).collect();
        next.sort();
        for next in next {
            if next == start {
                let mut cycle = vec![start, node];
                let mut at = node;
                while let Some(before) = reached_from[at.index()] {
                    cycle.push(before);
                    at = before;
                }
                if node == start {
                    return vec![start, start];
                }
                cycle.reverse();
                return cycle;
            }
            if reached_from[next.index()].is_none() {
                reached_from[next.index()] = Some(node);
                queue.push_back(next);
            }
        }
    }
    vec![start]
}
