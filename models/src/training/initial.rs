//! Weights to start from, for small networks and little data.

use std::collections::BTreeMap;
use std::f64::consts::{FRAC_1_SQRT_2, PI};

use tch::Tensor;

use super::chance::Chance;
use crate::error::Result;
use crate::vjepa2::VJepa2Config;

/// End of the name of the patch embedding's matrix.
const PATCHES: &str = "patch_embeddings.proj.weight";
/// Factor of the patch embedding's learning rate: the smallest numbers of its filters are a thousandth.
pub const PATCHES_RATE: (&str, f64) = (PATCHES, 0.02);
/// Opponent colours: light, blue against yellow, red against green; each of length 1.
const COLOURS: [[f64; 3]; 3] = [
    [0.577_350_27, 0.577_350_27, 0.577_350_27],
    [-0.408_248_29, -0.408_248_29, 0.816_496_58],
    [FRAC_1_SQRT_2, -FRAC_1_SQRT_2, 0.0],
];
/// How steep the pairs of the first MLP are: normalised channels reach where GELU is straight.
const PAIR_GAIN: f32 = 1.5;
/// How much of the filters is about each colour, still and changing.
const SHARES: [(usize, bool, f64); 6] = [
    (0, false, 0.36),
    (0, true, 0.32),
    (1, false, 0.10),
    (2, false, 0.10),
    (1, true, 0.06),
    (2, true, 0.06),
];

/// Redraws the matrices of an encoder and its heads from a seed: normal, with the deviation that keeps the size of what
/// goes through them (Glorot and Bengio, 2010); those that end a residual branch smaller, the more there are of them.
/// The patch embedding becomes a bank of cosines, so that a token tells brightness, detail, colour and change of its
/// tube from the first step on; and the first block's MLP starts with pairs of opposite rows, whose GELUs add up to
/// nearly the absolute value, so that the strength of each of these shows whatever its sign: a mean over tokens would
/// otherwise hide all that is not brightness, and what few samples can teach starts from there.
pub(super) fn draw(
    config: &VJepa2Config,
    weights: &mut BTreeMap<String, Tensor>,
    seed: u64,
) -> Result<()> {
    let branches = (2.0 * config.layers as f64).sqrt();
    for (name, weight) in weights.iter_mut() {
        let shape = weight.size();
        if name.ends_with(PATCHES) {
            *weight = Tensor::f_from_slice(&cosines(config))?.f_reshape(&shape)?;
        } else if let [.., outputs, inputs] = shape[..] {
            let glorot = (2.0 / (outputs + inputs) as f64).sqrt();
            let last = name.ends_with("attention.proj.weight")
                || name.ends_with("out_proj.weight")
                || name.ends_with("fc2.weight");
            let deviation = if last { glorot / branches } else { glorot } as f32;
            let mut chance = Chance::of(seed, name, 0);
            let values: Vec<f32> = (0..weight.numel())
                .map(|_| chance.normal() * deviation)
                .collect();
            *weight = Tensor::f_from_slice(&values)?.f_reshape(&shape)?;
        }
    }
    pair_up(config, weights)
}

/// Makes the first rows of the first block's `fc1` pairs (channel, minus channel), and the columns of `fc2` that
/// belong to a pair alike.
fn pair_up(config: &VJepa2Config, weights: &mut BTreeMap<String, Tensor>) -> Result<()> {
    let (hidden, inner) = (config.hidden as usize, config.mlp_hidden as usize);
    let pairs = hidden.min(inner / 2);
    let change = |weights: &mut BTreeMap<String, Tensor>,
                  end: &str,
                  change: &dyn Fn(&mut [f32])|
     -> Result<()> {
        for (name, weight) in weights.iter_mut() {
            if name.ends_with(end) {
                let (shape, count) = (weight.size(), weight.numel());
                let mut values = vec![0f32; count];
                weight.f_copy_data(&mut values, count)?;
                change(&mut values);
                *weight = Tensor::f_from_slice(&values)?.f_reshape(&shape)?;
            }
        }
        Ok(())
    };
    change(weights, "encoder.layer.0.mlp.fc1.weight", &|rows| {
        for pair in 0..pairs {
            for (row, sign) in [(2 * pair, 1.0), (2 * pair + 1, -1.0)] {
                rows[row * hidden..(row + 1) * hidden].fill(0.0);
                rows[row * hidden + pair] = sign * PAIR_GAIN;
            }
        }
    })?;
    change(weights, "encoder.layer.0.mlp.fc2.weight", &|columns| {
        for row in columns.chunks_exact_mut(inner) {
            for pair in 0..pairs {
                row[2 * pair] *= (2.0 * config.layers as f32).sqrt();
                row[2 * pair + 1] = row[2 * pair];
            }
        }
    })
}

/// The bank, [hidden, 3, tube, p, p]: products of cosines over a patch (DCT-II) of low and of a few high frequencies,
/// each for the sum or the alternating sum over the frames of a tube, in an opponent colour. An even patch of 1 gives 1.
/// High frequencies are weak in pictures, and get larger filters.
fn cosines(config: &VJepa2Config) -> Vec<f32> {
    let (p, tube, hidden) = (
        config.patch_px as usize,
        config.tubelet_frames as usize,
        config.hidden as usize,
    );
    let frequencies = frequencies(p);
    let mut bank = Vec::with_capacity(hidden * 3 * tube * p * p);
    let mut filters: Vec<(usize, bool, usize)> = Vec::new();
    for (colour, changing, share) in SHARES {
        let changing = changing && tube > 1;
        let count = (share * hidden as f64).ceil() as usize;
        filters.extend((0..count).map(|i| (colour, changing, i)));
    }
    for i in 0..hidden {
        let (colour, changing, place) = filters[i % filters.len()];
        let (u, v) = frequencies[place % frequencies.len()];
        let gain = (1.0 + (u + v) as f64).powf(1.2) * if changing { 3.0 } else { 1.0 };
        let size = gain / (3f64.sqrt() * (tube * p * p) as f64);
        let cosine = |f: usize, x: usize| {
            let norm = if f == 0 { 1.0 } else { 2f64.sqrt() };
            norm * (PI * f as f64 * (x as f64 + 0.5) / p as f64).cos()
        };
        for weight in COLOURS[colour] {
            for t in 0..tube {
                let sign = if changing && t % 2 == 1 { -1.0 } else { 1.0 };
                for y in 0..p {
                    for x in 0..p {
                        bank.push((weight * sign * cosine(v, y) * cosine(u, x) * size) as f32);
                    }
                }
            }
        }
    }
    bank
}

/// Pairs of frequencies, the lowest first: all low ones, and every few of the high ones.
fn frequencies(p: usize) -> Vec<(usize, usize)> {
    let ladder: Vec<usize> = [0, 1, 2, 3, 4, 6, 8, 11, 15]
        .into_iter()
        .filter(|&f| f < p)
        .collect();
    let mut pairs: Vec<(usize, usize)> = ladder
        .iter()
        .flat_map(|&u| ladder.iter().map(move |&v| (u, v)))
        .collect();
    pairs.sort_by_key(|&(u, v)| (u + v, u.max(v), u));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_the_bank_are_different_and_tell_what_they_are_about() {
        let mut config = VJepa2Config::base();
        config.hidden = 192;
        let bank = cosines(&config);
        let size = 3 * 2 * 16 * 16;
        assert_eq!(bank.len(), 192 * size);
        let filters: Vec<&[f32]> = bank.chunks_exact(size).collect();
        let dot =
            |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum() };
        for (i, a) in filters.iter().enumerate() {
            for b in &filters[..i] {
                let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
                assert!(cosine.abs() < 1e-3, "{i}: {cosine}");
            }
        }
        // An even grey patch shows in the first filter alone.
        let grey = vec![1f32; size];
        let seen: Vec<f64> = filters.iter().map(|f| dot(f, &grey)).collect();
        assert!((seen[0] - 1.0).abs() < 1e-3 && seen[1..].iter().all(|s| s.abs() < 1e-3));
    }
}
