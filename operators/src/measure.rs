//! `measure`: how good the picture is, without a model.

use clipsieve_engine::operator::{
    BuildContext, Call, Executor, Fallback, Finding, Operator, OperatorError, OperatorSpec,
    Outcome, ParamSpec, ParamType, Params, Planner, Ports, RowKey, Setting, Signature, Transform,
    Value, Wish,
};
use serde_json::{Map, Value as Json, json};

use crate::demand::RuleWish;
use crate::kinds::{CLIP, CLIPS, Clips, MEASUREMENT, MEASUREMENTS, Verdict, rounded};
use crate::media::frames::Clip;
use crate::signals::signal::{Signal, measure, measure_both};

/// The `measure` operator.
pub const MEASURE: OperatorSpec = OperatorSpec {
    name: "measure",
    summary: "measures sharpness, blockiness, light, contrast, noise and motion, and judges by thresholds",
    doc: "\
Computes quality signals from the pixels of a clip, or of each window, with no weights: cheap enough to run before any model. \
Without thresholds it only writes the numbers down (`label` is `unjudged`); with them, `label` is `reject` when a number lies \
on the wrong side of one, and `reasons` says which.

| signal | what it is | range |
|---|---|---|
| `sharpness` | deviation of the Laplacian over that of the luma, median over the frames | 0 to 4.5; under 0.05 is soft |
| `blockiness` | steps on an 8 x 8 grid over steps beside it, median over the frames; an encoder's blocks show only at the video's own size or a whole multiple of it, else it is near 1 | from 1; 1.2 is visible |
| `brightness` | mean luma | 0 to 1 |
| `contrast` | deviation of the luma | 0 to 0.5 |
| `noise` | deviation of the noise in 8-bit levels, median over the frames | from 0; 5 is grainy |
| `motion` | mean absolute change of the luma from frame to frame | 0 to 1 |
| `frozen` | share of the frames that repeat the one before them | 0 to 1 |
| `affine_residual` | share of the change between frames (17 at most, spread evenly) that no motion of the picture as a whole explains, median over them; low with motion means a camera simulated on a still picture | 0 to 1 |

These are computed if nothing is said. Further ones, by name (px are those of the fit, whose longer side is at most 128):

| signal | what it is | range |
|---|---|---|
| `misfit`, `misfit_high`, `misfit_peak` | how far blocks lie from where the best motion of the whole picture puts them: the middle block, the one at 90 %, and that one in the worst tenth of the clip | px, from 0; a camera over a picture leaves under 0.1 |
| `astray` | share of blocks that are more than 0.3 px out of place | 0 to 1 |
| `residual_low`, `residual_high` | `affine_residual` at 10 % and 90 % of the pairs, cuts left out | 0 to 1 |
| `camera_motion`, `camera_turn` | how far the fitted motion moves the picture, and how far zoom and turn move its border | px, from 0 |
| `camera_roughness` | change of that motion from pair to pair over its length | from 0; a glide is under 0.2, a hand near 1 |
| `jump`, `colour_jump` | largest change of luma and of colours over the usual one | powers of 2, 0 to 12 |
| `busy` | share of the changes over half of the largest | 0 to 1 |
| `unevenness` | how unevenly the luma changes; stutter raises it | 0 to 2 |
| `flicker`, `light_span` | jerks and range of the brightness | 0 to 1 |
| `colour_change`, `colour_drift` | largest and mean change of the histogram of colours | 0 to 1 |
| `saturation`, `one_hue` | how strong colours are, and how much one hue (or two that face each other) prevails | 0 to 1 |
| `colourfulness` | Hasler and Süsstrunk's | levels; 30 is usual |
| `standing_edges`, `still_share` | share of the edges that never move, and of the picture that hardly changes while the rest does | 0 to 1 |
| `motion_top`, `motion_left` | where it moves: above against below, left against right | -1 to 1 |
| `sideways`, `speed_top`, `speed_left` | squared speed across over down, of the upper third over the lower, of the left over the right | powers of 2; cameras pan and people walk sideways |
| `upright` | steps across over steps down | powers of 2; above 0 upright edges prevail |
| `vertical_edges`, `level_edges` | share of the edges within 12° of upright, of level | 0 to 1 |
| `light_top`, `light_left`, `detail_top`, `detail_left`, `blue_top`, `blue_left` | light, detail and blueness of one outer third against the other | -1 to 1 |
| `lit_top`, `lit_left` | how much more sharply it darkens than brightens on the way down, and to the right | -1 to 1; light comes from above |
| `mirror_x`, `mirror_y`, `repeat_x`, `repeat_y` | correlation of one half with the other, mirrored or as it is | -1 to 1 |
| `stark`, `stark_swing` | share of the picture in edges of 150 levels, and by how much that changes: lettering, stickers | 0 to 1 |
| `edge_light` | correlation of light with detail | -1 to 1; outlines glow at 0.7, drawn in ink at -0.7 |
| `turn_likeness` | correlation of the middle with itself, turned by a third to an eighth | -1 to 1; a kaleidoscope is over 0.7 |
| `colour_split` | how much better the edges of red agree with those of blue when moved | 0 to 1; 0.1 is split |
| `colour_by_light` | share of the colour that follows from the light alone | 0 to 1; a duotone is over 0.9 |
| `bright_specks`, `speck_bias` | share of the picture in small spots that are here and gone, and bright ones over dark ones | 0 to 1; powers of 2 |
| `fall_off`, `wide_fall_off` | how much more pixels differ 2 apart than 1, and 4 than 2 | powers of 2; blur raises it to 2 |
| `shadows`, `highlights` | share of crushed and of blown pixels | 0 to 1 |
| `entropy` | of the luma | 0 to 8 bits |
| `missing_levels`, `span` | gaps in the luma's histogram; its width | 0 to 1 |
| `flat` | share of the 8 x 8 blocks without any detail | 0 to 1 |
| `combing` | how much odd rows differ from even ones | powers of 2; above 0.5 is interlaced |
| `uneven_levels` | how unevenly the levels of red, green or blue are used; posterising and stretching raise it | 0 to 1.7 |
| `detail_shape`, `half_shape` | squared mean over mean square of the detail, each pixel by its surroundings, at full and at half size | 0.64 for a Gaussian, less after a coarse quantiser |
| `detail_power`, `half_power` | mean square of the same | 0 to 1; rough is 0.6 |
| `detail_unrest` | deviation of `detail_power` over the frames, by its mean | from 0 |
| `detail_likeness`, `half_likeness` | correlation of neighbours in the same | noise 0, blur from 0.8 |
| `periodicity` | strongest period in the finest detail over the middle one: what was scaled up, blocks of any size | powers of 2; above 2.5 |
| `seen_blocks` | share of the borders of 8 x 8 blocks that are seen | 0 to 1; 0.05 is plain |
| `wiped_share` | share of the 8 x 8 blocks with structure that have no fine detail | 0 to 1 |
| `row_lines` | how much more the means of neighbouring rows differ than those of columns | powers of 2; above 4 are scan lines |
| `chroma_shift` | how much better the edges of the colours agree with those of the light when moved sideways | 0 to 1; 0.1 is shifted |

With two inputs, both of the same span, what is seen only pixel by pixel is measured on the second: `sharpness`, `blockiness`, \
`noise`, and the signals from `fall_off` on. Let the first show whole frames, many and small (`{ frames: 96, size: 128, fit: whole }`), \
and the second a few at the video's own size (`{ frames: 8, size: 384, fit: middle }`): the rules of the starter weights \
were fitted on these.

A signal that cannot be computed is `null`, and no threshold on it rejects: change of a single frame, sharpness of a flat \
picture, `affine_residual` without motion. Frames that stand several times because a span is short count once. The numbers \
depend on the size at which the clip is sampled, so thresholds hold for one size.",
    example: "measured: { op: measure, from: clip, with: { min_sharpness: 0.05, max_frozen: 0.5 } }",
    ports: Ports::Fixed(&[
        Signature {
            inputs: &[CLIP],
            output: Some(MEASUREMENT),
        },
        Signature {
            inputs: &[CLIPS],
            output: Some(MEASUREMENTS),
        },
        Signature {
            inputs: &[CLIP, CLIP],
            output: Some(MEASUREMENT),
        },
        Signature {
            inputs: &[CLIPS, CLIPS],
            output: Some(MEASUREMENTS),
        },
    ]),
    params: &[
        ParamSpec {
            name: "key",
            ty: ParamType::Text,
            fallback: Fallback::Absent,
            unit: None,
            doc: "Key of the verdict in the row's `info`. Default: `measure` for a clip, `seg_measure` for windows.",
        },
        ParamSpec {
            name: "signals",
            ty: ParamType::List(&ParamType::Choice(Signal::NAMES)),
            fallback: Fallback::Absent,
            unit: None,
            doc: "The signals to compute; rows hold them in the fixed order of the tables. Default: what the `combine` stages behind it need, else the first table.",
        },
        threshold("min_sharpness", 4.5, None, "Rejects clips softer than this."),
        threshold(
            "max_blockiness",
            1000.0,
            None,
            "Rejects clips with more visible coding blocks than this; 1 is none.",
        ),
        threshold(
            "min_brightness",
            1.0,
            Some("of full scale"),
            "Rejects clips darker than this.",
        ),
        threshold(
            "max_brightness",
            1.0,
            Some("of full scale"),
            "Rejects clips brighter than this.",
        ),
        threshold(
            "min_contrast",
            0.5,
            Some("of full scale"),
            "Rejects clips flatter than this.",
        ),
        threshold(
            "max_noise",
            255.0,
            Some("8-bit levels"),
            "Rejects clips with more noise than this.",
        ),
        threshold(
            "min_motion",
            1.0,
            Some("of full scale"),
            "Rejects clips that change less than this from frame to frame.",
        ),
        threshold(
            "max_motion",
            1.0,
            Some("of full scale"),
            "Rejects clips that change more than this from frame to frame.",
        ),
        threshold(
            "max_frozen",
            1.0,
            Some("of the pairs of frames"),
            "Rejects clips with a larger share of repeated frames than this.",
        ),
        threshold(
            "min_affine_residual",
            1.0,
            Some("of the change"),
            "Rejects clips whose motion is explained by moving the picture as a whole: a simulated camera.",
        ),
    ],
    executor: Executor::Cpu,
    concurrency: 0,
    check: Some(check),
    demand: Some(demand),
    planner: Planner {
        row_key: Some(row_key),
        ..Planner::NONE
    },
    build,
};

/// A threshold's parameter: absent by default, from 0 to `max`.
const fn threshold(
    name: &'static str,
    max: f64,
    unit: Option<&'static str>,
    doc: &'static str,
) -> ParamSpec {
    ParamSpec {
        name,
        ty: ParamType::Float { min: 0.0, max },
        fallback: Fallback::Absent,
        unit,
        doc,
    }
}

/// Which side of a threshold is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    /// The number must not be less.
    Min,
    /// The number must not be more.
    Max,
}

/// A threshold that was given.
#[derive(Debug, Clone, Copy)]
struct Threshold {
    param: &'static str,
    signal: Signal,
    side: Side,
    value: f64,
}

/// The thresholds that the stage was given, in the order of the parameters: `min_` or `max_` and a signal's name.
fn thresholds(params: &Params) -> Vec<Threshold> {
    let given = |param: &'static ParamSpec| {
        let (side, signal) = match param.name.split_once('_')? {
            ("min", signal) => (Side::Min, signal),
            ("max", signal) => (Side::Max, signal),
            _ => return None,
        };
        Some(Threshold {
            param: param.name,
            signal: Signal::of_name(signal)?,
            side,
            value: params.opt_float(param.name)?,
        })
    };
    MEASURE.params.iter().filter_map(given).collect()
}

/// What is measured if nothing is said: enough to judge by thresholds.
const USUAL: [Signal; 8] = [
    Signal::Sharpness,
    Signal::Blockiness,
    Signal::Brightness,
    Signal::Contrast,
    Signal::Noise,
    Signal::Motion,
    Signal::Frozen,
    Signal::AffineResidual,
];

/// The signals to compute, each once, in the order of rows: those that the file names; else those that thresholds and
/// consumers need; else the usual ones.
fn wanted(params: &Params, wishes: &[Wish]) -> Vec<Signal> {
    if params.get("signals").is_none() {
        let wished: Vec<String> = RuleWish::among(wishes)
            .flat_map(|(_, wish)| wish.signals)
            .collect();
        if wished.is_empty() {
            return USUAL.to_vec();
        }
        let thresholds = thresholds(params);
        let is_wished = |signal: &Signal| {
            wished.iter().any(|wished| wished == signal.name())
                || thresholds
                    .iter()
                    .any(|threshold| threshold.signal == *signal)
        };
        return Signal::ALL.iter().copied().filter(is_wished).collect();
    }
    let named = params.texts("signals");
    let is_named = |signal: &Signal| named.contains(&signal.name());
    Signal::ALL.iter().copied().filter(is_named).collect()
}

fn check(setting: &Setting<'_>) -> Vec<Finding> {
    let wanted = wanted(setting.params, &[]);
    let mut findings = Vec::new();
    if wanted.is_empty() {
        findings.push(
            Finding::param("signals", "no signal is named")
                .with_help("name one or more, or leave `signals` out to compute all"),
        );
    }
    let thresholds = thresholds(setting.params);
    for threshold in &thresholds {
        let name = threshold.signal.name();
        if setting.params.get("signals").is_some() && !wanted.contains(&threshold.signal) {
            findings.push(
                Finding::param(
                    threshold.param,
                    format!("a threshold on `{name}`, which `signals` leaves out"),
                )
                .with_help(format!("add `{name}` to `signals`, or drop the threshold")),
            );
        }
        let opposite = thresholds.iter().find(|other| {
            other.signal == threshold.signal
                && (threshold.side, other.side) == (Side::Min, Side::Max)
        });
        if let Some(max) = opposite.filter(|max| max.value < threshold.value) {
            findings.push(
                Finding::param(
                    threshold.param,
                    format!(
                        "{} {} is above {} {}: every clip would be rejected",
                        threshold.param, threshold.value, max.param, max.value
                    ),
                )
                .with_help(format!("give {} at most {}", threshold.param, max.value)),
            );
        }
    }
    findings
}

/// Asks nothing of its inputs, and looks whether it computes what a rule behind it needs.
fn demand(setting: &Setting<'_>, wishes: &[Wish]) -> Result<Option<Json>, Finding> {
    let wanted = wanted(setting.params, wishes);
    // Where a rule takes from two stages, the other one may compute it.
    let alone = RuleWish::among(wishes).filter(|(_, wish)| wish.measures == 1);
    for (stage, wish) in alone {
        let is_missing = |name: &&String| wanted.iter().all(|signal| signal.name() != *name);
        let missing: Vec<&str> = wish
            .signals
            .iter()
            .filter(is_missing)
            .map(String::as_str)
            .collect();
        if missing.is_empty() {
            continue;
        }
        let names = missing.join("`, `");
        let message =
            format!("`{names}` is not computed, and the rule of stage `{stage}` needs it");
        let found = match setting.params.get("signals") {
            Some(_) => Finding::param("signals", message).with_help(
                "name it too, or leave `signals` out: what the rule needs is computed then",
            ),
            None => Finding::stage(message).with_help(
                "`measure` has no such signal: fit the rule anew with `clipsieve-training fit-combine`",
            ),
        };
        return Err(found);
    }
    Ok(None)
}

/// The key of a stage's verdict.
fn row_key(setting: &Setting<'_>) -> Option<RowKey> {
    let default = if setting.inputs.first() == Some(&CLIPS) {
        "seg_measure"
    } else {
        INNER_KEY
    };
    let key = setting.params.opt_text("key").unwrap_or(default);
    Some(RowKey {
        key: key.to_owned(),
        param: Some("key"),
    })
}

fn build(context: &BuildContext<'_>) -> Result<Operator, OperatorError> {
    let params = context.setting.params;
    Ok(Operator::Transform(Box::new(Measure {
        key: row_key(&context.setting).map_or(String::new(), |own| own.key),
        signals: wanted(params, context.wishes),
        thresholds: thresholds(params),
    })))
}

/// Under which key each window of a segment verdict holds what was measured.
const INNER_KEY: &str = "measure";

struct Measure {
    key: String,
    signals: Vec<Signal>,
    thresholds: Vec<Threshold>,
}

impl Measure {
    /// What the row says of a clip: `{"result": {signal: number}, "label", "reasons"}`.
    fn judge(&self, clip: &Clip, fine: Option<&Clip>) -> Map<String, Json> {
        let measured = match fine {
            Some(fine) => measure_both(&clip.frames, &fine.frames, &self.signals),
            None => measure(&clip.frames, &self.signals),
        };
        // Judged as written, so that a row and its verdict cannot disagree in the last digit.
        let measured: Vec<(Signal, Option<f64>)> = self
            .signals
            .iter()
            .zip(measured)
            .map(|(signal, value)| {
                (
                    *signal,
                    value.map(|value| rounded(value, signal.decimals())),
                )
            })
            .collect();
        let reasons: Vec<String> = self
            .thresholds
            .iter()
            .filter_map(|threshold| {
                let (_, value) = measured.iter().find(|(of, _)| *of == threshold.signal)?;
                threshold.reason(*value)
            })
            .collect();
        let label = if self.thresholds.is_empty() {
            "unjudged"
        } else if reasons.is_empty() {
            "pass"
        } else {
            "reject"
        };
        let result: Map<String, Json> = measured
            .into_iter()
            .map(|(signal, value)| (signal.name().to_owned(), json!(value)))
            .collect();
        Map::from_iter([
            ("result".to_owned(), Json::Object(result)),
            ("label".to_owned(), json!(label)),
            ("reasons".to_owned(), json!(reasons)),
        ])
    }
}

impl Threshold {
    /// Why the value is on the wrong side, if it is. A value that is not there is on none.
    fn reason(&self, value: Option<f64>) -> Option<String> {
        let value = value?;
        let (wrong, sign) = match self.side {
            Side::Min => (value < self.value, '<'),
            Side::Max => (value > self.value, '>'),
        };
        let name = self.signal.name();
        wrong.then(|| format!("{name} {value} {sign} {} {}", self.param, self.value))
    }
}

impl Transform for Measure {
    fn apply(&self, _call: &Call, inputs: &[Value]) -> Result<Outcome, OperatorError> {
        let (input, fine) = match inputs {
            [input] => (input, None),
            [input, fine] => (input, Some(fine)),
            _ => {
                return Err(OperatorError::internal(format!(
                    "measure takes one or two inputs, not {}",
                    inputs.len()
                )));
            }
        };
        let verdict = if input.is::<Clip>() {
            Verdict {
                key: self.key.clone(),
                body: self.judge(input.get()?, fine.map(Value::get).transpose()?),
            }
        } else {
            let Clips(clips) = input.get()?;
            let fine: Option<&Clips> = fine.map(Value::get).transpose()?;
            let spans = |clips: &[Clip]| -> Vec<(f64, f64)> {
                let span = |clip: &Clip| (clip.start_seconds, clip.end_seconds);
                clips.iter().map(span).collect()
            };
            if let Some(Clips(fine)) = fine
                && spans(fine) != spans(clips)
            {
                return Err(OperatorError::bad_input(
                    "its two inputs have other windows: give both the same length and stride",
                ));
            }
            let judged = clips.iter().enumerate().map(|(index, clip)| {
                let fine = fine.and_then(|Clips(fine)| fine.get(index));
                (clip, Json::Object(self.judge(clip, fine)))
            });
            Verdict::of_segments(self.key.clone(), INNER_KEY, judged)
        };
        Ok(Outcome::value(verdict))
    }
}

#[cfg(test)]
#[path = "measure_tests.rs"]
mod tests;
