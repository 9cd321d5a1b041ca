//! Seconds that a classifier takes for a clip, on the CPU, over networks of the starter models' and of ViT-B's sizes with
//! drawn weights. `benches/peers/classifier.py` times the same networks in transformers.
//!
//! `cargo run --release -p clipsieve-models --example classifier_bench -- [threads] [f32|bf16] [starter|base] [batch] [runs]`
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use clipsieve_models::{Classifier, Device, ModelConfig, Parameters, Precision, set_threads};
use ndarray::{Array4, ArrayView3, Axis};

/// Hugging Face's names for the sizes.
fn config(sizes: &str) -> &'static str {
    match sizes {
        // 16 frames of 128², 192 wide: what a model for the CPU looks like.
        "starter" => {
            r#"{"model_type": "vjepa2", "crop_size": 128, "frames_per_clip": 16, "hidden_size": 192,
                "num_attention_heads": 3, "num_hidden_layers": 6, "num_pooler_layers": 1}"#
        }
        "base" => {
            r#"{"model_type": "vjepa2", "crop_size": 256, "frames_per_clip": 16, "hidden_size": 768,
                "num_attention_heads": 12, "num_hidden_layers": 12, "num_pooler_layers": 3}"#
        }
        "tiny" => {
            r#"{"model_type": "vjepa2", "crop_size": 64, "frames_per_clip": 8, "hidden_size": 48,
                "num_attention_heads": 4, "num_hidden_layers": 2, "num_pooler_layers": 2}"#
        }
        other => panic!("no sizes are called {other}"),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let text =
        |place: usize, default: &str| args.get(place).map_or(default.to_owned(), String::clone);
    let (threads, precision, sizes) = (text(0, "1"), text(1, "f32"), text(2, "starter"));
    let (batch, runs): (usize, usize) =
        (text(3, "1").parse().unwrap(), text(4, "5").parse().unwrap());
    let precision: Precision = precision.parse().unwrap();
    set_threads(threads.parse().unwrap());

    let folder = std::env::temp_dir().join(format!("classifier-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.json"), config(&sizes)).unwrap();
    let config = ModelConfig::read(&folder).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let shape = config.preprocess().unwrap().clone();
    let giga = config.flops(shape.frames) as f64 / 1e9;
    let cpu = Device::cpu();
    let parameters = Parameters::random(&cpu, precision);
    let model = Classifier::build(config, parameters, cpu, precision).unwrap();

    let pixels =
        Array4::from_shape_fn((shape.frames, shape.size, shape.size, 3), |(t, y, x, c)| {
            (t * 31 + y * 7 + x * 3 + c * 101) as u8
        });
    let views: Vec<ArrayView3<'_, u8>> = pixels.axis_iter(Axis(0)).collect();
    let clips = vec![views.as_slice(); batch];
    model.scores(&clips).unwrap();
    let (mut times, mut cpu): (Vec<f64>, Vec<f64>) = (0..runs)
        .map(|_| {
            let (started, before) = (Instant::now(), cpu_time());
            model.scores(&clips).unwrap();
            let (wall, cpu) = (started.elapsed(), cpu_time().saturating_sub(before));
            (
                wall.as_secs_f64() / batch as f64,
                cpu.as_secs_f64() / batch as f64,
            )
        })
        .unzip();
    times.sort_by(f64::total_cmp);
    cpu.sort_by(f64::total_cmp);
    println!(
        "clipsieve {sizes} {precision} {threads} threads, batch {batch}: best {:.1} ms, median {:.1} ms, of CPU best {:.1} ms, \
         median {:.1} ms a clip ({giga:.1} GFLOP)",
        times[0] * 1e3,
        times[runs / 2] * 1e3,
        cpu[0] * 1e3,
        cpu[runs / 2] * 1e3,
    );
}

/// CPU time of the process so far: on a machine that others use too, what can be compared.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the clock is one of the system's, and it writes one struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
