//! Clips of frames to label probabilities.

use std::path::Path;

use ndarray::ArrayView3;
use tch::{Kind, Tensor, no_grad_guard};

use crate::backbone::{Backbone, Features};
use crate::config::{HeadKind, ModelConfig};
use crate::device::{Device, Precision};
use crate::error::{ModelError, Result};
use crate::heads::Head;
use crate::parameters::Parameters;
use crate::preprocess::Preprocess;
use crate::streams::Stream;
use crate::vjepa2::VJepa2Config;
use crate::weights::Weights;

/// The frames of one clip in order, each [height, width, 3], red, green, blue: a slice that lives for `'f` of views into
/// pixels that live for `'p` (views are invariant, so one lifetime for both would tie callers' hands).
pub type Clip<'f, 'p> = &'f [ArrayView3<'p, u8>];

/// A video classifier: a [`Backbone`] and a [`ClassifierHead`].
///
/// It is `Send` but not `Sync`: one thread uses it at a time, and [`Classifier::instance`] makes more of them.
pub struct Classifier {
    backbone: Backbone,
    head: ClassifierHead,
    parameters: Parameters,
}

impl Classifier {
    /// Reads the classifier in a model directory and puts it on a device.
    ///
    /// # Errors
    /// [`ModelError::NoModel`], [`ModelError::Io`], [`ModelError::Config`] and [`ModelError::Weights`] when the directory
    /// does not hold a whole model, the backbone's file that it names is not there or does not fit, or the weights hold
    /// more than the configuration says; [`ModelError::WrongTask`] when it holds a detector;
    /// [`ModelError::OutOfMemory`].
    pub fn load(dir: impl AsRef<Path>, device: &Device, precision: Precision) -> Result<Self> {
        let config = ModelConfig::read(dir)?;
        config.classifier()?;
        let weights = Weights::of_model(&config)?;
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
        let backbone = Backbone::build(&config, &parameters, &device, precision)?;
        let head = ClassifierHead::build(&config, &parameters, precision)?;
        let parameters = parameters
            .finish()
            .map_err(|e| with_head_help(e, head.kind))?;
        Ok(Classifier {
            backbone,
            head,
            parameters,
        })
    }

    /// Another instance over the same weights, which are not copied.
    ///
    /// # Errors
    /// When the device has no room for the small tables of an instance.
    pub fn instance(&self) -> Result<Self> {
        Ok(Classifier {
            backbone: self.backbone.instance()?,
            head: self.head.instance()?,
            parameters: self.parameters.share(),
        })
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        self.head.config()
    }

    /// The labels, in the order of the scores.
    pub fn labels(&self) -> &[String] {
        self.head.labels()
    }

    /// How clips are to be prepared.
    pub fn preprocess(&self) -> &Preprocess {
        self.backbone.preprocess()
    }

    /// The device it runs on.
    pub fn device(&self) -> &Device {
        self.backbone.device()
    }

    /// The precision it runs in.
    pub fn precision(&self) -> Precision {
        self.backbone.precision()
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
        self.head.scores(&self.backbone.features(clips)?)
    }

    /// As [`Backbone::normalised`].
    ///
    /// # Errors
    /// As [`Classifier::scores`].
    pub fn normalised(&self, clips: &[Clip<'_, '_>]) -> Result<Tensor> {
        self.backbone.normalised(clips)
    }

    /// Normalised frames [b, t, 3, size, size] to the encoder's tokens [b, n, hidden].
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape; otherwise when libtorch refuses (memory).
    pub fn features(&self, frames: &Tensor) -> Result<Tensor> {
        self.backbone.tokens(frames)
    }

    /// Normalised frames [b, t, 3, size, size] to logits [b, labels] in f32.
    ///
    /// # Errors
    /// As [`Classifier::features`].
    pub fn logits(&self, frames: &Tensor) -> Result<Tensor> {
        self.head.network.forward(&self.features(frames)?)
    }

    /// The head's network, which turns [`Classifier::features`] into logits.
    pub fn head(&self) -> &Head {
        &self.head.network
    }

    /// The encoder's sizes and the head's kind.
    pub fn sizes(&self) -> (&VJepa2Config, HeadKind) {
        (self.backbone.sizes(), self.head.kind)
    }
}

/// The part of a classifier that is its own: from features to the probabilities of its labels. On a GPU it works on the CUDA
/// stream of the features.
pub struct ClassifierHead {
    config: ModelConfig,
    kind: HeadKind,
    network: Head,
    parameters: Parameters,
    precision: Precision,
}

impl ClassifierHead {
    /// Reads the head of the classifier in a model directory, and nothing of its backbone.
    ///
    /// # Errors
    /// As [`Classifier::load`].
    pub fn load(dir: impl AsRef<Path>, device: &Device, precision: Precision) -> Result<Self> {
        let config = ModelConfig::read(dir)?;
        config.classifier()?;
        let weights = Weights::of_model(&config)?;
        let parameters = Parameters::from_weights(weights, device, precision);
        let mut head = Self::build(&config, &parameters, precision)?;
        head.parameters = parameters
            .finish()
            .map_err(|e| with_head_help(e, head.kind))?;
        Ok(head)
    }

    fn build(config: &ModelConfig, parameters: &Parameters, precision: Precision) -> Result<Self> {
        let (sizes, kind, _) = config.classifier()?;
        let labels = config.labels.len() as i64;
        let root = parameters.root();
        for part in ["pooler", "classifier", "head"] {
            root.pp(part).own_beside_backbone();
        }
        let network = Head::new(kind, sizes, labels, &root);
        Ok(ClassifierHead {
            config: config.clone(),
            kind,
            network,
            parameters: parameters.share(),
            precision,
        })
    }

    /// Another instance over the same weights, which are not copied.
    ///
    /// # Errors
    /// None that are known; the signature leaves room for a device's.
    pub fn instance(&self) -> Result<Self> {
        Self::build(&self.config, &self.parameters, self.precision)
    }

    /// The configuration of the head's model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The labels, in the order of the scores.
    pub fn labels(&self) -> &[String] {
        &self.config.labels
    }

    /// Probabilities (f32, they add up to 1) of every label, one row a clip, from the features of a backbone of the
    /// same [content](ModelConfig::backbone_sha256), on the same device and in the same precision.
    ///
    /// # Errors
    /// [`ModelError::NotFinite`] when the network overflows (half precision); [`ModelError::OutOfMemory`];
    /// [`ModelError::Torch`] when the features are of another width.
    pub fn scores(&self, features: &Features) -> Result<Vec<Vec<f32>>> {
        let _stream = features.stream.and_then(Stream::enter);
        let _no_grad = no_grad_guard();
        let scores = self
            .network
            .forward(&features.tokens)?
            .f_softmax(-1, Kind::Float)?;
        let (rows, labels) = (features.clips(), self.labels().len());
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
