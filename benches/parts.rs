//! The parts that a run's time goes into, one at a time: `cargo bench --bench parts`, or `cargo bench --bench parts -- signals`.
//!
//! Real clips of `examples/clips`, the weights of `models/weights`, one thread each. Beside other programs these numbers say
//! little; `docs/performance.md` says what is compared, and how.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use clipsieve_models::{Backbone, Classifier, Device, Precision, set_threads};
use clipsieve_operators::media::{
    DecodeOptions, Fit, Frame, Interrupt, Request, Span, decode_with,
};
use clipsieve_operators::regions;
use clipsieve_operators::signals::signal::{Signal, measure, measure_both};
use divan::{Bencher, black_box};
use ndarray::{Array3, ArrayView3};

#[path = "../engine/tests/toy/mod.rs"]
mod toy;

fn main() {
    divan::main();
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn clip(name: &str) -> PathBuf {
    root().join("examples/clips").join(name)
}

/// Uniform frames of a clip.
fn frames(path: &Path, frames: usize, fit: Fit, seek: bool) -> Vec<Frame> {
    let request = Request {
        span: Span::Video,
        frames,
        fit,
    };
    let options = DecodeOptions { threads: 1, seek };
    let decoded = decode_with(path, None, &[request], &options, &Interrupt::never()).unwrap();
    decoded.clips[0][0].frames.clone()
}

/// 48 frames for a classifier. In the first clip every picture is needed for the next one; of the second, two fifths are not.
#[divan::bench(sample_count = 5, args = ["bigbuckbunny.mp4", "sintel-trailer.mp4"])]
fn decode_and_sample(bencher: Bencher, name: &str) {
    let path = clip(name);
    let fit = Fit::ResizeShort {
        short: 292,
        crop: 256,
    };
    bencher.bench(|| frames(&path, 48, fit, true));
}

/// What is converted of each wanted frame: two frames against all 132, over one decode of the same pictures.
#[divan::bench(sample_count = 5, args = [2, 132])]
fn convert(bencher: Bencher, converted: usize) {
    let path = clip("bigbuckbunny.mp4");
    let fit = Fit::ResizeShort {
        short: 292,
        crop: 256,
    };
    bencher.bench(|| frames(&path, converted, fit, false));
}

/// All signals of a clip that is there whole and small, and fine.
#[divan::bench(sample_count = 10)]
fn signals_all(bencher: Bencher) {
    let path = clip("bigbuckbunny.mp4");
    let whole = frames(&path, 96, Fit::Within { max_side: 128 }, true);
    let fine = frames(&path, 8, Fit::Middle { side: 384 }, true);
    bencher.bench(|| measure_both(black_box(&whole), black_box(&fine), Signal::ALL));
}

/// The signal that costs most: the fit of a camera's motion.
#[divan::bench(sample_count = 10)]
fn signal_affine_residual(bencher: Bencher) {
    let whole = frames(
        &clip("bigbuckbunny.mp4"),
        17,
        Fit::Within { max_side: 128 },
        true,
    );
    bencher.bench(|| measure(black_box(&whole), &[Signal::AffineResidual]));
}

/// Borders, overlays and subtitles in 16 whole frames.
#[divan::bench(sample_count = 5, args = ["bunny-pillarbox-logo.mp4", "sintel-trailer.mp4"])]
fn region_signals(bencher: Bencher, name: &str) {
    let frames = frames(&clip(name), 16, Fit::Native, true);
    bencher.bench(|| regions::signals::find(black_box(&frames), 0.3));
}

/// A clip of zeros for the models.
fn blank(frames: usize, size: usize) -> Vec<Array3<u8>> {
    vec![Array3::zeros((size, size, 3)); frames]
}

/// A clip through backbone and head.
#[divan::bench(sample_count = 5, args = [1, 4])]
fn model_forward(bencher: Bencher, clips: usize) {
    set_threads(1);
    let folder = root().join("models/weights/simcam");
    let model = Classifier::load(folder, &Device::cpu(), Precision::F32).unwrap();
    let pixels = blank(model.preprocess().frames, model.preprocess().size);
    let views: Vec<ArrayView3<'_, u8>> = pixels.iter().map(Array3::view).collect();
    let batch = vec![views.as_slice(); clips];
    bencher.bench_local(|| model.scores(black_box(&batch)).unwrap());
}

/// The part of it that models with one backbone share.
#[divan::bench(sample_count = 5)]
fn backbone_forward(bencher: Bencher) {
    set_threads(1);
    let folder = root().join("models/weights/simcam");
    let model = Backbone::load(folder, &Device::cpu(), Precision::F32).unwrap();
    let pixels = blank(model.preprocess().frames, model.preprocess().size);
    let views: Vec<ArrayView3<'_, u8>> = pixels.iter().map(Array3::view).collect();
    bencher.bench_local(|| model.features(black_box(&[views.as_slice()])).unwrap());
}

/// 10,000 rows through ten stages that do nothing.
#[divan::bench(sample_count = 3)]
fn engine_queue(bencher: Bencher) {
    bencher.bench_local(|| {
        let mut toy = toy::Toy::new();
        toy.plan.threads.cpu = 1;
        (toy.plan.limits.items, toy.plan.limits.epoch_rows) = (1_024, 1_024);
        let mut last = toy.source(10_000);
        for stage in 0..10 {
            last = toy.cpu(&format!("s{stage}"), &[last], |_, _| {
                Ok(clipsieve_engine::operator::Outcome::value(1_i64))
            });
            toy.tune(last, |stage| stage.placement.concurrency = 1_024);
        }
        let result = toy.tell(&[last]);
        toy.sink(result);
        toy.run().unwrap().succeeded
    });
}
