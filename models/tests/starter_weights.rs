//! The starter weights as they lie in the repository.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use clipsieve_models::{
    Backbone, Classifier, ClassifierHead, Detector, Device, ModelConfig, Precision, set_threads,
};
use common::{pixels, views};

/// All weights of the repository together, in bytes.
const MOST_BYTES: u64 = 16 << 20;

fn weights() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("weights")
}

#[test]
fn classifiers_load_and_three_share_one_backbone() {
    // One clip at a time is too little for more.
    set_threads(1);
    let cpu = Device::cpu();
    let clip = pixels(2, 16, 128);
    let frames = views(&clip);
    let mut hashes = Vec::new();
    for (name, labels) in [
        ("vfx", ["clean", "vfx"]),
        ("simcam", ["real", "simcam"]),
        ("low_quality", ["good", "low_quality"]),
        ("rotation", ["upright", "rotated"]),
    ] {
        let folder = weights().join(name);
        let config = ModelConfig::read(&folder).unwrap();
        assert_eq!(config.labels, labels);
        hashes.push(config.backbone_sha256().unwrap());
        let model = Classifier::load(&folder, &cpu, Precision::F32).unwrap();
        let frames = &frames[..model.preprocess().frames];
        let scores = model.scores(&[frames]).unwrap();
        let backbone = Backbone::load(&folder, &cpu, Precision::F32).unwrap();
        let head = ClassifierHead::load(&folder, &cpu, Precision::F32).unwrap();
        let features = backbone.features(&[frames]).unwrap();
        assert_eq!(head.scores(&features).unwrap(), scores, "{name}");
    }
    assert!(hashes[0] == hashes[1] && hashes[1] == hashes[2] && hashes[2] != hashes[3]);
}

#[test]
fn the_detector_loads() {
    let detector = Detector::load(weights().join("regions"), &Device::cpu(), Precision::F32);
    assert_eq!(
        detector.unwrap().labels(),
        ["border", "logo", "subtitle", "watermark"]
    );
}

#[test]
fn the_weights_are_small_and_every_model_has_a_card() {
    let mut bytes = 0;
    for folder in std::fs::read_dir(weights()).unwrap() {
        let folder = folder.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(&folder).unwrap() {
            bytes += file.unwrap().metadata().unwrap().len();
        }
        let card = std::fs::read_to_string(folder.join("README.md")).unwrap_or_default();
        assert!(card.starts_with("# "), "{}", folder.display());
    }
    assert!(bytes <= MOST_BYTES, "{bytes} bytes of {MOST_BYTES}");
}
