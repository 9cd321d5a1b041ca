//! AdamW over named tensors (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", arXiv 1711.05101).
//!
//! libtorch's own keeps its moments to itself; these are plain tensors, so a checkpoint can hold them.

use std::collections::BTreeMap;

use tch::{Kind, Tensor, no_grad_guard};

use crate::error::Result;

/// Decay of the first and the second moment, and what keeps the division finite.
const BETAS: (f64, f64) = (0.9, 0.98);
const EPS: f64 = 1e-8;

/// The moments of every weight.
pub(super) struct AdamW {
    pub first: BTreeMap<String, Tensor>,
    pub second: BTreeMap<String, Tensor>,
}

/// What one step is made with.
pub(super) struct Step {
    /// Counted from 1.
    pub number: u64,
    pub rate: f64,
    /// Share of a matrix that is taken off, times the rate; norms and biases are left alone.
    pub decay: f64,
    /// Gradients are scaled down to this norm, all of them taken together.
    pub max_norm: f64,
    /// Factors of the rate for names that end so.
    pub factors: &'static [(&'static str, f64)],
}

impl AdamW {
    /// Moments of zero.
    pub fn new(weights: &BTreeMap<String, Tensor>) -> Result<Self> {
        let zeros = || -> Result<BTreeMap<String, Tensor>> {
            weights
                .iter()
                .map(|(name, weight)| Ok((name.clone(), weight.f_detach()?.f_zeros_like()?)))
                .collect()
        };
        Ok(AdamW {
            first: zeros()?,
            second: zeros()?,
        })
    }

    /// Moves the weights against their gradients, clears those, and gives their norm before scaling. A weight that has
    /// had no gradient yet stays as it is; so do all if the norm is not finite.
    pub fn step(&mut self, weights: &mut BTreeMap<String, Tensor>, step: &Step) -> Result<f64> {
        let _no_grad = no_grad_guard();
        let mut moving = Vec::new();
        let mut squares = Vec::new();
        for (name, weight) in weights.iter_mut() {
            let gradient = weight.f_grad()?;
            if gradient.defined() {
                squares.push(gradient.f_square()?.f_sum(Kind::Float)?);
                moving.push((name, weight, gradient));
            }
        }
        // Read once: on a GPU the host waits whenever it reads.
        let norm = if squares.is_empty() {
            0.0
        } else {
            let sum = Tensor::f_stack(&squares, 0)?.f_sum(Kind::Double)?;
            sum.f_double_value(&[])?.sqrt()
        };
        let scale = (step.max_norm / norm.max(1e-12)).min(1.0);
        let corrections = (
            1.0 - BETAS.0.powf(step.number as f64),
            1.0 - BETAS.1.powf(step.number as f64),
        );
        for (name, weight, mut gradient) in moving {
            if let (true, Some(first), Some(second)) = (
                norm.is_finite(),
                self.first.get_mut(name),
                self.second.get_mut(name),
            ) {
                let _ = gradient.f_mul_scalar_(scale)?;
                let _ = first.f_lerp_(&gradient, 1.0 - BETAS.0)?;
                let _ = second.f_lerp_(&gradient.f_square()?, 1.0 - BETAS.1)?;
                let spread = second
                    .f_div_scalar(corrections.1)?
                    .f_sqrt()?
                    .f_add_scalar(EPS)?;
                let factor = step.factors.iter().find(|(end, _)| name.ends_with(end));
                let rate = step.rate * factor.map_or(1.0, |(_, factor)| *factor);
                let direction = first.f_div(&spread)?.f_mul_scalar(rate / corrections.0)?;
                if weight.dim() > 1 {
                    let _ = weight.f_mul_scalar_(1.0 - rate * step.decay)?;
                }
                let _ = weight.f_sub_(&direction)?;
            }
            weight.zero_grad();
        }
        Ok(norm)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_the_formula() {
        let start = [0.5f32, -2.0];
        let matrix = Tensor::from_slice(&start)
            .view([1, 2])
            .set_requires_grad(true);
        let mut weights = BTreeMap::from([("w".to_owned(), matrix)]);
        let mut adam = AdamW::new(&weights).unwrap();
        let (rate, decay) = (0.1, 0.2);
        let mut want: Vec<f64> = start.iter().map(|&x| f64::from(x)).collect();
        let (mut m, mut v) = ([0.0; 2], [0.0; 2]);
        for number in 1..=5 {
            let loss = weights["w"].square().sum(Kind::Float);
            loss.backward();
            let step = Step {
                number,
                rate,
                decay,
                max_norm: 1e9,
                factors: &[("v", 9.0)],
            };
            let norm = adam.step(&mut weights, &step).unwrap();
            let gradients: Vec<f64> = want.iter().map(|x| 2.0 * x).collect();
            let expected = gradients.iter().map(|g| g * g).sum::<f64>().sqrt();
            assert!((norm - expected).abs() < 1e-4 * expected);
            for i in 0..2 {
                let g = gradients[i];
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.98 * v[i] + 0.02 * g * g;
                let (mh, vh) = (
                    m[i] / (1.0 - 0.9f64.powi(number as i32)),
                    v[i] / (1.0 - 0.98f64.powi(number as i32)),
                );
                want[i] = want[i] * (1.0 - rate * decay) - rate * mh / (vh.sqrt() + EPS);
                let got = weights["w"].double_value(&[0, i as i64]);
                assert!((got - want[i]).abs() < 1e-5, "{number}: {got} {}", want[i]);
            }
        }
    }

    #[test]
    fn the_norm_is_that_of_all_gradients_together() {
        let weight = |values: &[f32]| Tensor::from_slice(values).set_requires_grad(true);
        let mut weights = BTreeMap::from([
            ("a".to_owned(), weight(&[3.0])),
            ("b".to_owned(), weight(&[0.0, 4.0])),
            ("idle".to_owned(), weight(&[7.0])),
        ]);
        let mut adam = AdamW::new(&weights).unwrap();
        let step = Step {
            number: 1,
            rate: 0.1,
            decay: 0.0,
            max_norm: 1.0,
            factors: &[],
        };
        assert_eq!(adam.step(&mut weights, &step).unwrap(), 0.0);
        let loss = weights["a"].square().sum(Kind::Float) + weights["b"].square().sum(Kind::Float);
        (loss / 2.0).backward();
        assert!((adam.step(&mut weights, &step).unwrap() - 5.0).abs() < 1e-6);
        assert_eq!(weights["idle"].double_value(&[0]), 7.0);
        // Scaled down to a norm of 1, together: 3 of 5 and 4 of 5.
        for (name, at, share) in [("a", 0, 0.6), ("b", 1, 0.8)] {
            let first = adam.first[name].double_value(&[at]);
            assert!((first - 0.1 * share).abs() < 1e-6, "{name}: {first}");
        }
    }

    #[test]
    fn a_gradient_that_is_not_finite_moves_nothing() {
        let weight = Tensor::from_slice(&[1.0f32]).set_requires_grad(true);
        let mut weights = BTreeMap::from([("w".to_owned(), weight)]);
        let mut adam = AdamW::new(&weights).unwrap();
        (&weights["w"] * f64::INFINITY).sum(Kind::Float).backward();
        let step = Step {
            number: 1,
            rate: 0.1,
            decay: 0.0,
            max_norm: 1.0,
            factors: &[],
        };
        assert!(!adam.step(&mut weights, &step).unwrap().is_finite());
        assert_eq!(weights["w"].double_value(&[0]), 1.0);
        assert_eq!(adam.second["w"].double_value(&[0]), 0.0);
    }
}
