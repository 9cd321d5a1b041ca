//! `decode`: one pass over a video that brings every frame its samplers ask for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use clipsieve_engine::operator::{
    BuildContext, Call, ErrorKind, Executor, Finding, Operator, OperatorError, OperatorSpec,
    Outcome, Planner, Ports, Setting, Signature, Transform, Value, Wish,
};
use serde_json::Value as Json;
use tempfile::TempPath;

use crate::crop_upload::crop_file;
use crate::demand::{FitDemand, PassOffer, SampleDemand};
use crate::kinds::{CropOrder, Decoded, FRAMES, VIDEO, Video};
use crate::media::{
    self, CropJob, DecodeOptions, Request, decode_and_crop, decode_with, encoder_footprint_bytes,
    footprint_bytes,
};
use crate::videos::{SEEK_PARAM, decode_options, interrupt_of};

/// The `decode` operator.
pub const DECODE: OperatorSpec = OperatorSpec {
    name: "decode",
    summary: "decodes a video once, for all samplers behind it",
    doc: "\
Goes over the video in presentation order and keeps only the frames that the samplers behind it need, each converted once \
to the size they want: it never holds a decoded video. Rotation and sample aspect ratio are applied, and a crop before it \
is seen as if the video had that size.

A crop that a `crop_upload` stage before it wants in a store is encoded in the same pass; every frame is decoded then.

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
    planner: Planner {
        serves_each: true,
        item_bytes: Some(item_bytes),
        ..Planner::NONE
    },
    build,
};

/// The frames of a video that has as many as are asked for, one window of them. Equal sizes are shared between samplers.
fn item_bytes(_: &Setting<'_>, wishes: &[Wish]) -> u64 {
    let mut by_size: HashMap<String, u64> = HashMap::new();
    let demands = wishes
        .iter()
        .filter_map(|wish| SampleDemand::from_json(&wish.wanted).ok());
    for demand in demands {
        // What is not square depends on the video.
        let known = matches!(demand.fit, FitDemand::ResizeShort(_) | FitDemand::Letterbox);
        let bytes = match known {
            true => u64::from(demand.frames) * u64::from(demand.size).pow(2) * 3,
            false => 0,
        };
        let most = by_size
            .entry(format!("{:?} {}", demand.fit, demand.size))
            .or_default();
        *most = bytes.max(*most);
    }
    by_size.values().sum()
}

fn demand(_: &Setting<'_>, wishes: &[Wish]) -> Result<Option<Json>, Finding> {
    if wishes.is_empty() {
        return Err(Finding::stage("no stage takes its frames")
            .with_help("let a `sample` or `windows` stage take from it, or remove it"));
    }
    Ok(Some(
        PassOffer {
            encodes_crops: true,
        }
        .to_json(),
    ))
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
        stage: context.setting.stage.to_string(),
        keys,
        requests,
        options: decode_options(context),
        scratch: context.scratch.to_path_buf(),
    })))
}

struct Decode {
    stage: String,
    keys: Vec<String>,
    requests: Vec<Request>,
    options: DecodeOptions,
    scratch: PathBuf,
}

impl Decode {
    /// The crop that this stage is to encode.
    fn order<'a>(&self, video: &'a Video) -> Option<&'a CropOrder> {
        video
            .order
            .as_deref()
            .filter(|order| order.by == self.stage)
    }

    /// Decodes, and encodes the crop on the way.
    fn decode(
        &self,
        call: &Call,
        video: &Video,
    ) -> Result<(media::Decoded, Option<TempPath>), OperatorError> {
        let (view, interrupt) = (video.view, interrupt_of(&call.deadline));
        let Some(order) = self.order(video) else {
            let decoded = decode_with(
                &video.medium,
                view,
                &self.requests,
                &self.options,
                &interrupt,
            )?;
            return Ok((decoded, None));
        };
        let file = crop_file(&self.scratch, &order.key)?;
        let job = CropJob {
            rect: order.rect,
            out: file.to_path_buf(),
            options: order.options.clone(),
        };
        let (decoded, _) = decode_and_crop(
            &video.medium,
            view,
            &self.requests,
            &self.options,
            &job,
            &interrupt,
        )?;
        Ok((decoded, Some(file)))
    }
}

impl Transform for Decode {
    fn footprint_bytes(&self, call: &Call, inputs: &[Value]) -> Result<u64, OperatorError> {
        let video: &Video = inputs[0].get()?;
        let interrupt = interrupt_of(&call.deadline);
        let frames = footprint_bytes(
            &video.medium,
            &self.requests,
            self.options.threads,
            &interrupt,
        )?;
        let encoder = self
            .order(video)
            .map_or(0, |order| encoder_footprint_bytes(order.rect));
        Ok(frames.saturating_add(encoder))
    }

    fn apply(&self, call: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let video: &Video = inputs[0].get()?;
        let (decoded, crop) = self.decode(call, video)?;
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
            crop: crop.map(Arc::new),
        }))
    }
}
