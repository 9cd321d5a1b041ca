//! The building blocks of YOLOv8, bottom-up (written from a description of the architecture).

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::parameters::Scope;

/// What becomes of batch norms.
#[derive(Debug, Clone, Copy)]
pub(super) enum Norms {
    /// They are folded into their convolutions, which is what a trained network needs.
    Folded {
        /// Added to variances.
        eps: f64,
    },
    /// They stay, take the statistics of each batch, and keep running ones: a network that is being trained.
    Live {
        /// Added to variances.
        eps: f64,
    },
    /// As `Live`, but they become what changes nothing of the convolution before them, whose bias theirs is: the first
    /// step back from a folded network to one that is trained.
    Neutral {
        /// Added to variances.
        eps: f64,
    },
}

/// How much of a batch's statistics goes into the running ones.
const MOMENTUM: f64 = 0.03;

/// A convolution, its batch norm, and SiLU.
pub(super) enum Conv {
    /// With the batch norm folded in.
    Folded(Conv2d),
    /// With a batch norm of its own.
    Live(LiveConv),
}

impl Conv {
    /// Reads `conv` and, unless it is folded already (it has a bias), `bn`.
    pub fn new(
        scope: &Scope<'_>,
        norms: Norms,
        inputs: i64,
        outputs: i64,
        kernel: i64,
        stride: i64,
    ) -> Self {
        let conv = scope.pp("conv");
        match norms {
            Norms::Folded { eps } => {
                if !conv.has("bias") {
                    fold(scope, eps, [outputs, inputs, kernel, kernel]);
                }
                Conv::Folded(Conv2d::new(&conv, inputs, outputs, kernel, stride))
            }
            Norms::Live { eps } | Norms::Neutral { eps } => {
                let bn = scope.pp("bn");
                Conv::Live(LiveConv {
                    weight: conv.tensor("weight", &[outputs, inputs, kernel, kernel]),
                    stride,
                    padding: kernel / 2,
                    gain: bn.tensor_f32("weight", &[outputs]),
                    bias: bn.tensor_f32("bias", &[outputs]),
                    mean: bn.tensor_f32("running_mean", &[outputs]),
                    variance: bn.tensor_f32("running_var", &[outputs]),
                    eps,
                    neutral: matches!(norms, Norms::Neutral { .. }),
                })
            }
        }
    }

    /// [b, inputs, h, w] to [b, outputs, h / stride, w / stride].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match self {
            Conv::Folded(conv) => conv.forward(x)?,
            Conv::Live(conv) => conv.forward(x)?,
        };
        Ok(y.f_silu()?)
    }
}

/// A convolution without a bias and the batch norm that follows it, in training.
pub(super) struct LiveConv {
    weight: Tensor,
    stride: i64,
    padding: i64,
    gain: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: f64,
    /// Whether the next batch decides what the norm is; see [`Norms::Neutral`].
    neutral: bool,
}

impl LiveConv {
    /// Computes in the kind of `x`, whatever the kind of the parameters, and moves the running statistics.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = self.weight.f_to_kind(x.kind())?;
        let (stride, padding) = ([self.stride; 2], [self.padding; 2]);
        let y = x.f_conv2d(&weight, None::<&Tensor>, stride, padding, [1, 1], 1)?;
        if self.neutral {
            self.be_neutral(&y)?;
        }
        Ok(y.f_batch_norm(
            Some(&self.gain),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.variance),
            true,
            MOMENTUM,
            self.eps,
            false,
        )?)
    }

    /// Takes the statistics of `y` [b, channels, h, w] as its own, and gain and bias so that `y` comes out as it is, plus
    /// the bias that was there.
    fn be_neutral(&self, y: &Tensor) -> Result<()> {
        let (variance, mean) = y.f_var_mean_dim([0, 2, 3].as_slice(), false, false)?;
        let mut bias = self.bias.shallow_clone();
        let _ = bias.f_add_(&mean)?;
        let deviation = variance.f_add_scalar(self.eps)?.f_sqrt()?;
        for (own, new) in [
            (&self.gain, &deviation),
            (&self.mean, &mean),
            (&self.variance, &variance),
        ] {
            own.shallow_clone().f_copy_(new)?;
        }
        Ok(())
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
        // No copy, unless a network is trained in another kind than its parameters have.
        let weight = self.weight.f_to_kind(x.kind())?;
        let bias = self.bias.f_to_kind(x.kind())?;
        Ok(x.f_conv2d(&weight, Some(&bias), stride, padding, [1, 1], 1)?)
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
        norms: Norms,
        inputs: i64,
        outputs: i64,
        repeats: i64,
        add: bool,
    ) -> Self {
        let half = outputs / 2;
        let chain = (0..repeats).map(|j| {
            let link = scope.pp("m").pp(j);
            let conv = |name| Conv::new(&link.pp(name), norms, half, half, 3, 1);
            Bottleneck {
                cv1: conv("cv1"),
                cv2: conv("cv2"),
                add,
            }
        });
        C2f {
            cv1: Conv::new(&scope.pp("cv1"), norms, inputs, 2 * half, 1, 1),
            chain: chain.collect(),
            cv2: Conv::new(&scope.pp("cv2"), norms, (2 + repeats) * half, outputs, 1, 1),
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
    pub fn new(scope: &Scope<'_>, norms: Norms, channels: i64) -> Self {
        let half = channels / 2;
        Sppf {
            cv1: Conv::new(&scope.pp("cv1"), norms, channels, half, 1, 1),
            cv2: Conv::new(&scope.pp("cv2"), norms, 4 * half, channels, 1, 1),
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
pub const BINS: i64 = 16;

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
        norms: Norms,
        level: usize,
        inputs: i64,
        first: i64,
        classes: i64,
    ) -> Self {
        let branch = |name: &str, width: i64, outputs: i64| {
            let scope = scope.pp(name).pp(level);
            (
                Conv::new(&scope.pp(0), norms, inputs, width, 3, 1),
                Conv::new(&scope.pp(1), norms, width, width, 3, 1),
                Conv2d::new(&scope.pp(2), width, outputs, 1, 1),
            )
        };
        DetectLevel {
            distances: branch("cv2", (first / 4).max(4 * BINS), 4 * BINS),
            classes: branch("cv3", first.max(classes.min(100)), classes),
            stride_px: 8 << level,
        }
    }

    /// A map [b, c, h, w] to what the level says of its cells, row-major.
    pub fn forward(&self, x: &Tensor) -> Result<LevelOutput> {
        let run = |(a, b, last): &(Conv, Conv, Conv2d)| last.forward(&b.forward(&a.forward(x)?)?);
        // In f32 from here on: half precision would round boxes to whole pixels.
        let flat = |t: Tensor| -> Result<Tensor> { Ok(t.f_to_kind(Kind::Float)?.f_flatten(2, 3)?) };
        Ok(LevelOutput {
            distances: flat(run(&self.distances)?)?,
            classes: flat(run(&self.classes)?)?,
            height: x.size()[2],
            width: x.size()[3],
            stride_px: self.stride_px,
        })
    }
}

/// What one level says of its cells, before it is read as boxes and probabilities; in f32, cells row-major.
pub struct LevelOutput {
    /// Logits of the bins of the distances to the left, upper, right and lower edge: [b, 4 * 16, cells].
    pub distances: Tensor,
    /// Logits of the classes: [b, classes, cells].
    pub classes: Tensor,
    /// Rows of cells.
    pub height: i64,
    /// Columns of cells.
    pub width: i64,
    /// Side of a cell, in pixels.
    pub stride_px: i64,
}

impl LevelOutput {
    /// Middles of the cells, in cells: [2, cells], x then y.
    pub fn middles(&self) -> Result<Tensor> {
        let options = (Kind::Float, self.distances.device());
        let (height, width) = (self.height, self.width);
        let middles = |n: i64| Tensor::f_arange(n, options)?.f_add_scalar(0.5);
        let both = [
            middles(width)?
                .f_view([1, -1])?
                .f_expand([height, width], false)?
                .f_reshape([-1])?,
            middles(height)?
                .f_view([-1, 1])?
                .f_expand([height, width], false)?
                .f_reshape([-1])?,
        ];
        Ok(Tensor::f_stack(&both, 0)?)
    }

    /// Distances from the middles to the edges, in cells: [b, 4, cells], the mean of each distribution.
    pub fn sides(&self) -> Result<Tensor> {
        let options = (Kind::Float, self.distances.device());
        let bins = Tensor::f_arange(BINS, options)?.f_view([1, 1, BINS, 1])?;
        Ok(self
            .distances
            .f_unflatten(1, [4, BINS])?
            .f_softmax(2, Kind::Float)?
            .f_mul(&bins)?
            .f_sum_dim_intlist([2].as_slice(), false, Kind::Float)?)
    }

    /// [b, 4 + classes, cells]: centre x, centre y, width and height in pixels, then probabilities.
    pub fn decoded(&self) -> Result<Tensor> {
        let sides = self.sides()?;
        let (near, far) = (sides.f_narrow(1, 0, 2)?, sides.f_narrow(1, 2, 2)?);
        let middle = far
            .f_sub(&near)?
            .f_mul_scalar(0.5)?
            .f_add(&self.middles()?)?;
        let boxes = Tensor::f_cat(&[middle, near.f_add(&far)?], 1)?.f_mul_scalar(self.stride_px)?;
        Ok(Tensor::f_cat(&[boxes, self.classes.f_sigmoid()?], 1)?)
    }
}
