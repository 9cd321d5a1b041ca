//! The plan as the run takes it: nodes, edges and all that stands on them. Part of the place pass.

use std::collections::BTreeMap;

use petgraph::graph::DiGraph;

use crate::operator::Cost;
use crate::plan::{Limits, Part, Plan, Stage, StageIndex, Tap, Threads};

use super::draft::{Draft, Resources};
use super::place::Placed;
use super::share::renames;
use super::stage::StageDraft;

/// The plan of a draft without errors; `placed` says how its stages run.
pub(super) fn assemble(
    draft: &Draft<'_>,
    limits: Limits,
    threads: Threads,
    mut placed: Vec<Option<Placed>>,
) -> Option<Plan> {
    let mut graph: DiGraph<Stage, usize> = DiGraph::new();
    let mut nodes: Vec<Option<StageIndex>> = vec![None; draft.stages.len()];
    let mut order = Vec::new();
    let resources = draft.used_resources();
    for index in draft.order() {
        let stage = &draft.stages[index];
        if stage.seat.node != index {
            continue;
        }
        let Placed {
            placement,
            retry,
            timeout,
        } = placed[index].take()?;
        let node_of = |from: usize| nodes[draft.stages[from].seat.node];
        let inputs = draft.inputs_on(index);
        let inputs = inputs.filter_map(|from| Some((node_of(from)?, tap(draft, from))));
        let (inputs, taps): (Vec<StageIndex>, Vec<Tap>) = inputs.unzip();
        let parts = parts(draft, index, &resources)?;
        let node = graph.add_node(Stage {
            id: stage.key.text.clone(),
            spec: stage.spec?,
            params: stage.params.clone()?,
            inputs: inputs.clone(),
            taps,
            input_kinds: stage.input_kinds.clone()?,
            output: stage.output,
            placement,
            retry,
            timeout,
            demand: stage.demand.clone(),
            wishes: stage.wishes.clone(),
            aliases: aliases(draft, &stage.parts[0]),
            cost: cost(stage, &resources, &parts),
            parts,
            common: stage.common.clone(),
        });
        for (port, input) in inputs.into_iter().enumerate() {
            graph.add_edge(input, node, port);
        }
        nodes[index] = Some(node);
        order.push(node);
    }
    Some(Plan {
        name: draft.file.name.as_ref()?.text()?.to_string(),
        graph,
        order,
        written_from: written_from(draft),
        limits,
        processes: draft.options.processes.max(1),
        workers: draft.options.workers.max(1),
        threads,
        models: resources.models,
        stores: resources.stores,
    })
}

/// What each stage that is on takes from, as written.
fn written_from(draft: &Draft<'_>) -> BTreeMap<String, Vec<String>> {
    let all = draft.order().into_iter().map(|index| {
        let inputs = draft.inputs_on(index).map(|from| draft.id(from));
        (draft.id(index), inputs.collect())
    });
    all.collect()
}

/// The ids of equal stages but the first, which stands for them.
fn aliases(draft: &Draft<'_>, equal: &[usize]) -> Vec<String> {
    equal.iter().skip(1).map(|stage| draft.id(*stage)).collect()
}

/// The stages that a node does the work of, if they differ; nothing if they do not.
fn parts(draft: &Draft<'_>, node: usize, resources: &Resources) -> Option<Vec<Part>> {
    let part = |equal: &Vec<usize>| {
        let stage = &draft.stages[equal[0]];
        Some(Part {
            id: stage.key.text.clone(),
            params: stage.params.clone()?,
            wishes: stage.wishes.clone(),
            aliases: aliases(draft, equal),
            cost: cost(stage, resources, &[]),
        })
    };
    let parts = &draft.stages[node].parts;
    let differ = parts.iter().filter(|_| parts.len() > 1);
    differ.map(part).collect()
}

/// What a stage costs, or what its parts cost if they have the common work done once.
fn cost(stage: &StageDraft, resources: &Resources, parts: &[Part]) -> Option<Cost> {
    let hook = stage.spec?.planner.cost?;
    let mut cost = hook(&stage.setting(resources)?)?;
    for other in parts.iter().skip(1).filter_map(|part| part.cost) {
        cost.flop += other.flop.saturating_sub(other.common_flop);
        cost.weight_bytes += other.weight_bytes.saturating_sub(other.common_weight_bytes);
    }
    Some(cost)
}

/// How a stage is taken from, by whatever node its work is done.
fn tap(draft: &Draft<'_>, from: usize) -> Tap {
    let seat = draft.stages[from].seat;
    let has_parts = draft.stages[seat.node].parts.len() > 1;
    Tap {
        id: draft.id(from),
        part: has_parts.then_some(seat.part),
        renames: renames(draft, from),
    }
}
