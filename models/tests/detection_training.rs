//! A detector learns a toy set in seconds, and what is exported is what was learnt.

mod common;

use clipsieve_models::training::{DetectionTrainer, Recipe, Schedule, Target};
use clipsieve_models::{Detector, Device, ModelConfig, Precision};
use common::assert_close;
use ndarray::{Array3, ArrayView3};
use serde_json::json;
use tch::{Kind, Tensor};

const SIDE: usize = 96;

/// Writes the configuration of a small detector and reads it.
fn config(folder: &std::path::Path) -> ModelConfig {
    let config = json!({
        "model_type": "yolov8", "scale": "t", "names": ["square", "bar"], "size": SIDE, "letterbox": "fitted",
    });
    std::fs::write(folder.join("config.json"), config.to_string()).expect("written");
    ModelConfig::read(folder).expect("a configuration")
}

/// Grey noise with a light square or a dark bar in it.
fn toy(index: usize) -> (Array3<u8>, Vec<Target>) {
    let mut state = index as u32 * 77 + 5;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 24
    };
    let mut frame = Array3::from_shape_simple_fn((SIDE, SIDE, 3), || (next() / 4 + 90) as u8);
    let class = index % 2;
    let (w, h, level) = if class == 0 {
        (28, 28, 240)
    } else {
        (60, 14, 15)
    };
    let (x, y) = (index * 13 % (SIDE - w), index * 29 % (SIDE - h));
    frame
        .slice_mut(ndarray::s![y..y + h, x..x + w, ..])
        .fill(level);
    let box_px = [x, y, x + w, y + h].map(|edge| edge as f32);
    (frame, vec![Target { class, box_px }])
}

fn recipe() -> Recipe {
    Recipe {
        schedule: Schedule {
            steps: 260,
            warm_up: 10,
            peak_rate: 4e-3,
            last_rate: 1e-3,
        },
        decay: 0.0,
        max_norm: 10.0,
        average_kept: 0.9,
        factors: &[],
    }
}

fn trainer(folder: &std::path::Path, seed: u64) -> DetectionTrainer {
    let place = (&Device::cpu(), Precision::F32);
    DetectionTrainer::new(config(folder), place, recipe(), seed).expect("a trainer")
}

#[test]
fn a_toy_set_is_learnt_and_the_export_says_the_same() {
    clipsieve_models::set_threads(1);
    let folder = tempfile::tempdir().expect("a folder");
    let mut trainer = trainer(folder.path(), 3);
    let set: Vec<_> = (0..16).map(toy).collect();
    let mut losses = Vec::new();
    for step in 0..240 {
        let batch: Vec<_> = (0..8).map(|i| &set[(step * 8 + i) % 16]).collect();
        let frames: Vec<ArrayView3<'_, u8>> = batch.iter().map(|(frame, _)| frame.view()).collect();
        let targets: Vec<Vec<Target>> = batch.iter().map(|(_, targets)| targets.clone()).collect();
        let (_, parts) = trainer.learn(&frames, &targets).expect("a step");
        losses.push(parts.boxes + parts.classes + parts.distances);
    }
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..8]), mean(&losses[232..]));
    assert!(last < 0.5 * first, "{first} to {last}");

    let learnt = trainer.detector().expect("a detector");
    let frames: Vec<ArrayView3<'_, u8>> = set.iter().map(|(frame, _)| frame.view()).collect();
    let found = learnt.detect(&frames).expect("boxes");
    let right = set.iter().zip(&found).filter(|((_, targets), found)| {
        found.first().is_some_and(|best| {
            let off = best.box_px.iter().zip(targets[0].box_px);
            best.class == targets[0].class && off.into_iter().all(|(a, b)| (a - b).abs() < 8.0)
        })
    });
    assert!(right.count() >= 13, "{found:?}");

    // f16 on disk, under upstream's names, folded: the raw outputs are those of the trainer.
    trainer.export(folder.path()).expect("written");
    let loaded =
        Detector::load(folder.path(), &Device::cpu(), Precision::F32).expect("what was exported");
    tch::manual_seed(7);
    let image = Tensor::rand([1, 3, 96, 96], (Kind::Float, tch::Device::Cpu));
    let (mine, theirs) = (
        learnt.raw(&image).expect("raw"),
        loaded.raw(&image).expect("raw"),
    );
    assert_close(&theirs.narrow(1, 4, 2), &mine.narrow(1, 4, 2), 5e-3);
    assert_close(&theirs.narrow(1, 0, 4), &mine.narrow(1, 0, 4), 0.5);

    // Another run starts where this one is, though its batch norms were folded away.
    let mut from_here = self::trainer(folder.path(), 5);
    from_here.start_from(&loaded, &frames).expect("started");
    let started = from_here.detector().expect("a detector");
    let raw = started.raw(&image).expect("raw");
    assert_close(&raw.narrow(1, 4, 2), &theirs.narrow(1, 4, 2), 5e-3);
    assert_close(&raw.narrow(1, 0, 4), &theirs.narrow(1, 0, 4), 0.1);
    let other = json!({"model_type": "yolov8", "scale": "t", "names": ["other"], "size": SIDE});
    let elsewhere = tempfile::tempdir().expect("a folder");
    std::fs::write(elsewhere.path().join("config.json"), other.to_string()).expect("written");
    let recipe = recipe();
    let config = ModelConfig::read(elsewhere.path()).expect("a configuration");
    let place = (&Device::cpu(), Precision::F32);
    let mut other = DetectionTrainer::new(config, place, recipe, 1).expect("a trainer");
    let refused = other
        .start_from(&loaded, &frames)
        .expect_err("other classes");
    assert!(refused.to_string().contains("square, bar"), "{refused}");

    // A run that was cut off goes on where it was.
    let checkpoint = folder.path().join("checkpoint.safetensors");
    trainer.save(&checkpoint, &json!(null)).expect("saved");
    let mut again = self::trainer(folder.path(), 9);
    again.resume(&checkpoint).expect("resumed");
    let targets = vec![set[0].1.clone()];
    let step = |trainer: &mut DetectionTrainer| {
        let (progress, _) = trainer.learn(&frames[..1], &targets).expect("a step");
        (progress.step, progress.loss)
    };
    let (one, two) = (step(&mut trainer), step(&mut again));
    assert_eq!(one.0, two.0);
    assert!((one.1 - two.1).abs() < 1e-4, "{one:?} {two:?}");
}
