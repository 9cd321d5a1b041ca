//! From an encoder's tokens to logits.
//!
//! [`LinearHead`] is what fcakyon/video-transformers (MIT) puts on a backbone: the mean over tokens, then one layer,
//! stored as `head.linear`; `classifier` is read too. [`AttentiveHead`] is Hugging Face's
//! `VJEPA2ForVideoClassification` (transformers 5.23.0, Apache-2.0): `pooler`, then `classifier`. The last layer is held
//! and computed in f32 whatever the model's precision: it is small, and its rounding would go straight into the scores.

use tch::{Kind, Tensor};

use crate::config::HeadKind;
use crate::error::Result;
use crate::layers::{Linear, mean_tokens};
use crate::parameters::Scope;
use crate::vjepa2::{AttentivePooler, VJepa2Config};

/// A head of either kind.
pub enum Head {
    /// Mean and a layer.
    Linear(LinearHead),
    /// Pooler and a layer.
    Attentive(Box<AttentiveHead>),
}

impl Head {
    /// Builds a head for so many labels; `scope` is the root of the model's names.
    pub fn new(kind: HeadKind, config: &VJepa2Config, labels: i64, scope: &Scope<'_>) -> Self {
        match kind {
            HeadKind::Linear => Head::Linear(LinearHead::new(scope, config.hidden, labels)),
            HeadKind::Attentive => {
                Head::Attentive(Box::new(AttentiveHead::new(config, labels, scope)))
            }
        }
    }

    /// Tokens [b, n, hidden] to logits [b, labels] in f32.
    ///
    /// # Errors
    /// When libtorch refuses (shapes, memory).
    pub fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        match self {
            Head::Linear(head) => head.forward(tokens),
            Head::Attentive(head) => head.forward(tokens),
        }
    }
}

/// The mean over tokens, then a linear layer.
pub struct LinearHead {
    linear: Linear,
}

impl LinearHead {
    /// Reads `head.linear`, or `classifier` where that is there instead.
    pub fn new(scope: &Scope<'_>, hidden: i64, labels: i64) -> Self {
        const NAMES: [&str; 2] = ["head.linear", "classifier"];
        let stored = NAMES.into_iter().find(|name| scope.pp(name).has("weight"));
        let linear = scope.pp(stored.unwrap_or(NAMES[0]));
        LinearHead {
            linear: Linear::new_f32(&linear, hidden, labels),
        }
    }

    /// Tokens [b, n, hidden] to logits [b, labels] in f32.
    ///
    /// # Errors
    /// When libtorch refuses (shapes, memory).
    pub fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        self.linear.forward(&mean_tokens(tokens)?)
    }
}

/// The attentive pooler, then a linear layer.
pub struct AttentiveHead {
    pooler: AttentivePooler,
    classifier: Linear,
}

impl AttentiveHead {
    /// Reads `pooler` and `classifier`.
    pub fn new(config: &VJepa2Config, labels: i64, scope: &Scope<'_>) -> Self {
        AttentiveHead {
            pooler: AttentivePooler::new(config, &scope.pp("pooler")),
            classifier: Linear::new_f32(&scope.pp("classifier"), config.hidden, labels),
        }
    }

    /// Tokens [b, n, hidden] to the pooled vector [b, hidden], in the model's precision.
    ///
    /// # Errors
    /// When libtorch refuses (shapes, memory).
    pub fn pooled(&self, tokens: &Tensor) -> Result<Tensor> {
        self.pooler.forward(tokens)
    }

    /// Tokens [b, n, hidden] to logits [b, labels] in f32.
    ///
    /// # Errors
    /// When libtorch refuses (shapes, memory).
    pub fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        self.classifier
            .forward(&self.pooled(tokens)?.f_to_kind(Kind::Float)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::device::{Device, Precision};
    use crate::parameters::Parameters;

    #[test]
    fn a_linear_head_is_a_mean_and_a_product() {
        tch::manual_seed(7);
        let parameters = Parameters::random(&Device::cpu(), Precision::F32);
        let head = LinearHead::new(&parameters.root(), 5, 3);
        let held = parameters.finish().unwrap().tensors();
        assert_eq!(
            held.keys().collect::<Vec<_>>(),
            ["head.linear.bias", "head.linear.weight"]
        );
        // The bias is drawn as zero; give it values that show.
        let mut bias = held["head.linear.bias"].shallow_clone();
        bias.copy_(&Tensor::from_slice(&[0.5f32, -1.0, 2.0]));

        let x = Tensor::randn([2, 4, 5], (Kind::Float, tch::Device::Cpu));
        let got = Vec::<Vec<f32>>::try_from(head.forward(&x).unwrap()).unwrap();
        let weight = Vec::<Vec<f32>>::try_from(&held["head.linear.weight"]).unwrap();
        let bias = [0.5f32, -1.0, 2.0];
        for b in 0..2 {
            for label in 0..3 {
                let mean = |h: i64| (0..4).map(|n| x.double_value(&[b, n, h])).sum::<f64>() / 4.0;
                let product: f64 = (0..5)
                    .map(|h| mean(h) * f64::from(weight[label][h as usize]))
                    .sum();
                let want = product + f64::from(bias[label]);
                assert!((f64::from(got[b as usize][label]) - want).abs() < 1e-6);
            }
        }
    }
}
