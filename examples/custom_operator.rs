//! An operator of one's own, in a program of one's own that has the whole command line:
//!
//! ```sh
//! cargo run --release --example custom_operator -- run examples/colourful.yaml --set input=examples/clips
//! ```
//!
//! `colourful` judges how much colour a clip has. It is one constant, and one line in `main`.

use std::process::ExitCode;

use clipsieve_engine::operator::{
    BuildContext, Call, Executor, Fallback, Operator, OperatorError, OperatorSpec, Outcome,
    ParamSpec, ParamType, Planner, Ports, Signature, Transform, Value,
};
use clipsieve_operators::kinds::{CLIP, VERDICT, Verdict};
use clipsieve_operators::media::Clip;
use serde_json::json;

fn main() -> ExitCode {
    clipsieve::main(&clipsieve_operators::registry().with(&COLOURFUL))
}

/// The operator: what a person and the compiler ask of it.
static COLOURFUL: OperatorSpec = OperatorSpec {
    name: "colourful",
    summary: "judges how much colour a clip has",
    doc: "The mean distance between a pixel's largest and smallest channel, over all frames, 0 to 255.",
    example: "colour: { op: colourful, from: clip, with: { at_least: 12 } }",
    ports: Ports::Fixed(&[Signature {
        inputs: &[CLIP],
        output: Some(VERDICT),
    }]),
    params: &[ParamSpec {
        name: "at_least",
        ty: ParamType::Float {
            min: 0.0,
            max: 255.0,
        },
        fallback: Fallback::Is("12"),
        unit: Some("grey levels"),
        doc: "A clip with less is called grey.",
    }],
    executor: Executor::Cpu,
    concurrency: 0,
    check: None,
    demand: None,
    planner: Planner::NONE,
    build,
};

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    Ok(Operator::Transform(Box::new(Colourful {
        at_least: context.setting.params.float("at_least"),
    })))
}

struct Colourful {
    at_least: f64,
}

impl Transform for Colourful {
    fn apply(&self, _: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let clip: &Clip = inputs[0].get()?;
        let (mut sum, mut pixels) = (0u64, 0u64);
        for frame in &clip.frames {
            for pixel in frame.rows() {
                let (low, high) = pixel.iter().fold((255u8, 0u8), |(low, high), channel| {
                    (low.min(*channel), high.max(*channel))
                });
                sum += u64::from(high - low);
                pixels += 1;
            }
        }
        let colour = sum as f64 / pixels.max(1) as f64;
        let label = if colour < self.at_least {
            "grey"
        } else {
            "colourful"
        };
        let body = json!({ "result": { "colour": colour }, "label": label });
        let body = body.as_object().cloned().unwrap_or_default();
        Ok(Outcome::value(Verdict {
            key: "colour_filter".to_string(),
            body,
        }))
    }
}
