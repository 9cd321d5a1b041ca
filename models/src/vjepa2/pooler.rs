//! The attentive pooler (arXiv 2506.09985; Hugging Face transformers 5.23.0 `VJEPA2AttentivePooler`, Apache-2.0).
//!
//! A few self-attention blocks over the encoder's tokens, then one learned query that attends to them all. The cross
//! attention has no output layer, and its query is not normalised; positions play no part here.

use tch::Tensor;

use super::VJepa2Config;
use super::config::POOLER_MLP_RATIO;
use crate::error::Result;
use crate::layers::{LayerNorm, Linear, Mlp, attention, split_heads};
use crate::parameters::Scope;

/// Tokens to one vector.
pub struct AttentivePooler {
    blocks: Vec<PoolerBlock>,
    query: Tensor,
    norm1: LayerNorm,
    attention: Projections,
    norm2: LayerNorm,
    mlp: Mlp,
}

impl AttentivePooler {
    /// Builds the pooler; `scope` is where `query_tokens` is.
    pub fn new(config: &VJepa2Config, scope: &Scope<'_>) -> Self {
        let blocks = scope.pp("self_attention_layers");
        let cross = scope.pp("cross_attention_layer");
        AttentivePooler {
            blocks: (0..config.pooler_layers)
                .map(|i| PoolerBlock::new(config, &blocks.pp(i)))
                .collect(),
            query: scope.tensor("query_tokens", &[1, 1, config.hidden]),
            norm1: norm(config, &cross, "layer_norm1"),
            attention: Projections::new(config, &cross.pp("cross_attn")),
            norm2: norm(config, &cross, "layer_norm2"),
            mlp: mlp(config, &cross),
        }
    }

    /// [b, n, hidden] to [b, hidden].
    ///
    /// # Errors
    /// When libtorch refuses (shapes, memory).
    pub fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let mut x = tokens.shallow_clone();
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        let query = self.query.f_expand([x.size()[0], -1, -1], false)?; // [b, 1, hidden]
        let pooled = query.f_add(&self.attention.forward(&query, &self.norm1.forward(&x)?)?)?;
        let pooled = pooled.f_add(&self.mlp.forward(&self.norm2.forward(&pooled)?)?)?;
        Ok(pooled.f_squeeze_dim(1)?)
    }
}

/// A pre-norm self-attention block.
struct PoolerBlock {
    norm1: LayerNorm,
    attention: Projections,
    out: Linear,
    norm2: LayerNorm,
    mlp: Mlp,
}

impl PoolerBlock {
    fn new(config: &VJepa2Config, scope: &Scope<'_>) -> Self {
        let attention = scope.pp("self_attn");
        PoolerBlock {
            norm1: norm(config, scope, "layer_norm1"),
            attention: Projections::new(config, &attention),
            out: Linear::new(
                &attention.pp("out_proj"),
                config.hidden,
                config.hidden,
                true,
            ),
            norm2: norm(config, scope, "layer_norm2"),
            mlp: mlp(config, scope),
        }
    }

    /// [b, n, hidden] to the same.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let normed = self.norm1.forward(x)?;
        let x = x.f_add(
            &self
                .out
                .forward(&self.attention.forward(&normed, &normed)?)?,
        )?;
        Ok(x.f_add(&self.mlp.forward(&self.norm2.forward(&x)?)?)?)
    }
}

/// Attention up to, and without, an output layer.
struct Projections {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: i64,
}

impl Projections {
    fn new(config: &VJepa2Config, scope: &Scope<'_>) -> Self {
        let linear = |name| Linear::new(&scope.pp(name), config.hidden, config.hidden, true);
        Projections {
            query: linear("q_proj"),
            key: linear("k_proj"),
            value: linear("v_proj"),
            heads: config.heads,
        }
    }

    /// Queries of [b, n, hidden], keys and values of [b, m, hidden], to [b, n, hidden].
    fn forward(&self, from: &Tensor, to: &Tensor) -> Result<Tensor> {
        attention(
            &split_heads(&self.query.forward(from)?, self.heads)?,
            &split_heads(&self.key.forward(to)?, self.heads)?,
            &split_heads(&self.value.forward(to)?, self.heads)?,
        )
    }
}

fn norm(config: &VJepa2Config, scope: &Scope<'_>, name: &str) -> LayerNorm {
    LayerNorm::new(&scope.pp(name), config.hidden, config.layer_norm_eps)
}

fn mlp(config: &VJepa2Config, scope: &Scope<'_>) -> Mlp {
    Mlp::new(
        &scope.pp("mlp"),
        config.hidden,
        POOLER_MLP_RATIO * config.hidden,
    )
}
