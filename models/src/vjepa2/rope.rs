//! The rotary positions of V-JEPA 2 (arXiv 2506.09985; Hugging Face transformers 5.23.0, Apache-2.0).
//!
//! A head of width D gives each of the axes time, row and column a slice of width `d = 2 * ((D / 3) / 2)`; what is left
//! over is not rotated. In a slice, at position p, element j has the angle `p * w[j mod (d / 2)]` with
//! `w[k] = 10000^(-k / (d / 2))`. The rotation itself pairs neighbours (2k, 2k + 1):
//!
//! ```text
//! out[2k]     = x[2k]     * cos(angle[2k])     - x[2k + 1] * sin(angle[2k])
//! out[2k + 1] = x[2k + 1] * cos(angle[2k + 1]) + x[2k]     * sin(angle[2k + 1])
//! ```
//!
//! The angles are laid out for halves and the pairs for neighbours, so the two of a pair turn by different angles: no
//! rotation in the strict sense. The released weights were trained so.

use tch::{Device, Kind, Tensor};

use super::VJepa2Config;
use crate::error::Result;

/// The base of the frequencies.
const BASE: f64 = 10_000.0;

/// The frequencies of one network's heads.
pub struct Rope {
    /// Frequencies of a slice, [d / 2], f32, on the device.
    frequencies: Tensor,
    /// Dimensions of a head that are not rotated.
    rest: i64,
    /// Patches along a side.
    grid: i64,
}

/// Factors for the tokens of a clip, both [n, 1, D].
pub struct Turns {
    cos: Tensor,
    /// Sines with the sign of their member of the pair: negative at even places.
    sin: Tensor,
}

impl Rope {
    /// The frequencies for heads of this network.
    ///
    /// # Errors
    /// When the device refuses them.
    pub fn new(config: &VJepa2Config, device: Device) -> Result<Self> {
        let half = config.head_width() / 3 / 2;
        let frequencies: Vec<f32> = (0..half)
            .map(|k| BASE.powf(-k as f64 / half as f64) as f32)
            .collect();
        Ok(Rope {
            frequencies: Tensor::f_from_slice(&frequencies)?.f_to(device)?,
            rest: config.head_width() - 3 * 2 * half,
            grid: config.grid(),
        })
    }

    /// Factors for `tubes` steps of time, tokens in the order time, row, column.
    ///
    /// # Errors
    /// When libtorch refuses (memory).
    pub fn turns(&self, tubes: i64, kind: Kind) -> Result<Turns> {
        let g = self.grid;
        let time = self.angles(tubes)?.f_view([tubes, 1, 1, -1])?;
        let side = self.angles(g)?;
        let all = |t: &Tensor| t.f_expand([tubes, g, g, -1], false);
        let axes = [
            all(&time)?,
            all(&side.f_view([1, g, 1, -1])?)?,
            all(&side.f_view([1, 1, g, -1])?)?,
            Tensor::f_zeros(
                [tubes, g, g, self.rest],
                (Kind::Float, self.frequencies.device()),
            )?,
        ];
        let angles = Tensor::f_cat(&axes, -1)?.f_view([tubes * g * g, 1, -1])?; // [n, 1, D]
        let signs = Tensor::f_from_slice(&[-1f32, 1.0])?.f_to(angles.device())?;
        let sin = angles
            .f_sin()?
            .f_unflatten(-1, [-1, 2])?
            .f_mul(&signs)?
            .f_flatten(-2, -1)?;
        Ok(Turns {
            cos: angles.f_cos()?.f_to_kind(kind)?,
            sin: sin.f_to_kind(kind)?,
        })
    }

    /// Angles of one axis' slice at positions 0 to `positions` - 1, [positions, d]: the frequencies twice over.
    fn angles(&self, positions: i64) -> Result<Tensor> {
        let at = Tensor::f_arange(positions, (Kind::Float, self.frequencies.device()))?;
        let half = at.f_outer(&self.frequencies)?;
        Ok(Tensor::f_cat(&[&half, &half], -1)?)
    }
}

impl Turns {
    /// The factors of some tokens, [k] whole numbers.
    ///
    /// # Errors
    /// When libtorch refuses (a number that is no token's).
    pub fn select(&self, tokens: &Tensor) -> Result<Self> {
        Ok(Turns {
            cos: self.cos.f_index_select(0, tokens)?,
            sin: self.sin.f_index_select(0, tokens)?,
        })
    }

    /// Turns queries or keys, [b, n, heads, D].
    ///
    /// # Errors
    /// When libtorch refuses (shapes, memory).
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let swapped = x
            .f_unflatten(-1, [-1, 2])?
            .f_flip([-1])?
            .f_flatten(-2, -1)?;
        Ok(x.f_mul(&self.cos)?.f_add(&swapped.f_mul(&self.sin)?)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The formula of the module's head, element by element, in f64.
    fn turned(x: &[f64], position: [f64; 3]) -> Vec<f64> {
        let d = 2 * (x.len() / 3 / 2);
        let mut out = x.to_vec();
        for (axis, p) in position.into_iter().enumerate() {
            let angle = |j: usize| p * BASE.powf(-((j % (d / 2)) as f64) / (d / 2) as f64);
            for j in (0..d).step_by(2) {
                let (a, b) = (x[axis * d + j], x[axis * d + j + 1]);
                out[axis * d + j] = a * angle(j).cos() - b * angle(j).sin();
                out[axis * d + j + 1] = b * angle(j + 1).cos() + a * angle(j + 1).sin();
            }
        }
        out
    }

    #[test]
    fn turns_follow_the_formula_for_even_splits_and_with_a_rest() {
        for (head, heads) in [(64, 2), (24, 1), (88, 1)] {
            let mut config = VJepa2Config::base();
            (config.hidden, config.heads) = (head * heads, heads);
            let rope = Rope::new(&config, Device::Cpu).unwrap();
            let tubes = 3;
            let n = tubes * 256;
            let x = Tensor::randn([1, n, heads, head], (Kind::Double, Device::Cpu));
            let out = rope.turns(tubes, Kind::Double).unwrap().apply(&x).unwrap();
            for (token, position) in [
                (0, [0.0; 3]),
                (1, [0.0, 0.0, 1.0]),
                (16, [0.0, 1.0, 0.0]),
                (256, [1.0, 0.0, 0.0]),
                (767, [2.0, 15.0, 15.0]),
            ] {
                let row =
                    |t: &Tensor| Vec::<f64>::try_from(t.get(0).get(token).get(heads - 1)).unwrap();
                for (got, want) in row(&out).iter().zip(turned(&row(&x), position)) {
                    assert!(
                        (got - want).abs() < 1e-5,
                        "head {head}, token {token}: {got} {want}"
                    );
                }
            }
        }
    }
}
