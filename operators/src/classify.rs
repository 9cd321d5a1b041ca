//! `classify`: a model's verdict over a clip, or over each window.

use std::sync::Arc;
use std::time::Duration;

use clipsieve_engine::operator::{
    Batched, BuildContext, Call, Common, Cost, Executor, Fallback, Finding, Operator,
    OperatorError, OperatorSpec, Outcome, ParamSpec, ParamType, Planner, Ports, RowKey, Setting,
    Signature, Unit, Value, Wish,
};
use clipsieve_models::Precision;
use serde_json::{Map, Value as Json, json};

use crate::backbones::{self, Backbones, ClipWork, Heads, Pace, Scores};
use crate::demand::{ClipWish, RuleWish};
use crate::kinds::{CLIP, CLIPS, Clips, VERDICT, VERDICTS, Verdict, rounded};
use crate::media::Clip;
use crate::model_files::{self, PRECISION_PARAM, pool_error};

/// The `classify` operator.
pub const CLASSIFY: OperatorSpec = OperatorSpec {
    name: "classify",
    summary: "judges a clip, or each window, with a V-JEPA 2 model",
    doc: "\
Runs a video classifier (a V-JEPA 2 encoder with a linear or an attentive head) over a clip or over every window of a \
video, and writes the softmax probability of each label, the most probable label, and its probability.

A model is a folder with `config.json` and `model.safetensors`; a Hugging Face `VJEPA2ForVideoClassification` checkpoint \
works as it is. Frame size and number come from its configuration unless the sampler says otherwise.

Stages whose models have the same backbone (the same weights, wherever they lie) have it in common: its weights are in a \
process once, clips of all of them stand in one line before its instances, and a clip that several stages judge goes through \
the backbone once and then through the head of each. What a stage says is what it would say alone.",
    example: "vfx: { op: classify, from: clip, with: { model: vfx } }",
    ports: Ports::Fixed(&[
        Signature { inputs: &[CLIP], output: Some(VERDICT) },
        Signature { inputs: &[CLIPS], output: Some(VERDICTS) },
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
            unit: Some("clips"),
            doc: "Most clips that go through the model together: windows of one video first, then those of the next.",
        },
        ParamSpec {
            name: "max_wait",
            ty: ParamType::Duration,
            fallback: Fallback::Is("5ms"),
            unit: None,
            doc: "How long a clip waits for others while an instance is free, if the batch is not full. On the CPU none waits.",
        },
        PRECISION_PARAM,
        ParamSpec {
            name: "clear_cache_every",
            ty: ParamType::Int { min: 0, max: 1_000_000_000 },
            fallback: Fallback::Is("0"),
            unit: Some("clips"),
            doc: "Gives memory that was freed, and is kept for reuse, back to the machine after so many clips; 0 never does. On a GPU libtorch decides that by itself.",
        },
    ],
    executor: Executor::Device,
    concurrency: 0,
    check: Some(check),
    demand: Some(demand),
    planner: Planner {
        row_key: Some(row_key),
        cost: Some(cost),
        common: Some(Common {
            part: "head",
            pass: "backbone pass",
            identity,
            build: build_parts,
        }),
        ..Planner::NONE
    },
    build,
};

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    let model = setting.params.text("model");
    model_files::check_architecture(setting, "model", model, "vjepa2")
        .into_iter()
        .collect()
}

/// The model's own geometry is what the sampler before it has to give.
fn demand(setting: &Setting<'_>, wishes: &[Wish]) -> Result<Option<Json>, Finding> {
    let name = setting.params.text("model");
    let Some(model) = setting.models.get(name) else {
        return Ok(None);
    };
    let labels = RuleWish::labels_of(model);
    for (stage, wish) in RuleWish::among(wishes) {
        let is_same = labels.len() == wish.labels.len()
            && labels.iter().all(|label| wish.labels.contains(label));
        if !wish.labels.is_empty() && !is_same {
            return Err(Finding::param(
                "model",
                format!(
                    "`{name}` tells {}, and the rule of stage `{stage}` is for a network that tells {}",
                    labels.join(", "),
                    wish.labels.join(", ")
                ),
            )
            .with_help("let both stages name one model"));
        }
    }
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

/// The key of a stage's verdict.
fn row_key(setting: &Setting<'_>) -> Option<RowKey> {
    Some(RowKey {
        key: keys(setting).0,
        param: Some("key"),
    })
}

/// The key of the verdict, and the one that a window's own verdict has.
fn keys(setting: &Setting<'_>) -> (String, String) {
    let inner = format!("{}_filter", setting.params.text("model"));
    let own = setting.params.opt_text("key").map(str::to_string);
    let key = own.unwrap_or_else(|| match setting.inputs {
        [CLIPS] => format!("seg_{inner}"),
        _ => inner.clone(),
    });
    (key, inner)
}

fn cost(setting: &Setting<'_>) -> Option<Cost> {
    let facts = &setting.models.get(setting.params.text("model"))?.facts;
    let number = |field: &str| facts.get(field).and_then(Json::as_f64);
    let count = |field: &str, unit: f64| Some((number(field)? * unit) as u64);
    let precision: Precision = setting.params.text("precision").parse().ok()?;
    let bytes = precision.bytes() as u64;
    let size = number("size")? as u64;
    Some(Cost {
        unit: "clip",
        flop: count("gflop_per_clip", 1e9)?,
        common_flop: count("backbone_gflop_per_clip", 1e9)?,
        weight_bytes: count("parameters_m", 1e6)? * bytes,
        common_weight_bytes: count("backbone_parameters_m", 1e6)? * bytes,
        input_bytes: number("frames")? as u64 * size * size * 3,
    })
}

/// Stages have a backbone in common if its content is the same, and they run it in the same way.
fn identity(setting: &Setting<'_>) -> Result<Option<Json>, Finding> {
    let params = setting.params;
    let backbone = model_files::backbone_name(setting.models, params.text("model"));
    Ok(backbone.map(|backbone| {
        json!({
            "backbone": backbone,
            "precision": params.text("precision"),
            "batch": params.int("batch"),
            "max_wait": params.duration("max_wait").as_secs_f64(),
            "clear_cache_every": params.int("clear_cache_every"),
        })
    }))
}

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    assemble(std::slice::from_ref(context), false)
}

fn build_parts(contexts: &[BuildContext<'_>]) -> Result<Operator, OperatorError> {
    assemble(contexts, true)
}

fn assemble(contexts: &[BuildContext<'_>], in_parts: bool) -> Result<Operator, OperatorError> {
    let first = contexts
        .first()
        .ok_or_else(|| OperatorError::internal("a stage without a context"))?;
    let params = first.setting.params;
    let pace = Pace {
        batch: params.int("batch") as usize,
        max_wait: params.duration("max_wait"),
        clear_cache_every: params.int("clear_cache_every") as u64,
    };
    let backbones = Backbones::of_stage(first, params.text("model"), pace)?;
    let mut heads: Vec<Arc<Heads>> = Vec::new();
    let mut judges = Vec::with_capacity(contexts.len());
    for context in contexts {
        let own = backbones::heads(context, context.setting.params.text("model"))?;
        // Stages that judge by the same head have its scores in common too.
        let known = heads.iter().position(|head| Arc::ptr_eq(head, &own));
        let head = known.unwrap_or(heads.len());
        let labels = {
            let instance = own.acquire(Duration::ZERO).map_err(pool_error)?;
            instance.labels().to_vec()
        };
        if known.is_none() {
            heads.push(own);
        }
        let (key, inner_key) = keys(&context.setting);
        judges.push(Judge {
            key,
            inner_key,
            labels,
            head,
        });
    }
    let classify = Classify {
        heads: heads.into(),
        judges,
        in_parts,
    };
    Ok(Operator::Batched(Box::new(classify), backbones))
}

struct Classify {
    heads: Arc<[Arc<Heads>]>,
    judges: Vec<Judge>,
    in_parts: bool,
}

/// One stage of the file.
struct Judge {
    key: String,
    inner_key: String,
    labels: Vec<String>,
    /// Which of the heads is its own.
    head: usize,
}

impl Batched for Classify {
    fn cut(&self, _: &Call, inputs: &[Value]) -> Result<Vec<Unit>, OperatorError> {
        let unit = |index: usize, clip: &Clip| Unit {
            shape: clip.frames.len() as u64,
            work: Value::new(ClipWork {
                input: inputs[0].clone(),
                index,
                heads: Arc::clone(&self.heads),
            }),
        };
        if inputs[0].is::<Clip>() {
            return Ok(vec![unit(0, inputs[0].get()?)]);
        }
        let Clips(clips) = inputs[0].get()?;
        let fresh = (0..clips.len()).filter(|index| !repeats(clips, *index));
        Ok(fresh.map(|index| unit(index, &clips[index])).collect())
    }

    fn join(
        &self,
        _: &Call,
        inputs: &[Value],
        answers: Vec<Value>,
    ) -> Result<Outcome, OperatorError> {
        let scores: Vec<&Scores> = answers.iter().map(Value::get).collect::<Result<_, _>>()?;
        let mut said = self
            .judges
            .iter()
            .map(|judge| judge.say(&inputs[0], &scores));
        if self.in_parts {
            return Ok(Outcome::Parts(said.collect()));
        }
        said.next()
            .unwrap_or_else(|| Err(OperatorError::internal("a stage without a judge")))
    }
}

impl Judge {
    /// The stage's answer from the scores of all clips that do not repeat the one before them.
    fn say(&self, input: &Value, scores: &[&Scores]) -> Result<Outcome, OperatorError> {
        let mut verdicts = Vec::with_capacity(scores.len());
        for Scores(heads) in scores {
            let own = heads.get(self.head);
            let own = own.ok_or_else(|| OperatorError::internal("a head gave no answer"))?;
            let own = own
                .as_ref()
                .map_err(|(kind, message)| OperatorError::new(*kind, message))?;
            verdicts.push(verdict_of(&self.labels, own));
        }
        if input.is::<Clip>() {
            let Some(Json::Object(body)) = verdicts.pop() else {
                return Err(OperatorError::internal("the model gave no verdict"));
            };
            let key = self.key.clone();
            return Ok(Outcome::value(Verdict { key, body }));
        }
        let Clips(clips) = input.get()?;
        let windows = clips.iter().zip(spread(clips, verdicts));
        let verdict = Verdict::of_segments(self.key.clone(), &self.inner_key, windows);
        Ok(Outcome::value(verdict))
    }
}

/// Whether a window holds the very frames of the one before it, as where a video stands still for long. What is said of the
/// one holds for the other.
fn repeats(clips: &[Clip], index: usize) -> bool {
    let Some(before) = index.checked_sub(1) else {
        return false;
    };
    let (frames, before) = (&clips[index].frames, &clips[before].frames);
    frames.len() == before.len() && frames.iter().zip(before).all(|(a, b)| Arc::ptr_eq(a, b))
}

/// What is said of each window, given what is said of those that do not repeat the one before them.
fn spread(clips: &[Clip], said: Vec<Json>) -> impl Iterator<Item = Json> {
    let mut said = said.into_iter();
    let mut last = Json::Null;
    (0..clips.len()).map(move |index| {
        if !repeats(clips, index) {
            last = said.next().unwrap_or_default();
        }
        last.clone()
    })
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

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    #[test]
    fn windows_of_one_frame_are_judged_once_and_each_is_told() {
        let frame = |level: u8| Arc::new(Array3::from_elem((2, 2, 3), level));
        let (first, still, last) = (frame(1), frame(2), frame(3));
        let clips: Vec<Clip> = [&first, &still, &still, &still, &last, &still]
            .iter()
            .enumerate()
            .map(|(index, frame)| Clip {
                frames: vec![Arc::clone(frame); 2],
                start_seconds: index as f64,
                end_seconds: index as f64 + 1.0,
            })
            .collect();
        let fresh: Vec<usize> = (0..6).filter(|index| !repeats(&clips, *index)).collect();
        assert_eq!(fresh, [0, 1, 4, 5]);
        let said = fresh.iter().map(|index| json!(index)).collect();
        let told: Vec<Json> = spread(&clips, said).collect();
        assert_eq!(told, [0, 1, 1, 1, 4, 5]);
    }
}
