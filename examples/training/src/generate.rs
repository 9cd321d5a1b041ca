//! `generate`: labelled clips into a cache.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use crate::clips::lettering::Fonts;
use crate::clips::real::Stock;
use crate::clips::sample::{Maker, Tasks, names};
use crate::dataset::{Split, shard_path, write_shard};
use crate::error::Error;
use crate::sources::Sources;

/// Arguments of `generate`.
#[derive(clap::Args)]
pub struct Args {
    /// Which cache to fill
    tasks: Tasks,
    /// Folder of the caches
    #[arg(long, default_value = "cache")]
    cache: PathBuf,
    /// Folders of photographs (JPEG, PNG)
    #[arg(long, num_args = 1..)]
    photos: Vec<PathBuf>,
    /// Folders of videos without defects
    #[arg(long, num_args = 1..)]
    footage: Vec<PathBuf>,
    /// Folders of photographs for validation alone; training then has all of --photos and --footage
    #[arg(long, num_args = 1..)]
    val_photos: Vec<PathBuf>,
    /// Folders of videos without defects for validation alone
    #[arg(long, num_args = 1..)]
    val_footage: Vec<PathBuf>,
    /// Names of photographs, or parts of them, whose right way up cannot be seen: rotation leaves them out
    #[arg(long, value_delimiter = ',')]
    unoriented: Vec<String>,
    /// Folders of fonts; without any, text is drawn as strokes
    #[arg(long, num_args = 1.., default_value = "/usr/share/fonts/truetype")]
    fonts: Vec<PathBuf>,
    /// Samples for training
    #[arg(long, default_value_t = 8192)]
    train: usize,
    /// Samples for validation, of other sources
    #[arg(long, default_value_t = 1536)]
    val: usize,
    /// What every sample follows from, with its number
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What decides which sources are kept for validation; the same for all caches of one model
    #[arg(long, default_value_t = 1)]
    split_seed: u64,
    /// Samples of one file
    #[arg(long, default_value_t = 64)]
    shard: usize,
    /// Frames of a sample [default: 16, or 4 for rotation]
    #[arg(long)]
    frames: Option<usize>,
    /// Side of a frame, in pixels
    #[arg(long, default_value_t = 128)]
    size: u32,
    /// Samples made at the same time
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Runs `generate`.
pub fn run(args: &Args) -> Result<(), Error> {
    if args.photos.is_empty() && args.footage.is_empty() {
        return Err(Error::Usage(
            "nothing to make clips from: give --photos, --footage, or both".to_owned(),
        ));
    }
    if args.shard == 0 || args.size < 16 || args.frames == Some(0) {
        return Err(Error::Usage(
            "--shard and --frames must be at least 1, --size at least 16".to_owned(),
        ));
    }
    for (split, samples) in [(Split::Val, args.val), (Split::Train, args.train)] {
        fill(args, split, samples)?;
    }
    Ok(())
}

/// Makes the missing shards of one split.
fn fill(args: &Args, split: Split, samples: usize) -> Result<(), Error> {
    let shards = samples.div_ceil(args.shard);
    let path = |number: usize| shard_path(&args.cache, args.tasks.name(), split, number);
    let missing: Vec<usize> = (0..shards)
        .filter(|number| !path(*number).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let say = |left_out| eprintln!("left out: {left_out}");
    let apart = !args.val_photos.is_empty() || !args.val_footage.is_empty();
    let (photos, footage) = match split {
        Split::Val if apart => (&args.val_photos, &args.val_footage),
        _ => (&args.photos, &args.footage),
    };
    let share = (!apart).then_some((args.split_seed, split));
    let sources = Sources::load(photos, footage, share, &say)?;
    eprintln!(
        "{}: {} photographs, {} shots",
        split.name(),
        sources.photos.len(),
        sources.shots.len()
    );
    let stock = Stock {
        sources,
        fonts: Fonts::under(&args.fonts),
        unoriented: args.unoriented.clone(),
    };
    let maker = Maker {
        tasks: args.tasks,
        stock: &stock,
        seed: args.seed,
        split: split.name(),
        frames: args.frames.unwrap_or(args.tasks.frames()),
        size: args.size,
    };
    let names = names(args.tasks, args.seed);
    let bar = progress(split, missing.len() * args.shard);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(None));
    let make = |number: usize, scratch: &Path| -> Result<(), Error> {
        let from = (number * args.shard) as u64;
        let mut made = Vec::with_capacity(args.shard);
        for index in from..from + args.shard as u64 {
            made.push(maker.sample(index, scratch)?);
            bar.inc(1);
        }
        write_shard(&path(number), &names, &made)
    };
    std::thread::scope(|scope| {
        for _ in 0..args.threads.max(1) {
            scope.spawn(|| {
                let result = scratch().and_then(|scratch| {
                    while let Some(number) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        make(*number, scratch.path())?;
                    }
                    Ok(())
                });
                if let Err(error) = result {
                    next.store(missing.len(), Ordering::Relaxed);
                    failed
                        .lock()
                        .unwrap_or_else(|poisoned| poisoned.into_inner())
                        .get_or_insert(error);
                }
            });
        }
    });
    bar.finish();
    failed
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .map_or(Ok(()), Err)
}

/// A folder for files that live as long as a sample, in memory where the machine has such a place.
fn scratch() -> Result<tempfile::TempDir, Error> {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.or_else(|_| tempfile::tempdir())
        .map_err(Error::io("making a folder in", memory))
}

/// A bar that moves on a terminal and is silent elsewhere.
fn progress(split: Split, samples: usize) -> ProgressBar {
    let bar = ProgressBar::new(samples as u64);
    if let Ok(style) = ProgressStyle::with_template(
        "{prefix:>5} [{bar:30}] {pos}/{len} samples, {per_sec}, {eta} left",
    ) {
        bar.set_style(style);
    }
    bar.set_prefix(split.name());
    bar
}
