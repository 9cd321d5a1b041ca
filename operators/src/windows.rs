//! `windows`: frames spread evenly over each sliding window.

use std::sync::Arc;

use clipsieve_engine::operator::{
    BuildContext, Call, Executor, Fallback, Finding, Operator, OperatorError, OperatorSpec,
    Outcome, ParamSpec, ParamType, Params, Planner, Ports, Setting, Signature, Transform, Value,
    Wish,
};
use serde_json::Value as Json;

use crate::demand::SpanDemand;
use crate::kinds::{CLIPS, Clips, Decoded, FRAMES};
use crate::sampling::{
    self, FIT_PARAM, FRAMES_PARAM, RESIZE_SHORT_PARAM, SIZE_PARAM, demand_key, settle,
};

/// The `windows` operator.
pub const WINDOWS: OperatorSpec = OperatorSpec {
    name: "windows",
    summary: "takes N frames spread evenly over each sliding window",
    doc: "\
Windows of length L and stride S are [kS, min(kS + L, D)) for k = 0, 1, … over a video of duration D, and stop with the \
first that reaches D. A frame belongs to every window that holds its presentation time; each window's frames are chosen as \
`sample` chooses them from the whole video. Windows that overlap share their frames.",
    example: "segments: { op: windows, from: decoded, with: { length: 4s, stride: 3s } }",
    ports: Ports::Fixed(&[Signature {
        inputs: &[FRAMES],
        output: Some(CLIPS),
    }]),
    params: &[
        ParamSpec {
            name: "length",
            ty: ParamType::Duration,
            fallback: Fallback::Is("4s"),
            unit: None,
            doc: "Length of a window, 100ms or more.",
        },
        ParamSpec {
            name: "stride",
            ty: ParamType::Duration,
            fallback: Fallback::Is("3s"),
            unit: None,
            doc: "From the start of one window to the start of the next, 100ms or more.",
        },
        FRAMES_PARAM,
        SIZE_PARAM,
        RESIZE_SHORT_PARAM,
        FIT_PARAM,
    ],
    executor: Executor::Cpu,
    concurrency: 0,
    check: Some(check),
    demand: Some(demand),
    planner: Planner::NONE,
    build,
};

/// Shortest window and stride, in seconds: shorter ones would only multiply windows that hold the same frame.
const SHORTEST_SECONDS: f64 = 0.1;

fn span(params: &Params) -> SpanDemand {
    SpanDemand::Windows {
        length_seconds: params.duration("length").as_secs_f64(),
        stride_seconds: params.duration("stride").as_secs_f64(),
    }
}

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    ["length", "stride"]
        .into_iter()
        .filter(|name| setting.params.duration(name).as_secs_f64() < SHORTEST_SECONDS)
        .map(|name| Finding::param(name, format!("is shorter than {SHORTEST_SECONDS} s")))
        .chain(sampling::check(setting.params))
        .collect()
}

fn demand(setting: &Setting<'_>, wishes: &[Wish]) -> Result<Option<Json>, Finding> {
    Ok(Some(
        settle(setting.params, span(setting.params), wishes)?.to_json(),
    ))
}

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    Ok(Operator::Transform(Box::new(Windows {
        key: demand_key(context)?,
    })))
}

struct Windows {
    key: String,
}

impl Transform for Windows {
    fn apply(&self, _: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let decoded: &Decoded = inputs[0].get()?;
        Ok(Outcome::value(Clips(Arc::clone(
            decoded.clips_of(&self.key)?,
        ))))
    }
}
