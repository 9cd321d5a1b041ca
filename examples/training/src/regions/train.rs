//! `regions train`: the training loop.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use clipsieve_models::training::{DetectionTrainer, LossParts, Progress, Recipe, Schedule, Target};
use clipsieve_models::yolov8::Yolov8Config;
use clipsieve_models::{Detector, Device, ModelConfig, Precision, set_threads};
use ndarray::ArrayView3;
use serde_json::json;

use super::Material;
use super::design::CLASSES;
use super::samples::{Sample, batch};
use super::validate;
use crate::dataset::Split;
use crate::error::Error;

/// Arguments of `regions train`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    material: Material,
    /// Folder for the model, its checkpoint and its metrics
    #[arg(long)]
    out: PathBuf,
    /// Model folder of a trained detector of the same size and classes to start from; without it, from chance
    #[arg(long)]
    from: Option<PathBuf>,
    /// Steps in all
    #[arg(long, default_value_t = 4000)]
    steps: u64,
    /// Samples a step
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Longer side of a frame, in pixels; a multiple of 32
    #[arg(long, default_value_t = 320)]
    size: usize,
    /// Highest learning rate, after the warm-up
    #[arg(long, default_value_t = 2e-3)]
    learning_rate: f64,
    /// Weight decay of convolutions
    #[arg(long, default_value_t = 0.02)]
    weight_decay: f64,
    /// Arithmetic of the network: f32 or bf16
    #[arg(long, default_value = "f32")]
    precision: String,
    /// Threads of the network
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Steps between validations, exports and checkpoints
    #[arg(long, default_value_t = 400)]
    every: u64,
    /// Frames that are validated
    #[arg(long, default_value_t = 320)]
    validation: usize,
}

/// Frames that the batch norms of a detector to start from are made of.
const START: usize = 48;

/// Steps in which the learning rate rises.
const WARM_UP: u64 = 150;

/// The configuration of the detector, written to `folder`, and its sizes.
///
/// # Errors
/// If the folder cannot be written, or the size is none that the network takes.
pub fn detector_config(folder: &Path, size: usize) -> Result<(ModelConfig, Yolov8Config), Error> {
    let config = json!({
        "model_type": "yolov8",
        "scale": "t",
        "names": CLASSES,
        "size": size,
        "letterbox": "fitted",
        "mean_conf": 0.2,
        "conf": 0.25,
        "iou": 0.6,
        "max_det": 100,
    });
    let folder = if folder.extension().is_some() {
        tempfile::tempdir()
            .map_err(Error::io("making", folder))?
            .keep()
    } else {
        folder.to_owned()
    };
    fs::create_dir_all(&folder).map_err(Error::io("making", &folder))?;
    let path = folder.join("config.json");
    fs::write(&path, format!("{config:#}\n")).map_err(Error::io("writing", &path))?;
    let config = ModelConfig::read(&folder)?;
    let sizes = config
        .detector()
        .cloned()
        .ok_or_else(|| Error::file(&path, "is no detector's"))?;
    Ok((config, sizes))
}

/// Runs `regions train`.
pub fn run(args: &Args) -> Result<(), Error> {
    set_threads(args.threads);
    let (config, sizes) = detector_config(&args.out, args.size)?;
    let precision: Precision = args.precision.parse()?;
    let device = Device::cpu();
    let seed = args.material.seed;
    let recipe = Recipe {
        schedule: Schedule {
            steps: args.steps,
            warm_up: WARM_UP,
            peak_rate: args.learning_rate,
            last_rate: args.learning_rate / 20.0,
        },
        decay: args.weight_decay,
        max_norm: 10.0,
        average_kept: 0.999,
        factors: &[],
    };
    let mut trainer = DetectionTrainer::new(config, (&device, precision), recipe, seed)?;
    let checkpoint = args.out.join("checkpoint.safetensors");
    let sources = args.material.sources(Split::Train)?;
    let fonts = args.material.load_fonts()?;
    if checkpoint.exists() {
        trainer.resume(&checkpoint)?;
        eprintln!("goes on from step {}", trainer.step());
    } else if let Some(folder) = &args.from {
        let detector = Detector::load(folder, &device, Precision::F32)?;
        let samples = batch("start", 0, START, &sizes, (&sources, &fonts, seed))?;
        let views: Vec<ArrayView3<'_, u8>> = samples.iter().map(|s| s.frame.view()).collect();
        trainer.start_from(&detector, &views)?;
        eprintln!("starts from {}", folder.display());
    }
    let held_out = args.material.sources(Split::Val)?;
    eprintln!(
        "train: {} photographs, {} shots; validation: {} and {}",
        sources.photos.len(),
        sources.shots.len(),
        held_out.photos.len(),
        held_out.shots.len()
    );
    let material = (&held_out, &fonts, seed);
    let validation = (0..(args.validation / args.batch) as u64)
        .map(|index| batch("validation", index, args.batch, &sizes, material))
        .collect::<Result<Vec<_>, _>>()?;

    let first = trainer.step();
    let start = Instant::now();
    let (send, receive) = sync_channel::<Result<Vec<Sample>, Error>>(4);
    thread::scope(|scope| {
        let (sources, fonts, sizes) = (&sources, &fonts, &sizes);
        scope.spawn(move || {
            for step in first..args.steps {
                let made = batch("train", step, args.batch, sizes, (sources, fonts, seed));
                if send.send(made).is_err() {
                    return; // the loop has ended
                }
            }
        });
        let mut sum = (LossParts::default(), 0u64);
        while trainer.step() < args.steps {
            let samples = match receive.recv() {
                Ok(samples) => samples?,
                Err(_) => break,
            };
            let views: Vec<ArrayView3<'_, u8>> =
                samples.iter().map(|sample| sample.frame.view()).collect();
            let targets: Vec<Vec<Target>> = samples
                .iter()
                .map(|sample| sample.targets.clone())
                .collect();
            let (progress, parts) = trainer.learn(&views, &targets)?;
            sum.0.boxes += parts.boxes;
            sum.0.classes += parts.classes;
            sum.0.distances += parts.distances;
            sum.1 += 1;
            let last = trainer.step() == args.steps;
            if trainer.step() % 50 == 0 || last {
                tell(args, &progress, &sum, start, first);
                sum = (LossParts::default(), 0);
            }
            if trainer.step() % args.every == 0 || last {
                trainer.save(&checkpoint, &json!(null))?;
                trainer.export(&args.out)?;
                let figures = validate::figures(&trainer.detector()?, &validation)?;
                eprintln!("{}", figures.text());
                let path = args.out.join("metrics.json");
                let metrics = json!({"steps": trainer.step(), "validation": figures.to_json()});
                fs::write(&path, format!("{metrics:#}\n")).map_err(Error::io("writing", &path))?;
            }
        }
        drop(receive); // the maker of batches stops
        Ok(())
    })
}

fn tell(
    args: &Args,
    progress: &Progress,
    (sum, count): &(LossParts, u64),
    start: Instant,
    first: u64,
) {
    let count = (*count).max(1) as f64;
    let seconds = start.elapsed().as_secs_f64();
    let images = (progress.step - first) as f64 * args.batch as f64;
    let _ = writeln!(
        std::io::stderr(),
        "step {} of {}: boxes {:.3} classes {:.3} distances {:.3}, rate {:.5}, {:.1} frames/s, {:.0} s",
        progress.step,
        args.steps,
        sum.boxes / count,
        sum.classes / count,
        sum.distances / count,
        progress.rate,
        images / seconds,
        seconds
    );
}
