//! `train`: classifiers on generated clips.
//!
//! Samples come in pools of a few shards, drawn anew each time round; a pool's samples come in a shuffled order. Which
//! sample comes when, and which variant of it, follows from the seed and the step alone, so that a run that was cut off
//! goes on as it would have (as long as the cache is the same).

mod feeder;
mod metrics;

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use clipsieve_models::training::{
    Batch, ClassifierTrainer, PATCHES_RATE, Recipe, Regularisation, Schedule, Task, export,
};
use clipsieve_models::vjepa2::VJepa2Config;
use clipsieve_models::{DeviceChoice, HeadKind, Precision, Preprocess, set_threads};
use ndarray::{Array2, Array5, Axis};
use serde_json::{Map, Value, json};

use self::feeder::Feeder;
use self::metrics::{Metrics, Window};
use crate::chance::Chance;
use crate::dataset::{Dataset, NOT_JUDGED, Split};
use crate::error::Error;
use crate::ranking::auc;

/// Side of a frame, in pixels.
const SIDE_PX: usize = 128;
/// Frames of a clip of the shared backbone's tasks.
const SHARED_FRAMES: usize = 16;
/// Frames of a clip for the rotation model, which needs less of motion.
const ROTATION_FRAMES: usize = 4;
/// Shards in memory at a time.
const POOL_SHARDS: usize = 16;
/// Steps with one pool.
const POOL_STEPS: u64 = 64;
/// Share of upright clips that stay upright when the rotation model learns.
const UPRIGHT_SHARE: f32 = 0.4;
/// Share of clips without effects that get one on the spot.
const ADDED_SHARE: f32 = 0.35;
/// The task whose defect can be added to a clip on the spot.
const EFFECTS_TASK: &str = "vfx";
/// A helper of the rotation model: which way is up.
const QUARTER: &str = "quarter";

/// What can be trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Models {
    /// One backbone with the heads vfx, simcam and low_quality
    Shared,
    /// The rotation model
    Rotation,
}

impl Models {
    /// The folder of its clips in the cache.
    pub fn folder(self) -> &'static str {
        match self {
            Models::Shared => "shared",
            Models::Rotation => "rotation",
        }
    }
}

/// Arguments of `train`.
#[derive(clap::Args)]
pub struct Args {
    /// What to train
    #[arg(value_enum)]
    models: Models,
    /// Folder that `generate` filled
    #[arg(long, default_value = "cache")]
    cache: PathBuf,
    /// Folder of the run: checkpoint, metrics.jsonl, models/; a run that is there goes on
    #[arg(long)]
    out: PathBuf,
    /// Folder of the models of a former run, of the same sizes, to start from; without it, from chance
    #[arg(long)]
    from: Option<PathBuf>,
    /// Steps of the whole run
    #[arg(long, default_value_t = 6000)]
    steps: u64,
    /// Clips a step
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Highest learning rate
    #[arg(long, default_value_t = 1e-3)]
    rate: f64,
    /// Weight decay
    #[arg(long, default_value_t = 0.05)]
    decay: f64,
    /// Share of a clip's tokens that a step sees
    #[arg(long, default_value_t = 0.5)]
    kept_tokens: f64,
    /// How probably a clip skips a branch of the last block
    #[arg(long, default_value_t = 0.1)]
    dropped_branches: f64,
    /// Width of a token
    #[arg(long, default_value_t = 192)]
    hidden: i64,
    /// Blocks of the encoder
    #[arg(long, default_value_t = 6)]
    layers: i64,
    /// Attention heads
    #[arg(long, default_value_t = 4)]
    heads: i64,
    /// Steps between validations, which also save the run
    #[arg(long, default_value_t = 250)]
    validate_every: u64,
    /// Everything that is drawn follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folders of fonts, for the text of effects that are added on the spot
    #[arg(long, num_args = 1.., default_value = "/usr/share/fonts/truetype")]
    fonts: Vec<PathBuf>,
    /// Threads of the network
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Arithmetic: f32 or bf16 (weights and their moments are f32 in both)
    #[arg(long, default_value = "f32")]
    precision: String,
    /// cpu or cuda
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Random clips instead of the cache, to see how fast a step is
    #[arg(long)]
    speed: bool,
}

/// Runs `train`.
///
/// # Errors
/// If the cache cannot be read, the run does not fit the checkpoint that is there, or the disk refuses.
pub fn run(args: &Args) -> Result<(), Error> {
    set_threads(args.threads);
    let mut trainer = trainer(args)?;
    if args.speed {
        return speed(args, &mut trainer);
    }
    fs::create_dir_all(&args.out).map_err(Error::io("making", &args.out))?;
    let checkpoint = args.out.join("checkpoint.safetensors");
    let mut best = 0.0;
    if checkpoint.exists() {
        let notes = trainer.resume(&checkpoint)?;
        best = notes.get("best").and_then(Value::as_f64).unwrap_or(0.0);
        eprintln!("going on from step {}", trainer.step());
    } else if let Some(folder) = &args.from {
        trainer.start_from(folder)?;
        eprintln!("starts from {}", folder.display());
    }
    let training = Dataset::open(&args.cache, args.models.folder(), Split::Train)?;
    let validation = Dataset::open(&args.cache, args.models.folder(), Split::Val)?;
    let mut feeder = Feeder::new(args, &trainer, training)?;
    eprintln!(
        "{} numbers to learn from {} shards",
        trainer.count(),
        feeder.dataset.len()
    );
    let mut metrics = Metrics::open(&args.out)?;
    let mut window = Window::default();
    while trainer.step() < args.steps {
        let (frames, wanted) = feeder.batch(trainer.step())?;
        let (progress, losses) = trainer.learn(&Batch {
            frames: frames.view(),
            wanted,
        })?;
        window.add(frames.dim().0, progress.loss, &losses);
        if progress.step.is_multiple_of(25) {
            let mut line = window.take(trainer.tasks());
            line.insert("step".into(), json!(progress.step));
            line.insert("rate".into(), json!(progress.rate));
            line.insert("norm".into(), json!(progress.norm));
            metrics.write(line)?;
        }
        if progress.step.is_multiple_of(args.validate_every) || progress.step == args.steps {
            let mut line = Map::new();
            let mean = validate(&trainer, &validation, &mut line)?;
            line.insert("step".into(), json!(progress.step));
            metrics.write(line)?;
            if mean > best {
                best = mean;
                export::classifiers(&trainer, &args.out.join("models"))?;
            }
            trainer.save(&checkpoint, &json!({ "best": best }))?;
            window = Window::default();
        }
    }
    eprintln!(
        "done; the best models (mean validation AUC {best:.3}) are in {}",
        args.out.join("models").display()
    );
    Ok(())
}

/// The network and the recipe that the arguments ask for.
fn trainer(args: &Args) -> Result<ClassifierTrainer, Error> {
    let frames = match args.models {
        Models::Shared => SHARED_FRAMES,
        Models::Rotation => ROTATION_FRAMES,
    };
    let sizes = VJepa2Config {
        crop_px: SIDE_PX as i64,
        frames_per_clip: frames as i64,
        hidden: args.hidden,
        heads: args.heads,
        layers: args.layers,
        mlp_hidden: 4 * args.hidden,
        ..VJepa2Config::base()
    };
    let preprocess = Preprocess {
        resize_short: SIDE_PX,
        ..Preprocess::standard(frames, SIDE_PX)
    };
    let task = |name: &str, labels: &[&str], head| Task {
        name: name.into(),
        labels: labels.iter().map(|&label| label.into()).collect(),
        head,
        pooler_layers: 1,
        weight: 1.0,
        published: true,
    };
    let tasks = match args.models {
        Models::Shared => vec![
            task("vfx", &["clean", "vfx"], HeadKind::Linear),
            task("simcam", &["real", "simcam"], HeadKind::Linear),
            task("low_quality", &["good", "low_quality"], HeadKind::Attentive),
        ],
        Models::Rotation => vec![
            task("rotation", &["upright", "rotated"], HeadKind::Linear),
            Task {
                published: false,
                weight: 0.5,
                ..task(QUARTER, &["0", "90", "180", "270"], HeadKind::Linear)
            },
        ],
    };
    let regularisation = Regularisation {
        kept_tokens: args.kept_tokens,
        dropped_branches: args.dropped_branches,
        smoothing: 0.05,
    };
    let recipe = Recipe {
        schedule: Schedule {
            steps: args.steps,
            warm_up: 100,
            peak_rate: args.rate,
            last_rate: args.rate / 50.0,
        },
        decay: args.decay,
        max_norm: 1.0,
        factors: &[PATCHES_RATE],
        average_kept: 0.996,
    };
    let device = args.device.parse::<DeviceChoice>()?.resolve(0)?;
    let precision: Precision = args.precision.parse()?;
    let place = (&device, precision);
    Ok(ClassifierTrainer::new(
        sizes,
        preprocess,
        tasks,
        regularisation,
        recipe,
        place,
        args.seed,
    )?)
}

/// Prints how many clips a second a step takes in.
fn speed(args: &Args, trainer: &mut ClassifierTrainer) -> Result<(), Error> {
    let frames = trainer.preprocess().frames;
    let mut chance = Chance::new(args.seed);
    let shape = (args.batch, frames, SIDE_PX, SIDE_PX, 3);
    let clips = Array5::from_shape_simple_fn(shape, || chance.below(256) as u8);
    let wanted: Vec<Array2<f32>> = trainer
        .tasks()
        .iter()
        .map(|task| {
            Array2::from_shape_fn((args.batch, task.labels.len()), |(b, label)| {
                f32::from(u8::from(b % task.labels.len() == label))
            })
        })
        .collect();
    let mut began = Instant::now();
    for step in 0..args.steps.min(12) {
        if step == 2 {
            began = Instant::now();
        }
        let batch = Batch {
            frames: clips.view(),
            wanted: wanted.clone(),
        };
        let (progress, _) = trainer.learn(&batch)?;
        println!("step {} loss {:.4}", progress.step, progress.loss);
    }
    let steps = args.steps.min(12).saturating_sub(2);
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} numbers, {:.2} clips/s in {}",
        trainer.count(),
        steps as f64 * args.batch as f64 / seconds,
        args.precision
    );
    let began = Instant::now();
    trainer.scores(clips.view())?;
    println!(
        "scores: {:.2} clips/s",
        args.batch as f64 / began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The AUC of each task on the validation clips, added to `line`; the mean of the published ones.
fn validate(
    trainer: &ClassifierTrainer,
    dataset: &Dataset,
    line: &mut Map<String, Value>,
) -> Result<f64, Error> {
    let began = Instant::now();
    let tasks = trainer.tasks();
    let columns: Vec<Option<usize>> = tasks
        .iter()
        .map(|task| task.published.then(|| dataset.task(&task.name)).transpose())
        .collect::<Result<_, Error>>()?;
    // For each task the scores of clean clips and of those with the defect.
    let mut found = vec![[Vec::new(), Vec::new()]; tasks.len()];
    for number in 0..dataset.len() {
        let shard = dataset.shard(number)?;
        for first in (0..shard.len()).step_by(16) {
            let last = (first + 16).min(shard.len());
            let clips = shard
                .frames
                .slice_axis(Axis(0), ndarray::Slice::from(first..last));
            let clips = clips
                .into_dimensionality()
                .map_err(|error| Error::Usage(error.to_string()))?;
            let scores = trainer.scores(clips)?;
            for (task, column) in columns.iter().enumerate() {
                let Some(column) = column else { continue };
                for (row, scores) in scores[task].iter().enumerate() {
                    match shard.labels[[first + row, *column]] {
                        NOT_JUDGED => {}
                        label => found[task][usize::from(label.min(1))].push(scores[1]),
                    }
                }
            }
        }
    }
    let (mut sum, mut count) = (0.0, 0.0);
    for (task, [clean, defect]) in tasks.iter().zip(&found) {
        if let Some(area) = auc(defect, clean) {
            line.insert(format!("auc_{}", task.name), json!(rounded(area)));
            (sum, count) = (sum + area, count + 1.0);
        }
    }
    line.insert(
        "validation_seconds".into(),
        json!(rounded(began.elapsed().as_secs_f64())),
    );
    Ok(sum / f64::max(count, 1.0))
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
