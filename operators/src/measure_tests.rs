use std::sync::Arc;

use clipsieve_engine::operator::{Models, ParamValue, PortKind, Stores};
use ndarray::Array3;

use super::*;

fn params(signals: &[&str], thresholds: &[(&'static str, f64)]) -> Params {
    let mut params = Params::default();
    let signals = signals
        .iter()
        .map(|name| ParamValue::Text((*name).to_owned()));
    params.insert("signals", ParamValue::List(signals.collect()));
    for (name, value) in thresholds {
        params.insert(name, ParamValue::Float(*value));
    }
    params
}

fn all() -> Vec<&'static str> {
    Signal::NAMES.to_vec()
}

fn with_setting<T>(params: &Params, inputs: &[PortKind], run: impl FnOnce(Setting) -> T) -> T {
    run(Setting {
        stage: "measured",
        params,
        inputs,
        models: &Models::new(),
        stores: &Stores::new(),
    })
}

fn apply(params: &Params, kind: PortKind, input: Value) -> Result<Verdict, OperatorError> {
    apply_all(params, &[kind], &[input])
}

fn apply_all(
    params: &Params,
    kinds: &[PortKind],
    inputs: &[Value],
) -> Result<Verdict, OperatorError> {
    with_setting(params, kinds, |setting| {
        crate::test_stage::verdict(build, setting, inputs)
    })
}

fn clip(frames: usize) -> Clip {
    let frame = |k: usize| {
        Arc::new(Array3::from_shape_fn((48, 64, 3), |(y, x, _)| {
            if (x + 3 * k) / 7 % 2 == y / 9 % 2 {
                40
            } else {
                160
            }
        }))
    };
    Clip {
        frames: (0..frames).map(frame).collect(),
        start_seconds: 3.0,
        end_seconds: 7.0,
    }
}

fn judged(params: &Params, frames: usize) -> Map<String, Json> {
    apply(params, CLIP, Value::new(clip(frames)))
        .expect("measured")
        .body
}

#[test]
fn without_thresholds_it_only_writes_the_numbers_down() {
    let body = judged(&params(&all(), &[]), 4);
    assert_eq!(body["label"], "unjudged");
    assert_eq!(body["reasons"], json!([]));
    let result = body["result"].as_object().expect("an object");
    assert!(result.keys().eq(all().iter().copied()), "{result:?}");
    for signal in USUAL {
        assert!(result[signal.name()].is_number(), "{result:?}");
    }
    assert_eq!(
        body,
        judged(&params(&all(), &[]), 4),
        "the same clip, the same row"
    );
}

#[test]
fn a_number_on_the_wrong_side_rejects_and_says_so() {
    let strict = params(
        &["brightness", "motion"],
        &[("min_brightness", 0.9), ("max_motion", 1.0)],
    );
    let body = judged(&strict, 4);
    assert_eq!(body["label"], "reject");
    let value = &body["result"]["brightness"];
    assert_eq!(
        body["reasons"],
        json!([format!("brightness {value} < min_brightness 0.9")])
    );
    assert_eq!(
        judged(&params(&["brightness"], &[("min_brightness", 0.1)]), 4)["label"],
        "pass"
    );
    assert_eq!(
        judged(&params(&["brightness"], &[("max_brightness", 0.1)]), 4)["label"],
        "reject"
    );
}

#[test]
fn what_cannot_be_computed_is_null_and_rejects_nothing() {
    let body = judged(
        &params(&all(), &[("min_motion", 1.0), ("min_affine_residual", 1.0)]),
        1,
    );
    assert_eq!(body["result"]["motion"], Json::Null);
    assert_eq!(body["label"], "pass");
}

#[test]
fn windows_are_judged_one_by_one() {
    let clips = Clips(Arc::new(vec![clip(3), clip(1)]));
    let verdict = apply(&params(&["motion"], &[]), CLIPS, Value::new(clips)).expect("measured");
    assert_eq!(verdict.key, "seg_measure");
    assert_eq!(verdict.body["0"]["duration"], json!([3, 7]));
    assert!(verdict.body["0"]["measure"]["result"]["motion"].is_number());
    assert!(verdict.body["1"]["measure"]["result"]["motion"].is_null());
}

#[test]
fn the_key_can_be_chosen() {
    let mut named = params(&["noise"], &[]);
    assert_eq!(
        apply(&named, CLIP, Value::new(clip(1)))
            .expect("measured")
            .key,
        "measure"
    );
    named.insert("key", ParamValue::Text("quality".to_owned()));
    assert_eq!(
        apply(&named, CLIP, Value::new(clip(1)))
            .expect("measured")
            .key,
        "quality"
    );
}

#[test]
fn without_names_consumers_say_what_is_measured() {
    let names = |params: &Params, wishes: &[Wish]| -> Vec<&'static str> {
        wanted(params, wishes)
            .into_iter()
            .map(Signal::name)
            .collect()
    };
    let mut params = Params::default();
    assert_eq!(names(&params, &[]), USUAL.map(Signal::name));
    let wish = |signals: Json| Wish {
        stage: "combined".to_owned(),
        wanted: json!({ "signals": signals }),
    };
    let wishes = [wish(json!(["misfit", "motion"])), wish(json!(["flat"]))];
    assert_eq!(names(&params, &wishes), ["motion", "misfit", "flat"]);
    params.insert("min_sharpness", ParamValue::Float(0.1));
    assert_eq!(
        names(&params, &wishes),
        ["sharpness", "motion", "misfit", "flat"]
    );
}

#[test]
fn of_two_clips_the_second_is_for_fine_detail() {
    let both = params(&["motion", "noise"], &[]);
    let whole = judged(&params(&["motion"], &[]), 4);
    let said = apply_all(
        &both,
        &[CLIP, CLIP],
        &[Value::new(clip(4)), Value::new(clip(1))],
    );
    let said = said.expect("measured");
    assert_eq!(said.key, "measure");
    assert_eq!(
        said.body["result"]["motion"], whole["result"]["motion"],
        "of the first: one frame has none"
    );
    let windows = |count| Value::new(Clips(Arc::new(vec![clip(3); count])));
    let uneven = apply_all(&both, &[CLIPS, CLIPS], &[windows(2), windows(3)]);
    assert!(uneven.is_err());
    let even = apply_all(&both, &[CLIPS, CLIPS], &[windows(2), windows(2)]);
    assert_eq!(even.expect("measured").key, "seg_measure");
}

#[test]
fn what_is_not_a_clip_is_an_error() {
    assert!(apply(&params(&["noise"], &[]), CLIP, Value::new(3u8)).is_err());
}

#[test]
fn every_threshold_names_a_signal_and_every_signal_is_a_choice() {
    let thresholds: Vec<_> = MEASURE
        .params
        .iter()
        .map(|param| param.name)
        .filter(|name| name.starts_with("min_") || name.starts_with("max_"))
        .map(|name| (name, 0.5))
        .collect();
    assert_eq!(
        super::thresholds(&params(&all(), &thresholds)).len(),
        thresholds.len()
    );
    let choices = MEASURE.param("signals").map(|param| param.ty);
    assert!(
        matches!(choices, Some(ParamType::List(ParamType::Choice(choices))) if *choices == Signal::NAMES)
    );
}

#[test]
fn check_finds_thresholds_that_contradict_or_have_no_signal() {
    let messages = |params: &Params| -> Vec<String> {
        with_setting(params, &[CLIP], |setting| {
            let findings = check(&setting).into_iter();
            findings
                .map(|f| format!("{}: {}", f.param.unwrap_or_default(), f.message))
                .collect()
        })
    };
    assert!(messages(&params(&all(), &[("min_motion", 0.1), ("max_motion", 0.1)])).is_empty());
    assert_eq!(
        messages(&params(&all(), &[("min_motion", 0.2), ("max_motion", 0.1)])),
        ["min_motion: min_motion 0.2 is above max_motion 0.1: every clip would be rejected"]
    );
    assert_eq!(
        messages(&params(&["noise"], &[("max_frozen", 0.1)])),
        ["max_frozen: a threshold on `frozen`, which `signals` leaves out"]
    );
    assert_eq!(messages(&params(&[], &[])), ["signals: no signal is named"]);
}
