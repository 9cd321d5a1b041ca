//! Signals of two frames that follow one another.

use super::plane::Plane;

/// Side of the blocks in which [`is_frozen`] looks for local change, in pixels.
const BLOCK_PX: usize = 16;

/// Mean change, in 8-bit levels, up to which two frames are the same but for the encoder's doing.
const SAME_MEAN_LEVELS: f64 = 0.3;

/// The same within one block: a mouth that moves is not frozen, be the frame ever so large.
const SAME_BLOCK_LEVELS: f64 = 1.5;

/// Mean absolute difference of the luma as a share of the full scale, 0 (the same) to 1. `None` if the sizes differ.
pub fn difference(before: &Plane, after: &Plane) -> Option<f64> {
    if !before.same_size(after) {
        return None;
    }
    let sum: u64 = sum_of_differences(before.data(), after.data());
    Some(sum as f64 / (before.data().len().max(1) as f64 * 255.0))
}

/// Whether the two frames are the same picture: a mean difference under 0.3 levels of 255, and under 1.5 in each block of
/// 16 × 16 px. `None` if the sizes differ.
pub fn is_frozen(before: &Plane, after: &Plane) -> Option<bool> {
    let mean = difference(before, after)?;
    if mean * 255.0 >= SAME_MEAN_LEVELS {
        return Some(false);
    }
    let width = before.width().max(1);
    let mut sums = vec![0u64; width.div_ceil(BLOCK_PX)];
    let strips = before
        .data()
        .chunks(width * BLOCK_PX)
        .zip(after.data().chunks(width * BLOCK_PX));
    for (before, after) in strips {
        sums.fill(0);
        for (before, after) in before.chunks_exact(width).zip(after.chunks_exact(width)) {
            let blocks = before.chunks(BLOCK_PX).zip(after.chunks(BLOCK_PX));
            for (sum, (before, after)) in sums.iter_mut().zip(blocks) {
                *sum += sum_of_differences(before, after);
            }
        }
        // A block at the edge counts as a whole one: a sliver of noise is no motion.
        let most = sums.iter().copied().max().unwrap_or(0);
        if most as f64 >= SAME_BLOCK_LEVELS * (BLOCK_PX * BLOCK_PX) as f64 {
            return Some(false);
        }
    }
    Some(true)
}

fn sum_of_differences(before: &[u8], after: &[u8]) -> u64 {
    // Short runs add up in 32 bits, which the compiler turns into vector code.
    let runs = before.chunks(4096).zip(after.chunks(4096));
    runs.map(|(before, after)| {
        let pairs = before.iter().zip(after);
        u64::from(pairs.map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>())
    })
    .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noisy(seed: u32) -> Plane {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            state >> 24
        };
        Plane::new(100, (0..100 * 70).map(|_| next() as u8).collect())
    }

    #[test]
    fn difference_is_a_share_of_the_full_scale() {
        let black = Plane::new(8, vec![0; 64]);
        let white = Plane::new(8, vec![255; 64]);
        assert_eq!(difference(&black, &white), Some(1.0));
        assert_eq!(difference(&black, &black), Some(0.0));
        assert_eq!(difference(&black, &Plane::new(4, vec![0; 64])), None);
    }

    #[test]
    fn the_same_picture_is_frozen_even_after_another_encoding() {
        let picture = noisy(1);
        assert_eq!(is_frozen(&picture, &picture), Some(true));
        let nudged = picture.data().iter().enumerate();
        let nudged = nudged
            .map(|(i, p)| if i % 5 == 0 { p ^ 1 } else { *p })
            .collect();
        assert_eq!(is_frozen(&picture, &Plane::new(100, nudged)), Some(true));
        assert_eq!(is_frozen(&picture, &noisy(2)), Some(false));
    }

    #[test]
    fn a_small_thing_that_moves_is_not_frozen() {
        let picture = Plane::new(400, vec![90; 400 * 300]);
        let mut moved = picture.data().to_vec();
        for y in 100..108 {
            moved[y * 400 + 50..y * 400 + 60].fill(110);
        }
        let moved = Plane::new(400, moved);
        let mean = difference(&picture, &moved).expect("same size") * 255.0;
        assert!(mean < SAME_MEAN_LEVELS, "{mean}: the block must decide");
        assert_eq!(is_frozen(&picture, &moved), Some(false));
    }
}
