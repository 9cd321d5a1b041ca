//! What the finest detail of a frame says of what was done to it: best seen at the video's own size.
//!
//! Light from the world leaves a picture whose detail, divided by its own local strength, is spread nearly as a Gaussian
//! (Ruderman, "The statistics of natural images", 1994). Blur, an encoder's quantiser and noise each bend that law in their
//! own way; measuring how is the idea of BRISQUE (Mittal, Moorthy and Bovik, "No-reference image quality assessment in the
//! spatial domain", 2012), whose features these are, each as the moment that it is fitted by.

use super::plane::Plane;

/// Reach of the local mean and deviation, in pixels to each side.
const REACH: usize = 3;
const SIDE: usize = 2 * REACH + 1;
/// Keeps flat places from being blown up, in levels.
const FLOOR: f32 = 1.0;

/// How the normalised detail of a frame is spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detail {
    /// Squared mean magnitude over mean square: 0.64 for a Gaussian, 0.5 for a Laplacian, less where detail is left in few
    /// places only, as after a coarse quantiser.
    pub shape: f64,
    /// Mean square: about 0.6 and up for rough texture, near 0 for a smooth picture.
    pub power: f64,
    /// Correlation of neighbours, across and down: near 0 for noise, 0.8 and up for what is blurred or scaled up.
    pub likeness: f64,
}

/// The detail of a plane, and of the same at half its size. `None` if a side of it is under 14 px, or without detail.
pub fn detail(plane: &Plane) -> [Option<Detail>; 2] {
    [1, 2].map(|factor| {
        let (width, pixels) = plane.shrunk(factor);
        of_pixels(width, &pixels)
    })
}

fn of_pixels(width: usize, pixels: &[f32]) -> Option<Detail> {
    if width < 2 * SIDE || pixels.len() < 2 * SIDE * width {
        return None;
    }
    let rows: Vec<&[f32]> = pixels.chunks_exact(width).collect();
    let (mut sums, mut squares) = (vec![0.0f32; width], vec![0.0f32; width]);
    let inner = width - 2 * REACH;
    let (mut above, mut here) = (vec![0.0f32; inner], vec![0.0f32; inner]);
    // Of magnitudes, squares, and products with the neighbour across and the one above.
    let mut totals = [0.0f64; 4];
    for (y, around) in rows.windows(SIDE).enumerate() {
        sums.fill(0.0);
        squares.fill(0.0);
        for row in around {
            for ((sum, square), pixel) in sums.iter_mut().zip(&mut squares).zip(*row) {
                *sum += pixel;
                *square += pixel * pixel;
            }
        }
        const AREA: f32 = (SIDE * SIDE) as f32;
        let centre = &around[REACH][REACH..];
        let windows = sums.windows(SIDE).zip(squares.windows(SIDE));
        for ((value, pixel), (sums, squares)) in here.iter_mut().zip(centre).zip(windows) {
            let mean = sums.iter().sum::<f32>() / AREA;
            let variance = squares.iter().sum::<f32>() / AREA - mean * mean;
            *value = (pixel - mean) / (variance.max(0.0).sqrt() + FLOOR);
        }
        let mut of_row = [0.0f32; 4];
        for value in &here {
            of_row[0] += value.abs();
            of_row[1] += value * value;
        }
        for pair in here.windows(2) {
            of_row[2] += pair[0] * pair[1];
        }
        if y > 0 {
            for (value, above) in here.iter().zip(&above) {
                of_row[3] += value * above;
            }
        }
        for (total, of_row) in totals.iter_mut().zip(of_row) {
            *total += f64::from(of_row);
        }
        std::mem::swap(&mut above, &mut here);
    }
    let lines = rows.len() - 2 * REACH;
    let count = (inner * lines) as f64;
    let [magnitude, power, across, down] = totals;
    let (across, down) = (
        across / ((inner - 1) * lines) as f64,
        down / (inner * (lines - 1)) as f64,
    );
    let (magnitude, power) = (magnitude / count, power / count);
    (power > 1e-4).then(|| Detail {
        shape: magnitude * magnitude / power,
        power,
        likeness: (across + down) / 2.0 / power,
    })
}

/// How much the strength of the finest detail comes and goes at one period across or down, as a power of two: up to 2.5 by
/// chance, more where a picture was scaled up, or has an encoder's blocks, of whatever size. The strongest frequency of
/// the columns' (and rows') mean second difference over the middle one; Gallagher, "Detection of linear and cubic
/// interpolation in JPEG compressed images", 2005. `None` if a side is under 64 px.
pub fn periodicity(plane: &Plane) -> Option<f64> {
    let (width, height) = (plane.width(), plane.height());
    if width < 64 || height < 64 {
        return None;
    }
    let (mut across, mut down) = (vec![0u64; width - 2], vec![0u64; height - 2]);
    for row in plane.rows() {
        for (sum, around) in across.iter_mut().zip(row.windows(3)) {
            *sum += second(around[0], around[1], around[2]);
        }
    }
    for (y, sum) in down.iter_mut().enumerate() {
        let rows = plane.row(y).iter().zip(plane.row(y + 1));
        *sum = rows
            .zip(plane.row(y + 2))
            .map(|((a, b), c)| second(*a, *b, *c))
            .sum();
    }
    Some(strongest(&across, height).max(strongest(&down, width)))
}

fn second(a: u8, b: u8, c: u8) -> u64 {
    u64::from((i32::from(a) + i32::from(c) - 2 * i32::from(b)).unsigned_abs())
}

/// The strongest frequency from a twelfth of a cycle a pixel on over the middle one, of sums over `count` pixels.
fn strongest(sums: &[u64], count: usize) -> f64 {
    // Each against its surroundings, so that what the scene has here and not there does not count.
    const WIDE: usize = 8;
    let course: Vec<f64> = (0..sums.len())
        .map(|at| {
            let around = &sums[at.saturating_sub(WIDE)..(at + WIDE + 1).min(sums.len())];
            let mean = around.iter().sum::<u64>() as f64 / around.len() as f64;
            (sums[at] as f64 - mean) / (mean + count as f64 * 0.1)
        })
        .map(|relative| relative.clamp(-1.0, 1.0))
        .collect();
    let n = course.len();
    let mut strengths: Vec<f64> = (n / 12..=n / 2)
        .map(|k| {
            // One cosine and one sine, turned on from pixel to pixel.
            let (step_sin, step_cos) = (std::f64::consts::TAU * k as f64 / n as f64).sin_cos();
            let (mut cos, mut sin, mut re, mut im) = (1.0, 0.0, 0.0, 0.0);
            for value in &course {
                re += value * cos;
                im += value * sin;
                (cos, sin) = (
                    cos * step_cos - sin * step_sin,
                    sin * step_cos + cos * step_sin,
                );
            }
            re.hypot(im)
        })
        .collect();
    strengths.sort_by(f64::total_cmp);
    let (middle, most) = (
        strengths[strengths.len() / 2],
        strengths[strengths.len() - 1],
    );
    (most.max(1e-3) / middle.max(1e-3)).log2()
}

/// Share of the borders of 8 x 8 blocks that are seen: over twice as steep as what lies beside them, and over 2 levels. At
/// the phase that shows most, less the mean over all phases: 0 without blocks, 0.05 and more with plain ones, also where
/// they are in one part of the picture. `None` if a side is under 32 px.
pub fn seen_blocks(plane: &Plane) -> Option<f64> {
    let (width, height) = (plane.width(), plane.height());
    if width < 32 || height < 32 {
        return None;
    }
    let (mut across, mut down) = ([[0u32; 2]; 8], [[0u32; 2]; 8]);
    // Runs of 8 pixels along a border, each with its step and those before and after it.
    for top in (0..height - 7).step_by(8) {
        let rows: Vec<&[u8]> = (top..top + 8).map(|y| plane.row(y)).collect();
        let steps: Vec<u32> = (0..width - 1)
            .map(|x| {
                rows.iter()
                    .map(|row| u32::from(row[x].abs_diff(row[x + 1])))
                    .sum()
            })
            .collect();
        count_seen(&steps, &mut across);
    }
    for left in (0..width - 7).step_by(8) {
        let steps: Vec<u32> = (0..height - 1)
            .map(|y| {
                let rows = plane.row(y)[left..left + 8].iter();
                rows.zip(&plane.row(y + 1)[left..left + 8])
                    .map(|(a, b)| u32::from(a.abs_diff(*b)))
                    .sum()
            })
            .collect();
        count_seen(&steps, &mut down);
    }
    let share = |[seen, all]: [u32; 2]| f64::from(seen) / f64::from(all.max(1));
    let strongest = |phases: [[u32; 2]; 8]| {
        let shares = phases.map(share);
        shares.into_iter().fold(0.0, f64::max) - shares.iter().sum::<f64>() / 8.0
    };
    Some((strongest(across) + strongest(down)) / 2.0)
}

/// Share of the 8 x 8 blocks with some structure (means of their quarters over 6 levels apart) that have no fine detail
/// (mean second difference under 0.6 levels), 0 to 1: an encoder at a low rate keeps the one and wipes out the other. `None`
/// for a picture with hardly any structure.
pub fn wiped_share(plane: &Plane) -> Option<f64> {
    let (mut wiped, mut all, mut blocks) = (0usize, 0usize, 0usize);
    for top in (0..plane.height().saturating_sub(7)).step_by(8) {
        for left in (0..plane.width().saturating_sub(7)).step_by(8) {
            blocks += 1;
            let rows: [&[u8]; 8] = std::array::from_fn(|y| &plane.row(top + y)[left..left + 8]);
            let quarter = |y: usize, x: usize| -> u32 {
                let rows = rows[y..y + 4].iter();
                rows.flat_map(|row| &row[x..x + 4])
                    .map(|luma| u32::from(*luma))
                    .sum()
            };
            let quarters = [quarter(0, 0), quarter(0, 4), quarter(4, 0), quarter(4, 4)];
            let (least, most) = quarters.iter().fold((u32::MAX, 0), |(least, most), it| {
                (least.min(*it), most.max(*it))
            });
            if most - least <= 6 * 16 {
                continue;
            }
            all += 1;
            let across = rows.iter().flat_map(|row| row.windows(3));
            let across: u64 = across.map(|it| second(it[0], it[1], it[2])).sum();
            let down: u64 = rows
                .windows(3)
                .flat_map(|it| (0..8).map(move |x| second(it[0][x], it[1][x], it[2][x])))
                .sum();
            wiped += usize::from(((across + down) as f64) < 0.6 * 96.0);
        }
    }
    (all * 50 > blocks).then(|| wiped as f64 / all as f64)
}

/// Adds the steps of one line of runs to [seen, all] of their phase.
fn count_seen(steps: &[u32], phases: &mut [[u32; 2]; 8]) {
    for (at, around) in steps.windows(5).enumerate() {
        let beside = around[0].max(around[1]).max(around[3]).max(around[4]);
        let [seen, all] = &mut phases[(at + 2) % 8];
        *seen += u32::from(around[2] > 2 * beside.max(8));
        *all += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(at: impl Fn(usize, usize) -> f64) -> Plane {
        let of = |i: usize| at(i % 160, i / 160).clamp(0.0, 255.0) as u8;
        Plane::new(160, (0..160 * 128).map(of).collect())
    }

    fn rough(x: usize, y: usize) -> f64 {
        let hash = (x as u64 * 73_856_093) ^ (y as u64 * 19_349_663);
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as f64
    }

    #[test]
    fn blur_makes_detail_alike_and_noise_does_not() {
        let [noise, half] = detail(&plane(rough)).map(|detail| detail.expect("rough"));
        assert!(noise.likeness.abs() < 0.1, "{noise:?}");
        assert!((0.6..0.85).contains(&noise.shape), "{noise:?}");
        assert!(half.likeness.abs() < 0.1, "{half:?}");
        let blurred = |x: usize, y: usize| (0..9).map(|k| rough(x + k % 3, y + k / 3)).sum::<f64>();
        let [soft, _] = detail(&plane(|x, y| blurred(x, y) / 9.0)).map(|d| d.expect("busy"));
        assert!(soft.likeness > 0.4, "{soft:?}");
        // Detail in few places only.
        let [sparse, _] = detail(&plane(|x, y| if (x * y) % 97 == 0 { 200.0 } else { 90.0 }))
            .map(|detail| detail.expect("some"));
        assert!(sparse.shape < 0.4, "{sparse:?}");
        assert_eq!(detail(&plane(|_, _| 90.0)), [None; 2]);
    }

    #[test]
    fn what_was_scaled_up_or_cut_into_blocks_repeats() {
        let scaled = |x: usize, y: usize, by: f64| {
            let (fx, fy) = (x as f64 / by, y as f64 / by);
            let (ix, iy) = (fx as usize, fy as usize);
            let (ax, ay) = (fx.fract(), fy.fract());
            rough(ix, iy) * (1.0 - ax) * (1.0 - ay)
                + rough(ix + 1, iy) * ax * (1.0 - ay)
                + rough(ix, iy + 1) * (1.0 - ax) * ay
                + rough(ix + 1, iy + 1) * ax * ay
        };
        let own = periodicity(&plane(rough)).expect("busy");
        let up = periodicity(&plane(|x, y| scaled(x, y, 1.7))).expect("busy");
        assert!(own < 2.5 && up > 3.5, "{own} {up}");
    }

    #[test]
    fn blocks_are_seen_where_they_are() {
        let soft = |x: usize, y: usize| 100.0 + 40.0 * ((x as f64) * 0.05).sin() + y as f64 * 0.2;
        let blocks = |x: usize, y: usize| soft((x / 8) * 8, (y / 8) * 8);
        let corner = |x: usize, y: usize| if x < 64 { blocks(x, y) } else { soft(x, y) };
        let seen = |at: &dyn Fn(usize, usize) -> f64| seen_blocks(&plane(at)).expect("large");
        assert!(seen(&soft) < 0.01, "{}", seen(&soft));
        assert!(seen(&blocks) > 2.0 * seen(&corner) - 0.1 && seen(&corner) > 0.05);
    }

    #[test]
    fn structure_without_detail_was_wiped() {
        let ramp = |x: usize, y: usize| 10.0 + (x + y) as f64 * 0.8;
        let grainy = |x: usize, y: usize| ramp(x, y) + rough(x, y) / 40.0;
        assert!(wiped_share(&plane(ramp)).expect("structure") > 0.9);
        assert!(wiped_share(&plane(grainy)).expect("structure") < 0.1);
        assert_eq!(wiped_share(&plane(|_, _| 90.0)), None);
    }
}
