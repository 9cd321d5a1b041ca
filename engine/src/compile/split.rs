//! **split**: work that ends behind another stage.
//!
//! Before: demands are settled. After: a stage whose consumer does a part of its work for it ([`Continuation`]) has become two: itself,
//! and one with the id `{stage}.{operator}` that takes its answer and that consumer's, and does the rest. Whoever puts
//! answers together takes the rest's answer instead; everybody else takes the stage's own, which is there earlier.
//!
//! The graph to look at stays as it was written; the plan shows both.
//!
//! [`Continuation`]: crate::operator::Continuation

use crate::operator::{OperatorSpec, PortKind};
use crate::pipeline::Key;

use super::draft::Draft;
use super::stage::{InputDraft, StageDraft};

pub(super) fn split(draft: &mut Draft<'_>) {
    let resources = draft.resources();
    for index in draft.order() {
        let stage = &draft.stages[index];
        let Some((spec, setting)) = stage.spec.zip(stage.setting(&resources)) else {
            continue;
        };
        let continuation = draft.options.registry.continuation_of(spec.name);
        let Some((by, id)) =
            continuation.and_then(|rest| Some((rest.by, (rest.behind)(&setting, &stage.wishes)?)))
        else {
            continue;
        };
        let behind = draft
            .consumers(index)
            .find(|consumer| draft.stages[*consumer].key.text == id);
        if let Some(behind) = behind {
            put_behind(draft, index, by, behind);
        }
    }
}

fn put_behind(draft: &mut Draft<'_>, index: usize, by: &'static OperatorSpec, behind: usize) {
    let rest = draft.stages.len();
    let gatherers: Vec<usize> = draft
        .consumers(index)
        .filter(|consumer| {
            draft.stages[*consumer]
                .spec
                .is_some_and(OperatorSpec::is_gather)
        })
        .collect();
    let stage = &draft.stages[index];
    let kinds: Option<Vec<PortKind>> = [stage, &draft.stages[behind]]
        .into_iter()
        .map(|stage| stage.output)
        .collect();
    let input = |from: usize| InputDraft {
        name: draft.stages[from].key.text.clone(),
        location: stage.key.location,
        path: stage.path(""),
        stage: Some(from),
    };
    let made = StageDraft {
        spec: Some(by),
        params: stage.params.clone(),
        setting_values: stage.setting_values.clone(),
        retry_values: stage.retry_values.clone(),
        inputs: vec![input(index), input(behind)],
        input_kinds: kinds,
        output: stage.output,
        rest_of: Some(index),
        ..StageDraft::new(Key {
            text: format!("{}.{}", stage.key.text, by.name),
            location: stage.key.location,
        })
    };
    draft.stages.push(made);
    for consumer in gatherers {
        for input in &mut draft.stages[consumer].inputs {
            if input.stage == Some(index) {
                input.stage = Some(rest);
            }
        }
    }
}
