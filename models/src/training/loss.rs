//! The loss of a classifier.

use tch::{Kind, Tensor};

use crate::error::Result;

/// Cross entropy of logits [b, k] with wanted shares [b, k], a row's weight being the sum of its shares: a row of zeros
/// is not judged. The mean over what is judged; zero when nothing is. `smoothing` of each row's weight is spread evenly
/// over all labels.
pub(super) fn cross_entropy(logits: &Tensor, wanted: &Tensor, smoothing: f64) -> Result<Tensor> {
    let labels = logits.size().last().copied().unwrap_or(1).max(1);
    let weights = wanted.f_sum_dim_intlist([-1].as_slice(), true, Kind::Float)?; // [b, 1]
    let smooth = wanted
        .f_mul_scalar(1.0 - smoothing)?
        .f_add(&weights.f_mul_scalar(smoothing / labels as f64)?)?;
    let surprise = logits.f_log_softmax(-1, Kind::Float)?.f_neg()?;
    let total = weights.f_sum(Kind::Float)?.f_clamp_min(1e-6)?;
    Ok(surprise.f_mul(&smooth)?.f_sum(Kind::Float)?.f_div(&total)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_by_their_weight() {
        let logits = Tensor::from_slice(&[2.0f32, 0.0, 0.0, 1.0, 9.0, -9.0]).view([3, 2]);
        // One row of weight 1, one of weight 3, one that is not judged.
        let wanted = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 3.0, 0.0, 0.0]).view([3, 2]);
        let softplus = |x: f64| (1.0 + x.exp()).ln();
        let exact = (softplus(-2.0) + 3.0 * softplus(-1.0)) / 4.0;
        let got = cross_entropy(&logits, &wanted, 0.0).unwrap();
        assert!((got.double_value(&[]) - exact).abs() < 1e-6);
        let smoothed = cross_entropy(&logits, &wanted, 0.1).unwrap();
        let spread = (0.05 * 2.0 + 3.0 * 0.05 * 1.0) / 4.0;
        assert!((smoothed.double_value(&[]) - exact - spread).abs() < 1e-6);
        let nothing = cross_entropy(&logits, &wanted.zeros_like(), 0.1).unwrap();
        assert_eq!(nothing.double_value(&[]), 0.0);
    }
}
