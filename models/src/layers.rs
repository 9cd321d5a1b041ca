//! The layers that several networks are made of: plain tensors and a `forward`.
//!
//! Nothing here is done in place on a parameter and nothing turns gradients off, so the same code trains.

use tch::{Kind, Tensor};

use crate::error::Result;
use crate::parameters::Scope;

/// `x W^T + b`.
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Reads `weight` `[out, in]` and, if there is to be one, `bias` `[out]`.
    pub fn new(scope: &Scope<'_>, inputs: i64, outputs: i64, bias: bool) -> Self {
        Linear {
            weight: scope.tensor("weight", &[outputs, inputs]),
            bias: bias.then(|| scope.tensor("bias", &[outputs])),
        }
    }

    /// As [`Linear::new`], but held and computed in f32 whatever the model's precision.
    pub fn new_f32(scope: &Scope<'_>, inputs: i64, outputs: i64) -> Self {
        Linear {
            weight: scope.tensor_f32("weight", &[outputs, inputs]),
            bias: Some(scope.tensor_f32("bias", &[outputs])),
        }
    }

    /// [.., in] to [.., out].
    ///
    /// # Errors
    /// When libtorch refuses (shapes, memory).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, self.bias.as_ref())?)
    }
}

/// Layer normalisation over the last axis.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    width: i64,
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias`, both `[width]`.
    pub fn new(scope: &Scope<'_>, width: i64, eps: f64) -> Self {
        LayerNorm {
            weight: scope.tensor("weight", &[width]),
            bias: scope.tensor("bias", &[width]),
            width,
            eps,
        }
    }

    /// [.., width] to [.., width]; means and variances are taken in f32 also in half precision.
    ///
    /// # Errors
    /// When libtorch refuses (shapes, memory).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_layer_norm(
            [self.width],
            Some(&self.weight),
            Some(&self.bias),
            self.eps,
            true,
        )?)
    }
}

/// `fc2(gelu(fc1(x)))` with the exact (erf) GELU.
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    /// Reads `fc1` and `fc2`.
    pub fn new(scope: &Scope<'_>, width: i64, hidden: i64) -> Self {
        Mlp {
            fc1: Linear::new(&scope.pp("fc1"), width, hidden, true),
            fc2: Linear::new(&scope.pp("fc2"), hidden, width, true),
        }
    }

    /// [.., width] to [.., width].
    ///
    /// # Errors
    /// When libtorch refuses (shapes, memory).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc2.forward(&self.fc1.forward(x)?.f_gelu("none")?)
    }
}

/// Splits the last axis into heads: [b, n, heads * d] to [b, n, heads, d].
///
/// # Errors
/// When the axis does not divide.
pub fn split_heads(x: &Tensor, heads: i64) -> Result<Tensor> {
    Ok(x.f_unflatten(-1, [heads, -1])?)
}

/// Attention of split heads, queries [b, n, heads, d] over keys and values [b, m, heads, d], to [b, n, heads * d].
///
/// The n x m matrix is never materialised where libtorch has a fused kernel (CUDA, and the CPU for f32 and bf16).
///
/// # Errors
/// When libtorch refuses (shapes, memory).
pub fn attention(queries: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let heads_first = |t: &Tensor| t.f_transpose(1, 2); // [b, heads, n, d]
    let mixed = Tensor::f_scaled_dot_product_attention(
        &heads_first(queries)?,
        &heads_first(keys)?,
        &heads_first(values)?,
        None::<Tensor>,
        0.0,
        false,
        None::<f64>, // d^-0.5
        false,
    )?;
    Ok(mixed.f_transpose(1, 2)?.f_flatten(2, 3)?)
}

/// Mean over the tokens, [b, n, h] to [b, h], accumulated and given in f32.
///
/// # Errors
/// When libtorch refuses (shapes, memory).
pub fn mean_tokens(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_mean_dim([1].as_slice(), false, Kind::Float)?)
}
