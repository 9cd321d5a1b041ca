//! The networks against golden tensors of the reference implementations, on the CPU: Hugging Face transformers 5.23
//! (V-JEPA 2) and Ultralytics 8.4 (YOLOv8), both with random weights in f32.
#![allow(clippy::unwrap_used)]

mod common;

use clipsieve_models::heads::Head;
use clipsieve_models::{Detection, Letterbox, ModelError, Precision};
use common::{assert_close, classifier, detector, golden, pixels, views};
use ndarray::{Array3, ArrayD, ArrayView3, Axis};
use tch::{Kind, Tensor};

/// A few times what rounding amounts to here (5e-6, and 3e-7 pooled), and less than what the approximate GELU would be
/// off by.
const TOKEN_TOLERANCE: f64 = 2e-5;
/// See [`TOKEN_TOLERANCE`].
const POOLED_TOLERANCE: f64 = 2e-6;

#[test]
fn the_encoder_and_both_poolings_match_hugging_face() {
    let model = classifier(Precision::F32);
    let frames = golden("vjepa2-tiny", "pixel_values_videos");
    let tokens = model.features(&frames).unwrap();
    assert_close(
        &tokens,
        &golden("vjepa2-tiny", "last_hidden_state"),
        TOKEN_TOLERANCE,
    );
    let mean = clipsieve_models::layers::mean_tokens(&tokens).unwrap();
    assert_close(
        &mean,
        &golden("vjepa2-tiny", "mean_pooled"),
        POOLED_TOLERANCE,
    );
    let Head::Attentive(head) = model.head() else {
        panic!("the fixture's head is attentive");
    };
    assert_close(
        &head.pooled(&tokens).unwrap(),
        &golden("vjepa2-tiny", "pooled"),
        POOLED_TOLERANCE,
    );
    assert_close(
        &model.logits(&frames).unwrap(),
        &golden("vjepa2-tiny", "logits"),
        POOLED_TOLERANCE,
    );
}

#[test]
fn short_and_odd_clips_follow_upstream() {
    let model = classifier(Precision::F32);
    let frames = golden("vjepa2-tiny", "pixel_values_videos");
    // One frame is repeated to a whole tube; an odd last frame is dropped.
    let one = frames.narrow(1, 0, 1);
    let twice = Tensor::cat(&[&one, &one], 1);
    assert_close(
        &model.features(&one).unwrap(),
        &model.features(&twice).unwrap(),
        1e-6,
    );
    let (five, four) = (frames.narrow(1, 0, 5), frames.narrow(1, 0, 4));
    assert_close(
        &model.features(&five).unwrap(),
        &model.features(&four).unwrap(),
        1e-6,
    );
}

#[test]
fn bytes_give_what_normalised_frames_give() {
    let model = classifier(Precision::F32);
    let clips = [pixels(1, 8, 64), pixels(2, 8, 64)];
    let frames: Vec<_> = clips.iter().map(views).collect();
    let scores = model.scores(&[&frames[0], &frames[1]]).unwrap();

    let preprocess = model.preprocess();
    let mut values = Vec::new();
    for clip in &clips {
        for t in 0..8 {
            for c in 0..3 {
                for y in 0..64 {
                    for x in 0..64 {
                        let value = f32::from(clip[[t, y, x, c]]) / 255.0;
                        values.push((value - preprocess.mean[c]) / preprocess.std[c]);
                    }
                }
            }
        }
    }
    let normalised = Tensor::from_slice(&values).view([2, 8, 3, 64, 64]);
    let wanted = model.logits(&normalised).unwrap().softmax(-1, Kind::Float);
    for (row, wanted) in scores
        .iter()
        .zip(Vec::<Vec<f32>>::try_from(wanted).unwrap())
    {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        for (got, want) in row.iter().zip(wanted) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }
    assert!(
        (scores[0][0] - scores[1][0]).abs() > 1e-4,
        "two clips, one score: {scores:?}"
    );

    // A view that does not lie in one piece, such as a crop, is read by its strides.
    let wide = pixels(3, 8, 80);
    let cropped = wide.slice(ndarray::s![.., 5..69, 9..73, ..]);
    let copied = cropped.to_owned();
    let strided: Vec<_> = cropped.axis_iter(Axis(0)).collect();
    assert!(strided[0].as_slice().is_none());
    assert_eq!(
        model.scores(&[&strided]).unwrap(),
        model.scores(&[&views(&copied)]).unwrap()
    );
}

#[test]
fn a_clip_s_scores_do_not_depend_on_its_batch() {
    let model = classifier(Precision::F32);
    let clips: Vec<_> = (0..5).map(|seed| pixels(seed, 8, 64)).collect();
    let frames: Vec<_> = clips.iter().map(views).collect();
    let batch: Vec<_> = frames.iter().map(Vec::as_slice).collect();
    let together = model.scores(&batch).unwrap();
    for (clip, row) in batch.iter().zip(&together) {
        let alone = model.scores(&[clip]).unwrap();
        for (a, b) in alone[0].iter().zip(row) {
            assert!((a - b).abs() <= 1e-6, "{a} {b}");
        }
    }
    assert!(model.scores(&[]).unwrap().is_empty());
}

#[test]
fn frames_that_do_not_fit_are_refused() {
    let model = classifier(Precision::F32);
    let (good, short, large) = (pixels(1, 8, 64), pixels(1, 6, 64), pixels(1, 8, 80));
    let message = |clips: &[&[ArrayView3<'_, u8>]]| match model.scores(clips) {
        Err(ModelError::Input(message)) => message,
        other => panic!("{other:?}"),
    };
    let (good, short, large) = (views(&good), views(&short), views(&large));
    assert!(message(&[&large]).contains("a frame of 80 x 80 x 3, allowed: 64 x 64 x 3"));
    assert!(message(&[&good, &short]).contains("clip 1: found 6 frames"));
    assert!(message(&[&[]]).contains("clip 0: found 0 frames"));
    let wrong = Tensor::zeros([1, 8, 3, 64, 48], (Kind::Float, tch::Device::Cpu));
    assert!(
        model
            .features(&wrong)
            .unwrap_err()
            .to_string()
            .contains("allowed: [batch, frames, 3, 64, 64]")
    );
    assert!(
        detector(Precision::F32)
            .detect(&[good[0]])
            .unwrap_err()
            .to_string()
            .contains("160 x 160 x 3")
    );
}

/// How far half precision may be off in f32's logits of the fixture, which are of the order of 1.
const HALF_TOLERANCE: [(Precision, f64); 2] = [(Precision::Bf16, 5e-3), (Precision::F16, 5e-4)];

#[test]
fn half_precision_stays_near() {
    let frames = golden("vjepa2-tiny", "pixel_values_videos");
    for (precision, tolerance) in HALF_TOLERANCE {
        let model = classifier(precision);
        let logits = model.logits(&frames).unwrap();
        assert_eq!(logits.kind(), Kind::Float);
        assert_eq!(model.features(&frames).unwrap().kind(), precision.kind());
        assert_close(&logits, &golden("vjepa2-tiny", "logits"), tolerance);
        assert!(
            model.parameters().bytes() < classifier(Precision::F32).parameters().bytes() * 6 / 10
        );
    }
}

#[test]
fn an_overflow_is_an_error_and_not_a_score() {
    let model = classifier(Precision::F32);
    let _ = model.parameters().tensors()["classifier.weight"]
        .shallow_clone()
        .fill_(f64::INFINITY);
    let clip = pixels(6, 8, 64);
    let error = model.scores(&[&views(&clip)]).unwrap_err();
    assert!(matches!(error, ModelError::NotFinite(_)), "{error}");
}

#[test]
fn yolov8_matches_ultralytics() {
    let model = detector(Precision::F32);
    let raw = model.raw(&golden("yolov8n", "images")).unwrap();
    let want = golden("yolov8n", "raw");
    assert_eq!(raw.size(), want.size());
    // Rounding amounts to 3e-6 here. Relative to the larger of the value and 1 pixel, and to the probability itself.
    let relative = |from: i64, length: i64, floor: f64| {
        let (got, want) = (raw.narrow(1, from, length), want.narrow(1, from, length));
        ((&got - &want).abs() / want.abs().clamp_min(floor))
            .max()
            .double_value(&[])
    };
    let (boxes, scores) = (relative(0, 4, 1.0), relative(4, 4, 1e-3));
    assert!(
        boxes < 2e-5 && scores < 2e-5,
        "boxes off by {boxes}, scores by {scores}"
    );

    let found = model.boxes(&raw).unwrap();
    assert_eq!(found.len(), 2);
    for (image, found) in found.iter().enumerate() {
        assert_same_detections(found, image, 1e-2, 1e-4);
    }
}

fn assert_same_detections(
    found: &[Detection],
    image: usize,
    box_tolerance: f32,
    score_tolerance: f32,
) {
    let read = |name: &str| golden("yolov8n", &format!("nms.{name}.{image}"));
    let boxes = Vec::<Vec<f32>>::try_from(read("boxes")).unwrap();
    let scores = Vec::<f32>::try_from(read("scores")).unwrap();
    let classes = Vec::<f32>::try_from(read("classes")).unwrap();
    assert_eq!(found.len(), boxes.len(), "{found:?}");
    for (i, detection) in found.iter().enumerate() {
        assert_eq!(detection.class as f32, classes[i]);
        assert!(
            (detection.score - scores[i]).abs() < score_tolerance,
            "{detection:?} {}",
            scores[i]
        );
        for (got, want) in detection.box_px.iter().zip(&boxes[i]) {
            assert!(
                (got - want).abs() < box_tolerance,
                "{detection:?} {:?}",
                boxes[i]
            );
        }
    }
}

#[test]
fn detect_takes_bytes_and_keeps_frames_apart() {
    let model = detector(Precision::F32);
    let bytes = (golden("yolov8n", "images") * 255.0)
        .round()
        .to_kind(Kind::Uint8)
        .permute([0, 2, 3, 1])
        .contiguous();
    let frames = array(&bytes);
    let frames: Vec<ArrayView3<'_, u8>> = frames
        .axis_iter(Axis(0))
        .map(|f| f.into_dimensionality().unwrap())
        .collect();
    let found = model.detect(&frames).unwrap();
    let images = bytes.permute([0, 3, 1, 2]).to_kind(Kind::Float) / 255.0;
    assert_eq!(found, model.boxes(&model.raw(&images).unwrap()).unwrap());
    for (frame, found) in frames.iter().zip(&found) {
        let alone = &model.detect(&[*frame]).unwrap()[0];
        assert_eq!(alone.len(), found.len());
        for (a, b) in alone.iter().zip(found) {
            assert_eq!(a.class, b.class);
            assert!((a.score - b.score).abs() < 1e-5);
        }
    }
    assert!(model.detect(&[]).unwrap().is_empty());
}

#[test]
fn the_detector_s_bf16_stays_near() {
    let images = golden("yolov8n", "images");
    let raw = detector(Precision::Bf16).raw(&images).unwrap();
    assert_eq!(raw.kind(), Kind::Float);
    let want = golden("yolov8n", "raw");
    assert_close(&raw.narrow(1, 4, 4), &want.narrow(1, 4, 4), 5e-3);
    assert_close(&raw.narrow(1, 0, 4), &want.narrow(1, 0, 4), 1.0);
}

fn array(tensor: &Tensor) -> ArrayD<u8> {
    tensor.try_into().unwrap()
}

#[test]
fn letterboxing_matches_opencv() {
    let input: Array3<u8> = array(&golden("yolov8n", "letterbox.input"))
        .into_dimensionality()
        .unwrap();
    let want: Array3<u8> = array(&golden("yolov8n", "letterbox.output"))
        .into_dimensionality()
        .unwrap();
    let (height, width, _) = input.dim();
    let got = Letterbox::new(width, height, 160)
        .unwrap()
        .apply(input.view())
        .unwrap();
    assert_eq!(got.dim(), want.dim());
    let off = |limit: i32| {
        let differ = |(a, b): (&u8, &u8)| (i32::from(*a) - i32::from(*b)).abs() > limit;
        got.iter().zip(&want).filter(|pair| differ(*pair)).count() as f64 / got.len() as f64
    };
    assert!(
        off(1) < 0.01 && off(2) == 0.0,
        "{} off by more than 1, {} by more than 2",
        off(1),
        off(2)
    );
    assert!(
        want.iter().any(|&v| v != 114),
        "the golden frame is not just padding"
    );
}
