//! Variants of a clip that keep what it is judged by.
//!
//! Whatever is changed is changed alike in all frames, so that no variant adds motion or a cut. What could make a defect
//! of a judged task, or hide one, is left out: blur, strong noise, exposure, mixing two clips, cutting parts out.

use ndarray::{Array4, ArrayView4};

use crate::chance::Chance;

/// How far a variant may go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Freedom {
    /// Whether up may become another direction.
    pub turned: bool,
    /// The smallest part of a side that is kept.
    pub smallest_window: f32,
    /// How far saturation, contrast and tints go, 0 to 1.
    pub colour: f32,
    /// Deviation of noise at most, in 8-bit levels.
    pub noise: f32,
}

/// A clip u8 `[t, n, n, 3]`, turned clockwise by so many quarters.
pub fn turned(clip: ArrayView4<'_, u8>, quarters: usize) -> Array4<u8> {
    Place::turned(quarters).of(clip, false)
}

/// A variant of a square clip u8 `[t, n, n, 3]`, of the same shape.
pub fn varied(clip: ArrayView4<'_, u8>, freedom: &Freedom, chance: &mut Chance) -> Array4<u8> {
    let mut place = Place::turned(0);
    if freedom.turned && chance.is(0.3) {
        place = Place::turned(chance.below(4));
    }
    place.mirrored ^= chance.is(0.5);
    if chance.is(0.6) {
        place.window = chance.range(freedom.smallest_window, 1.0);
        place.offset = (chance.unit(), chance.unit());
    }
    let mut variant = place.of(clip, chance.is(0.5));
    recolour(&mut variant, freedom, chance);
    variant
}

/// Where a variant's pixels come from: a window of the clip, mirrored, then turned.
struct Place {
    quarters: usize,
    mirrored: bool,
    /// Side of the window, as a part of the clip's.
    window: f32,
    /// Where the window is, from 0 to 1 of what is left.
    offset: (f32, f32),
}

impl Place {
    fn turned(quarters: usize) -> Self {
        Self {
            quarters: quarters % 4,
            mirrored: false,
            window: 1.0,
            offset: (0.0, 0.0),
        }
    }

    /// For each pixel along a side the two to mix and the second's share.
    fn taps(&self, n: usize, offset: f32, flipped: bool) -> Vec<(usize, usize, f32)> {
        let side = self.window * n as f32;
        let first = offset * (n as f32 - side);
        let mut taps: Vec<_> = (0..n)
            .map(|i| {
                let at = first + (i as f32 + 0.5) * self.window - 0.5;
                let at = at.clamp(0.0, (n - 1) as f32);
                let low = at.floor() as usize;
                (low, (low + 1).min(n - 1), at - low as f32)
            })
            .collect();
        if flipped {
            taps.reverse();
        }
        taps
    }

    fn of(&self, clip: ArrayView4<'_, u8>, backwards: bool) -> Array4<u8> {
        let (frames, n, _, _) = clip.dim();
        // Clockwise: a pixel of row y, column x comes from row n-1-x, column y after one quarter.
        let (across, flip_rows, flip_columns) = match self.quarters {
            0 => (false, false, false),
            1 => (true, true, false),
            2 => (false, true, true),
            _ => (true, false, true),
        };
        let rows = self.taps(n, self.offset.0, flip_rows);
        let columns = self.taps(n, self.offset.1, flip_columns ^ self.mirrored);
        let mut out = Array4::zeros(clip.dim());
        for t in 0..frames {
            let from = if backwards { frames - 1 - t } else { t };
            for y in 0..n {
                for x in 0..n {
                    let (row, column) = if across { (x, y) } else { (y, x) };
                    let (r0, r1, r) = rows[row];
                    let (c0, c1, c) = columns[column];
                    for k in 0..3 {
                        let at = |r: usize, c: usize| f32::from(clip[[from, r, c, k]]);
                        let value = if r == 0.0 && c == 0.0 {
                            at(r0, c0)
                        } else {
                            let top = at(r0, c0) * (1.0 - c) + at(r0, c1) * c;
                            let bottom = at(r1, c0) * (1.0 - c) + at(r1, c1) * c;
                            top * (1.0 - r) + bottom * r
                        };
                        out[[t, y, x, k]] = (value + 0.5) as u8;
                    }
                }
            }
        }
        out
    }
}

/// Other saturation, contrast, brightness and tint, and some noise, each only now and then.
fn recolour(clip: &mut Array4<u8>, freedom: &Freedom, chance: &mut Chance) {
    let strength = if chance.is(0.6) { freedom.colour } else { 0.0 };
    let mut around = |spread: f32| 1.0 + strength * chance.range(-spread, spread);
    let saturation = around(0.5);
    let contrast = around(0.15);
    let tints = [around(0.08), around(0.08), around(0.08)];
    let shift = 255.0 * (around(0.04) - 1.0);
    let noise = if chance.is(0.3) {
        chance.range(0.0, freedom.noise)
    } else {
        0.0
    };
    if strength == 0.0 && noise == 0.0 {
        return;
    }
    let mut grain = chance.fork();
    let Some(values) = clip.as_slice_mut() else {
        return;
    };
    for pixel in values.chunks_exact_mut(3) {
        let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
        let luma = 0.299 * r + 0.587 * g + 0.114 * b;
        let bits = if noise > 0.0 { grain.bits() } else { 0 };
        for (k, value) in [r, g, b].into_iter().enumerate() {
            let coloured = (luma + (value - luma) * saturation) * tints[k];
            let mut level = (coloured - 128.0) * contrast + 128.0 + shift;
            if noise > 0.0 {
                // The sum of two even numbers, of deviation 104.5.
                let pair = (bits >> (16 * k)) as u16;
                let sum = f32::from(pair & 255) + f32::from(pair >> 8) - 255.0;
                level += sum / 104.5 * noise;
            }
            pixel[k] = (level + 0.5).clamp(0.0, 255.0) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip() -> Array4<u8> {
        Array4::from_shape_fn((2, 4, 4, 3), |(t, y, x, k)| {
            (t * 100 + y * 16 + x * 4 + k) as u8
        })
    }

    #[test]
    fn a_quarter_turns_clockwise_and_four_are_none() {
        let clip = clip();
        let once = turned(clip.view(), 1);
        // The top left corner goes to the top right.
        assert_eq!(once[[1, 0, 3, 2]], clip[[1, 0, 0, 2]]);
        assert_eq!(once[[0, 3, 3, 0]], clip[[0, 0, 3, 0]]);
        let mut again = once;
        for _ in 0..3 {
            again = turned(again.view(), 1);
        }
        assert_eq!(again, clip);
        let half = turned(turned(clip.view(), 1).view(), 1);
        assert_eq!(turned(clip.view(), 2), half);
        assert_eq!(turned(half.view(), 1), turned(clip.view(), 3));
    }

    #[test]
    fn variants_stay_near_and_follow_their_seed() {
        let freedom = Freedom {
            turned: true,
            smallest_window: 0.85,
            colour: 1.0,
            noise: 1.5,
        };
        let clip = clip();
        let draw = |seed| varied(clip.view(), &freedom, &mut Chance::new(seed));
        assert_eq!(draw(3), draw(3));
        assert!((0..20).any(|seed| draw(seed) != draw(seed + 100)));
        let mean = |clip: &Array4<u8>| clip.iter().map(|&v| f32::from(v)).sum::<f32>() / 96.0;
        for seed in 0..50 {
            let off = (mean(&draw(seed)) - mean(&clip)).abs();
            assert!(off < 40.0, "seed {seed}: {off}");
        }
        let still = Freedom {
            turned: false,
            smallest_window: 1.0,
            colour: 0.0,
            noise: 0.0,
        };
        let mut sorted: Vec<u8> = varied(clip.view(), &still, &mut Chance::new(1))
            .into_iter()
            .collect();
        let mut original: Vec<u8> = clip.into_iter().collect();
        sorted.sort_unstable();
        original.sort_unstable();
        assert_eq!(sorted, original);
    }
}
