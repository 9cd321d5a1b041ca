//! **prune**: what is switched off goes.
//!
//! Before: the wiring and the kinds are known. After: `off` says of each stage that is left out why. A stage goes when its
//! `when` is false, when an input that it needs goes, or when nothing that takes from it is left; one that gathers only
//! loses the input. The kinds of the inputs that are left stand in `input_kinds`.

use crate::pipeline::{Code, Diagnostic, quoted};

use super::draft::Draft;

pub(super) fn prune(draft: &mut Draft<'_>) {
    for stage in draft.stages.iter_mut().filter(|stage| !stage.switched_on) {
        stage.off = Some("`when` is false".to_string());
    }
    forwards(draft);
    if draft.stages.iter().any(|stage| stage.is_sink())
        && draft
            .stages
            .iter()
            .all(|stage| !stage.is_sink() || stage.off.is_some())
    {
        let message = "every sink is switched off, so no row would be written";
        let at = draft.file.stages_at;
        draft.report(Diagnostic::error(Code::NothingLeft, "stages", at, message));
    } else if !draft.has_errors() {
        // In a file with errors, a stage may be taken from though it does not look so.
        backwards(draft);
    }
    drop_kinds(draft);
}

/// Stages whose needed input goes.
fn forwards(draft: &mut Draft<'_>) {
    // In file order a consumer may come before its input: go over them until nothing changes.
    while let Some((index, why)) = (0..draft.stages.len()).find_map(|index| {
        let stage = &draft.stages[index];
        let gathers = stage.spec.is_some_and(|spec| spec.is_gather());
        if stage.off.is_some() || gathers {
            return None;
        }
        let mut inputs = stage.inputs.iter();
        let lost = inputs.find(|input| is_off(draft, input.stage))?;
        Some((
            index,
            format!("takes from {}, which is off", quoted(&lost.name)),
        ))
    }) {
        draft.stages[index].off = Some(why);
    }
    let mut found = Vec::new();
    for stage in draft.stages.iter().filter(|stage| stage.off.is_none()) {
        let all_lost = !stage.inputs.is_empty()
            && stage.from_is_sound
            && stage.inputs.iter().all(|input| is_off(draft, input.stage));
        if all_lost {
            let names: Vec<String> = stage
                .inputs
                .iter()
                .map(|input| quoted(&input.name))
                .collect();
            let message = format!(
                "all stages it gathers from are switched off: {}",
                names.join(", ")
            );
            let at = stage.key.location;
            let lost = Diagnostic::error(Code::LostInputs, stage.path("from"), at, message);
            let help = "keep one stage in `from` that is always on".to_string();
            found.push(lost.with_help(help));
        }
    }
    draft.diagnostics.extend(found);
}

/// Stages that only fed what has gone.
fn backwards(draft: &mut Draft<'_>) {
    while let Some(index) = (0..draft.stages.len()).find(|index| {
        let stage = &draft.stages[*index];
        stage.off.is_none()
            && !stage.is_sink()
            && draft
                .consumers(*index)
                .all(|consumer| draft.stages[consumer].off.is_some())
    }) {
        draft.stages[index].off = Some("only stages that are off take from it".to_string());
    }
}

fn drop_kinds(draft: &mut Draft<'_>) {
    for index in 0..draft.stages.len() {
        let stage = &draft.stages[index];
        if stage.off.is_some() {
            continue;
        }
        let kept: Vec<bool> = stage
            .inputs
            .iter()
            .map(|input| !is_off(draft, input.stage))
            .collect();
        if let Some(kinds) = &mut draft.stages[index].input_kinds {
            let mut kept = kept.iter();
            kinds.retain(|_| kept.next().copied().unwrap_or(true));
        }
    }
}

fn is_off(draft: &Draft<'_>, stage: Option<usize>) -> bool {
    stage.is_some_and(|stage| draft.stages[stage].off.is_some())
}
