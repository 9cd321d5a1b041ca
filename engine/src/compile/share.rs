//! **share**: what several stages would do alike is done once.
//!
//! Before: demands are settled. After: each stage that is on has a *seat*: the node that does its work and, if the node
//! answers for several different stages, which part of the answer is its own.
//!
//! * Stages that are *equal* (operator, parameters, settings, demand, and inputs, seat for seat) have one seat; the first in the
//!   plan's order stands for all of them.
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
        let stage = &mut draft.stages[*index];
        stage.seat = Seat {
            node: *index,
            part: 0,
        };
        stage.parts = vec![vec![*index]];
    }
    identities(draft, &order);
    let mut nodes: Vec<usize> = Vec::new();
    for index in order {
        if !is_shared(draft, index) {
            continue;
        }
        match nodes.iter().find_map(|node| seat(draft, *node, index)) {
            Some(seat) => sit(draft, seat, index),
            None => nodes.push(index),
        }
    }
}

/// Gives a stage this seat.
fn sit(draft: &mut Draft<'_>, seat: Seat, index: usize) {
    draft.stages[index].seat = seat;
    let parts = &mut draft.stages[seat.node].parts;
    let Some(equal) = parts.get_mut(seat.part) else {
        parts.push(vec![index]);
        return;
    };
    let first = equal[0];
    equal.push(index);
    let wishes = draft.stages[index].wishes.clone();
    draft.stages[first].wishes.extend(wishes);
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
    let own = stage.setting_values.params.opt_bool("share");
    let mut others = draft.stages.iter();
    let is_split = stage.rest_of.is_some() || others.any(|other| other.rest_of == Some(index));
    own.unwrap_or(draft.share) && !stage.is_source() && !stage.is_sink() && !is_split
}

/// The seat that a stage can take in a node: beside equal ones, or as a new part behind all others.
fn seat(draft: &Draft<'_>, node: usize, index: usize) -> Option<Seat> {
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
    let equal = first.parts.iter().position(|equal| {
        let other = &draft.stages[equal[0]];
        other.params == stage.params && (serves_each || is_asked_alike(other, stage))
    });
    let new = first.parts.len();
    let new = (stage.common.is_some() && first.common == stage.common).then_some(new);
    Some(Seat {
        node,
        part: equal.or(new)?,
    })
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
        draft
            .inputs_on(index)
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
