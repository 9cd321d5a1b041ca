//! What the samplers share: their parameters, and how they settle what they give.

use clipsieve_engine::operator::{
    BuildContext, Fallback, Finding, OperatorError, ParamSpec, ParamType, Params, Wish,
};
use clipsieve_models::MAX_FRAMES;

use crate::demand::{ClipWish, FitDemand, SampleDemand, SpanDemand};

/// Frames a clip, if neither the file nor a model says.
const FRAMES: u32 = 48;
/// Side of a frame in pixels, if neither the file nor a model says.
const SIZE: u32 = 256;

/// Parameter `frames` of a sampler.
pub const FRAMES_PARAM: ParamSpec = ParamSpec {
    name: "frames",
    ty: ParamType::Int {
        min: 1,
        max: MAX_FRAMES as i64,
    },
    fallback: Fallback::Absent,
    unit: Some("frames"),
    doc: "Frames a clip, spread evenly over the span; a span with fewer repeats some. Default: what the models behind it want, else 48.",
};
/// Parameter `size` of a sampler.
pub const SIZE_PARAM: ParamSpec = ParamSpec {
    name: "size",
    ty: ParamType::Int { min: 16, max: 2048 },
    fallback: Fallback::Absent,
    unit: Some("px"),
    doc: "Side of the square frame. Default: what the models behind it want, else 256.",
};
/// Parameter `resize_short` of a sampler.
pub const RESIZE_SHORT_PARAM: ParamSpec = ParamSpec {
    name: "resize_short",
    ty: ParamType::Int { min: 16, max: 4096 },
    fallback: Fallback::Absent,
    unit: Some("px"),
    doc: "Length of the short side before the centre crop of `fit: crop`. Default: what the models behind it want, else `size`.",
};
/// Parameter `fit` of a sampler.
pub const FIT_PARAM: ParamSpec = ParamSpec {
    name: "fit",
    ty: ParamType::Choice(&["crop", "letterbox", "whole", "middle"]),
    fallback: Fallback::Is("crop"),
    unit: None,
    doc: "`crop` resizes the short side (bilinear, antialiased) and cuts out the centre; `letterbox` keeps the whole frame and pads it with grey. For `measure` alone, which takes frames of any shape: `whole` brings the long side of the whole frame down to `size`, `middle` cuts up to `size` pixels each way out of the centre and resizes nothing.",
};

/// What is wrong with a sampler's parameters, whatever stands behind it.
pub fn check(params: &Params) -> Vec<Finding> {
    let fit = params.text("fit");
    let idle = params.opt_int("resize_short").filter(|_| fit != "crop");
    let found = idle.map(|_| {
        Finding::param(
            "resize_short",
            format!("means nothing for `fit: {fit}`, which cuts no square out of a resized frame"),
        )
        .with_help("leave it out, or take `fit: crop`")
    });
    found.into_iter().collect()
}

/// What a sampler asks of `decode`: its own parameters first, then what its consumers want, then the defaults.
///
/// # Errors
/// A finding if a parameter contradicts a model, or two models contradict each other.
pub fn settle(params: &Params, span: SpanDemand, wishes: &[Wish]) -> Result<SampleDemand, Finding> {
    let wish = ClipWish::common(wishes)?;
    let given = |name| params.opt_int(name).map(|value| value as u32);
    if let (Some(given), Some(wanted)) = (given("size"), wish.size)
        && given != wanted
    {
        let by = wishes
            .iter()
            .find(|wish| wish.wanted.get("size").is_some())
            .map_or("", |wish| &wish.stage);
        return Err(Finding::param(
            "size",
            format!("is {given} px, but stage `{by}` takes frames of {wanted} px"),
        )
        .with_help(format!("leave `size` out, or write {wanted}")));
    }
    let size = given("size").or(wish.size).unwrap_or(SIZE);
    let named = match params.text("fit") {
        "letterbox" => Some(FitDemand::Letterbox),
        "whole" => Some(FitDemand::Whole),
        "middle" => Some(FitDemand::Middle),
        _ => None,
    };
    if let (Some(FitDemand::Whole | FitDemand::Middle), Some(_)) = (named, wish.size) {
        return Err(Finding::param(
            "fit",
            format!(
                "gives frames that are not square, and a model behind it takes {size} x {size}"
            ),
        )
        .with_help(
            "give `measure` a sampler of its own; frames that both need are still decoded once",
        ));
    }
    let fit = if let Some(named) = named {
        named
    } else {
        let short = given("resize_short").or(wish.resize_short).unwrap_or(size);
        if short < size {
            return Err(Finding::param(
                "resize_short",
                format!("is {short} px, shorter than the {size} px that are cut out of it"),
            )
            .with_help(format!("use {size} or more")));
        }
        FitDemand::ResizeShort(short)
    };
    Ok(SampleDemand {
        span,
        frames: given("frames").or(wish.frames).unwrap_or(FRAMES),
        size,
        fit,
    })
}

/// The name under which the decoder brings what this sampler asked for.
///
/// # Errors
/// `Internal` if the stage was compiled without a demand.
pub fn demand_key(context: &BuildContext<'_>) -> Result<String, OperatorError> {
    let demand = context
        .demand
        .ok_or_else(|| OperatorError::internal("a sampler was compiled without a demand"))?;
    Ok(SampleDemand::from_json(demand)
        .map_err(OperatorError::internal)?
        .key())
}
