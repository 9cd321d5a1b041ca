//! Training: the loop learns, a run that is cut off goes on as if it had not been, and what is exported is what was
//! learnt.
#![allow(clippy::unwrap_used)]

mod common;

use clipsieve_models::training::{
    Batch, ClassifierTrainer, PATCHES_RATE, Recipe, Regularisation, Schedule, Task, export,
};
use clipsieve_models::vjepa2::{Encoder, Thinning, VJepa2Config};
use clipsieve_models::{
    Backbone, Classifier, ClassifierHead, Device, HeadKind, ModelConfig, Parameters, Precision,
    Preprocess, set_threads,
};
use common::{assert_close, views};
use ndarray::{Array2, Array5, Axis};
use serde_json::json;
use tch::{Kind, Tensor};

const SIDE: usize = 32;
const FRAMES: usize = 4;
const CLIPS: usize = 16;
const STEPS: u64 = 40;

fn task(name: &str, head: HeadKind) -> Task {
    Task {
        name: name.into(),
        labels: vec!["no".into(), "yes".into()],
        head,
        pooler_layers: 1,
        weight: 1.0,
        published: true,
    }
}

fn trainer(tasks: Vec<Task>, precision: Precision) -> ClassifierTrainer {
    // The tests run beside one another, and these networks are too small for more.
    set_threads(1);
    let sizes = VJepa2Config {
        crop_px: SIDE as i64,
        frames_per_clip: FRAMES as i64,
        hidden: 48,
        heads: 2,
        layers: 2,
        mlp_hidden: 96,
        ..VJepa2Config::base()
    };
    let recipe = Recipe {
        schedule: Schedule {
            steps: STEPS,
            warm_up: 5,
            peak_rate: 3e-3,
            last_rate: 1e-4,
        },
        decay: 0.05,
        max_norm: 1.0,
        factors: &[PATCHES_RATE],
        average_kept: 0.9,
    };
    let regularisation = Regularisation {
        kept_tokens: 0.75,
        dropped_branches: 0.1,
        smoothing: 0.01,
    };
    let preprocess = Preprocess::standard(FRAMES, SIDE);
    let place = (&Device::cpu(), precision);
    ClassifierTrainer::new(sizes, preprocess, tasks, regularisation, recipe, place, 11).unwrap()
}

/// Noise in which the first task's defect is a square that moves, the second's a frame that is left out (it repeats the
/// one before); and the labels of both.
fn clips(seed: u64) -> (Array5<u8>, [Vec<usize>; 2]) {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut clips =
        Array5::from_shape_simple_fn((CLIPS, FRAMES, SIDE, SIDE, 3), || (draw() % 200) as u8);
    let mut labels = [Vec::new(), Vec::new()];
    for mut clip in clips.axis_iter_mut(Axis(0)) {
        let (square, repeat) = (draw() % 2, draw() % 2);
        let (x, y) = (draw() % 16, draw() % 16);
        for t in 0..FRAMES * square {
            for (row, column) in (0..8).flat_map(|r| (0..8).map(move |c| (r, c))) {
                for k in 0..3 {
                    clip[[t, y + row, x + column + t, k]] = 255;
                }
            }
        }
        if repeat == 1 {
            for t in [1, 3] {
                let before = clip.index_axis(Axis(0), t - 1).to_owned();
                clip.index_axis_mut(Axis(0), t).assign(&before);
            }
        }
        labels[0].push(square);
        labels[1].push(repeat);
    }
    (clips, labels)
}

fn shares(labels: &[usize]) -> Array2<f32> {
    Array2::from_shape_fn((labels.len(), 2), |(row, label)| {
        f32::from(u8::from(labels[row] == label))
    })
}

fn learn(trainer: &mut ClassifierTrainer, steps: std::ops::Range<u64>) -> Vec<f64> {
    let one_more = |step| {
        let (clips, labels) = clips(1000 + step);
        let tasks = trainer.tasks().len();
        let wanted = labels.iter().take(tasks).map(|l| shares(l)).collect();
        let batch = Batch {
            frames: clips.view(),
            wanted,
        };
        trainer.learn(&batch).unwrap().0.loss
    };
    steps.map(one_more).collect()
}

/// The share of pairs that are ranked right, on clips that were never learnt from.
fn auc(trainer: &ClassifierTrainer, task: usize) -> f64 {
    let (mut right, mut pairs) = (0.0, 0.0);
    let mut scored = Vec::new();
    for seed in 0..4 {
        let (clips, labels) = clips(seed);
        let scores = trainer.scores(clips.view()).unwrap();
        scored.extend(
            labels[task]
                .iter()
                .copied()
                .zip(scores[task].iter().map(|s| s[1])),
        );
    }
    for &(_, yes) in scored.iter().filter(|(label, _)| *label == 1) {
        for &(_, no) in scored.iter().filter(|(label, _)| *label == 0) {
            pairs += 1.0;
            right += if yes > no { 1.0 } else { 0.0 };
        }
    }
    right / pairs
}

#[test]
fn two_heads_on_one_backbone_learn_their_tasks() {
    for precision in [Precision::F32, Precision::Bf16] {
        let tasks = vec![
            task("square", HeadKind::Linear),
            task("repeat", HeadKind::Attentive),
        ];
        let mut trainer = trainer(tasks, precision);
        let losses = learn(&mut trainer, 0..STEPS);
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&losses[..10]), mean(&losses[losses.len() - 10..]));
        assert!(last < 0.6 * first, "{precision}: {first} to {last}");
        for (place, task) in trainer.tasks().iter().enumerate() {
            let auc = auc(&trainer, place);
            assert!(auc > 0.95, "{precision}, {}: {auc}", task.name);
        }
    }
}

#[test]
fn a_run_that_goes_on_is_the_run_that_was_never_cut() {
    let fresh = || trainer(vec![task("square", HeadKind::Linear)], Precision::F32);
    let (mut whole, mut first, mut second) = (fresh(), fresh(), fresh());
    let losses = learn(&mut whole, 0..8);
    let early = learn(&mut first, 0..5);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("checkpoint.safetensors");
    first.save(&file, &json!({ "best": 0.5 })).unwrap();
    assert_eq!(second.resume(&file).unwrap(), json!({ "best": 0.5 }));
    assert_eq!(second.step(), 5);
    let late = learn(&mut second, 5..8);
    assert_eq!([early, late].concat(), losses);
    for (name, tensor) in whole.average() {
        assert!(tensor.equal(&second.average()[name]), "{name}");
    }

    let mut other = trainer(vec![task("circle", HeadKind::Linear)], Precision::F32);
    let message = other.resume(&file).unwrap_err().to_string();
    assert!(
        message.contains("checkpoint.safetensors")
            && message.contains("weights.heads.circle.head.linear.bias: there is no such tensor"),
        "{message}"
    );
    std::fs::write(&file, b"nothing").unwrap();
    assert!(second.resume(&file).is_err());
}

#[test]
fn a_run_starts_from_the_models_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let two = || {
        vec![
            task("square", HeadKind::Linear),
            task("repeat", HeadKind::Attentive),
        ]
    };
    let one = || vec![task("square", HeadKind::Linear)];
    for (place, tasks) in [two(), one()].into_iter().enumerate() {
        let at = folder.path().join(place.to_string());
        let mut first = trainer(tasks.clone(), Precision::F32);
        learn(&mut first, 0..6);
        export::classifiers(&first, &at).unwrap();
        let mut second = trainer(tasks, Precision::F32);
        second.start_from(&at).unwrap();
        assert_eq!(second.step(), 0);
        let (clips, _) = clips(5);
        let scores = |trainer: &ClassifierTrainer| trainer.scores(clips.view()).unwrap();
        for (got, want) in scores(&second).iter().zip(scores(&first)) {
            assert_near(got, &want); // the models are f16
        }
    }
    let mut other = trainer(vec![task("circle", HeadKind::Linear)], Precision::F32);
    let message = other.start_from(folder.path()).unwrap_err().to_string();
    assert!(message.contains("circle"), "{message}");
}

/// How far half precision may move a probability here.
const HALF: f32 = 3e-3;

#[track_caller]
fn assert_near(got: &[Vec<f32>], want: &[Vec<f32>]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().flatten().zip(want.iter().flatten()) {
        assert!((got - want).abs() < HALF, "{got} {want}");
    }
}

#[test]
fn exported_folders_score_as_the_trainer_does() {
    let cpu = Device::cpu();
    let (batch, _) = clips(5);
    let frames: Vec<_> = batch
        .axis_iter(Axis(0))
        .map(|clip| clip.to_owned())
        .collect();
    let frames: Vec<_> = frames.iter().map(views).collect();
    let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
    let root = tempfile::tempdir().unwrap();

    // Several tasks share a backbone's file.
    let helper = Task {
        published: false,
        ..task("helper", HeadKind::Linear)
    };
    let tasks = vec![
        task("square", HeadKind::Linear),
        task("repeat", HeadKind::Attentive),
    ];
    let mut several = trainer(tasks, Precision::F32);
    learn(&mut several, 0..3);
    let folders = export::classifiers(&several, root.path()).unwrap();
    assert_eq!(
        folders,
        [root.path().join("square"), root.path().join("repeat")]
    );
    let wanted = several.scores(batch.view()).unwrap();
    let backbone = Backbone::load(&folders[1], &cpu, Precision::F32).unwrap();
    let features = backbone.features(&frames).unwrap();
    for (folder, wanted) in folders.iter().zip(&wanted) {
        let whole = Classifier::load(folder, &cpu, Precision::F32).unwrap();
        assert_eq!(whole.preprocess(), several.preprocess());
        let scores = whole.scores(&frames).unwrap();
        assert_near(&scores, wanted);
        let head = ClassifierHead::load(folder, &cpu, Precision::F32).unwrap();
        assert_eq!(head.scores(&features).unwrap(), scores);
    }
    let hash = |folder| {
        ModelConfig::read(folder)
            .unwrap()
            .backbone_sha256()
            .unwrap()
    };
    assert_eq!(hash(&folders[0]), hash(&folders[1]));

    // One alone is a whole checkpoint; helpers stay at home.
    let mut single = trainer(
        vec![task("alone", HeadKind::Linear), helper],
        Precision::F32,
    );
    learn(&mut single, 0..1);
    let folders = export::classifiers(&single, root.path()).unwrap();
    assert_eq!(folders, [root.path().join("alone")]);
    let config = ModelConfig::read(&folders[0]).unwrap();
    assert_eq!((config.backbone, config.labels.len()), (None, 2));
    let whole = Classifier::load(&folders[0], &cpu, Precision::F32).unwrap();
    assert_near(
        &whole.scores(&frames).unwrap(),
        &single.scores(batch.view()).unwrap()[0],
    );
}

#[test]
fn thinning_that_leaves_nothing_out_changes_nothing() {
    let sizes = VJepa2Config {
        crop_px: SIDE as i64,
        hidden: 48,
        heads: 2,
        layers: 2,
        mlp_hidden: 96,
        ..VJepa2Config::base()
    };
    let parameters = Parameters::random(&Device::cpu(), Precision::F32);
    let encoder = Encoder::new(&sizes, &parameters.root()).unwrap();
    let options = (Kind::Float, tch::Device::Cpu);
    let frames = Tensor::randn([3, FRAMES as i64, 3, SIDE as i64, SIDE as i64], options);
    let whole = encoder.forward(&frames).unwrap();
    let thinned = |kept: &[i64], scale: f64| {
        let thinning = Thinning {
            kept_tokens: Some(Tensor::from_slice(kept)),
            branches: Some(Tensor::full([2, 2, 3, 1, 1], scale, options)),
        };
        encoder.forward_thinned(&frames, &thinning).unwrap()
    };
    assert_close(&thinned(&[0, 1, 2, 3, 4, 5, 6, 7], 1.0), &whole, 1e-5);
    // Without branches a token is what its own tube says, whichever others are kept.
    let (all, some) = (
        thinned(&[0, 1, 2, 3, 4, 5, 6, 7], 0.0),
        thinned(&[2, 5], 0.0),
    );
    assert_eq!(some.size(), [3, 2, 48]);
    assert_close(&some.narrow(1, 1, 1), &all.narrow(1, 5, 1), 1e-5);
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let mut trainer = trainer(vec![task("square", HeadKind::Linear)], Precision::F32);
    let (clips, labels) = clips(1);
    let batch = |rows: usize| Batch {
        frames: clips.view(),
        wanted: vec![shares(&labels[0][..rows])],
    };
    let message = trainer.learn(&batch(3)).unwrap_err().to_string();
    assert!(
        message.contains("square: found shares of shape [3, 2], allowed: [16, 2]"),
        "{message}"
    );
    let batch = Batch {
        frames: clips.view(),
        wanted: vec![],
    };
    let message = trainer.learn(&batch).unwrap_err().to_string();
    assert_eq!(message, "found shares of 0 tasks, allowed: of 1 (square)");
    assert_eq!(trainer.step(), 0);
    let small = Array5::zeros((1, FRAMES, 16, 16, 3));
    let message = trainer.scores(small.view()).unwrap_err().to_string();
    assert!(message.contains("allowed: [b, t, 32, 32, 3]"), "{message}");
}
