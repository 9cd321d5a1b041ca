//! A YOLOv8 detector that learns: batches of frames and their objects in, a [`Detector`] out.
//!
//! AdamW moves the parameters; what is exported is their exponential moving average, with the running statistics of the batch
//! norms averaged alike. All of it is in [`DetectionTrainer::save`], so that a run that was cut off goes on where it was.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::ArrayView3;
use tch::{Kind, Tensor, no_grad};

use super::detection::{Gains, detection_loss};
use super::detection_assign::{Alignment, Target};
use crate::config::{ModelConfig, Network};
use crate::detector::Detector;
use crate::device::{Device, Precision};
use crate::error::{ModelError, Result};
use crate::frames::upload;
use crate::parameters::Parameters;
use crate::yolov8::Yolov8;

/// Decay of the moving average once it has settled.
const EMA_DECAY: f64 = 0.999;
/// Steps in which it settles.
const EMA_STEPS: f64 = 200.0;
/// The gradient of all parameters together is scaled down to this norm.
const MAX_NORM: f64 = 10.0;
/// AdamW's moments and stabiliser.
const BETAS: (f64, f64) = (0.9, 0.99);
const EPSILON: f64 = 1e-8;
/// Probability that every class starts with.
const PRIOR: f64 = 0.01;

/// What a step's loss was made of.
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
    network: Yolov8,
    device: Device,
    kind: Kind,
    slots: BTreeMap<String, Slot>,
    steps: u64,
}

/// A parameter and what the optimiser knows of it.
struct Slot {
    value: Tensor,
    average: Tensor,
    /// First and second moment; statistics have none.
    moments: Option<(Tensor, Tensor)>,
}

impl DetectionTrainer {
    /// A fresh network of this configuration, drawn with this seed; it computes in `precision` and is held in f32.
    ///
    /// # Errors
    /// [`ModelError::WrongTask`] when the configuration is no detector's.
    pub fn new(
        config: ModelConfig,
        device: &Device,
        precision: Precision,
        seed: i64,
    ) -> Result<Self> {
        let Network::Yolov8(sizes) = &config.network else {
            return Err(config.wrong_task("detector"));
        };
        tch::manual_seed(seed);
        let parameters = Parameters::random(device, Precision::F32);
        let classes = config.labels.len() as i64;
        let network = Yolov8::trainable(sizes, classes, &parameters.root());
        let parameters = parameters.finish()?;
        let mut slots = BTreeMap::new();
        for (name, mut value) in parameters.tensors() {
            no_grad(|| draw(&name, &mut value))?;
            let learns = !name.contains(".running_");
            let moments = learns
                .then(|| Ok::<_, ModelError>((value.f_zeros_like()?, value.f_zeros_like()?)))
                .transpose()?;
            let slot = Slot {
                average: copied(&value)?,
                value: value.f_set_requires_grad(learns)?,
                moments,
            };
            slots.insert(name, slot);
        }
        Ok(DetectionTrainer {
            network,
            device: device.clone(),
            kind: precision.kind(),
            slots,
            steps: 0,
            config,
        })
    }

    /// Steps done so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// One step over frames of one size (sides multiples of 32; red, green, blue) and the objects in each.
    ///
    /// # Errors
    /// [`ModelError::Input`] for frames or objects that do not fit, [`ModelError::NotFinite`] when the loss is none any more;
    /// otherwise when libtorch refuses (memory).
    pub fn step(
        &mut self,
        frames: &[ArrayView3<'_, u8>],
        targets: &[Vec<Target>],
        learning_rate: f64,
        weight_decay: f64,
    ) -> Result<LossParts> {
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
        let images = bytes
            .f_permute([0, 3, 1, 2])?
            .f_to_kind(Kind::Float)?
            .f_div_scalar(255.0)?
            .f_to_kind(self.kind)?;
        let levels = self.network.levels(&images)?;
        let loss = detection_loss(&levels, targets, &Alignment::default(), &Gains::default())?;
        if !loss.total.f_double_value(&[])?.is_finite() {
            return Err(ModelError::NotFinite(format!(
                "the loss of step {}",
                self.steps + 1
            )));
        }
        loss.total.f_backward()?;
        self.steps += 1;
        no_grad(|| self.update(learning_rate, weight_decay))?;
        Ok(LossParts {
            boxes: loss.boxes,
            classes: loss.classes,
            distances: loss.distances,
        })
    }

    /// Decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), of convolutions alone.
    fn update(&mut self, learning_rate: f64, weight_decay: f64) -> Result<()> {
        let squares = self
            .slots
            .values()
            .filter(|slot| slot.moments.is_some() && slot.value.grad().defined())
            .map(|slot| Ok(slot.value.grad().f_square()?.f_sum(Kind::Float)?))
            .collect::<Result<Vec<_>>>()?;
        let norm = Tensor::f_stack(&squares, 0)?
            .f_sum(Kind::Float)?
            .f_sqrt()?
            .f_double_value(&[])?;
        let clip = (MAX_NORM / norm.max(1e-9)).min(1.0);
        let (b1, b2) = BETAS;
        let steps = self.steps as f64;
        let (first_bias, second_bias) = (1.0 - b1.powf(steps), 1.0 - b2.powf(steps));
        let decay = EMA_DECAY * (1.0 - (-steps / EMA_STEPS).exp());
        for slot in self.slots.values_mut() {
            if let Some((first, second)) = &mut slot.moments {
                let mut grad = slot.value.grad();
                if !grad.defined() {
                    continue; // no batch had an object yet
                }
                let scaled = grad.f_mul_scalar(clip)?;
                let _ = grad.f_zero_()?;
                let _ = first
                    .f_mul_scalar_(b1)?
                    .f_add_(&scaled.f_mul_scalar(1.0 - b1)?)?;
                let square = scaled.f_square()?.f_mul_scalar(1.0 - b2)?;
                let _ = second.f_mul_scalar_(b2)?.f_add_(&square)?;
                let root = second
                    .f_div_scalar(second_bias)?
                    .f_sqrt()?
                    .f_add_scalar(EPSILON)?;
                let step = first
                    .f_div(&root)?
                    .f_mul_scalar(learning_rate / first_bias)?;
                if slot.value.dim() == 4 {
                    let _ = slot
                        .value
                        .f_mul_scalar_(1.0 - learning_rate * weight_decay)?;
                }
                let _ = slot.value.f_sub_(&step)?;
            }
            let _ = slot.average.f_lerp_(&slot.value, 1.0 - decay)?;
        }
        Ok(())
    }

    /// The detector that has been learnt so far: the moving average, on the CPU or wherever the trainer is, in f32.
    ///
    /// # Errors
    /// When libtorch refuses (memory).
    pub fn detector(&self) -> Result<Detector> {
        let tensors = self
            .slots
            .iter()
            .map(|(name, slot)| Ok((name.clone(), copied(&slot.average)?)))
            .collect::<Result<_>>()?;
        let parameters = Parameters::from_tensors(tensors, &self.device, Precision::F32);
        Detector::build(
            self.config.clone(),
            parameters,
            self.device.clone(),
            Precision::F32,
        )
    }

    /// Writes the moving average as `model.safetensors` in f16, under upstream's names with batch norms folded: what
    /// [`Detector::load`] reads.
    ///
    /// # Errors
    /// [`ModelError::Write`] when the file cannot be written.
    pub fn export(&self, dir: &Path) -> Result<()> {
        let detector = self.detector()?;
        let tensors = detector.parameters().tensors();
        let halves = tensors
            .iter()
            .map(|(name, tensor)| Ok((name.as_str(), tensor.f_to_kind(Kind::Half)?)))
            .collect::<Result<Vec<_>>>()?;
        write(&dir.join("model.safetensors"), &halves)
    }

    /// Writes everything that is needed to go on.
    ///
    /// # Errors
    /// [`ModelError::Write`] when the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut tensors = vec![("steps".to_owned(), Tensor::from_slice(&[self.steps as i64]))];
        for (name, slot) in &self.slots {
            tensors.push((format!("value/{name}"), slot.value.f_detach()?));
            tensors.push((format!("average/{name}"), slot.average.shallow_clone()));
            if let Some((first, second)) = &slot.moments {
                tensors.push((format!("first/{name}"), first.shallow_clone()));
                tensors.push((format!("second/{name}"), second.shallow_clone()));
            }
        }
        let unfinished = path.with_extension("part");
        let named: Vec<(&str, Tensor)> = tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.shallow_clone()))
            .collect();
        write(&unfinished, &named)?;
        std::fs::rename(&unfinished, path).map_err(|error| unwritten(path, &error))
    }

    /// Goes on from what [`DetectionTrainer::save`] wrote.
    ///
    /// # Errors
    /// [`ModelError::Weights`] when the file is damaged or another network's.
    pub fn resume(&mut self, path: &Path) -> Result<()> {
        let stored: BTreeMap<String, Tensor> = Tensor::read_safetensors(path)
            .map_err(|error| ModelError::weights(path, error.to_string()))?
            .into_iter()
            .collect();
        let fill = |into: &mut Tensor, name: String| -> Result<()> {
            match stored.get(&name) {
                Some(from) if from.size() == into.size() => {
                    no_grad(|| into.f_copy_(from))?;
                    Ok(())
                }
                _ => Err(ModelError::weights(
                    path,
                    format!("{name} is missing, or of another shape than this network's"),
                )),
            }
        };
        for (name, slot) in &mut self.slots {
            fill(&mut slot.value, format!("value/{name}"))?;
            fill(&mut slot.average, format!("average/{name}"))?;
            if let Some((first, second)) = &mut slot.moments {
                fill(first, format!("first/{name}"))?;
                fill(second, format!("second/{name}"))?;
            }
        }
        let mut steps = Tensor::from_slice(&[0i64]);
        fill(&mut steps, "steps".to_owned())?;
        self.steps = steps.f_int64_value(&[0])?.max(0) as u64;
        Ok(())
    }
}

/// Initial values: convolutions normal with variance `2 / fan-in`, class scores at a small prior.
fn draw(name: &str, value: &mut Tensor) -> Result<()> {
    let shape = value.size();
    if let [_, inputs, height, width] = shape[..] {
        let fan_in = (inputs * height * width) as f64;
        // The layers that say something start quietly.
        let quiet = if name.ends_with(".2.weight") {
            0.1
        } else {
            1.0
        };
        let deviation = quiet * (2.0 / fan_in).sqrt();
        let drawn = value.f_randn_like()?.f_mul_scalar(deviation)?;
        value.f_copy_(&drawn)?;
    } else if name.contains(".cv3.") && name.ends_with(".2.bias") {
        let _ = value.f_fill_((PRIOR / (1.0 - PRIOR)).ln())?;
    }
    Ok(())
}

fn copied(tensor: &Tensor) -> Result<Tensor> {
    let mut copy = tensor.f_empty_like()?;
    no_grad(|| copy.f_copy_(tensor))?;
    Ok(copy)
}

fn write(path: &Path, tensors: &[(&str, Tensor)]) -> Result<()> {
    Tensor::write_safetensors(tensors, path).map_err(|error| unwritten(path, &error))
}

fn unwritten(path: &Path, error: &dyn std::error::Error) -> ModelError {
    ModelError::Write {
        path: path.to_path_buf(),
        reason: error.to_string(),
    }
}
