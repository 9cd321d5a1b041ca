//! Frames to boxes.

use std::path::Path;

use ndarray::ArrayView3;
use tch::{Tensor, no_grad_guard};

use crate::config::{ModelConfig, Network};
use crate::device::{Device, Precision};
use crate::error::{ModelError, Result};
use crate::frames::{dimensions, unit, upload};
use crate::letterbox::Letterbox;
use crate::nms::{Detection, NmsLimits, nms};
use crate::parameters::Parameters;
use crate::streams::Stream;
use crate::weights::Weights;
use crate::yolov8::{STRIDE_PX, Yolov8, Yolov8Config};

/// An object detector, on a device.
///
/// It is `Send` but not `Sync`: one thread uses it at a time, and [`Detector::instance`] makes more of them. On a GPU each has
/// a CUDA stream of its own.
pub struct Detector {
    config: ModelConfig,
    sizes: Yolov8Config,
    network: Yolov8,
    parameters: Parameters,
    device: Device,
    precision: Precision,
    stream: Option<Stream>,
}

impl Detector {
    /// Reads the detector in a model directory and puts it on a device.
    ///
    /// # Errors
    /// [`ModelError::NoModel`], [`ModelError::Io`], [`ModelError::Config`] and [`ModelError::Weights`] when the directory
    /// does not hold a whole model, or the weights hold more than the configuration says; [`ModelError::WrongTask`] when
    /// it holds a classifier; [`ModelError::OutOfMemory`].
    pub fn load(dir: impl AsRef<Path>, device: &Device, precision: Precision) -> Result<Self> {
        let config = ModelConfig::read(dir)?;
        config
            .detector()
            .ok_or_else(|| config.wrong_task("detector"))?;
        let weights = Weights::of_model(&config)?;
        let parameters = Parameters::from_weights(weights, device, precision);
        Self::build(config, parameters, device.clone(), precision)
    }

    /// A detector of this configuration over these parameters.
    ///
    /// # Errors
    /// As [`Detector::load`].
    pub fn build(
        config: ModelConfig,
        parameters: Parameters,
        device: Device,
        precision: Precision,
    ) -> Result<Self> {
        let Network::Yolov8(sizes) = &config.network else {
            return Err(config.wrong_task("detector"));
        };
        let sizes = sizes.clone();
        let root = parameters.root();
        root.pp("model").own();
        let network = Yolov8::new(&sizes, config.labels.len() as i64, &root);
        Ok(Detector {
            sizes,
            network,
            parameters: parameters.finish()?,
            config,
            stream: Stream::take(&device),
            device,
            precision,
        })
    }

    /// Another instance over the same weights, which are not copied.
    ///
    /// # Errors
    /// None that are known; the signature leaves room for a device's.
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

    /// The labels, by class index.
    pub fn labels(&self) -> &[String] {
        &self.config.labels
    }

    /// How frames of this size are to be fitted into the network's input.
    ///
    /// # Errors
    /// [`ModelError::Input`] when a side is 0.
    pub fn letterbox(&self, width_px: usize, height_px: usize) -> Result<Letterbox> {
        self.sizes.letterbox(width_px, height_px)
    }

    /// Whether it is to see the mean of a video's frames, too.
    pub fn wants_mean(&self) -> bool {
        self.sizes.mean_conf.is_some()
    }

    /// The device it runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The precision it runs in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The weights, by name, for tests and for counting bytes.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The boxes in letterboxed frames (red, green, blue) of one size, best first; one list a frame.
    ///
    /// # Errors
    /// [`ModelError::Input`] when a frame has another size than the first, or one that [`Detector::letterbox`] does not
    /// give; [`ModelError::OutOfMemory`].
    pub fn detect(&self, frames: &[ArrayView3<'_, u8>]) -> Result<Vec<Vec<Detection>>> {
        self.detect_within(frames, &self.sizes.limits)
    }

    /// The boxes in the mean of a video's letterboxed frames, best first.
    ///
    /// # Errors
    /// As [`Detector::detect`].
    pub fn detect_in_mean(&self, mean: ArrayView3<'_, u8>) -> Result<Vec<Detection>> {
        let limits = NmsLimits {
            conf: self.sizes.mean_conf.unwrap_or(self.sizes.limits.conf),
            ..self.sizes.limits
        };
        let mut found = self.detect_within(&[mean], &limits)?;
        Ok(found.pop().unwrap_or_default())
    }

    fn detect_within(
        &self,
        frames: &[ArrayView3<'_, u8>],
        limits: &NmsLimits,
    ) -> Result<Vec<Vec<Detection>>> {
        let Some(first) = frames.first() else {
            return Ok(Vec::new());
        };
        let (height, width, _) = first.dim();
        let size = self.sizes.size_px;
        let fits = if self.sizes.fitted {
            height.max(width) == size && height % STRIDE_PX == 0 && width % STRIDE_PX == 0
        } else {
            (height, width) == (size, size)
        };
        if !fits || first.dim().2 != 3 {
            return Err(ModelError::Input(format!(
                "frame 0: found {}, allowed: {size} x {size} x 3, letterboxed{}",
                dimensions(first),
                if self.sizes.fitted {
                    ", or one side a smaller multiple of 32"
                } else {
                    ""
                }
            )));
        }
        let _stream = self.stream.and_then(Stream::enter);
        let _no_grad = no_grad_guard();
        let bytes = upload(
            frames.iter(),
            (frames.len(), height, width),
            self.device.tch(),
        )?;
        // Laid out as the network wants it while it is bytes.
        let images = unit(&bytes.f_permute([0, 3, 1, 2])?.f_contiguous()?)?;
        let raw = self
            .raw(&images)
            .map_err(|error| error.of_batch(frames.len()))?;
        self.boxes_within(&raw, limits)
    }

    /// Images [b, 3, h, w] in 0..1 to [b, 4 + classes, a] in f32; see [`Yolov8::forward`].
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape; otherwise when libtorch refuses (memory).
    pub fn raw(&self, images: &Tensor) -> Result<Tensor> {
        self.network
            .forward(&images.f_to_kind(self.precision.kind())?.f_contiguous()?)
    }

    /// The boxes in [`Detector::raw`]'s output, best first; one list an image.
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape; otherwise when the output cannot be brought to the host.
    pub fn boxes(&self, raw: &Tensor) -> Result<Vec<Vec<Detection>>> {
        self.boxes_within(raw, &self.sizes.limits)
    }

    fn boxes_within(&self, raw: &Tensor, limits: &NmsLimits) -> Result<Vec<Vec<Detection>>> {
        let classes = self.labels().len();
        let rows = 4 + classes as i64;
        let shape = raw.size();
        let per_image = match shape[..] {
            [b, r, a] if b > 0 && r == rows && a > 0 => (rows * a) as usize,
            _ => {
                return Err(ModelError::Input(format!(
                    "raw detections: found shape {shape:?}, allowed: [batch, {rows}, cells]"
                )));
            }
        };
        let mut flat = vec![0f32; raw.numel()];
        let count = flat.len();
        let raw = raw.f_to(tch::Device::Cpu)?.f_contiguous()?;
        raw.f_copy_data(&mut flat, count)?;
        Ok(flat
            .chunks_exact(per_image)
            .map(|image| nms(image, classes, limits))
            .collect())
    }
}
