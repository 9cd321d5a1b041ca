//! **keys**: no two stages write the same key of one row.
//!
//! Before: stages that are left out are marked. After: of the stages that one gatherer takes from, no two that are on say
//! they write the same key; each pair that does is reported.

use crate::operator::{RowKey, Setting};
use crate::pipeline::{Code, Diagnostic, quoted};

use super::draft::{Draft, Resources};

pub(super) fn keys(draft: &mut Draft<'_>) {
    let resources = draft.resources();
    let mut found = Vec::new();
    for gatherer in &draft.stages {
        if gatherer.off.is_some() || !gatherer.spec.is_some_and(|spec| spec.is_gather()) {
            continue;
        }
        let mut seen: Vec<(RowKey, usize)> = Vec::new();
        for index in gatherer.inputs.iter().filter_map(|input| input.stage) {
            let Some(own) = row_key(draft, index, &resources) else {
                continue;
            };
            match seen.iter().find(|(other, _)| other.key == own.key) {
                Some((_, first)) => found.push(collision(draft, *first, index, &own)),
                None => seen.push((own, index)),
            }
        }
    }
    // Two gatherers of the same stages have the same to say.
    for found in found {
        if !draft.diagnostics.contains(&found) {
            draft.report(found);
        }
    }
}

fn row_key(draft: &Draft<'_>, index: usize, resources: &Resources) -> Option<RowKey> {
    let mut at = index;
    // A way that is longer goes in a circle, which is reported elsewhere.
    for _ in 0..draft.stages.len() {
        let stage = &draft.stages[at];
        let setting: Setting<'_> = stage.setting(resources).filter(|_| stage.off.is_none())?;
        let planner = &stage.spec?.planner;
        if let Some(key) = planner.row_key.and_then(|row_key| row_key(&setting)) {
            // A parameter of another stage is not this one's to change, unless it has the same.
            let own = draft.stages[index].spec?.params;
            let param = key
                .param
                .filter(|name| own.iter().any(|param| param.name == *name));
            return Some(RowKey { param, ..key });
        }
        at = stage.inputs.get(planner.row_key_of_input?)?.stage?;
    }
    None
}

fn collision(draft: &Draft<'_>, first: usize, second: usize, key: &RowKey) -> Diagnostic {
    let other = &draft.stages[first].key;
    let message = format!(
        "writes {} of the row, and so does {} (line {})",
        quoted(&key.key),
        quoted(&other.text),
        other.location.line
    );
    let (path, at) = draft.stages[second].place_of(key.param);
    let help = key.param.map_or_else(
        || {
            "give the stage that it has the key from another one, or leave one of them out"
                .to_owned()
        },
        |param| format!("give one of them another {}", quoted(param)),
    );
    Diagnostic::error(Code::DuplicateRowKey, path, at, message).with_help(Some(help))
}
