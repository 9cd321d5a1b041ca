//! What the tests share: the fixtures and their golden tensors.
#![allow(clippy::unwrap_used, dead_code)]

use std::path::{Path, PathBuf};

use clipsieve_models::{Classifier, Detector, Device, Precision};
use ndarray::{Array4, ArrayView3, Axis};
use tch::{Kind, Tensor};

/// A model directory among the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures")
        .join(name)
}

/// A golden tensor of a fixture.
pub fn golden(model: &str, name: &str) -> Tensor {
    let tensors = Tensor::read_safetensors(fixture(model).join("golden.safetensors")).unwrap();
    let found = tensors.into_iter().find(|(there, _)| there == name);
    found.unwrap_or_else(|| panic!("no golden tensor {name}")).1
}

/// The V-JEPA 2 fixture, on the CPU.
pub fn classifier(precision: Precision) -> Classifier {
    Classifier::load(fixture("vjepa2-tiny"), &Device::cpu(), precision).unwrap()
}

/// The YOLOv8 fixture, on the CPU.
pub fn detector(precision: Precision) -> Detector {
    Detector::load(fixture("yolov8n"), &Device::cpu(), precision).unwrap()
}

/// Asserts that no element is further off than `tolerance`.
#[track_caller]
pub fn assert_close(got: &Tensor, want: &Tensor, tolerance: f64) {
    assert_eq!(got.size(), want.size());
    let worst = (got.to_kind(Kind::Double) - want.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[]);
    assert!(worst <= tolerance, "off by {worst}, allowed {tolerance}");
}

/// A clip of pseudo-random pixels, [frames, side, side, 3].
pub fn pixels(seed: u32, frames: usize, side: usize) -> Array4<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    Array4::from_shape_fn((frames, side, side, 3), |(t, y, x, c)| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Structure over noise, so that clips differ in more than noise.
        ((state >> 25) as usize + t * 7 + y * (c + 1) + x * (seed as usize % 3)) as u8
    })
}

/// A clip's frames.
pub fn views(clip: &Array4<u8>) -> Vec<ArrayView3<'_, u8>> {
    clip.axis_iter(Axis(0)).collect()
}
