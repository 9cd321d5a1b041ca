//! Several classifiers over one backbone, trained together.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array2, ArrayView5};
use serde_json::Value;
use tch::{Kind, Tensor, no_grad_guard};

use super::chance::Chance;
use super::initial;
use super::learner::{Learner, Progress, Recipe};
use super::loss::cross_entropy;
use crate::config::{HeadKind, ModelConfig};
use crate::device::{Device, Precision};
use crate::error::{ModelError, Result};
use crate::frames::Colours;
use crate::heads::Head;
use crate::parameters::Parameters;
use crate::preprocess::Preprocess;
use crate::vjepa2::{Encoder, Thinning, VJepa2Config};
use crate::weights::Weights;

/// What the names of a backbone begin with in a folder that holds the whole model.
pub(super) const WHOLE_MODEL: &str = "vjepa2.";

/// A task that the backbone is to serve.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name, and that of its model's folder.
    pub name: String,
    /// The labels, in the order of the columns of a batch's shares.
    pub labels: Vec<String>,
    /// The head's kind.
    pub head: HeadKind,
    /// Self-attention blocks of an attentive head.
    pub pooler_layers: i64,
    /// Its weight in the loss.
    pub weight: f64,
    /// Whether it becomes a model, or only helps the backbone to learn.
    pub published: bool,
}

/// What keeps a network from learning its clips by heart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Regularisation {
    /// Share of a clip's tokens that a training step sees.
    pub kept_tokens: f64,
    /// How probably a clip skips a branch of the last block.
    pub dropped_branches: f64,
    /// Share of a label's weight that is spread over all labels.
    pub smoothing: f64,
}

/// Clips to learn from.
pub struct Batch<'a> {
    /// u8 [b, t, size, size, 3], red, green, blue.
    pub frames: ArrayView5<'a, u8>,
    /// One a task: [b, labels]. A row's sum is its weight; a row of zeros is not judged.
    pub wanted: Vec<Array2<f32>>,
}

/// The training of one backbone and its heads.
pub struct ClassifierTrainer {
    sizes: VJepa2Config,
    preprocess: Preprocess,
    tasks: Vec<Task>,
    regularisation: Regularisation,
    learner: Learner,
    device: Device,
    precision: Precision,
    seed: u64,
}

impl ClassifierTrainer {
    /// Freshly drawn weights for a backbone of these sizes and a head for each task.
    ///
    /// # Errors
    /// When libtorch refuses (memory).
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        sizes: VJepa2Config,
        preprocess: Preprocess,
        tasks: Vec<Task>,
        regularisation: Regularisation,
        recipe: Recipe,
        (device, precision): (&Device, Precision),
        seed: u64,
    ) -> Result<Self> {
        let fresh = Parameters::random(&Device::cpu(), Precision::F32);
        Networks::new(&sizes, &tasks, &fresh)?;
        let mut weights = fresh.finish()?.tensors();
        initial::draw(&sizes, &mut weights, seed)?;
        let placed = weights
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), tensor.f_to(device.tch())?)))
            .collect::<Result<BTreeMap<_, _>>>()?;
        Ok(ClassifierTrainer {
            sizes,
            preprocess,
            tasks,
            regularisation,
            learner: Learner::new(&placed, recipe)?,
            device: device.clone(),
            precision,
            seed,
        })
    }

    /// Starts from the models of a former run, as [`export::classifiers`](super::export::classifiers) wrote them below
    /// `folder`: the backbone, and the head of each published task; other heads stay as they were drawn.
    ///
    /// # Errors
    /// [`ModelError::Config`] or [`ModelError::Weights`] when a task's folder cannot be read or has other sizes; when
    /// libtorch refuses.
    pub fn start_from(&mut self, folder: &Path) -> Result<()> {
        let _no_grad = no_grad_guard();
        for task in self.tasks.iter().filter(|task| task.published) {
            let trained = Weights::of_model(&ModelConfig::read(folder.join(&task.name))?)?;
            let head = format!("heads.{}.", task.name);
            let prefix = if trained.names().any(|name| name.starts_with(WHOLE_MODEL)) {
                WHOLE_MODEL
            } else {
                ""
            };
            for (name, weight) in self.learner.weights() {
                let trained_name = match name.strip_prefix(&head) {
                    Some(own) => own.to_owned(),
                    None if name.starts_with("encoder.") => format!("{prefix}{name}"),
                    None => continue,
                };
                let trained = trained.get(&trained_name, &weight.size())?;
                weight.shallow_clone().f_copy_(&trained)?;
            }
        }
        self.learner.average_anew()
    }

    /// The tasks, in the order of a batch's shares.
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// The sizes of the backbone.
    pub fn sizes(&self) -> &VJepa2Config {
        &self.sizes
    }

    /// How clips are prepared.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Steps made so far.
    pub fn step(&self) -> u64 {
        self.learner.step()
    }

    /// The moving average of the weights, by name: `encoder.…`, and a task's under `heads.TASK.…`.
    pub fn average(&self) -> &BTreeMap<String, Tensor> {
        self.learner.average()
    }

    /// How many numbers are learnt.
    pub fn count(&self) -> usize {
        self.average().values().map(Tensor::numel).sum()
    }

    /// Learns from a batch; gives the loss of each task too. What is left out by chance follows from the seed and the
    /// step's number.
    ///
    /// # Errors
    /// [`ModelError::Input`] when frames or shares have another shape than they should, or there are not as many shares as
    /// tasks; when libtorch refuses.
    pub fn learn(&mut self, batch: &Batch<'_>) -> Result<(Progress, Vec<f64>)> {
        if batch.wanted.len() != self.tasks.len() {
            let names: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
            return Err(ModelError::Input(format!(
                "found shares of {} tasks, allowed: of {} ({})",
                batch.wanted.len(),
                names.len(),
                names.join(", ")
            )));
        }
        let parameters = Parameters::over(self.learner.weights(), &self.device, self.precision);
        let networks = Networks::new(&self.sizes, &self.tasks, &parameters)?;
        parameters.finish()?;
        let frames = self.prepared(&batch.frames)?;
        let tokens = networks
            .encoder
            .forward_thinned(&frames, &self.thinning(&batch.frames)?)?;
        let mut losses = Vec::with_capacity(self.tasks.len());
        let mut total = Tensor::f_zeros([1], (Kind::Float, self.device.tch()))?;
        for ((task, head), wanted) in self.tasks.iter().zip(&networks.heads).zip(&batch.wanted) {
            let shape = [wanted.nrows() as i64, wanted.ncols() as i64];
            if shape != [frames.size()[0], task.labels.len() as i64] {
                return Err(ModelError::Input(format!(
                    "{}: found shares of shape {shape:?}, allowed: [{}, {}]",
                    task.name,
                    frames.size()[0],
                    task.labels.len()
                )));
            }
            let flat: Vec<f32> = wanted.iter().copied().collect();
            let wanted = Tensor::f_from_slice(&flat)?
                .f_reshape(shape)?
                .f_to(self.device.tch())?;
            let loss = cross_entropy(
                &head.forward(&tokens)?,
                &wanted,
                self.regularisation.smoothing,
            )?;
            total = total.f_add(&loss.f_mul_scalar(task.weight)?)?;
            losses.push(loss.f_double_value(&[])?);
        }
        let progress = self.learner.descend(&total.f_sum(Kind::Float)?)?;
        Ok((progress, losses))
    }

    /// Probabilities of each task's labels for clips u8 [b, t, size, size, 3], by the average of the weights: for each
    /// task one row a clip.
    ///
    /// # Errors
    /// As [`ClassifierTrainer::learn`].
    pub fn scores(&self, clips: ArrayView5<'_, u8>) -> Result<Vec<Vec<Vec<f32>>>> {
        let _no_grad = no_grad_guard();
        let parameters = Parameters::over(self.learner.average(), &self.device, self.precision);
        let networks = Networks::new(&self.sizes, &self.tasks, &parameters)?;
        parameters.finish()?;
        let tokens = networks.encoder.forward(&self.prepared(&clips)?)?;
        let mut scores = Vec::with_capacity(self.tasks.len());
        for (task, head) in self.tasks.iter().zip(&networks.heads) {
            let share = head
                .forward(&tokens)?
                .f_softmax(-1, Kind::Float)?
                .f_to(tch::Device::Cpu)?
                .f_contiguous()?;
            let mut flat = vec![0f32; share.numel()];
            share.f_copy_data(&mut flat, share.numel())?;
            scores.push(
                flat.chunks_exact(task.labels.len())
                    .map(<[f32]>::to_vec)
                    .collect(),
            );
        }
        Ok(scores)
    }

    /// Writes everything that training needs to go on; `notes` are kept with it.
    ///
    /// # Errors
    /// [`ModelError::Write`].
    pub fn save(&self, file: &Path, notes: &Value) -> Result<()> {
        self.learner.save(file, notes)
    }

    /// Goes on from a file of [`ClassifierTrainer::save`]; gives its notes.
    ///
    /// # Errors
    /// As [`Learner::resume`].
    pub fn resume(&mut self, file: &Path) -> Result<Value> {
        self.learner.resume(file)
    }

    /// Bytes to normalised frames [b, t, 3, size, size], as [`crate::Backbone::normalised`] does it.
    fn prepared(&self, clips: &ArrayView5<'_, u8>) -> Result<Tensor> {
        let (b, t, h, w, c) = clips.dim();
        let size = self.preprocess.size;
        if (h, w, c) != (size, size, 3) || b == 0 || t == 0 {
            return Err(ModelError::Input(format!(
                "clips: found shape {:?}, allowed: [b, t, {size}, {size}, 3]",
                clips.shape()
            )));
        }
        let standard = clips.as_standard_layout();
        let bytes = Tensor::f_from_slice(standard.as_slice().unwrap_or_default())?;
        let shape = [b, t, h, w, c].map(|n| n as i64);
        let bytes = bytes
            .f_to(self.device.tch())?
            .f_reshape(shape)?
            .f_permute([0, 1, 4, 2, 3])?; // [b, t, 3, size, size]
        let (mean, std) = (&self.preprocess.mean, &self.preprocess.std);
        Ok(Colours::new(mean, std, self.device.tch())?
            .applied(&bytes)?
            .f_to_kind(self.precision.kind())?)
    }

    /// What this step leaves out.
    fn thinning(&self, clips: &ArrayView5<'_, u8>) -> Result<Thinning> {
        let (batch, frames) = (clips.dim().0, clips.dim().1);
        let mut chance = Chance::of(self.seed, "thinning", self.step());
        let tokens = self.sizes.tokens(frames) as usize;
        let kept = (self.regularisation.kept_tokens * tokens as f64).ceil() as usize;
        let kept_tokens = if kept < tokens {
            let mut order: Vec<i64> = (0..tokens as i64).collect();
            chance.shuffle(&mut order);
            order.truncate(kept.max(1));
            order.sort_unstable();
            Some(Tensor::f_from_slice(&order)?.f_to(self.device.tch())?)
        } else {
            None
        };
        let dropped = self.regularisation.dropped_branches;
        let branches = if dropped > 0.0 {
            let layers = self.sizes.layers as usize;
            let mut scales = Vec::with_capacity(layers * 2 * batch);
            for depth in 0..layers {
                // The deeper, the more: the first blocks are what all others stand on.
                let kept = (1.0 - dropped * depth as f64 / (layers.max(2) - 1) as f64) as f32;
                let scale = |_| if chance.is(kept) { 1.0 / kept } else { 0.0 };
                scales.extend((0..2 * batch).map(scale));
            }
            let scales = Tensor::f_from_slice(&scales)?
                .f_reshape([layers as i64, 2, batch as i64, 1, 1])?
                .f_to_kind(self.precision.kind())?;
            Some(scales.f_to(self.device.tch())?)
        } else {
            None
        };
        Ok(Thinning {
            kept_tokens,
            branches,
        })
    }
}

/// The networks over one set of parameters.
struct Networks {
    encoder: Encoder,
    heads: Vec<Head>,
}

impl Networks {
    fn new(sizes: &VJepa2Config, tasks: &[Task], parameters: &Parameters) -> Result<Self> {
        let root = parameters.root();
        let heads = tasks.iter().map(|task| {
            let sizes = VJepa2Config {
                pooler_layers: task.pooler_layers,
                ..sizes.clone()
            };
            let scope = root.pp("heads").pp(&task.name);
            Head::new(task.head, &sizes, task.labels.len() as i64, &scope)
        });
        Ok(Networks {
            encoder: Encoder::new(sizes, &root.pp("encoder"))?,
            heads: heads.collect(),
        })
    }
}
