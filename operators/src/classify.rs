//! `classify`: a model's verdict over a clip, or over each window.

use std::time::Duration;

use clipsieve_engine::operator::{
    BuildContext, Call, Executor, Fallback, Finding, Operator, OperatorError, OperatorSpec,
    Outcome, ParamSpec, ParamType, Planner, Ports, Setting, Signature, Transform, Value, Wish,
};
use clipsieve_models::{Classifier, Pool};
use ndarray::{Array3, ArrayView3};
use serde_json::{Map, Value as Json, json};

use crate::demand::ClipWish;
use crate::kinds::{CLIP, CLIPS, Clips, VERDICT, Verdict, rounded};
use crate::media::Clip;
use crate::model_files::{self, PRECISION_PARAM};

/// The `classify` operator.
pub const CLASSIFY: OperatorSpec = OperatorSpec {
    name: "classify",
    summary: "judges a clip, or each window, with a V-JEPA 2 model",
    doc: "\
Runs a video classifier (a V-JEPA 2 encoder with a linear or an attentive head) over a clip or over every window of a \
video, and writes the softmax probability of each label, the most probable label, and its probability.

A model is a folder with `config.json` and `model.safetensors`; a Hugging Face `VJEPA2ForVideoClassification` checkpoint \
works as it is. Frame size and number come from its configuration unless the sampler says otherwise. The stage owns a pool \
of instances that share one copy of the weights.",
    example: "vfx: { op: classify, from: clip, with: { model: vfx } }",
    ports: Ports::Fixed(&[
        Signature { inputs: &[CLIP], output: Some(VERDICT) },
        Signature { inputs: &[CLIPS], output: Some(VERDICT) },
    ]),
    params: &[
        ParamSpec {
            name: "model",
            ty: ParamType::Model,
            fallback: Fallback::Required,
            unit: None,
            doc: "The model, by its name under `models:`.",
        },
        ParamSpec {
            name: "key",
            ty: ParamType::Text,
            fallback: Fallback::Absent,
            unit: None,
            doc: "Key of the verdict in the row's `info`. Default: `MODEL_filter` for a clip, `seg_MODEL_filter` for windows.",
        },
        ParamSpec {
            name: "batch",
            ty: ParamType::Int { min: 1, max: 256 },
            fallback: Fallback::Is("4"),
            unit: Some("windows"),
            doc: "Windows that go through the model together.",
        },
        PRECISION_PARAM,
    ],
    executor: Executor::Device,
    concurrency: 0,
    check: Some(check),
    demand: Some(demand),
    planner: Planner::NONE,
    build,
};

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    let model = setting.params.text("model");
    model_files::check_architecture(setting, "model", model, "vjepa2")
        .into_iter()
        .collect()
}

/// The model's own geometry is what the sampler before it has to give.
fn demand(setting: &Setting<'_>, _: &[Wish]) -> Result<Option<Json>, Finding> {
    let name = setting.params.text("model");
    let Some(model) = setting.models.get(name) else {
        return Ok(None);
    };
    let number = |field: &str| {
        model
            .facts
            .get(field)
            .and_then(Json::as_u64)
            .map(|value| value as u32)
    };
    let wish = ClipWish {
        frames: number("frames"),
        size: number("size"),
        resize_short: number("resize_short"),
    };
    Ok(Some(serde_json::to_value(wish).unwrap_or_default()))
}

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let params = context.setting.params;
    let name = params.text("model");
    let inner_key = format!("{name}_filter");
    let key = params.opt_text("key").map_or_else(
        || {
            if context.setting.inputs == [CLIPS] {
                format!("seg_{inner_key}")
            } else {
                inner_key.clone()
            }
        },
        str::to_string,
    );
    let pool = model_files::pool(context, name, Classifier::load, Classifier::instance)?;
    Ok(Operator::Transform(Box::new(Classify {
        pool,
        key,
        inner_key,
        batch: params.int("batch") as usize,
        acquire_timeout: context.placement.acquire_timeout,
    })))
}

struct Classify {
    pool: Pool<Classifier>,
    key: String,
    inner_key: String,
    batch: usize,
    acquire_timeout: Duration,
}

impl Classify {
    /// What the row says of each clip: `{"result": {label: probability}, "label", "prob"}`.
    fn judge(&self, call: &Call, clips: &[Clip]) -> Result<Vec<Json>, OperatorError> {
        let patience = model_files::patience(call, self.acquire_timeout);
        let classifier = self
            .pool
            .acquire(patience)
            .map_err(model_files::pool_error)?;
        let mut said = Vec::with_capacity(clips.len());
        for batch in clips.chunks(self.batch) {
            model_files::check_deadline(call)?;
            let views: Vec<Vec<ArrayView3<'_, u8>>> = batch
                .iter()
                .map(|clip| clip.frames.iter().map(|frame| frame.view()).collect())
                .collect();
            let clips: Vec<_> = views.iter().map(Vec::as_slice).collect();
            let scores = classifier
                .scores(&clips)
                .map_err(model_files::model_error)?;
            said.extend(
                scores
                    .iter()
                    .map(|scores| verdict_of(classifier.labels(), scores)),
            );
        }
        Ok(said)
    }
}

/// The verdict on one clip from its probabilities, rounded to 1e-6.
fn verdict_of(labels: &[String], scores: &[f32]) -> Json {
    let prob = |score: f32| rounded(f64::from(score), 6);
    let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    let result: Map<String, Json> = labels
        .iter()
        .zip(scores)
        .map(|(label, score)| (label.clone(), json!(prob(*score))))
        .collect();
    json!({
        "result": result,
        "label": best.and_then(|(index, _)| labels.get(index)),
        "prob": best.map(|(_, score)| prob(*score)),
    })
}

impl Transform for Classify {
    fn warm_up(&self) -> Result<(), OperatorError> {
        let classifier = self
            .pool
            .acquire(self.acquire_timeout)
            .map_err(model_files::pool_error)?;
        let shape = classifier.preprocess();
        let frame = Array3::zeros((shape.size, shape.size, 3));
        classifier
            .scores(&[&vec![frame.view(); shape.frames]])
            .map_err(model_files::model_error)?;
        Ok(())
    }

    fn apply(&self, call: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        if inputs[0].is::<Clip>() {
            let clip: &Clip = inputs[0].get()?;
            let said = self.judge(call, std::slice::from_ref(clip))?.pop();
            let Some(Json::Object(body)) = said else {
                return Err(OperatorError::internal("the model gave no verdict"));
            };
            return Ok(Outcome::value(Verdict {
                key: self.key.clone(),
                body,
            }));
        }
        let Clips(clips) = inputs[0].get()?;
        let said = self.judge(call, clips)?;
        Ok(Outcome::value(Verdict::of_segments(
            self.key.clone(),
            &self.inner_key,
            clips.iter().zip(said),
        )))
    }
}
