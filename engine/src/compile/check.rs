//! **check**: operators look at their stages themselves.
//!
//! Before: parameters and kinds are known where they are sound. After: what an operator's `check` finds is reported, for
//! stages whose parameters and kinds are known; also for those that will be switched off.

use crate::operator::Finding;
use crate::pipeline::{Code, Diagnostic};

use super::draft::Draft;

pub(super) fn check(draft: &mut Draft<'_>) {
    let resources = draft.resources();
    for index in 0..draft.stages.len() {
        let Some(check) = draft.stages[index].spec.and_then(|spec| spec.check) else {
            continue;
        };
        let findings = draft.stages[index]
            .setting(&resources)
            .map(|setting| check(&setting));
        for finding in findings.into_iter().flatten() {
            let found = diagnostic(draft, index, Code::Refused, finding);
            draft.report(found);
        }
    }
}

/// What an operator finds, as a diagnostic of its stage.
pub(super) fn diagnostic(
    draft: &Draft<'_>,
    index: usize,
    code: Code,
    finding: Finding,
) -> Diagnostic {
    let (path, at) = draft.stages[index].place_of(finding.param.as_deref());
    let help = finding.help.map(|help| draft.redact(&help));
    Diagnostic::error(code, path, at, draft.redact(&finding.message)).with_help(help)
}
