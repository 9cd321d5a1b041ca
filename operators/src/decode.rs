//! `decode`: one pass over a video that brings every frame its samplers ask for.

use std::sync::Arc;

use clipsieve_engine::operator::{
    BuildContext, Call, ErrorKind, Executor, Finding, Operator, OperatorError, OperatorSpec,
    Outcome, Planner, Ports, Setting, Signature, Transform, Value, Wish,
};
use serde_json::Value as Json;

use crate::demand::SampleDemand;
use crate::kinds::{Decoded, FRAMES, VIDEO, Video};
use crate::media::{DecodeOptions, Request, decode_with, footprint_bytes, probe};
use crate::videos::{SEEK_PARAM, decode_options, interrupt_of};

/// The `decode` operator.
pub const DECODE: OperatorSpec = OperatorSpec {
    name: "decode",
    summary: "decodes a video once, for all samplers behind it",
    doc: "\
Goes over the video in presentation order and keeps only the frames that the samplers behind it need, each converted once \
to the size they want: it never holds a decoded video. Rotation and sample aspect ratio are applied, and a crop before it \
is seen as if the video had that size.

Pictures that no wanted frame depends on are left undecoded where the stream leaves nothing in doubt (`seek`); \
`docs/performance.md` has the rule.

Frames are counted as they really decode; a container that promises more changes nothing. A video whose stream breaks in \
the middle counts as far as it decodes; one without any frame fails.",
    example: "decoded: { op: decode, from: fetched }",
    ports: Ports::Fixed(&[Signature { inputs: &[VIDEO], output: Some(FRAMES) }]),
    params: &[SEEK_PARAM],
    executor: Executor::Cpu,
    concurrency: 0,
    check: None,
    demand: Some(demand),
    planner: Planner::NONE,
    build,
};

fn demand(_: &Setting<'_>, wishes: &[Wish]) -> Result<Option<Json>, Finding> {
    if wishes.is_empty() {
        return Err(Finding::stage("no stage takes its frames")
            .with_help("let a `sample` or `windows` stage take from it, or remove it"));
    }
    Ok(None)
}

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let mut keys = Vec::new();
    let mut requests = Vec::new();
    for wish in context.wishes {
        let demand = SampleDemand::from_json(&wish.wanted)
            .map_err(|error| OperatorError::internal(format!("stage `{}`: {error}", wish.stage)))?;
        let key = demand.key();
        if !keys.contains(&key) {
            keys.push(key);
            requests.push(demand.request());
        }
    }
    Ok(Operator::Transform(Box::new(Decode {
        keys,
        requests,
        options: decode_options(context),
    })))
}

struct Decode {
    keys: Vec<String>,
    requests: Vec<Request>,
    options: DecodeOptions,
}

impl Transform for Decode {
    fn footprint_bytes(&self, call: &Call, inputs: &[Value]) -> Result<u64, OperatorError> {
        let video: &Video = inputs[0].get()?;
        let info = probe(&video.path, &interrupt_of(&call.deadline))?;
        Ok(footprint_bytes(&info, &self.requests))
    }

    fn apply(&self, call: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let video: &Video = inputs[0].get()?;
        let decoded = decode_with(
            &video.path,
            video.view,
            &self.requests,
            &self.options,
            &interrupt_of(&call.deadline),
        )?;
        if decoded.clips.len() != self.keys.len() {
            return Err(OperatorError::new(
                ErrorKind::Internal,
                "the decoder answered another number of requests than it was given",
            ));
        }
        Ok(Outcome::value(Decoded {
            duration_seconds: decoded.duration_seconds,
            clips: self
                .keys
                .iter()
                .cloned()
                .zip(decoded.clips.into_iter().map(Arc::new))
                .collect(),
        }))
    }
}
