//! Model instances that `classify` stages have in common: one line of clips before one backbone, and a head for each thing
//! that is asked of a clip.
//!
//! Whatever number of stages has a backbone, in whatever folders it lies, its weights are loaded once a process, and its
//! instances work on the clips of all of them. Each clip says which heads are to see its features, so a clip that five
//! stages judge goes through the backbone once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clipsieve_engine::operator::{
    BatchError, Batcher, BuildContext, Deadline, ErrorKind, OperatorError, Value,
};
use clipsieve_models::{
    Backbone, ClassifierHead, Device, Features, ModelError, Pool, Precision, clear_cache,
    set_threads,
};
use ndarray::{Array3, ArrayView3};

use crate::kinds::Clips;
use crate::media::Clip;
use crate::model_files::{self, config_error, model_error, pool_error};

/// The instances of a head.
pub type Heads = Pool<ClassifierHead>;

/// A clip on its way through a backbone.
pub struct ClipWork {
    /// A [`Clip`], or the [`Clips`] that it is one of.
    pub input: Value,
    /// Which one of them.
    pub index: usize,
    /// The heads that are to see it.
    pub heads: Arc<[Arc<Heads>]>,
}

impl ClipWork {
    fn clip(&self) -> Result<&Clip, OperatorError> {
        if self.input.is::<Clip>() {
            return self.input.get();
        }
        let Clips(clips) = self.input.get()?;
        clips
            .get(self.index)
            .ok_or_else(|| OperatorError::internal("a window is asked for that is not there"))
    }
}

/// What the heads that saw a clip say of it, in their order: a probability for each label.
pub struct Scores(pub Vec<Result<Vec<f32>, (ErrorKind, String)>>);

/// How a stage wants its backbone to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Most clips in a batch.
    pub batch: usize,
    /// How long a clip waits for others.
    pub max_wait: Duration,
    /// Clips after which the device's cache is cleared; 0 for never.
    pub clear_cache_every: u64,
}

/// The instances of one backbone, and how they are run.
pub struct Backbones {
    instances: Pool<Backbone>,
    pace: Pace,
    threads: usize,
    device: Device,
    done: AtomicU64,
}

impl Backbones {
    /// The instances that a stage works with, from the depot if another stage of the process has them already.
    ///
    /// # Errors
    /// `Config` with what is wrong with the model or the device.
    pub fn of_stage(
        context: &BuildContext<'_>,
        model: &str,
        pace: Pace,
    ) -> Result<Arc<Self>, OperatorError> {
        let (device, precision) = model_files::device(context)?;
        let placement = context.placement;
        let (instances, threads) = (placement.concurrency, placement.threads);
        // On the CPU a batch of many is hardly faster than many of one: waiting for it would waste the cores.
        let max_wait = if device.is_cuda() {
            pace.max_wait
        } else {
            Duration::ZERO
        };
        let pace = Pace { max_wait, ..pace };
        if device.is_cuda() && pace.clear_cache_every > 0 {
            tracing::warn!(
                stage = context.setting.stage,
                device = device.id(),
                "`clear_cache_every` does nothing on a GPU: libtorch gives memory back by itself when it runs out"
            );
        }
        let weights = format!("backbone {}", held_as(context, &device, precision));
        let name = format!("{weights} {pace:?}, {instances} instances, {threads} threads");
        context.depot.get_or_make(&name, || {
            let folder = model_files::folder(context, model)?;
            let first = context.depot.get_or_make(&weights, || {
                // Several would mostly wait for one another, at full speed.
                set_threads(1);
                let loaded = Backbone::load(folder, &device, precision).map_err(config_error)?;
                // The original only makes instances; no call ever waits for it.
                Pool::new(vec![loaded]).map_err(pool_error)
            })?;
            let first = first.acquire(Duration::ZERO).map_err(pool_error)?;
            let made = (0..instances).map(|_| first.instance());
            let made: Vec<_> = made.collect::<Result<_, _>>().map_err(config_error)?;
            Ok(Self {
                instances: Pool::new(made).map_err(pool_error)?,
                pace,
                threads,
                device: device.clone(),
                done: AtomicU64::new(0),
            })
        })
    }
}

/// The instances of a model's head: one for each instance of its backbone, so that none ever waits.
///
/// # Errors
/// `Config` with what is wrong with the model or the device.
pub fn heads(context: &BuildContext<'_>, model: &str) -> Result<Arc<Heads>, OperatorError> {
    let (device, precision) = model_files::device(context)?;
    let folder = model_files::folder(context, model)?;
    let place = folder
        .canonicalize()
        .unwrap_or_else(|_| folder.to_path_buf());
    let held = held_as(context, &device, precision);
    let instances = context.placement.concurrency;
    let name = format!("head {} {held}, {instances} instances", place.display());
    context.depot.get_or_make(&name, || {
        set_threads(1);
        let first = ClassifierHead::load(folder, &device, precision).map_err(config_error)?;
        model_files::instances(first, instances, ClassifierHead::instance)
    })
}

/// What tells weights apart in a process: their content and where and how they are held. A stage that is kept to itself has
/// its own.
fn held_as(context: &BuildContext<'_>, device: &Device, precision: Precision) -> String {
    let content = match context.common {
        Some(common) => common["backbone"].to_string(),
        None => format!("of stage {}", context.setting.stage),
    };
    format!("{content} in {precision} on {}", device.id())
}

impl Batcher for Backbones {
    fn warm_up(&self) -> Result<(), OperatorError> {
        set_threads(self.threads);
        let backbone = self.instances.acquire(Duration::ZERO).map_err(pool_error)?;
        let shape = backbone.preprocess();
        let frame = Array3::zeros((shape.size, shape.size, 3));
        let frames = vec![frame.view(); shape.frames];
        backbone.features(&[&frames]).map_err(model_error)?;
        Ok(())
    }

    fn batch(&self) -> usize {
        self.pace.batch
    }

    fn max_wait(&self) -> Duration {
        self.pace.max_wait
    }

    fn run(&self, units: &[Value], deadline: &Deadline) -> Result<Vec<Value>, BatchError> {
        set_threads(self.threads);
        let works: Vec<&ClipWork> = units.iter().map(Value::get).collect::<Result<_, _>>()?;
        let patience = deadline.remaining().unwrap_or(Duration::MAX);
        let backbone = self.instances.acquire(patience).map_err(pool_error)?;
        let mut views: Vec<Vec<ArrayView3<'_, u8>>> = Vec::with_capacity(works.len());
        for work in &works {
            views.push(
                work.clip()?
                    .frames
                    .iter()
                    .map(|frame| frame.view())
                    .collect(),
            );
        }
        let clips: Vec<_> = views.iter().map(Vec::as_slice).collect();
        let features = backbone.features(&clips).map_err(batch_error)?;
        let mut said: Vec<Vec<_>> = works
            .iter()
            .map(|work| vec![None; work.heads.len()])
            .collect();
        for (head, places) in by_head(&works) {
            let head = head.acquire(patience).map_err(pool_error)?;
            for (place, scores) in judged(&head, &features, &places)? {
                let (clip, seat) = place;
                said[clip][seat] = Some(scores);
            }
        }
        self.clear(units.len());
        let missing = || Err((ErrorKind::Internal, "a head gave no answer".to_owned()));
        let whole = |said: Vec<Option<_>>| {
            let said = said
                .into_iter()
                .map(|scores| scores.unwrap_or_else(missing));
            Value::new(Scores(said.collect()))
        };
        Ok(said.into_iter().map(whole).collect())
    }
}

impl Backbones {
    /// Counts clips, and clears the device's cache when as many as are to be have gone through.
    fn clear(&self, clips: usize) {
        let every = self.pace.clear_cache_every;
        let before = self.done.fetch_add(clips as u64, Ordering::Relaxed);
        if every > 0 && before / every != (before + clips as u64) / every {
            clear_cache(&self.device);
        }
    }
}

/// A clip of the batch, and which of its heads.
type Place = (usize, usize);

/// The different heads of a batch, each with the places that its answers go to.
fn by_head<'w>(works: &[&'w ClipWork]) -> Vec<(&'w Arc<Heads>, Vec<Place>)> {
    let mut heads: Vec<(&Arc<Heads>, Vec<Place>)> = Vec::new();
    for (clip, work) in works.iter().enumerate() {
        for (seat, head) in work.heads.iter().enumerate() {
            match heads.iter_mut().find(|(other, _)| Arc::ptr_eq(other, head)) {
                Some((_, places)) => places.push((clip, seat)),
                None => heads.push((head, vec![(clip, seat)])),
            }
        }
    }
    heads
}

type Said = Result<Vec<f32>, (ErrorKind, String)>;

/// What a head says of its clips. What goes wrong with one clip is told of it alone.
fn judged(
    head: &ClassifierHead,
    features: &Features,
    places: &[Place],
) -> Result<Vec<(Place, Said)>, BatchError> {
    let clips: Vec<usize> = places.iter().map(|(clip, _)| *clip).collect();
    let seen = features.of_clips(&clips).map_err(batch_error)?;
    match head.scores(&seen) {
        Ok(scores) => Ok(places
            .iter()
            .copied()
            .zip(scores.into_iter().map(Ok))
            .collect()),
        Err(error) if error.is_temporary() => Err(batch_error(error)),
        Err(error) if places.len() == 1 => {
            let error = model_error(error);
            Ok(vec![(places[0], Err((error.kind, error.full_message())))])
        }
        Err(_) => {
            let mut all = Vec::with_capacity(places.len());
            for place in places {
                all.extend(judged(head, features, std::slice::from_ref(place))?);
            }
            Ok(all)
        }
    }
}

fn batch_error(error: ModelError) -> BatchError {
    let is_too_large = error.is_temporary();
    let error = model_error(error);
    if is_too_large {
        BatchError::TooLarge(error)
    } else {
        BatchError::Failed(error)
    }
}
