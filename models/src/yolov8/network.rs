//! The YOLOv8 detection network (written from a description of the architecture).

use tch::Tensor;

use super::Yolov8Config;
use super::blocks::{C2f, Conv, DetectLevel, LevelOutput, Norms, Sppf};
use super::config::STRIDE_PX;
use crate::error::{ModelError, Result};
use crate::parameters::Scope;

/// The network: images to boxes and class probabilities of every cell.
pub struct Yolov8 {
    /// Layers 0 to 4: to stride 8.
    fine: (Conv, Conv, C2f, Conv, C2f),
    /// Layers 5 and 6: to stride 16.
    middle: (Conv, C2f),
    /// Layers 7 to 9: to stride 32.
    coarse: (Conv, C2f, Sppf),
    /// Layers 12 and 15: top-down.
    down: (C2f, C2f),
    /// Layers 16, 18, 19 and 21: bottom-up.
    up: (Conv, C2f, Conv, C2f),
    /// Layer 22.
    detect: [DetectLevel; 3],
}

impl Yolov8 {
    /// Builds the network for so many classes; `scope` is the root of the model's names. Missing tensors show in
    /// [`Parameters::finish`](crate::Parameters::finish).
    pub fn new(config: &Yolov8Config, classes: i64, scope: &Scope<'_>) -> Self {
        let eps = config.bn_eps;
        Self::with_norms(config, classes, scope, Norms::Folded { eps })
    }

    /// As [`Yolov8::new`], but for training: batch norms stay apart, use each batch's statistics and keep running ones in
    /// `bn.running_mean` and `bn.running_var`. Computes in the kind of the images, whatever the parameters'.
    pub fn trainable(config: &Yolov8Config, classes: i64, scope: &Scope<'_>) -> Self {
        let eps = config.bn_eps;
        Self::with_norms(config, classes, scope, Norms::Live { eps })
    }

    /// As [`Yolov8::trainable`], over the weights and biases of a network whose norms were folded (the biases under
    /// `bn.bias`): the first images that go through it make norms of them that change nothing. Under no gradient.
    pub fn unfolding(config: &Yolov8Config, classes: i64, scope: &Scope<'_>) -> Self {
        let eps = config.bn_eps;
        Self::with_norms(config, classes, scope, Norms::Neutral { eps })
    }

    fn with_norms(config: &Yolov8Config, classes: i64, scope: &Scope<'_>, norms: Norms) -> Self {
        let scale = config.scale;
        let at = |layer: i64| scope.pp("model").pp(layer);
        let ch = |table: i64| scale.channels(table);
        let conv = |layer, inputs, outputs| Conv::new(&at(layer), norms, inputs, outputs, 3, 2);
        let c2f = |layer, inputs, outputs, repeats, add| {
            C2f::new(
                &at(layer),
                norms,
                inputs,
                outputs,
                scale.repeats(repeats),
                add,
            )
        };
        let (c1, c2, c3, c4, c5) = (ch(64), ch(128), ch(256), ch(512), ch(1024));
        let level = |i, inputs| DetectLevel::new(&at(22), norms, i, inputs, c3, classes);
        Yolov8 {
            fine: (
                conv(0, 3, c1),
                conv(1, c1, c2),
                c2f(2, c2, c2, 3, true),
                conv(3, c2, c3),
                c2f(4, c3, c3, 6, true),
            ),
            middle: (conv(5, c3, c4), c2f(6, c4, c4, 6, true)),
            coarse: (
                conv(7, c4, c5),
                c2f(8, c5, c5, 3, true),
                Sppf::new(&at(9), norms, c5),
            ),
            down: (
                c2f(12, c5 + c4, c4, 3, false),
                c2f(15, c4 + c3, c3, 3, false),
            ),
            up: (
                conv(16, c3, c3),
                c2f(18, c3 + c4, c4, 3, false),
                conv(19, c4, c4),
                c2f(21, c4 + c5, c5, 3, false),
            ),
            detect: [level(0, c3), level(1, c4), level(2, c5)],
        }
    }

    /// Images [b, 3, h, w] in 0..1, sides multiples of 32, to [b, 4 + classes, a] in f32 with a = hw / 64 + hw / 256 +
    /// hw / 1024 cells, finest level first, row-major: centre x, centre y, width, height in pixels, then probabilities.
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape; otherwise when libtorch refuses (memory).
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let levels = self
            .levels(images)?
            .iter()
            .map(LevelOutput::decoded)
            .collect::<Result<Vec<_>>>()?;
        Ok(Tensor::f_cat(&levels, 2)?)
    }

    /// What the levels say of the same images, finest first, before it is read as boxes: what a loss needs.
    ///
    /// # Errors
    /// As [`Yolov8::forward`].
    pub fn levels(&self, images: &Tensor) -> Result<[LevelOutput; 3]> {
        let shape = images.size();
        let stride = STRIDE_PX as i64;
        let fits = matches!(shape[..], [b, 3, h, w] if b > 0 && h > 0 && w > 0 && h % stride == 0 && w % stride == 0);
        if !fits {
            return Err(ModelError::Input(format!(
                "images: found shape {shape:?}, allowed: [batch, 3, height, width], sides multiples of {STRIDE_PX}"
            )));
        }
        let (l0, l1, l2, l3, l4) = &self.fine;
        let x8 = l4.forward(&l3.forward(&l2.forward(&l1.forward(&l0.forward(images)?)?)?)?)?; // stride 8
        let (l5, l6) = &self.middle;
        let x16 = l6.forward(&l5.forward(&x8)?)?;
        let (l7, l8, l9) = &self.coarse;
        let x32 = l9.forward(&l8.forward(&l7.forward(&x16)?)?)?;

        let (l12, l15) = &self.down;
        let p16 = l12.forward(&joined(&doubled(&x32)?, &x16)?)?;
        let p8 = l15.forward(&joined(&doubled(&p16)?, &x8)?)?;

        let (l16, l18, l19, l21) = &self.up;
        let q16 = l18.forward(&joined(&l16.forward(&p8)?, &p16)?)?;
        let q32 = l21.forward(&joined(&l19.forward(&q16)?, &x32)?)?;

        let [fine, middle, coarse] = &self.detect;
        Ok([
            fine.forward(&p8)?,
            middle.forward(&q16)?,
            coarse.forward(&q32)?,
        ])
    }
}

/// Every pixel twice each way.
fn doubled(x: &Tensor) -> Result<Tensor> {
    let (height, width) = (x.size()[2], x.size()[3]);
    Ok(x.f_upsample_nearest2d([2 * height, 2 * width], None, None)?)
}

/// Channels of both.
fn joined(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Ok(Tensor::f_cat(&[a, b], 1)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::device::{Device, Precision};
    use crate::nms::NmsLimits;
    use crate::parameters::Parameters;
    use crate::yolov8::Scale;

    fn config(scale: Scale) -> Yolov8Config {
        Yolov8Config {
            scale,
            size_px: 64,
            fitted: false,
            mean_conf: None,
            limits: NmsLimits {
                conf: 0.25,
                iou: 0.7,
                max_det: 300,
                max_nms: 30_000,
            },
            bn_eps: 1e-3,
        }
    }

    #[test]
    fn folded_networks_have_the_published_numbers_of_parameters() {
        // Upstream counts the 16 constants of its decoding too.
        for (scale, published) in [
            (Scale::N, 3_151_904),
            (Scale::S, 11_156_544),
            (Scale::M, 25_886_080),
            (Scale::L, 43_668_288),
        ] {
            let parameters = Parameters::random(&Device::cpu(), Precision::F32);
            Yolov8::new(&config(scale), 80, &parameters.root());
            assert_eq!(
                parameters.finish().unwrap().count(),
                published - 16,
                "{scale}"
            );
        }
    }

    #[test]
    fn shapes_follow_the_image() {
        let parameters = Parameters::random(&Device::cpu(), Precision::F32);
        let network = Yolov8::new(&config(Scale::M), 3, &parameters.root());
        let images = |h, w| Tensor::zeros([1, 3, h, w], (tch::Kind::Float, tch::Device::Cpu));
        assert_eq!(
            network.forward(&images(64, 96)).unwrap().size(),
            [1, 7, 96 + 24 + 6]
        );
        let message = network.forward(&images(64, 100)).unwrap_err().to_string();
        assert!(message.contains("found shape [1, 3, 64, 100]"), "{message}");
    }
}
