//! `sample`: frames spread evenly over the whole video.

use clipsieve_engine::operator::{
    BuildContext, Call, Executor, Finding, Operator, OperatorError, OperatorSpec, Outcome, Planner,
    Ports, Setting, Signature, Transform, Value, Wish,
};
use serde_json::Value as Json;

use crate::demand::SpanDemand;
use crate::kinds::{CLIP, Decoded, FRAMES};
use crate::sampling::{
    FIT_PARAM, FRAMES_PARAM, RESIZE_SHORT_PARAM, SIZE_PARAM, check, demand_key, settle,
};

/// The `sample` operator.
pub const SAMPLE: OperatorSpec = OperatorSpec {
    name: "sample",
    summary: "takes N frames spread evenly over the whole video",
    doc: "\
Frame indices are floor(linspace(0, n-1, N)) over the n frames of the video that really decode, in presentation order. A \
video with fewer than N frames repeats some.

Frames come as 8-bit RGB at the wanted size; a model normalises them on its device. What the file leaves open is taken from \
the models behind the stage, so that a pipeline names the model and nothing else.",
    example: "clip: { op: sample, from: decoded, with: { frames: 48, size: 256 } }",
    ports: Ports::Fixed(&[Signature { inputs: &[FRAMES], output: Some(CLIP) }]),
    params: &[FRAMES_PARAM, SIZE_PARAM, RESIZE_SHORT_PARAM, FIT_PARAM],
    executor: Executor::Cpu,
    concurrency: 0,
    check: Some(|setting| check(setting.params)),
    demand: Some(demand),
    planner: Planner::NONE,
    build,
};

fn demand(setting: &Setting<'_>, wishes: &[Wish]) -> Result<Option<Json>, Finding> {
    Ok(Some(
        settle(setting.params, SpanDemand::Video, wishes)?.to_json(),
    ))
}

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    Ok(Operator::Transform(Box::new(Sample {
        key: demand_key(context)?,
    })))
}

struct Sample {
    key: String,
}

impl Transform for Sample {
    fn apply(&self, _: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let decoded: &Decoded = inputs[0].get()?;
        let clip = decoded.clips_of(&self.key)?.first().cloned();
        let clip = clip.ok_or_else(|| {
            OperatorError::internal("the decoder brought no clip of the whole video")
        })?;
        Ok(Outcome::value(clip))
    }
}
