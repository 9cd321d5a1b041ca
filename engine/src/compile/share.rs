//! **share**: what several stages would do alike is done once.
//!
//! Before: demands are settled. After: each stage that is on has a *seat*: the node that does its work and, if the node
//! answers for several different stages, which part of the answer is its own.
//!
//! * Stages that are *equal* (operator, parameters, settings, demand, and inputs, seat for seat) have one seat: the first in the
//!   plan's order does the work, the others are its aliases.
//! * Stages that differ, but whose operator says that they have *work in common* ([`Common`]), take parts of one node, if
//!   they have the same inputs, settings and demand.
//!
//! Sources and sinks act on the world outside and are never shared; stages that gather are equal only if they take from the
//! very same stages, because their answers tell the stages' ids. A stage that is split keeps to the consumer it was split
//! for. `share: false` keeps a stage out, or all of them.

use std::collections::BTreeSet;

use crate::operator::Setting;
use crate::pipeline::Code;

use super::check::diagnostic;
use super::draft::Draft;
use super::stage::{Seat, StageDraft};

pub(super) fn share(draft: &mut Draft<'_>) {
    if draft.has_errors() {
        return;
    }
    let order = draft.order();
    for index in &order {
        draft.stages[*index].seat = Seat {
            node: *index,
            part: 0,
        };
    }
    identities(draft, &order);
    let mut nodes: Vec<usize> = Vec::new();
    for index in order {
        if !is_shared(draft, index) {
            continue;
        }
        match nodes.iter().find_map(|node| seat(draft, *node, index)) {
            Some((seat, is_new)) => {
                let node = &mut draft.stages[seat.node];
                if is_new {
                    node.parts.push(index);
                }
                let head = node.parts.get(seat.part).copied().unwrap_or(seat.node);
                draft.stages[index].seat = seat;
                if !is_new {
                    let wishes = draft.stages[index].wishes.clone();
                    let head = &mut draft.stages[head];
                    head.aliases.push(index);
                    head.wishes.extend(wishes);
                }
            }
            None => {
                draft.stages[index].parts = vec![index];
                nodes.push(index);
            }
        }
    }
}

/// Asks operators what their stages have in common with others.
fn identities(draft: &mut Draft<'_>, order: &[usize]) {
    let resources = draft.resources();
    for index in order {
        let stage = &draft.stages[*index];
        let common = stage.spec.and_then(|spec| spec.planner.common);
        let setting: Option<Setting<'_>> = stage.setting(&resources);
        let (Some(common), Some(setting), true) = (common, setting, is_shared(draft, *index))
        else {
            continue;
        };
        match (common.identity)(&setting) {
            Ok(identity) => draft.stages[*index].common = identity,
            Err(finding) => {
                let found = diagnostic(draft, *index, Code::Refused, finding);
                draft.report(found);
            }
        }
    }
}

fn is_shared(draft: &Draft<'_>, index: usize) -> bool {
    let stage = &draft.stages[index];
    let values = stage.setting_values.as_ref();
    let own = values.and_then(|values| values.opt_bool("share"));
    let mut others = draft.stages.iter();
    let is_split = stage.rest_of.is_some() || others.any(|other| other.rest_of == Some(index));
    own.unwrap_or(draft.share) && !stage.is_source() && !stage.is_sink() && !is_split
}

/// The seat that a stage can take in a node, and whether it is a new part of it.
fn seat(draft: &Draft<'_>, node: usize, index: usize) -> Option<(Seat, bool)> {
    let (first, stage) = (&draft.stages[node], &draft.stages[index]);
    let is_alike = first.spec.map(|spec| spec.name) == stage.spec.map(|spec| spec.name)
        && first.setting_values == stage.setting_values
        && first.retry_values == stage.retry_values
        && first.input_kinds == stage.input_kinds
        && first.demand == stage.demand
        && has_same_inputs(draft, node, index);
    if !is_alike {
        return None;
    }
    let serves_each = stage.spec.is_some_and(|spec| spec.planner.serves_each);
    let equal = first.parts.iter().position(|part| {
        let part = &draft.stages[*part];
        part.params == stage.params && (serves_each || is_asked_alike(part, stage))
    });
    if let Some(part) = equal {
        return Some((Seat { node, part }, false));
    }
    let part = first.parts.len();
    (stage.common.is_some() && first.common == stage.common).then_some((Seat { node, part }, true))
}

/// Whether two stages are asked for the same things, by whomever.
fn is_asked_alike(one: &StageDraft, other: &StageDraft) -> bool {
    let wanted = |stage: &StageDraft| {
        let wanted = stage.wishes.iter().map(|wish| wish.wanted.to_string());
        wanted.collect::<BTreeSet<_>>()
    };
    wanted(one) == wanted(other)
}

fn has_same_inputs(draft: &Draft<'_>, one: usize, other: usize) -> bool {
    let gathers = draft.stages[one].spec.is_some_and(|spec| spec.is_gather());
    let seats = |index: usize| -> Vec<(Seat, Option<usize>)> {
        let inputs = draft.stages[index].inputs.iter();
        let inputs = inputs.filter_map(|input| input.stage);
        inputs
            .filter(|input| draft.stages[*input].off.is_none())
            .map(|input| (draft.stages[input].seat, gathers.then_some(input)))
            .collect()
    };
    seats(one) == seats(other)
}

/// How failures are to be called at a place of the file that takes from `written`, whose work is done by `done`: the ids
/// of the nodes that really failed, and the ids the file has for them here.
pub(super) fn renames(draft: &Draft<'_>, written: usize) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut open = vec![(draft.stages[written].seat.node, written)];
    while let Some((done, written)) = open.pop() {
        if done == written {
            continue;
        }
        let (from, to) = (
            &draft.stages[done].key.text,
            &draft.stages[written].key.text,
        );
        // The first port that leads to a node gives it its name, as the first port that failed is the one that is told.
        if pairs.iter().any(|(known, _)| known == from) {
            continue;
        }
        pairs.push((from.clone(), to.clone()));
        let inputs = |index: usize| {
            let inputs = draft.stages[index].inputs.iter();
            inputs.filter_map(|input| input.stage)
        };
        let both: Vec<_> = inputs(done).zip(inputs(written)).collect();
        open.extend(both.into_iter().rev());
    }
    pairs
}
