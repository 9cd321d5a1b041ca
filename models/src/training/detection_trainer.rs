//! A YOLOv8 detector that learns: batches of frames and their objects in, a [`Detector`] out.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::ArrayView3;
use serde_json::Value;
use tch::{Kind, Tensor, no_grad, no_grad_guard};

use super::chance::Chance;
use super::checkpoint;
use super::detection::{Gains, detection_loss};
use super::detection_assign::{Alignment, Target};
use super::learner::{Learner, Progress, Recipe};
use crate::config::{ModelConfig, Network};
use crate::detector::Detector;
use crate::device::{Device, Precision};
use crate::error::{ModelError, Result};
use crate::frames::{unit, upload};
use crate::parameters::Parameters;
use crate::yolov8::{Yolov8, Yolov8Config};

/// Probability that every class starts with.
const PRIOR: f32 = 0.01;

/// What a step's loss was made of, unweighted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LossParts {
    /// One minus the complete IoU.
    pub boxes: f64,
    /// Cross-entropy of the classes.
    pub classes: f64,
    /// Distribution focal loss.
    pub distances: f64,
}

/// A detector in training.
pub struct DetectionTrainer {
    config: ModelConfig,
    sizes: Yolov8Config,
    learner: Learner,
    device: Device,
    precision: Precision,
}

impl DetectionTrainer {
    /// A fresh network of this configuration, drawn with this seed; it computes in `precision` and is held in f32.
    ///
    /// # Errors
    /// [`ModelError::WrongTask`] when the configuration is no detector's.
    pub fn new(
        config: ModelConfig,
        (device, precision): (&Device, Precision),
        recipe: Recipe,
        seed: u64,
    ) -> Result<Self> {
        let Network::Yolov8(sizes) = &config.network else {
            return Err(config.wrong_task("detector"));
        };
        let sizes = sizes.clone();
        let fresh = Parameters::random(device, Precision::F32);
        Yolov8::trainable(&sizes, config.labels.len() as i64, &fresh.root());
        let mut weights = fresh.finish()?.tensors();
        for (name, weight) in &mut weights {
            if let Some(values) = drawn(name, &weight.size(), seed) {
                *weight = Tensor::f_from_slice(&values)?
                    .f_reshape(weight.size())?
                    .f_to(device.tch())?;
            }
        }
        Ok(DetectionTrainer {
            learner: Learner::new(&weights, recipe)?,
            device: device.clone(),
            precision,
            sizes,
            config,
        })
    }

    /// Begins with the weights of a trained detector of the same size and classes. Its batch norms are folded, so new ones
    /// are made that change nothing: of what `frames` (as [`DetectionTrainer::learn`] takes them; some dozens) do in it.
    ///
    /// # Errors
    /// [`ModelError::Input`] when the detector is of another size or has other classes, or for frames that do not fit.
    pub fn start_from(&mut self, detector: &Detector, frames: &[ArrayView3<'_, u8>]) -> Result<()> {
        let said = |config: &ModelConfig| match &config.network {
            Network::Yolov8(sizes) => {
                format!(
                    "scale {}, classes {}",
                    sizes.scale,
                    config.labels.join(", ")
                )
            }
            _ => "no detector".to_owned(),
        };
        let (found, wanted) = (said(detector.config()), said(&self.config));
        if found != wanted {
            return Err(ModelError::Input(format!(
                "the detector to start from: found {found}, allowed: {wanted}"
            )));
        }
        let trained = detector.parameters().tensors();
        let _no_grad = no_grad_guard();
        for (name, weight) in self.learner.weights() {
            let folded = name.replace(".bn.bias", ".conv.bias");
            if let Some(trained) = trained.get(&folded) {
                weight.shallow_clone().f_copy_(trained)?;
            }
        }
        let parameters = Parameters::over(self.learner.weights(), &self.device, Precision::F32);
        let classes = self.config.labels.len() as i64;
        let network = Yolov8::unfolding(&self.sizes, classes, &parameters.root());
        parameters.finish()?;
        network.levels(&self.images(frames)?)?;
        self.learner.average_anew()
    }

    /// Frames of one size as the network takes them.
    fn images(&self, frames: &[ArrayView3<'_, u8>]) -> Result<Tensor> {
        let (height, width, _) = frames
            .first()
            .map(|frame| frame.dim())
            .ok_or_else(|| ModelError::Input("found no frames".to_owned()))?;
        let bytes = upload(
            frames.iter(),
            (frames.len(), height, width),
            self.device.tch(),
        )?;
        // Permuted and not copied: libtorch then keeps channels last, which is how convolutions on a CPU are fastest.
        Ok(unit(&bytes.f_permute([0, 3, 1, 2])?)?.f_to_kind(self.precision.kind())?)
    }

    /// Steps done so far.
    pub fn step(&self) -> u64 {
        self.learner.step()
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Learns from frames of one size (sides multiples of 32; red, green, blue) and the objects in each.
    ///
    /// # Errors
    /// [`ModelError::Input`] for frames or objects that do not fit; otherwise when libtorch refuses (memory).
    pub fn learn(
        &mut self,
        frames: &[ArrayView3<'_, u8>],
        targets: &[Vec<Target>],
    ) -> Result<(Progress, LossParts)> {
        let images = self.images(frames)?;
        let parameters = Parameters::over(self.learner.weights(), &self.device, Precision::F32);
        let classes = self.config.labels.len() as i64;
        let network = Yolov8::trainable(&self.sizes, classes, &parameters.root());
        parameters.finish()?;
        let levels = network.levels(&images)?;
        let loss = detection_loss(&levels, targets, &Alignment::default(), &Gains::default())?;
        let parts = LossParts {
            boxes: loss.boxes,
            classes: loss.classes,
            distances: loss.distances,
        };
        Ok((self.learner.descend(&loss.total)?, parts))
    }

    /// The detector that has been learnt so far, in f32: the moving average.
    ///
    /// # Errors
    /// When libtorch refuses (memory).
    pub fn detector(&self) -> Result<Detector> {
        let average = self.copied_average()?;
        let parameters = Parameters::over(&average, &self.device, Precision::F32);
        no_grad(|| {
            Detector::build(
                self.config.clone(),
                parameters,
                self.device.clone(),
                Precision::F32,
            )
        })
    }

    fn copied_average(&self) -> Result<BTreeMap<String, Tensor>> {
        no_grad(|| {
            let average = self.learner.average().iter();
            average
                .map(|(name, tensor)| {
                    let mut copy = tensor.f_empty_like()?;
                    copy.f_copy_(tensor)?;
                    Ok((name.clone(), copy))
                })
                .collect()
        })
    }

    /// Writes the moving average as `model.safetensors` in f16, under upstream's names with batch norms folded: what
    /// [`Detector::load`] reads.
    ///
    /// # Errors
    /// [`ModelError::Write`] when the file cannot be written.
    pub fn export(&self, folder: &Path) -> Result<()> {
        let tensors = self.detector()?.parameters().tensors();
        let folded = tensors
            .iter()
            .filter(|(name, _)| !name.contains(".bn."))
            .map(|(name, tensor)| (name.clone(), tensor));
        checkpoint::write(&folder.join("model.safetensors"), folded, Kind::Half, None)
    }

    /// Writes everything that is needed to go on; `notes` are kept with it.
    ///
    /// # Errors
    /// [`ModelError::Write`] when the file cannot be written.
    pub fn save(&self, file: &Path, notes: &Value) -> Result<()> {
        self.learner.save(file, notes)
    }

    /// Goes on from what [`DetectionTrainer::save`] wrote; gives the notes.
    ///
    /// # Errors
    /// [`ModelError::Io`] when it cannot be read; [`ModelError::Weights`] when it is of another network.
    pub fn resume(&mut self, file: &Path) -> Result<Value> {
        self.learner.resume(file)
    }
}

/// Initial values, where they are not those of [`Parameters::random`]: convolutions normal with variance `2 / fan-in`, those
/// that say something a tenth of that, class scores at a small prior.
fn drawn(name: &str, shape: &[i64], seed: u64) -> Option<Vec<f32>> {
    let count = shape.iter().product::<i64>() as usize;
    if let [_, inputs, height, width] = shape[..] {
        let quiet = if name.ends_with(".2.weight") {
            0.1
        } else {
            1.0
        };
        let deviation = quiet * (2.0 / (inputs * height * width) as f32).sqrt();
        let mut chance = Chance::of(seed, name, 0);
        Some((0..count).map(|_| chance.normal() * deviation).collect())
    } else if name.contains(".cv3.") && name.ends_with(".2.bias") {
        Some(vec![(PRIOR / (1.0 - PRIOR)).ln(); count])
    } else {
        None
    }
}
