//! The part of a classifier that several models may share: from the pixels of clips to features.
//!
//! Model directories that name the same file under `backbone` in their `config.json` have one [`Backbone`] between them.
//! Its [`Features`] are computed once a clip and given to the [`ClassifierHead`](crate::ClassifierHead) of every one of
//! them. [`ModelConfig::backbone_sha256`] says which models can do so, whether they name one file, two copies of it, or
//! are whole checkpoints with the same encoder.

use std::path::Path;

use sha2::{Digest, Sha256};
use tch::{Tensor, no_grad_guard};

use crate::classifier::Clip;
use crate::config::{ModelConfig, Network};
use crate::device::{Device, Precision};
use crate::error::{ModelError, Result};
use crate::frames::{Colours, dimensions, upload};
use crate::parameters::{Parameters, Scope};
use crate::preprocess::Preprocess;
use crate::streams::Stream;
use crate::vjepa2::{Encoder, VJepa2Config};
use crate::weights::{Weights, hex};

/// Where checkpoints keep the encoder: Hugging Face's classifier, its bare model, video-transformers' wrapper.
const ENCODER_SCOPES: [&str; 3] = ["vjepa2.encoder", "encoder", "backbone.model.encoder"];
/// A tensor that every encoder has.
const LANDMARK: &str = "layernorm.weight";

/// The encoder's tokens of a batch of clips, on the device that computed them.
pub struct Features {
    /// [b, n, hidden].
    pub(crate) tokens: Tensor,
    /// The stream on which they were computed: what is done with them goes on there.
    pub(crate) stream: Option<Stream>,
}

impl Features {
    /// How many clips these are the features of.
    pub fn clips(&self) -> usize {
        self.tokens.size().first().map_or(0, |&n| n as usize)
    }

    /// Those of some of the clips, in the order in which they are named.
    ///
    /// # Errors
    /// When a clip is named that is not there; [`ModelError::OutOfMemory`].
    pub fn of_clips(&self, clips: &[usize]) -> Result<Features> {
        if clips.iter().copied().eq(0..self.clips()) {
            return Ok(Features {
                tokens: self.tokens.shallow_clone(),
                stream: self.stream,
            });
        }
        let _stream = self.stream.and_then(Stream::enter);
        let _no_grad = no_grad_guard();
        let clips: Vec<i64> = clips.iter().map(|&clip| clip as i64).collect();
        let index = Tensor::f_from_slice(&clips)?.f_to(self.tokens.device())?;
        Ok(Features {
            tokens: self.tokens.f_index_select(0, &index)?,
            stream: self.stream,
        })
    }
}

/// A V-JEPA 2 encoder and the colours it wants, on a device.
///
/// It is `Send` but not `Sync`: one thread uses it at a time, and [`Backbone::instance`] makes more of them. On a GPU each has
/// a CUDA stream of its own.
pub struct Backbone {
    config: ModelConfig,
    sizes: VJepa2Config,
    preprocess: Preprocess,
    encoder: Encoder,
    colours: Colours,
    parameters: Parameters,
    device: Device,
    precision: Precision,
    stream: Option<Stream>,
}

impl Backbone {
    /// Reads the backbone of the classifier in a model directory, and nothing of its head.
    ///
    /// # Errors
    /// As [`Classifier::load`](crate::Classifier::load).
    pub fn load(dir: impl AsRef<Path>, device: &Device, precision: Precision) -> Result<Self> {
        let config = ModelConfig::read(dir)?;
        config.classifier()?;
        let weights = Weights::of_model(&config)?;
        let parameters = Parameters::from_weights(weights, device, precision);
        let mut backbone = Self::build(&config, &parameters, device, precision)?;
        backbone.parameters = parameters.finish()?;
        Ok(backbone)
    }

    /// A backbone over these parameters, which its caller has yet to [finish](Parameters::finish).
    pub(crate) fn build(
        config: &ModelConfig,
        parameters: &Parameters,
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        let (sizes, _, preprocess) = config.classifier()?;
        let scope = encoder_scope(&parameters.root());
        scope.own();
        let encoder = Encoder::new(sizes, &scope)?;
        Ok(Backbone {
            sizes: sizes.clone(),
            preprocess: preprocess.clone(),
            encoder,
            colours: Colours::new(&preprocess.mean, &preprocess.std, device.tch())?,
            parameters: parameters.share(),
            device: device.clone(),
            precision,
            config: config.clone(),
            stream: Stream::take(device),
        })
    }

    /// Another instance over the same weights, which are not copied.
    ///
    /// # Errors
    /// When the device has no room for the small tables of an instance.
    pub fn instance(&self) -> Result<Self> {
        Self::build(&self.config, &self.parameters, &self.device, self.precision)
    }

    /// How clips are to be prepared.
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// The encoder's sizes.
    pub fn sizes(&self) -> &VJepa2Config {
        &self.sizes
    }

    /// The device it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The precision it runs in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The features of clips, which any head of this backbone can score. A clip's features do not depend on the clips
    /// beside it, beyond rounding.
    ///
    /// # Errors
    /// [`ModelError::Input`] when there is no clip, a clip is empty, clips differ in length, or a frame is not `size` x
    /// `size` x 3; [`ModelError::OutOfMemory`].
    pub fn features(&self, clips: &[Clip<'_, '_>]) -> Result<Features> {
        let _stream = self.stream.and_then(Stream::enter);
        let _no_grad = no_grad_guard();
        let tokens = self
            .normalised(clips)
            .and_then(|frames| self.tokens(&frames))
            .map_err(|error| error.of_batch(clips.len()))?;
        Ok(Features {
            tokens,
            stream: self.stream,
        })
    }

    /// Clips to normalised frames [b, t, 3, size, size] on the device, in the model's precision: bytes go over, and
    /// `(x / 255 - mean) / std` is computed there, in f32 and in place.
    ///
    /// # Errors
    /// As [`Backbone::features`].
    pub fn normalised(&self, clips: &[Clip<'_, '_>]) -> Result<Tensor> {
        let size = self.preprocess.size;
        let frames = clips.first().map_or(0, |clip| clip.len());
        if clips.is_empty() {
            return Err(ModelError::Input(
                "found no clips, allowed: at least one".into(),
            ));
        }
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
        let side = size as i64;
        let bytes = bytes.f_permute([0, 3, 1, 2])?; // [b * t, 3, size, size]
        Ok(self
            .colours
            .applied(&bytes)?
            .f_to_kind(self.precision.kind())?
            .f_reshape([clips.len() as i64, frames as i64, 3, side, side])?)
    }

    /// Normalised frames [b, t, 3, size, size] to tokens [b, n, hidden].
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape; otherwise when libtorch refuses (memory).
    pub fn tokens(&self, frames: &Tensor) -> Result<Tensor> {
        self.encoder
            .forward(&frames.f_to_kind(self.precision.kind())?)
    }
}

impl ModelConfig {
    /// A SHA-256, in hex, over all that decides a classifier's features: the encoder's sizes, the colours it wants, and
    /// its tensors (names without the checkpoint's prefix, types, shapes, bytes). Two models with the same hash, fed
    /// with the same clips, have the same features, and one [`Backbone`] can serve both.
    ///
    /// Reads the encoder's bytes, and does not touch libtorch: about a second for a gigabyte.
    ///
    /// # Errors
    /// [`ModelError::WrongTask`] for a detector; as [`Weights::of_model`]; [`ModelError::Weights`] when there is no
    /// encoder in the weights.
    pub fn backbone_sha256(&self) -> Result<String> {
        let (sizes, _, preprocess) = self.classifier()?;
        let weights = Weights::of_model(self)?;
        let prefix = ENCODER_SCOPES
            .into_iter()
            .map(|scope| format!("{scope}."))
            .find(|prefix| weights.contains(&format!("{prefix}{LANDMARK}")))
            .ok_or_else(|| {
                let name = format!("{}.{LANDMARK}", ENCODER_SCOPES[0]);
                ModelError::weights(weights.dir(), weights.missing(&name, |_| false))
            })?;
        let mut hash = Sha256::new();
        // What the pooler and the clip's usual length are does not show in the features.
        let encoder = VJepa2Config {
            frames_per_clip: 0,
            pooler_layers: 0,
            ..sizes.clone()
        };
        hash.update(format!(
            "{encoder:?} {:?} {:?}",
            preprocess.mean, preprocess.std
        ));
        weights.digest(&prefix, &mut hash)?;
        Ok(hex(&hash.finalize()))
    }

    /// The classifier's sizes, head and preprocessing.
    pub(crate) fn classifier(&self) -> Result<(&VJepa2Config, crate::HeadKind, &Preprocess)> {
        match &self.network {
            Network::VJepa2 {
                config,
                head,
                preprocess,
            } => Ok((config, *head, preprocess)),
            Network::Yolov8(_) => Err(self.wrong_task("classifier")),
        }
    }
}

/// The scope in which the encoder's names are.
fn encoder_scope<'a>(root: &Scope<'a>) -> Scope<'a> {
    let there = ENCODER_SCOPES
        .into_iter()
        .find(|scope| root.pp(scope).has(LANDMARK));
    root.pp(there.unwrap_or(ENCODER_SCOPES[0]))
}
