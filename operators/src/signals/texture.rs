//! What fine detail says of how a frame was made: best seen at the video's own size.

use ndarray::{ArrayView3, Axis};

use super::plane::Plane;

/// Luma up to this is crushed, from the other on blown.
const BLACK: u8 = 12;
const WHITE: u8 = 246;

/// Deviation under which an 8 x 8 block is flat, in levels.
const FLAT_LEVELS: f32 = 1.2;

/// Mean squared steps between pixels this far apart, across and down, in squared levels.
fn steps(plane: &Plane, apart: usize) -> f64 {
    let (w, h) = (plane.width(), plane.height());
    if w <= 2 * apart || h <= 2 * apart {
        return 0.0;
    }
    let mut sum = 0u64;
    for y in 0..h - apart {
        let (row, below) = (plane.row(y), plane.row(y + apart));
        for x in 0..w - apart {
            let own = i32::from(row[x]);
            let (dx, dy) = (i32::from(row[x + apart]) - own, i32::from(below[x]) - own);
            sum += (dx * dx + dy * dy) as u64;
        }
    }
    sum as f64 / ((w - apart) * (h - apart)) as f64
}

/// How much more two pixels differ that lie 2 apart than neighbours, as a power of two: about 0.3 for grain, 1 for sharp
/// footage, up to 2 for what is blurred or scaled up. `None` for a flat picture.
pub fn fall_off(plane: &Plane) -> Option<f64> {
    let (near, far) = (steps(plane, 1), steps(plane, 2));
    (far > 1.0).then(|| (far / near.max(1e-3)).log2().clamp(-2.0, 4.0))
}

/// As [`fall_off`], of 4 against 2 pixels: blur that is wider.
pub fn wide_fall_off(plane: &Plane) -> Option<f64> {
    let (near, far) = (steps(plane, 2), steps(plane, 4));
    (far > 1.0).then(|| (far / near.max(1e-3)).log2().clamp(-2.0, 4.0))
}

/// Share of pixels that are crushed to black (luma up to 12), 0 to 1.
pub fn shadows(plane: &Plane) -> f64 {
    share(plane, |luma| luma <= BLACK)
}

/// Share of pixels that are blown to white (luma from 246), 0 to 1.
pub fn highlights(plane: &Plane) -> f64 {
    share(plane, |luma| luma >= WHITE)
}

fn share(plane: &Plane, is: impl Fn(u8) -> bool) -> f64 {
    plane.data().iter().filter(|luma| is(**luma)).count() as f64 / plane.data().len().max(1) as f64
}

/// How many pixels have each level.
fn histogram(plane: &Plane) -> [u32; 256] {
    let mut histogram = [0u32; 256];
    for luma in plane.data() {
        histogram[usize::from(*luma)] += 1;
    }
    histogram
}

/// The level that this share of the pixels does not exceed.
fn level_at(histogram: &[u32; 256], share: f64) -> usize {
    let total: u32 = histogram.iter().sum();
    let mut below = 0u32;
    let found = histogram.iter().position(|count| {
        below += count;
        f64::from(below) >= share * f64::from(total)
    });
    found.unwrap_or(0)
}

/// Entropy of the luma's histogram, 0 (one level) to 8 bits.
pub fn entropy_bits(plane: &Plane) -> f64 {
    let histogram = histogram(plane);
    let total = plane.data().len().max(1) as f64;
    let bits = |count: u32| {
        let p = f64::from(count) / total;
        if count > 0 { -p * p.log2() } else { 0.0 }
    };
    histogram.into_iter().map(bits).sum()
}

/// Share of the range between the 1st and the 99th percentile of the luma whose levels hardly occur (under a tenth of
/// their share), 0 to 1: gaps in the histogram are what posterising and stretching leave. `None` for a range under 32 levels.
pub fn missing_levels(plane: &Plane) -> Option<f64> {
    let histogram = histogram(plane);
    let (low, high) = (level_at(&histogram, 0.01), level_at(&histogram, 0.99));
    if high < low + 32 {
        return None;
    }
    let range = &histogram[low..=high];
    let rare = plane.data().len() as f64 / range.len() as f64 / 10.0;
    let missing = range
        .iter()
        .filter(|count| f64::from(**count) < rare)
        .count();
    Some(missing as f64 / range.len() as f64)
}

/// How much more the means of neighbouring rows differ than those of neighbouring columns (second differences), as a power
/// of two: 0 in pictures of the world, above 4 under scan lines. `None` for a flat picture or under 16 px.
pub fn row_lines(plane: &Plane) -> Option<f64> {
    let (w, h) = (plane.width(), plane.height());
    if w < 16 || h < 16 {
        return None;
    }
    let mut columns = vec![0u32; w];
    let rows: Vec<f64> = plane
        .rows()
        .map(|row| {
            for (sum, luma) in columns.iter_mut().zip(row) {
                *sum += u32::from(*luma);
            }
            row.iter().map(|luma| u64::from(*luma)).sum::<u64>() as f64 / w as f64
        })
        .collect();
    let columns: Vec<f64> = columns
        .iter()
        .map(|sum| f64::from(*sum) / h as f64)
        .collect();
    let bent = |means: &[f64]| {
        let bends = means.windows(3).map(|m| (m[0] - 2.0 * m[1] + m[2]).powi(2));
        bends.sum::<f64>() / means.len() as f64
    };
    let (down, across) = (bent(&rows), bent(&columns));
    (down.max(across) > 1e-3).then(|| ((down + 1e-2) / (across + 1e-2)).log2())
}

/// How unevenly the levels of a colour are used in a frame `[h, w, 3]`, of red, green and blue the most uneven: mean distance
/// of the histogram from its own running mean over 9 levels, 0 (smooth) to about 1.7 (a level in nine). Gaps that an
/// encoder or a scaler has filled again still show. `None` for ranges under 32 levels.
pub fn uneven_levels(frame: ArrayView3<u8>) -> Option<f64> {
    const REACH: usize = 4;
    let of_channel = |channel: usize| {
        let mut histogram = [0u32; 256];
        for level in frame.index_axis(Axis(2), channel) {
            histogram[usize::from(*level)] += 1;
        }
        // Black and white are heaps of their own.
        let inner = &histogram[usize::from(BLACK)..usize::from(WHITE)];
        let total: u32 = inner[REACH..inner.len() - REACH].iter().sum();
        if total == 0 || level_at(&histogram, 0.99) < level_at(&histogram, 0.01) + 32 {
            return None;
        }
        let apart = |around: &[u32]| {
            let mean = around.iter().sum::<u32>() as f64 / around.len() as f64;
            (f64::from(around[REACH]) - mean).abs()
        };
        let apart: f64 = inner.windows(2 * REACH + 1).map(apart).sum();
        Some(apart / f64::from(total))
    };
    (0..3).filter_map(of_channel).reduce(f64::max)
}

/// Luma of the 99th percentile less that of the 1st, as a share of the full scale: 0 to 1.
pub fn span(plane: &Plane) -> f64 {
    let histogram = histogram(plane);
    (level_at(&histogram, 0.99) - level_at(&histogram, 0.01)) as f64 / 255.0
}

/// Share of the 8 x 8 blocks that are flat (deviation under 1.2 levels), 0 to 1: an encoder at a low rate wipes
/// detail out block by block. Blocks of black and of white are left out. `None` if all are.
pub fn flat_share(plane: &Plane) -> Option<f64> {
    let (mut flat, mut all) = (0usize, 0usize);
    for top in (0..plane.height().saturating_sub(7)).step_by(8) {
        for left in (0..plane.width().saturating_sub(7)).step_by(8) {
            let (mut sum, mut squares) = (0u32, 0u32);
            for y in top..top + 8 {
                for luma in &plane.row(y)[left..left + 8] {
                    sum += u32::from(*luma);
                    squares += u32::from(*luma) * u32::from(*luma);
                }
            }
            let mean = sum as f32 / 64.0;
            if (f32::from(BLACK)..f32::from(WHITE)).contains(&mean) {
                all += 1;
                let variance = squares as f32 / 64.0 - mean * mean;
                flat += usize::from(variance < FLAT_LEVELS * FLAT_LEVELS);
            }
        }
    }
    (all > 0).then(|| flat as f64 / all as f64)
}

/// How much neighbouring rows differ against rows two apart, as a power of two, less the same across: above 0 where two
/// fields of different times are woven together. `None` for a flat picture.
pub fn combing(plane: &Plane) -> Option<f64> {
    let (w, h) = (plane.width(), plane.height());
    if w < 8 || h < 8 {
        return None;
    }
    let mut sums = [0u64; 4];
    for y in 0..h - 2 {
        let (row, below, second) = (plane.row(y), plane.row(y + 1), plane.row(y + 2));
        for x in 0..w - 2 {
            sums[0] += u64::from(row[x].abs_diff(below[x]));
            sums[1] += u64::from(row[x].abs_diff(second[x]));
            sums[2] += u64::from(row[x].abs_diff(row[x + 1]));
            sums[3] += u64::from(row[x].abs_diff(row[x + 2]));
        }
    }
    let [down, down2, across, across2] = sums.map(|sum| (sum + 1) as f64);
    (down.max(down2) > 0.5 * (w * h) as f64)
        .then(|| (down / down2).log2() - (across / across2).log2())
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    fn plane(at: impl Fn(usize, usize) -> f64) -> Plane {
        Plane::new(
            128,
            (0..128 * 96)
                .map(|i| at(i % 128, i / 128).clamp(0.0, 255.0) as u8)
                .collect(),
        )
    }

    fn rough(x: usize, y: usize) -> f64 {
        let hash = (x as u64 * 73_856_093) ^ (y as u64 * 19_349_663);
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as f64
    }

    #[test]
    fn blur_makes_neighbours_alike() {
        let sharp = plane(rough);
        let soft = plane(|x, y| (0..25).map(|k| rough(x + k % 5, y + k / 5)).sum::<f64>() / 25.0);
        let (sharp, soft) = (
            fall_off(&sharp).expect("busy"),
            fall_off(&soft).expect("busy"),
        );
        assert!(sharp < 0.2 && soft > 0.7, "{sharp} {soft}");
        let softer =
            plane(|x, y| 128.0 + 90.0 * ((x as f64 * 0.2).sin() * (y as f64 * 0.17).cos()));
        assert!(wide_fall_off(&softer).expect("busy") > 1.6);
        assert_eq!(fall_off(&plane(|_, _| 90.0)), None);
    }

    #[test]
    fn light_that_is_lost_is_counted() {
        let half = plane(|x, _| if x < 64 { 0.0 } else { 255.0 });
        assert_eq!((shadows(&half), highlights(&half)), (0.5, 0.5));
        assert_eq!(entropy_bits(&half), 1.0);
        assert_eq!(span(&half), 1.0);
        assert_eq!(entropy_bits(&plane(|_, _| 90.0)), 0.0);
        let steps = missing_levels(&plane(|x, _| (x / 16 * 30) as f64)).expect("a range");
        let smooth = missing_levels(&plane(|x, y| (x + y) as f64)).expect("a range");
        assert!(steps > 0.9 && smooth < 0.1, "{steps} {smooth}");
        let uneven = |step: usize| {
            let frame = Array3::from_shape_fn((96, 128, 3), |(y, x, c)| {
                if c == 1 {
                    20 + ((x + y) / step * step) as u8
                } else {
                    90
                }
            });
            uneven_levels(frame.view()).expect("a range")
        };
        assert!(
            uneven(12) > 0.9 && uneven(1) < 0.2,
            "{} {}",
            uneven(12),
            uneven(1)
        );
    }

    #[test]
    fn scan_lines_lie_across() {
        let lined = plane(|x, y| rough(x / 5, y / 5) * if y % 3 == 0 { 0.5 } else { 1.0 });
        let plain = plane(|x, y| rough(x / 5, y / 5));
        let (lined, plain) = (
            row_lines(&lined).expect("rows"),
            row_lines(&plain).expect("rows"),
        );
        assert!(lined > 4.0 && plain.abs() < 2.0, "{lined} {plain}");
        assert_eq!(row_lines(&plane(|_, _| 90.0)), None);
    }

    #[test]
    fn flat_blocks_and_woven_fields_are_seen() {
        let blocky = plane(|x, y| rough(x / 8, y / 8) * 0.7 + 30.0);
        assert!(flat_share(&blocky).expect("blocks") > 0.9);
        assert!(flat_share(&plane(rough)).expect("blocks") < 0.05);
        let moved = |x: usize, shift: usize| 128.0 + 100.0 * ((x + shift) as f64 * 0.3).sin();
        let woven = combing(&plane(|x, y| moved(x, if y % 2 == 0 { 0 } else { 9 })));
        let whole = combing(&plane(|x, y| moved(x, y / 4)));
        assert!(woven.expect("busy") > 1.0, "{woven:?}");
        assert!(whole.expect("busy") < 0.3, "{whole:?}");
    }
}
