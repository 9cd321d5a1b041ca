//! `reverse`: the same frames, last one first.

use std::sync::Arc;

use clipsieve_engine::operator::{
    BuildContext, Call, Executor, Finding, Operator, OperatorError, OperatorSpec, Outcome, Planner,
    Ports, Setting, Signature, Transform, Value, Wish,
};
use serde_json::Value as Json;

use crate::demand::ClipWish;
use crate::kinds::{CLIP, CLIPS, Clips};
use crate::media::Clip;

/// The `reverse` operator.
pub const REVERSE: OperatorSpec = OperatorSpec {
    name: "reverse",
    summary: "turns the order of a clip's frames round",
    doc: "\
For the reversed-frame check: a filter that is sure of a clip forwards should be as sure of it backwards, and footage that \
was played backwards looks natural only when it is turned round again. Costs nothing: the frames are shared, only their \
order changes. The spans of windows stay as they are.",
    example: "reversed: { op: reverse, from: segments }",
    ports: Ports::Fixed(&[
        Signature {
            inputs: &[CLIP],
            output: Some(CLIP),
        },
        Signature {
            inputs: &[CLIPS],
            output: Some(CLIPS),
        },
    ]),
    params: &[],
    executor: Executor::Cpu,
    concurrency: 0,
    check: None,
    demand: Some(demand),
    planner: Planner::NONE,
    build,
};

fn demand(_: &Setting<'_>, wishes: &[Wish]) -> Result<Option<Json>, Finding> {
    let wish = ClipWish::common(wishes)?;
    Ok((!wish.is_empty()).then(|| serde_json::to_value(wish).unwrap_or_default()))
}

fn build(_: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    Ok(Operator::Transform(Box::new(Reverse)))
}

struct Reverse;

impl Transform for Reverse {
    fn apply(&self, _: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        if inputs[0].is::<Clip>() {
            return Ok(Outcome::value(inputs[0].get::<Clip>()?.reversed()));
        }
        let Clips(clips) = inputs[0].get()?;
        Ok(Outcome::value(Clips(Arc::new(
            clips.iter().map(Clip::reversed).collect(),
        ))))
    }
}
