//! **fit**: one item alone has room in the run's bounds.
//!
//! Before: the plan is there. After: it is still there if `limits.memory` holds the weights that are on the CPU and the
//! frames that an ordinary item brings to the stages, as far as that can be told before any item is seen. A run without that
//! would go over all its rows only to fail each.

use crate::operator::Setting;
use crate::operator::units::format_bytes;
use crate::pipeline::{Code, Diagnostic, quoted};
use crate::plan::{Plan, Stage};

use super::draft::Draft;

pub(super) fn fit(draft: &mut Draft<'_>) {
    let Some(plan) = &draft.plan else { return };
    let stages: Vec<(&Stage, u64)> = plan
        .stages()
        .map(|stage| (stage, item_bytes(plan, stage)))
        .filter(|(_, bytes)| *bytes > 0)
        .collect();
    let frames: u64 = stages.iter().map(|(_, bytes)| bytes).sum();
    let weights = plan.weight_bytes_on_cpu();
    let needed = frames.saturating_add(weights);
    let allowed = plan.limits.memory_bytes;
    if needed <= allowed {
        return;
    }
    let holds = stages.iter().map(|(stage, bytes)| {
        format!(
            "{} of frames in {}",
            format_bytes(*bytes),
            quoted(&stage.id)
        )
    });
    let weighs = (weights > 0).then(|| format!("{} of weights on the CPU", format_bytes(weights)));
    let parts: Vec<String> = holds.chain(weighs).collect();
    let message = format!(
        "{} is less than one item takes: {}",
        format_bytes(allowed),
        parts.join(", ")
    );
    let entry = draft
        .file
        .limits
        .iter()
        .find(|entry| entry.key.text == "memory");
    let at = entry.map(|entry| entry.value.location);
    let found = Diagnostic::error(Code::BadLimit, "limits.memory".to_string(), at, message);
    let help = format!(
        "allow {} or more for each item that is to be in flight, or ask for fewer or smaller frames",
        format_bytes(needed)
    );
    draft.diagnostics.push(found.with_help(help));
    draft.plan = None;
}

fn item_bytes(plan: &Plan, stage: &Stage) -> u64 {
    let Some(hook) = stage.spec.planner.item_bytes else {
        return 0;
    };
    let setting = Setting {
        stage: &stage.id,
        params: &stage.params,
        inputs: &stage.input_kinds,
        models: &plan.models,
        stores: &plan.stores,
    };
    hook(&setting, &stage.wishes)
}
