//! Clips of frames to label probabilities.

use std::path::Path;

use ndarray::ArrayView3;
use tch::{Kind, Tensor, no_grad_guard};

use crate::config::{HeadKind, ModelConfig, Network};
use crate::device::{Device, Precision};
use crate::error::{ModelError, Result};
use crate::frames::{dimensions, upload};
use crate::heads::Head;
use crate::parameters::{Parameters, Scope};
use crate::preprocess::Preprocess;
use crate::vjepa2::{Encoder, VJepa2Config};
use crate::weights::Weights;

/// The frames of one clip in order, each [height, width, 3], red, green, blue: a slice that lives for `'f` of views into
/// pixels that live for `'p` (views are invariant, so one lifetime for both would tie callers' hands).
pub type Clip<'f, 'p> = &'f [ArrayView3<'p, u8>];

/// Where checkpoints keep the encoder: Hugging Face's classifier, its bare model, video-transformers' wrapper.
const ENCODER_SCOPES: [&str; 3] = ["vjepa2.encoder", "encoder", "backbone.model.encoder"];

/// A video classifier: a backbone, a head and their configuration, on a device.
///
/// It is `Send` but not `Sync`: one thread uses it at a time, and [`Classifier::instance`] makes more of them.
pub struct Classifier {
    config: ModelConfig,
    sizes: VJepa2Config,
    head_kind: HeadKind,
    preprocess: Preprocess,
    encoder: Encoder,
    head: Head,
    /// `mean` and `std` as [3, 1, 1] in f32 on the device.
    colours: (Tensor, Tensor),
    parameters: Parameters,
    device: Device,
    precision: Precision,
}

impl Classifier {
    /// Reads the classifier in a model directory and puts it on a device.
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::Config`] and [`ModelError::Weights`] when the directory does not hold a whole
    /// model; [`ModelError::WrongTask`] when it holds a detector; [`ModelError::OutOfMemory`].
    pub fn load(dir: impl AsRef<Path>, device: &Device, precision: Precision) -> Result<Self> {
        let config = ModelConfig::read(dir)?;
        config
            .preprocess()
            .ok_or_else(|| config.wrong_task("classifier"))?;
        let weights = Weights::open(&config.dir)?;
        let parameters = Parameters::from_weights(weights, device, precision);
        Self::build(config, parameters, device.clone(), precision)
    }

    /// A classifier of this configuration over these parameters: freshly drawn ones for benchmarks and training.
    ///
    /// # Errors
    /// As [`Classifier::load`].
    pub fn build(
        config: ModelConfig,
        parameters: Parameters,
        device: Device,
        precision: Precision,
    ) -> Result<Self> {
        let Network::VJepa2 {
            config: sizes,
            head,
            preprocess,
        } = &config.network
        else {
            return Err(config.wrong_task("classifier"));
        };
        let (sizes, head_kind, preprocess) = (sizes.clone(), *head, preprocess.clone());
        let root = parameters.root();
        let encoder = Encoder::new(&sizes, &encoder_scope(&root))?;
        let head = Head::new(head_kind, &sizes, config.labels.len() as i64, &root);
        drop(root);
        let colour = |values: &[f32; 3]| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(values)?
                .f_view([3, 1, 1])?
                .f_to(device.tch())?)
        };
        let colours = (colour(&preprocess.mean)?, colour(&preprocess.std)?);
        let parameters = parameters
            .finish()
            .map_err(|e| with_head_help(e, head_kind))?;
        Ok(Classifier {
            config,
            sizes,
            head_kind,
            preprocess,
            encoder,
            head,
            colours,
            parameters,
            device,
            precision,
        })
    }

    /// Another instance over the same weights, which are not copied.
    ///
    /// # Errors
    /// When the device has no room for the small tables of an instance.
    pub fn instance(&self) -> Result<Self> {
        let parameters = self.parameters.share();
        Self::build(
            self.config.clone(),
            parameters,
            self.device.clone(),
            self.precision,
        )
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The labels, in the order of the scores.
    pub fn labels(&self) -> &[String] {
        &self.config.labels
    }

    /// How clips are to be prepared.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The device it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The precision it runs in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The weights, by name, for tests, training and for counting bytes.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Probabilities (f32, they add up to 1) of every label, one row a clip. A clip's row does not depend on the clips
    /// beside it, beyond rounding.
    ///
    /// # Errors
    /// [`ModelError::Input`] when a clip is empty, clips differ in length, or a frame is not `size` x `size` x 3;
    /// [`ModelError::NotFinite`] when the network overflows (half precision); [`ModelError::OutOfMemory`].
    pub fn scores(&self, clips: &[Clip<'_, '_>]) -> Result<Vec<Vec<f32>>> {
        if clips.is_empty() {
            return Ok(Vec::new());
        }
        let _no_grad = no_grad_guard();
        let frames = self.normalised(clips)?;
        let scores = self.logits(&frames)?.f_softmax(-1, Kind::Float)?;
        let (rows, labels) = (clips.len(), self.labels().len());
        let mut flat = vec![0f32; rows * labels];
        scores
            .f_to(tch::Device::Cpu)?
            .f_copy_data(&mut flat, rows * labels)?;
        if let Some(bad) = flat.iter().position(|score| !score.is_finite()) {
            return Err(ModelError::NotFinite(format!(
                "clip {}: the scores are not numbers (in {} an activation overflowed; use bf16 or f32)",
                bad / labels,
                self.precision
            )));
        }
        Ok(flat.chunks_exact(labels).map(<[f32]>::to_vec).collect())
    }

    /// Clips to normalised frames [b, t, 3, size, size] on the device, in the model's precision: bytes go over, and
    /// `(x / 255 - mean) / std` is computed there, in f32.
    ///
    /// # Errors
    /// As [`Classifier::scores`].
    pub fn normalised(&self, clips: &[Clip<'_, '_>]) -> Result<Tensor> {
        let size = self.preprocess.size;
        let frames = clips.first().map_or(0, |clip| clip.len());
        for (i, clip) in clips.iter().enumerate() {
            if clip.is_empty() || clip.len() != frames {
                return Err(ModelError::Input(format!(
                    "clip {i}: found {} frames, allowed: at least one, and as many as the first clip's {frames}",
                    clip.len()
                )));
            }
            if let Some(odd) = clip.iter().find(|frame| frame.dim() != (size, size, 3)) {
                return Err(ModelError::Input(format!(
                    "clip {i}: found a frame of {}, allowed: {size} x {size} x 3",
                    dimensions(odd)
                )));
            }
        }
        let all = clips.iter().flat_map(|clip| clip.iter());
        let bytes = upload(all, (clips.len() * frames, size, size), self.device.tch())?;
        let (mean, std) = &self.colours;
        let side = size as i64;
        Ok(bytes
            .f_permute([0, 3, 1, 2])? // [b * t, 3, size, size]
            .f_to_kind(Kind::Float)?
            .f_div_scalar(255.0)?
            .f_sub(mean)?
            .f_div(std)?
            .f_to_kind(self.precision.kind())?
            .f_reshape([clips.len() as i64, frames as i64, 3, side, side])?)
    }

    /// Normalised frames [b, t, 3, size, size] to the encoder's tokens [b, n, hidden].
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape; otherwise when libtorch refuses (memory).
    pub fn features(&self, frames: &Tensor) -> Result<Tensor> {
        self.encoder
            .forward(&frames.f_to_kind(self.precision.kind())?)
    }

    /// Normalised frames [b, t, 3, size, size] to logits [b, labels] in f32.
    ///
    /// # Errors
    /// As [`Classifier::features`].
    pub fn logits(&self, frames: &Tensor) -> Result<Tensor> {
        self.head.forward(&self.features(frames)?)
    }

    /// The head, which turns [`Classifier::features`] into logits.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The encoder's sizes and the head's kind.
    pub fn sizes(&self) -> (&VJepa2Config, HeadKind) {
        (&self.sizes, self.head_kind)
    }
}

/// The scope in which the encoder's names are.
fn encoder_scope<'a>(root: &Scope<'a>) -> Scope<'a> {
    let there = ENCODER_SCOPES
        .into_iter()
        .find(|scope| root.pp(scope).has("layernorm.weight"));
    root.pp(there.unwrap_or(ENCODER_SCOPES[0]))
}

/// Says how to mend the commonest misfit: a linear head in a directory that does not say so.
fn with_head_help(error: ModelError, head: HeadKind) -> ModelError {
    match error {
        ModelError::Weights { file, mut problems }
            if head == HeadKind::Attentive
                && problems
                    .iter()
                    .any(|p| p.starts_with("pooler.query_tokens: there is no")) =>
        {
            problems.insert(
                0,
                "there is no attentive pooler (if the head is linear, say \"head\": \"linear\" in config.json)".into(),
            );
            ModelError::Weights { file, problems }
        }
        other => other,
    }
}
