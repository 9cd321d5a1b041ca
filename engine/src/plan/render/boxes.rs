//! A view as boxes and arrows: what `dot` and `mermaid` write down, each in its own way.

use petgraph::visit::EdgeRef;

use super::text_logical::notes as logical_notes;
use super::text_physical::{notes as physical_notes, resource_lines, runs_on, totals};
use crate::operator::units::{counted, format_duration};
use crate::operator::{Executor, OperatorSpec};
use crate::plan::{LogicalGraph, LogicalStage, Plan, Stage};

/// How a box is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// A source or a sink.
    End,
    /// Work that waits.
    Io,
    /// Work that computes.
    Cpu,
    /// Work on a device.
    Device,
    /// Switched off.
    Off,
    /// Something is wrong with it.
    Broken,
    /// It is named and does not exist.
    Missing,
}

/// A box: its name and what it does stand in the first two lines.
pub(super) struct Node {
    pub lines: Vec<String>,
    pub look: Look,
}

pub(super) struct Arrow {
    pub from: usize,
    pub to: usize,
    pub label: String,
    /// Whether what flows on it crosses workers.
    pub is_exchange: bool,
    /// Whether nothing flows on it.
    pub is_off: bool,
}

pub(super) struct Picture {
    pub title: Vec<String>,
    pub nodes: Vec<Node>,
    pub arrows: Vec<Arrow>,
}

pub(super) fn logical(graph: &LogicalGraph) -> Picture {
    let mut picture = Picture {
        title: vec![format!("{} (logical view)", graph.name)],
        nodes: Vec::new(),
        arrows: Vec::new(),
    };
    picture.title.extend(graph.description.clone());
    for stage in &graph.stages {
        let mut lines = vec![stage.id.clone(), stage.op.clone()];
        lines.extend(logical_notes(stage));
        picture.nodes.push(Node {
            lines,
            look: logical_look(stage),
        });
    }
    let missing = graph.missing();
    for name in &missing {
        picture.nodes.push(Node {
            lines: vec![name.to_string(), "no such stage".to_string()],
            look: Look::Missing,
        });
    }
    for (to, stage) in graph.stages.iter().enumerate() {
        for input in &stage.inputs {
            let ghost = || missing.iter().position(|name| *name == input.name);
            let Some(from) = input.stage.or_else(|| Some(graph.stages.len() + ghost()?)) else {
                continue;
            };
            let is_off = |index: usize| graph.stages.get(index).is_some_and(|s| s.off.is_some());
            picture.arrows.push(Arrow {
                from,
                to,
                label: graph.kind(input).map_or("?", |kind| kind.0).to_string(),
                is_exchange: false,
                is_off: is_off(from) || is_off(to),
            });
        }
    }
    picture
}

fn logical_look(stage: &LogicalStage) -> Look {
    match stage.spec {
        _ if stage.has_errors() => Look::Broken,
        _ if stage.off.is_some() => Look::Off,
        Some(spec) => look(spec),
        None => Look::Broken,
    }
}

fn look(spec: &OperatorSpec) -> Look {
    match spec.executor {
        _ if spec.is_source() || spec.is_sink() => Look::End,
        Executor::Io => Look::Io,
        Executor::Cpu => Look::Cpu,
        Executor::Device => Look::Device,
    }
}

pub(super) fn physical(plan: &Plan) -> Picture {
    let mut title = vec![format!("{} (physical view)", plan.name)];
    title.extend(
        totals(plan)
            .into_iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    title.extend(resource_lines(plan));
    let arrows = plan.order.iter().flat_map(|index| plan.graph.edges(*index));
    let arrows = arrows.filter_map(|edge| {
        let (from, to) = (&plan.graph[edge.source()], &plan.graph[edge.target()]);
        let is_exchange = from.spec.is_source() || to.spec.is_sink();
        let exchange = match (from.spec.is_source(), to.spec.is_sink()) {
            (true, _) => " by credits",
            (_, true) => " in parts",
            _ => "",
        };
        Some(Arrow {
            from: plan.rank(edge.source())?,
            to: plan.rank(edge.target())?,
            label: format!("{}{exchange}", from.output.map_or("?", |kind| kind.0)),
            is_exchange,
            is_off: false,
        })
    });
    let mut arrows: Vec<Arrow> = arrows.collect();
    arrows.sort_by_key(|arrow| (arrow.to, arrow.from));
    Picture {
        title,
        nodes: plan
            .stages()
            .map(|stage| physical_node(plan, stage))
            .collect(),
        arrows,
    }
}

fn physical_node(plan: &Plan, stage: &Stage) -> Node {
    let mut lines = vec![stage.id.clone(), stage.spec.name.to_string()];
    if stage.spec.is_source() || stage.spec.is_sink() {
        lines.push(runs_on(stage));
    } else {
        lines.push(format!(
            "{}, {} at once, {} each",
            runs_on(stage),
            stage.placement.concurrency,
            counted(stage.placement.threads, "thread")
        ));
        lines.push(format!(
            "{}, timeout {}",
            counted(stage.retry.attempts as usize, "attempt"),
            format_duration(stage.timeout)
        ));
    }
    lines.extend(physical_notes(plan, stage));
    Node {
        lines,
        look: look(stage.spec),
    }
}
