//! Signals of one frame.

use super::plane::Plane;

/// Luma below this standard deviation (in 8-bit levels) is a flat picture, in which nothing can be sharp.
const FLAT_LEVELS: f64 = 1.0;

/// Mean luma, 0 (black) to 1 (white).
pub fn brightness(plane: &Plane) -> f64 {
    let sum: u64 = plane.data().iter().map(|pixel| u64::from(*pixel)).sum();
    sum as f64 / (plane.data().len().max(1) as f64 * 255.0)
}

/// Root-mean-square contrast: standard deviation of the luma as a share of the full scale, 0 (flat) to 0.5 (half black,
/// half white). Peli, "Contrast in complex images", 1990.
pub fn contrast(plane: &Plane) -> f64 {
    deviation_levels(plane) / 255.0
}

/// Standard deviation of the 4-neighbour Laplacian over that of the luma, 0 (blurred away) to about 4.5 (white noise).
///
/// The variance of the Laplacian is a common focus measure (Pech-Pacheco et al., "Diatom autofocusing in brightfield
/// microscopy", 2000); dividing by the picture's own deviation makes it independent of contrast and exposure. It is a
/// measure per pixel: the same scene sampled smaller is sharper. `None` for a flat picture.
pub fn sharpness(plane: &Plane) -> Option<f64> {
    let deviation = deviation_levels(plane);
    if deviation < FLAT_LEVELS || plane.width() < 3 || plane.height() < 3 {
        return None;
    }
    let (mut sum, mut squares) = (0i64, 0i64);
    for y in 1..plane.height() - 1 {
        let (above, row, below) = (plane.row(y - 1), plane.row(y), plane.row(y + 1));
        let (mut row_sum, mut row_squares) = (0i32, 0i64);
        for ((row, above), below) in row.windows(3).zip(&above[1..]).zip(&below[1..]) {
            let around =
                i32::from(row[0]) + i32::from(row[2]) + i32::from(*above) + i32::from(*below);
            let laplacian = around - 4 * i32::from(row[1]);
            row_sum += laplacian;
            row_squares += i64::from(laplacian * laplacian);
        }
        sum += i64::from(row_sum);
        squares += row_squares;
    }
    let count = ((plane.width() - 2) * (plane.height() - 2)) as f64;
    let mean = sum as f64 / count;
    Some((squares as f64 / count - mean * mean).max(0.0).sqrt() / deviation)
}

/// Standard deviation of the noise in 8-bit levels, 0 and up; 1 is clean footage, 5 and more is plainly grainy.
///
/// The picture is filtered with the difference of two Laplacians of Immerkær, "Fast noise variance estimation", 1996,
/// which answers little to edges and gradients; in place of his mean the median of the answers is taken (as Donoho does
/// with wavelets), so that fine texture in less than half of the picture does not count as noise. `None` if a side is
/// under 3 px.
pub fn noise(plane: &Plane) -> Option<f64> {
    if plane.width() < 3 || plane.height() < 3 {
        return None;
    }
    // |answers| are whole numbers up to 16 × 255.
    let mut histogram = vec![0u32; 16 * 255 + 1];
    let mut columns = vec![0i32; plane.width()];
    for y in 1..plane.height() - 1 {
        let rows = plane
            .row(y - 1)
            .iter()
            .zip(plane.row(y))
            .zip(plane.row(y + 1));
        for (column, ((above, here), below)) in columns.iter_mut().zip(rows) {
            *column = i32::from(*above) - 2 * i32::from(*here) + i32::from(*below);
        }
        for around in columns.windows(3) {
            let answer = around[0] - 2 * around[1] + around[2];
            histogram[answer.unsigned_abs() as usize] += 1;
        }
    }
    // The filter's coefficients have the norm 6; half of |N(0, 1)| lies under 0.6745.
    Some(median_of(&histogram) / (6.0 * 0.6745))
}

/// The median of whole numbers by how often each is there, with the ties at the median spread evenly around it, so that
/// the answer does not jump by whole numbers.
fn median_of(histogram: &[u32]) -> f64 {
    let total: u64 = histogram.iter().map(|count| u64::from(*count)).sum();
    let half = total as f64 / 2.0;
    let mut below = 0.0;
    for (value, count) in histogram.iter().enumerate() {
        let count = f64::from(*count);
        if count > 0.0 && below + count >= half {
            let inside = (half - below) / count;
            // The values at 0 are folded: they spread over 0 to 1/2, the others over one.
            return if value == 0 {
                inside * 0.5
            } else {
                value as f64 - 0.5 + inside
            };
        }
        below += count;
    }
    0.0
}

/// How much steeper the picture is across the lines of an 8 × 8 grid than beside them: about 1 without blocks, 1.2 and
/// more with visible ones. After Wang, Bovik and Evans, "Blind measurement of blocking artifacts in images", 2000.
///
/// For each column the mean step to the next one is compared with the steps within three columns of it; the median of
/// these ratios over the columns of one phase of the grid is that phase's; the strongest of the 8 phases counts (a crop
/// shifts the grid), and the mean of both directions is given. The grid is sought where an encoder puts it, every 8 px:
/// frames that were resized since keep it only if the scale is a whole number, others come out near 1. So a high value
/// always means blocks, a low one is proof of their absence only at the video's own size. `None` if a side is under 32 px.
pub fn blockiness(plane: &Plane) -> Option<f64> {
    let (width, height) = (plane.width(), plane.height());
    if width < 32 || height < 32 {
        return None;
    }
    let mut across = vec![0u64; width - 1];
    let mut down = vec![0u64; height - 1];
    for row in plane.rows() {
        for (sum, pair) in across.iter_mut().zip(row.windows(2)) {
            *sum += u64::from(pair[0].abs_diff(pair[1]));
        }
    }
    for (y, sum) in down.iter_mut().enumerate() {
        let pairs = plane.row(y).iter().zip(plane.row(y + 1));
        *sum = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    }
    Some((grid_ratio(&across, height) + grid_ratio(&down, width)) / 2.0)
}

/// The ratio of the strongest phase of steps, each a sum over `count` pixels.
fn grid_ratio(steps: &[u64], count: usize) -> f64 {
    const REACH: usize = 3;
    let mut phases: [Vec<f64>; 8] = Default::default();
    for (x, around) in steps.windows(2 * REACH + 1).enumerate() {
        let own = around[REACH] as f64;
        let others = around.iter().sum::<u64>() as f64 - own;
        // A tenth of a level keeps flat pictures from dividing nothing by nothing.
        let slack = count as f64 * 0.1;
        phases[x % 8].push((own + slack) / (others / (2 * REACH) as f64 + slack));
    }
    phases
        .iter_mut()
        .filter_map(|ratios| super::signal::median(ratios))
        .fold(1.0, f64::max)
}

/// Standard deviation of the luma in 8-bit levels.
fn deviation_levels(plane: &Plane) -> f64 {
    let (mut sum, mut squares) = (0u64, 0u64);
    for pixel in plane.data() {
        let pixel = u32::from(*pixel);
        sum += u64::from(pixel);
        squares += u64::from(pixel * pixel);
    }
    let count = plane.data().len().max(1) as f64;
    let mean = sum as f64 / count;
    (squares as f64 / count - mean * mean).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uniform in 0 to 1, from a linear congruential generator.
    fn chance(state: &mut u64) -> f64 {
        *state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (*state >> 40) as f64 / (1u64 << 24) as f64
    }

    fn plane(width: usize, height: usize, at: impl Fn(usize, usize) -> f64) -> Plane {
        let data =
            (0..width * height).map(|i| at(i % width, i / width).round().clamp(0.0, 255.0) as u8);
        Plane::new(width, data.collect())
    }

    /// Soft hills over the whole scale, a few periods a picture.
    fn hills(x: usize, y: usize) -> f64 {
        128.0 + 60.0 * (x as f64 * 0.11).sin() + 50.0 * (y as f64 * 0.07).cos()
    }

    fn with_noise(sigma: f64, at: impl Fn(usize, usize) -> f64) -> Plane {
        let mut state = 7;
        let mut data = Vec::new();
        for i in 0..160 * 120 {
            let bell: f64 = (0..12).map(|_| chance(&mut state)).sum::<f64>() - 6.0;
            data.push(
                (at(i % 160, i / 160) + sigma * bell)
                    .round()
                    .clamp(0.0, 255.0) as u8,
            );
        }
        Plane::new(160, data)
    }

    #[test]
    fn brightness_and_contrast_have_the_full_scale_as_unit() {
        let halves = plane(40, 40, |x, _| if x < 20 { 0.0 } else { 255.0 });
        assert_eq!(brightness(&halves), 0.5);
        assert_eq!(contrast(&halves), 0.5);
        let grey = plane(40, 40, |_, _| 51.0);
        assert_eq!(brightness(&grey), 0.2);
        assert_eq!(contrast(&grey), 0.0);
    }

    #[test]
    fn blur_lowers_sharpness_and_contrast_does_not() {
        let stripes = |x: usize, _: usize| {
            if (x / 4).is_multiple_of(2) {
                60.0
            } else {
                200.0
            }
        };
        let sharp = sharpness(&plane(128, 128, stripes)).expect("not flat");
        let blurred = plane(128, 128, |x, y| {
            (0..5).map(|k| stripes(x + k, y)).sum::<f64>() / 5.0
        });
        let blurred = sharpness(&blurred).expect("not flat");
        let pale = plane(128, 128, |x, y| 128.0 + (stripes(x, y) - 130.0) / 10.0);
        let pale = sharpness(&pale).expect("not flat");
        assert!(blurred < 0.6 * sharp, "{blurred} {sharp}");
        assert!((pale - sharp).abs() < 0.05 * sharp, "{pale} {sharp}");
        assert_eq!(sharpness(&plane(128, 128, |_, _| 90.0)), None);
    }

    #[test]
    fn noise_is_measured_in_levels_and_edges_are_not_noise() {
        for sigma in [1.0, 3.0, 8.0] {
            let found = noise(&with_noise(sigma, hills)).expect("large enough");
            assert!((found - sigma).abs() < 0.15 * sigma, "{found} for {sigma}");
        }
        let clean = noise(&plane(160, 120, hills)).expect("large enough");
        assert!(clean < 0.5, "{clean}");
        let edges = plane(160, 120, |x, y| {
            if (x / 12 + y / 12) % 2 == 0 {
                20.0
            } else {
                230.0
            }
        });
        assert_eq!(noise(&edges).map(|noise| noise < 0.3), Some(true));
    }

    #[test]
    fn blocks_are_seen_at_any_phase_and_single_edges_are_not_blocks() {
        for phase in [0, 3] {
            let blocks = plane(160, 128, |x, y| {
                hills((x + phase) / 8 * 8, (y + phase) / 8 * 8)
            });
            let found = blockiness(&blocks).expect("large enough");
            assert!(found > 2.0, "{found} at phase {phase}");
        }
        let smooth = blockiness(&plane(160, 128, hills)).expect("large enough");
        assert!(smooth < 1.1, "{smooth}");
        let one_edge = plane(160, 128, |x, y| {
            hills(x, y) / 2.0 + if x < 80 { 0.0 } else { 120.0 }
        });
        let found = blockiness(&one_edge).expect("large enough");
        assert!(found < 1.1, "{found}");
        let grain = blockiness(&with_noise(10.0, hills)).expect("large enough");
        assert!(grain < 1.1, "{grain}");
        assert_eq!(blockiness(&plane(31, 128, hills)), None);
    }
}
