//! The V-JEPA 2 encoder (arXiv 2506.09985; Hugging Face transformers 5.23.0 `VJEPA2Encoder`, Apache-2.0).

use tch::Tensor;

use super::VJepa2Config;
use super::config::CHANNELS;
use super::rope::{Rope, Turns};
use crate::error::{ModelError, Result};
use crate::layers::{LayerNorm, Linear, Mlp, attention, split_heads};
use crate::parameters::Scope;

/// Frames to tokens.
pub struct Encoder {
    config: VJepa2Config,
    patches: PatchEmbed,
    rope: Rope,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

impl Encoder {
    /// Builds the encoder; `scope` is where `embeddings`, `layer` and `layernorm` are.
    ///
    /// # Errors
    /// When the device refuses the small tables made here. Missing tensors show in
    /// [`Parameters::finish`](crate::Parameters::finish).
    pub fn new(config: &VJepa2Config, scope: &Scope<'_>) -> Result<Self> {
        let blocks = (0..config.layers).map(|i| Block::new(config, &scope.pp("layer").pp(i)));
        Ok(Encoder {
            config: config.clone(),
            patches: PatchEmbed::new(
                config,
                &scope.pp("embeddings").pp("patch_embeddings").pp("proj"),
            ),
            rope: Rope::new(config, scope.device())?,
            blocks: blocks.collect(),
            norm: LayerNorm::new(&scope.pp("layernorm"), config.hidden, config.layer_norm_eps),
        })
    }

    /// Normalised frames [b, t, 3, crop, crop] to the last hidden state [b, n, hidden], with
    /// `n = (t / tubelet) * (crop / patch)^2`; an odd last frame is dropped.
    ///
    /// # Errors
    /// [`ModelError::Input`] for another shape; otherwise when libtorch refuses (memory).
    pub fn forward(&self, frames: &Tensor) -> Result<Tensor> {
        self.forward_thinned(frames, &Thinning::default())
    }

    /// As [`Encoder::forward`], on a part of the tokens or of the branches: for training.
    ///
    /// # Errors
    /// As [`Encoder::forward`].
    pub fn forward_thinned(&self, frames: &Tensor, thinning: &Thinning) -> Result<Tensor> {
        let (mut tubes, steps) = self.patches.cut(&self.config, frames)?;
        let mut turns = self.rope.turns(steps, tubes.kind())?;
        if let Some(kept) = &thinning.kept_tokens {
            tubes = tubes.f_index_select(1, kept)?;
            turns = turns.select(kept)?;
        }
        let mut x = self.patches.forward(&tubes)?;
        for (depth, block) in (0..).zip(&self.blocks) {
            let scales = match &thinning.branches {
                Some(scales) => Some(scales.f_select(0, depth)?),
                None => None,
            };
            x = block.forward(&x, &turns, scales.as_ref())?;
        }
        self.norm.forward(&x)
    }
}

/// What is left out in training, so that no feature relies on a single token or block. By default nothing is.
#[derive(Default)]
pub struct Thinning {
    /// The tokens to keep of every clip, [k] whole numbers in rising order; the others are not even embedded (He et al.,
    /// "Masked Autoencoders Are Scalable Vision Learners", arXiv 2111.06377).
    pub kept_tokens: Option<Tensor>,
    /// What a clip's two branches of each block are multiplied with, [layers, 2, b, 1, 1] in the model's precision: zero
    /// where one is skipped (Huang et al., "Deep Networks with Stochastic Depth", arXiv 1603.09382).
    pub branches: Option<Tensor>,
}

/// Tubes of pixels to tokens: a 3-D convolution whose stride is its size, done as a linear layer.
struct PatchEmbed {
    weight: Tensor,
    bias: Tensor,
}

impl PatchEmbed {
    fn new(config: &VJepa2Config, scope: &Scope<'_>) -> Self {
        let (tube, p) = (config.tubelet_frames, config.patch_px);
        PatchEmbed {
            weight: scope.tensor("weight", &[config.hidden, CHANNELS, tube, p, p]),
            bias: scope.tensor("bias", &[config.hidden]),
        }
    }

    /// [b, t, 3, crop, crop] to tubes [b, n, 3 * tube * p * p], and the steps of time.
    fn cut(&self, config: &VJepa2Config, frames: &Tensor) -> Result<(Tensor, i64)> {
        let (tube, p, g) = (config.tubelet_frames, config.patch_px, config.grid());
        let shape = frames.size();
        let [b, t, CHANNELS, height, width] = shape[..] else {
            return Err(wrong_shape(config, &shape));
        };
        if b < 1 || t < 1 || height != config.crop_px || width != config.crop_px {
            return Err(wrong_shape(config, &shape));
        }
        // As upstream: a clip shorter than a tube is repeated to a multiple of it.
        let frames = if t < tube {
            frames.f_repeat([1, tube, 1, 1, 1])?
        } else {
            frames.shallow_clone()
        };
        let tubes = frames.size()[1] / tube;
        let cut = frames
            .f_narrow(1, 0, tubes * tube)?
            .f_reshape([b, tubes, tube, CHANNELS, g, p, g, p])?
            .f_permute([0, 1, 4, 6, 3, 2, 5, 7])? // [b, tubes, row, column, 3, tube, p, p]
            .f_reshape([b, tubes * g * g, CHANNELS * tube * p * p])?;
        Ok((cut, tubes))
    }

    /// Tubes [b, n, 3 * tube * p * p] to tokens [b, n, hidden].
    fn forward(&self, tubes: &Tensor) -> Result<Tensor> {
        let weight = self.weight.f_flatten(1, -1)?; // a view, [hidden, 3 * tube * p * p]
        Ok(tubes.f_linear(&weight, Some(&self.bias))?)
    }
}

fn wrong_shape(config: &VJepa2Config, found: &[i64]) -> ModelError {
    ModelError::Input(format!(
        "frames: found shape {found:?}, allowed: [batch, frames, 3, {0}, {0}]",
        config.crop_px
    ))
}

/// A pre-norm transformer block.
struct Block {
    norm1: LayerNorm,
    attention: RopeAttention,
    norm2: LayerNorm,
    mlp: Mlp,
}

impl Block {
    fn new(config: &VJepa2Config, scope: &Scope<'_>) -> Self {
        let norm = |name| LayerNorm::new(&scope.pp(name), config.hidden, config.layer_norm_eps);
        Block {
            norm1: norm("norm1"),
            attention: RopeAttention::new(config, &scope.pp("attention")),
            norm2: norm("norm2"),
            mlp: Mlp::new(&scope.pp("mlp"), config.hidden, config.mlp_hidden),
        }
    }

    /// [b, n, hidden] to the same; `scales` [2, b, 1, 1] is what the branches are multiplied with.
    fn forward(&self, x: &Tensor, turns: &Turns, scales: Option<&Tensor>) -> Result<Tensor> {
        let scaled = |branch: Tensor, which: i64| match scales {
            Some(scales) => Ok::<_, ModelError>(branch.f_mul(&scales.f_select(0, which)?)?),
            None => Ok(branch),
        };
        let attended = self.attention.forward(&self.norm1.forward(x)?, turns)?;
        let x = x.f_add(&scaled(attended, 0)?)?;
        let mixed = self.mlp.forward(&self.norm2.forward(&x)?)?;
        Ok(x.f_add(&scaled(mixed, 1)?)?)
    }
}

/// Self-attention with turned queries and keys.
struct RopeAttention {
    query: Linear,
    key: Linear,
    value: Linear,
    proj: Linear,
    heads: i64,
}

impl RopeAttention {
    fn new(config: &VJepa2Config, scope: &Scope<'_>) -> Self {
        let linear = |name, bias| Linear::new(&scope.pp(name), config.hidden, config.hidden, bias);
        RopeAttention {
            query: linear("query", config.qkv_bias),
            key: linear("key", config.qkv_bias),
            value: linear("value", config.qkv_bias),
            proj: linear("proj", true),
            heads: config.heads,
        }
    }

    fn forward(&self, x: &Tensor, turns: &Turns) -> Result<Tensor> {
        let query = turns.apply(&split_heads(&self.query.forward(x)?, self.heads)?)?;
        let key = turns.apply(&split_heads(&self.key.forward(x)?, self.heads)?)?;
        let value = split_heads(&self.value.forward(x)?, self.heads)?;
        self.proj.forward(&attention(&query, &key, &value)?)
    }
}
