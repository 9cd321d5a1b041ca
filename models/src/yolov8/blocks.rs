//! The building blocks of YOLOv8, bottom-up (written from a description of the architecture).

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::parameters::Scope;

/// A convolution with its batch norm folded in, then SiLU.
pub(super) struct Conv {
    conv: Conv2d,
}

impl Conv {
    /// Reads `conv` and, unless it is folded already (it has a bias), `bn`.
    pub fn new(
        scope: &Scope<'_>,
        bn_eps: f64,
        inputs: i64,
        outputs: i64,
        kernel: i64,
        stride: i64,
    ) -> Self {
        let conv = scope.pp("conv");
        if !conv.has("bias") {
            fold(scope, bn_eps, [outputs, inputs, kernel, kernel]);
        }
        Conv {
            conv: Conv2d::new(&conv, inputs, outputs, kernel, stride),
        }
    }

    /// [b, inputs, h, w] to [b, outputs, h / stride, w / stride].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.conv.forward(x)?.f_silu()?)
    }
}

/// Puts a batch norm into its convolution, an output channel at a time: `W' = W g / sqrt(var + eps)`,
/// `b' = beta - mean g / sqrt(var + eps)`. Kept under the convolution's name, so that instances share the result.
fn fold(scope: &Scope<'_>, bn_eps: f64, shape: [i64; 4]) {
    let bn = scope.pp("bn");
    let channels = [shape[0]];
    let conv = scope.pp("conv");
    let parts = (
        conv.raw("weight", &shape),
        bn.raw("weight", &channels),
        bn.raw("bias", &channels),
        bn.raw("running_mean", &channels),
        bn.raw("running_var", &channels),
    );
    let (Some(weight), Some(gain), Some(beta), Some(mean), Some(variance)) = parts else {
        return; // the problem is noted
    };
    match folded(&weight, &gain, &beta, &mean, &variance, bn_eps) {
        Ok((weight, bias)) => {
            conv.keep("weight", weight);
            conv.keep("bias", bias);
        }
        Err(error) => conv.note("weight", &error),
    }
}

fn folded(
    weight: &Tensor,
    gain: &Tensor,
    beta: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    bn_eps: f64,
) -> Result<(Tensor, Tensor)> {
    let factor = gain.f_div(&variance.f_add_scalar(bn_eps)?.f_sqrt()?)?;
    let bias = beta.f_sub(&mean.f_mul(&factor)?)?;
    let weight = weight.f_mul(&factor.f_view([-1, 1, 1, 1])?)?;
    Ok((weight, bias))
}

/// A convolution with a bias, padded to keep its size (but for the stride).
pub(super) struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    pub fn new(scope: &Scope<'_>, inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Self {
        Conv2d {
            weight: scope.tensor("weight", &[outputs, inputs, kernel, kernel]),
            bias: scope.tensor("bias", &[outputs]),
            stride,
            padding: kernel / 2,
        }
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        Ok(x.f_conv2d(&self.weight, Some(&self.bias), stride, padding, [1, 1], 1)?)
    }
}

/// Two 3 x 3 convolutions, with the input added in the backbone.
struct Bottleneck {
    cv1: Conv,
    cv2: Conv,
    add: bool,
}

impl Bottleneck {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.cv2.forward(&self.cv1.forward(x)?)?;
        Ok(if self.add { x.f_add(&y)? } else { y })
    }
}

/// Half of the channels go through a chain of bottlenecks, and every link of it is kept.
pub(super) struct C2f {
    cv1: Conv,
    chain: Vec<Bottleneck>,
    cv2: Conv,
}

impl C2f {
    pub fn new(
        scope: &Scope<'_>,
        bn_eps: f64,
        inputs: i64,
        outputs: i64,
        repeats: i64,
        add: bool,
    ) -> Self {
        let half = outputs / 2;
        let chain = (0..repeats).map(|j| {
            let link = scope.pp("m").pp(j);
            let conv = |name| Conv::new(&link.pp(name), bn_eps, half, half, 3, 1);
            Bottleneck {
                cv1: conv("cv1"),
                cv2: conv("cv2"),
                add,
            }
        });
        C2f {
            cv1: Conv::new(&scope.pp("cv1"), bn_eps, inputs, 2 * half, 1, 1),
            chain: chain.collect(),
            cv2: Conv::new(
                &scope.pp("cv2"),
                bn_eps,
                (2 + repeats) * half,
                outputs,
                1,
                1,
            ),
        }
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut parts = self.cv1.forward(x)?.f_chunk(2, 1)?;
        let mut last = parts[1].shallow_clone();
        for link in &self.chain {
            last = link.forward(&last)?;
            parts.push(last.shallow_clone());
        }
        self.cv2.forward(&Tensor::f_cat(&parts, 1)?)
    }
}

/// Three max-pools in a row, all kept: a wide view at little cost.
pub(super) struct Sppf {
    cv1: Conv,
    cv2: Conv,
}

impl Sppf {
    pub fn new(scope: &Scope<'_>, bn_eps: f64, channels: i64) -> Self {
        let half = channels / 2;
        Sppf {
            cv1: Conv::new(&scope.pp("cv1"), bn_eps, channels, half, 1, 1),
            cv2: Conv::new(&scope.pp("cv2"), bn_eps, 4 * half, channels, 1, 1),
        }
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut parts = vec![self.cv1.forward(x)?];
        for i in 0..3 {
            let pooled = parts[i].f_max_pool2d([5, 5], [1, 1], [2, 2], [1, 1], false)?;
            parts.push(pooled);
        }
        self.cv2.forward(&Tensor::f_cat(&parts, 1)?)
    }
}

/// Bins of a distance's distribution.
const BINS: i64 = 16;

/// The predictions of one level: distances and classes.
pub(super) struct DetectLevel {
    distances: (Conv, Conv, Conv2d),
    classes: (Conv, Conv, Conv2d),
    stride_px: i64,
}

impl DetectLevel {
    /// Reads `cv2.{level}` and `cv3.{level}`; `first` is the channels of the finest level, which fixes the widths.
    pub fn new(
        scope: &Scope<'_>,
        bn_eps: f64,
        level: usize,
        inputs: i64,
        first: i64,
        classes: i64,
    ) -> Self {
        let branch = |name: &str, width: i64, outputs: i64| {
            let scope = scope.pp(name).pp(level);
            (
                Conv::new(&scope.pp(0), bn_eps, inputs, width, 3, 1),
                Conv::new(&scope.pp(1), bn_eps, width, width, 3, 1),
                Conv2d::new(&scope.pp(2), width, outputs, 1, 1),
            )
        };
        DetectLevel {
            distances: branch("cv2", (first / 4).max(4 * BINS), 4 * BINS),
            classes: branch("cv3", first.max(classes.min(100)), classes),
            stride_px: 8 << level,
        }
    }

    /// A map [b, c, h, w] to [b, 4 + classes, h * w] in f32: centre x, centre y, width and height in pixels, then
    /// probabilities.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let run = |(a, b, last): &(Conv, Conv, Conv2d)| last.forward(&b.forward(&a.forward(x)?)?);
        // In f32 from here on: half precision would round boxes to whole pixels.
        let flat = |t: Tensor| -> Result<Tensor> { Ok(t.f_to_kind(Kind::Float)?.f_flatten(2, 3)?) };
        let (height, width) = (x.size()[2], x.size()[3]);
        let distances = flat(run(&self.distances)?)?; // [b, 4 * 16, a]
        let classes = flat(run(&self.classes)?)?.f_sigmoid()?; // [b, classes, a]

        let options = (Kind::Float, x.device());
        let bins = Tensor::f_arange(BINS, options)?.f_view([1, 1, BINS, 1])?;
        let sides = distances
            .f_unflatten(1, [4, BINS])?
            .f_softmax(2, Kind::Float)?
            .f_mul(&bins)?
            .f_sum_dim_intlist([2].as_slice(), false, Kind::Float)?; // left, top, right, bottom in cells: [b, 4, a]
        let (near, far) = (sides.f_narrow(1, 0, 2)?, sides.f_narrow(1, 2, 2)?);
        let centres = |n: i64| Tensor::f_arange(n, options)?.f_add_scalar(0.5);
        let cells = [
            centres(width)?
                .f_view([1, -1])?
                .f_expand([height, width], false)?
                .f_reshape([-1])?,
            centres(height)?
                .f_view([-1, 1])?
                .f_expand([height, width], false)?
                .f_reshape([-1])?,
        ];
        let cells = Tensor::f_stack(&cells, 0)?; // [2, a], x then y, row-major
        let middle = far.f_sub(&near)?.f_mul_scalar(0.5)?.f_add(&cells)?;
        let boxes = Tensor::f_cat(&[middle, near.f_add(&far)?], 1)?.f_mul_scalar(self.stride_px)?;
        Ok(Tensor::f_cat(&[boxes, classes], 1)?)
    }
}
