//! Batches: pools of a few shards, drawn anew each time round, and variants of their clips.

use std::path::PathBuf;

use clipsieve_models::training::ClassifierTrainer;
use ndarray::{Array2, Array4, Array5, Axis};

use super::{
    ADDED_SHARE, Args, EFFECTS_TASK, Models, POOL_SHARDS, POOL_STEPS, SIDE_PX, UPRIGHT_SHARE,
};
use crate::augment::{Freedom, turned, varied};
use crate::chance::Chance;
use crate::clips::added::Effects;
use crate::clips::lettering::Fonts;
use crate::dataset::{Dataset, NOT_JUDGED, Sample, Split};
use crate::error::Error;

/// Batches of variants of the cached clips.
pub(super) struct Feeder {
    cache: PathBuf,
    pub(super) dataset: Dataset,
    models: Models,
    /// For each task its column in the cache's labels, and how many labels it has; the helper has no column.
    columns: Vec<(Option<usize>, usize)>,
    freedom: Freedom,
    effects: Effects,
    batch: usize,
    seed: u64,
    pool: Option<Pool>,
}

/// The samples of a few shards, and what each label of each column of theirs weighs.
struct Pool {
    number: u64,
    samples: Vec<Sample>,
    order: Vec<usize>,
    weights: Vec<[f32; 2]>,
}

impl Feeder {
    pub(super) fn new(
        args: &Args,
        trainer: &ClassifierTrainer,
        dataset: Dataset,
    ) -> Result<Self, Error> {
        let columns = trainer
            .tasks()
            .iter()
            .map(|task| {
                let column = task
                    .published
                    .then(|| dataset.task(&task.name))
                    .transpose()?;
                Ok((column, task.labels.len()))
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            cache: args.cache.clone(),
            dataset,
            models: args.models,
            columns,
            freedom: Freedom {
                turned: args.models == Models::Shared,
                smallest_window: match args.models {
                    Models::Shared => 0.85,
                    Models::Rotation => 0.6,
                },
                colour: match args.models {
                    Models::Shared => 0.6,
                    Models::Rotation => 1.0,
                },
                noise: 1.5,
            },
            effects: Effects::new(Fonts::under(&args.fonts)),
            batch: args.batch,
            seed: args.seed,
            pool: None,
        })
    }

    /// Frames and shares of a step.
    pub(super) fn batch(&mut self, step: u64) -> Result<(Array5<u8>, Vec<Array2<f32>>), Error> {
        let number = step / POOL_STEPS;
        if self.pool.as_ref().is_none_or(|pool| pool.number != number) {
            self.pool = None;
            self.pool = Some(self.load(number)?);
        }
        let Some(pool) = &self.pool else {
            return Err(Error::Usage("the cache is empty".into()));
        };
        let first = (step % POOL_STEPS) as usize * self.batch;
        let side = SIDE_PX;
        let frames = pool.samples[0].frames.dim().0;
        let mut clips = Array5::zeros((self.batch, frames, side, side, 3));
        let mut wanted: Vec<Array2<f32>> = self
            .columns
            .iter()
            .map(|&(_, labels)| Array2::zeros((self.batch, labels)))
            .collect();
        for (row, mut place) in clips.axis_iter_mut(Axis(0)).enumerate() {
            let sample = &pool.samples[pool.order[(first + row) % pool.order.len()]];
            let draw = step * self.batch as u64 + row as u64;
            let mut chance = Chance::of(self.seed, "variant", draw);
            match self.models {
                Models::Shared => {
                    let other = &pool.samples[chance.below(pool.samples.len())];
                    let (clip, labels) = self.with_effect(sample, other, &mut chance);
                    place.assign(&varied(clip.view(), &self.freedom, &mut chance));
                    for (task, &(column, _)) in self.columns.iter().enumerate() {
                        let Some(column) = column else { continue };
                        let label = labels[column];
                        if label != NOT_JUDGED {
                            let label = usize::from(label.min(1));
                            wanted[task][[row, label]] = pool.weights[column][label];
                        }
                    }
                }
                Models::Rotation => {
                    let clip = varied(sample.frames.view(), &self.freedom, &mut chance);
                    if sample.labels[self.columns[0].0.unwrap_or(0)] == 0 {
                        let quarters = if chance.is(UPRIGHT_SHARE) {
                            0
                        } else {
                            1 + chance.below(3)
                        };
                        place.assign(&turned(clip.view(), quarters));
                        wanted[0][[row, usize::from(quarters != 0)]] = 1.0;
                        wanted[1][[row, quarters]] = 1.0;
                    } else {
                        place.assign(&clip);
                        wanted[0][[row, 1]] = 1.0;
                    }
                }
            }
        }
        Ok((clips, wanted))
    }

    /// A sample's clip and labels, now and then with an effect that it did not have.
    fn with_effect(
        &self,
        sample: &Sample,
        other: &Sample,
        chance: &mut Chance,
    ) -> (Array4<u8>, Vec<u8>) {
        let names = &self.dataset.names.tasks;
        let column = |task: &str| names.iter().position(|name| name == task);
        let mut labels = sample.labels.clone();
        let columns = (
            column(EFFECTS_TASK),
            column("simcam"),
            column("low_quality"),
        );
        let (Some(vfx), Some(simcam), Some(low_quality)) = columns else {
            return (sample.frames.clone(), labels);
        };
        if labels[vfx] != 0 || !chance.is(ADDED_SHARE) {
            return (sample.frames.clone(), labels);
        }
        let told = (labels[simcam], labels[low_quality]);
        let (clip, other) = (sample.frames.view(), other.frames.view());
        let added = self.effects.put(clip, other, told, chance);
        labels[vfx] = 1;
        (labels[simcam], labels[low_quality]) = (added.simcam, added.low_quality);
        (added.frames, labels)
    }

    fn load(&mut self, number: u64) -> Result<Pool, Error> {
        // A cache may still be growing.
        self.dataset = Dataset::open(&self.cache, self.models.folder(), Split::Train)?;
        let shards = POOL_SHARDS.min(self.dataset.len());
        let pools = (self.dataset.len() / shards) as u64;
        // Round after round through all shards, each in an order of its own.
        let mut round = Chance::of(self.seed, "shards", number / pools);
        let order = shuffled(self.dataset.len(), &mut round);
        let first = (number % pools) as usize * shards;
        let mut samples = Vec::new();
        for &shard in &order[first..first + shards] {
            let shard = self.dataset.shard(shard)?;
            samples.extend((0..shard.len()).map(|i| shard.sample(i)));
        }
        let weights = (0..self.dataset.names.tasks.len())
            .map(|column| {
                let count = |label: u8| {
                    let of = |sample: &&Sample| sample.labels[column] == label;
                    samples.iter().filter(of).count() as f32
                };
                let (mut clean, mut defect) = (count(0), count(1));
                if self.dataset.names.tasks[column] == EFFECTS_TASK {
                    let added = clean * ADDED_SHARE;
                    (clean, defect) = (clean - added, defect + added);
                }
                let weigh = |n: f32| (clean + defect) / (2.0 * n.max(1.0));
                [weigh(clean), weigh(defect)]
            })
            .collect();
        let order = shuffled(samples.len(), &mut Chance::of(self.seed, "samples", number));
        Ok(Pool {
            number,
            samples,
            order,
            weights,
        })
    }
}

fn shuffled(count: usize, chance: &mut Chance) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    chance.shuffle(&mut order);
    order
}
