//! **demand**: what stages ask of those before them.
//!
//! Before: stages that are left out are marked. After: each stage that is left and sound holds what it asks of its inputs
//! (`demand`) and what its consumers ask of it (`wishes`, in the order of the file). A stage behind which something is
//! unsound, or nothing at all, is not asked: what would reach it is not known.

use crate::operator::Wish;
use crate::pipeline::Code;

use super::check::diagnostic;
use super::draft::Draft;

pub(super) fn demand(draft: &mut Draft<'_>) {
    let resources = draft.resources();
    let mut is_settled = vec![false; draft.stages.len()];
    for index in draft.order().into_iter().rev() {
        let consumers: Vec<usize> = draft
            .consumers(index)
            .filter(|consumer| draft.stages[*consumer].off.is_none())
            .collect();
        // That nothing takes from it has been told: it is a dead end, or who would take from it misspelt it.
        let is_open = consumers.is_empty() && !draft.stages[index].is_sink();
        if is_open || !consumers.iter().all(|consumer| is_settled[*consumer]) {
            continue;
        }
        let wishes: Vec<Wish> = consumers
            .into_iter()
            .filter_map(|consumer| {
                let consumer = &draft.stages[consumer];
                Some(Wish {
                    stage: consumer.key.text.clone(),
                    wanted: consumer.demand.clone()?,
                })
            })
            .collect();
        let stage = &draft.stages[index];
        let Some((spec, setting)) = stage.spec.zip(stage.setting(&resources)) else {
            continue;
        };
        let demand = spec
            .demand
            .map_or(Ok(None), |demand| demand(&setting, &wishes));
        match demand {
            Ok(demand) => {
                is_settled[index] = true;
                draft.stages[index].demand = demand;
                draft.stages[index].wishes = wishes;
            }
            Err(finding) => {
                let found = diagnostic(draft, index, Code::Unmeetable, finding);
                draft.report(found);
            }
        }
    }
}
