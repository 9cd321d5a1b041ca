//! How a frame is laid out: which way its edges run, where light and detail lie, and whether parts repeat others.

use ndarray::ArrayView3;

use super::plane::Plane;

/// What one frame's layout says. Gradients are those of neighbouring pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Layout {
    /// Steps across over steps down, as a power of two: above 0 where upright edges prevail.
    pub upright: f64,
    /// Share of the gradients' strength within 12° of upright edges, 0 to 1.
    pub vertical_edges: f64,
    /// Share of the gradients' strength within 12° of level edges, 0 to 1.
    pub level_edges: f64,
    /// Brightness of the upper third less that of the lower, -1 to 1.
    pub light_top: f64,
    /// Brightness of the left third less that of the right, -1 to 1.
    pub light_left: f64,
    /// Detail of the upper third less that of the lower over their sum, -1 to 1.
    pub detail_top: f64,
    /// Detail of the left third less that of the right over their sum, -1 to 1.
    pub detail_left: f64,
    /// Blueness of the upper third less that of the lower, -1 to 1.
    pub blue_top: f64,
    /// Blueness of the left third less that of the right, -1 to 1.
    pub blue_left: f64,
    /// How much more sharply it darkens than brightens on the way down, -1 to 1: things are lit from above and throw their
    /// shadows below.
    pub lit_top: f64,
    /// The same on the way to the right.
    pub lit_left: f64,
    /// Correlation of the left half with the right, mirrored: 1 for a mirror.
    pub mirror_x: f64,
    /// Correlation of the upper half with the lower, mirrored.
    pub mirror_y: f64,
    /// Correlation of the left half with the right as it is: 1 for tiles.
    pub repeat_x: f64,
    /// Correlation of the upper half with the lower as it is.
    pub repeat_y: f64,
}

/// The layout of one frame; 0 where nothing can be said of a flat one.
pub fn layout(frame: ArrayView3<u8>, plane: &Plane) -> Layout {
    let (w, h) = (plane.width(), plane.height());
    if w < 12 || h < 12 {
        return Layout::default();
    }
    let (mut across, mut down, mut vertical, mut level, mut strength) =
        (0.0f64, 0.0, 0.0, 0.0, 0.0);
    let mut detail = [0.0f64; 4];
    let tan = 12f32.to_radians().tan();
    for y in 0..h - 1 {
        let (row, below) = (plane.row(y), plane.row(y + 1));
        // Whole numbers, whose sums have no order, add up in vector code.
        let sums_of = |from: usize, to: usize| {
            let mut sums = [0u32; 4];
            let pixels = row[from..to].iter().zip(&row[from + 1..to + 1]);
            for ((own, right), below) in pixels.zip(&below[from..to]) {
                let (gx, gy) = (right.abs_diff(*own), below.abs_diff(*own));
                let both = u32::from(gx) + u32::from(gy);
                sums[0] += u32::from(gx);
                sums[1] += u32::from(gy);
                let (gx, gy) = (f32::from(gx), f32::from(gy));
                sums[2] += if gy < tan * gx { both } else { 0 };
                sums[3] += if gx < tan * gy { both } else { 0 };
            }
            sums
        };
        // The columns of the left third, the middle, and the right third.
        let (left, right) = (w.div_ceil(3), (2 * w).div_ceil(3).min(w - 1));
        let parts = [(0, left), (left, right), (right, w - 1)].map(|(from, to)| sums_of(from, to));
        let sums: [u32; 4] = std::array::from_fn(|k| parts.iter().map(|part| part[k]).sum());
        let thirds = [parts[0], parts[2]].map(|part| part[0] + part[1]);
        across += f64::from(sums[0]);
        down += f64::from(sums[1]);
        vertical += f64::from(sums[2]);
        level += f64::from(sums[3]);
        let both = f64::from(sums[0] + sums[1]);
        strength += both;
        if 3 * y < h {
            detail[0] += both;
        } else if 3 * y >= 2 * h {
            detail[1] += both;
        }
        detail[2] += f64::from(thirds[0]);
        detail[3] += f64::from(thirds[1]);
    }
    let balance = |a: f64, b: f64| if a + b > 0.0 { (a - b) / (a + b) } else { 0.0 };
    let (light, blue) = thirds_of(frame);
    let means = shrunk(plane);
    let (lit_top, lit_left) = (lit(&means, SMALL), lit(&means, 1));
    let small = edges_of(&means);
    let compare = |of: &dyn Fn(usize, usize) -> (usize, usize), w: usize, h: usize| {
        let pairs = (0..w * h).map(|at| {
            let (x, y) = (at % w, at / w);
            let (u, v) = of(x, y);
            (small[y * SMALL + x], small[v * SMALL + u])
        });
        correlation(pairs)
    };
    let half = SMALL / 2;
    Layout {
        upright: ((across + 1.0) / (down + 1.0)).log2(),
        vertical_edges: vertical / strength.max(1.0),
        level_edges: level / strength.max(1.0),
        light_top: light[0] - light[1],
        light_left: light[2] - light[3],
        detail_top: balance(detail[0], detail[1]),
        detail_left: balance(detail[2], detail[3]),
        blue_top: blue[0] - blue[1],
        blue_left: blue[2] - blue[3],
        lit_top,
        lit_left,
        mirror_x: compare(&|x, y| (SMALL - 1 - x, y), half, SMALL),
        mirror_y: compare(&|x, y| (x, SMALL - 1 - y), SMALL, half),
        repeat_x: compare(&|x, y| (x + half, y), half, SMALL),
        repeat_y: compare(&|x, y| (x, y + half), SMALL, half),
    }
}

/// Brightness and blueness of the upper, lower, left and right third, each as a share of the full scale.
fn thirds_of(frame: ArrayView3<u8>) -> ([f64; 4], [f64; 4]) {
    let (h, w, _) = frame.dim();
    let (mut light, mut blue, mut counts) = ([0u64; 4], [0i64; 4], [0u64; 4]);
    let frame = frame.as_standard_layout();
    let pixels = frame.as_slice().unwrap_or_default();
    for (at, rgb) in pixels.chunks_exact(3).enumerate().step_by(2) {
        let (x, y) = (at % w, at / w);
        let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
        let is_in = [3 * y < h, 3 * y >= 2 * h, 3 * x < w, 3 * x >= 2 * w];
        for (k, is_in) in is_in.into_iter().enumerate() {
            if is_in {
                light[k] += u64::from(r + g + b);
                blue[k] += i64::from(b) * 2 - i64::from(r + g);
                counts[k] += 1;
            }
        }
    }
    let per = |sum: f64, count: u64, scale: f64| sum / (count.max(1) as f64 * scale);
    (
        std::array::from_fn(|k| per(light[k] as f64, counts[k], 765.0)),
        std::array::from_fn(|k| per(blue[k] as f64, counts[k], 510.0)),
    )
}

/// Side of the small version in which parts are compared.
const SMALL: usize = 48;

/// The plane at `SMALL` x `SMALL`, by means.
fn shrunk(plane: &Plane) -> Vec<f32> {
    let (w, h) = (plane.width(), plane.height());
    let mut means = vec![0.0f32; SMALL * SMALL];
    let edge = |k: usize, len: usize| k * len / SMALL;
    for y in 0..SMALL {
        for x in 0..SMALL {
            let (left, right) = (edge(x, w), edge(x + 1, w).max(edge(x, w) + 1).min(w));
            let (top, bottom) = (edge(y, h), edge(y + 1, h).max(edge(y, h) + 1).min(h));
            let mut sum = 0u32;
            for row in top..bottom {
                sum += plane.row(row)[left..right]
                    .iter()
                    .map(|luma| u32::from(*luma))
                    .sum::<u32>();
            }
            means[y * SMALL + x] = sum as f32 / ((right - left) * (bottom - top)).max(1) as f32;
        }
    }
    means
}

/// Skewness of the steps from each pixel to the one `step` further on, turned round: the third moment over the third
/// absolute moment, -1 to 1.
fn lit(means: &[f32], step: usize) -> f64 {
    let (mut signed, mut whole) = (0.0f64, 0.0f64);
    for (at, (own, next)) in means.iter().zip(&means[step..]).enumerate() {
        if step == 1 && at % SMALL == SMALL - 1 {
            continue;
        }
        let cube = f64::from(next - own).powi(3);
        signed -= cube;
        whole += cube.abs();
    }
    signed / (whole + 1.0)
}

/// Each of the means less that of the 5 x 5 around it: edges, not light.
fn edges_of(means: &[f32]) -> Vec<f32> {
    let at = |x: usize, y: usize| means[y.min(SMALL - 1) * SMALL + x.min(SMALL - 1)];
    let mut edges = Vec::with_capacity(SMALL * SMALL);
    for y in 0..SMALL {
        for x in 0..SMALL {
            let mut around = 0.0;
            for dy in 0..5 {
                for dx in 0..5 {
                    around += at((x + dx).saturating_sub(2), (y + dy).saturating_sub(2));
                }
            }
            edges.push(at(x, y) - around / 25.0);
        }
    }
    edges
}

/// -1 to 1; 0 where one side is flat.
fn correlation(pairs: impl Iterator<Item = (f32, f32)>) -> f64 {
    let (mut n, mut sums) = (0.0f64, [0.0f64; 5]);
    for (a, b) in pairs {
        let (a, b) = (f64::from(a), f64::from(b));
        n += 1.0;
        for (sum, value) in sums.iter_mut().zip([a, b, a * a, b * b, a * b]) {
            *sum += value;
        }
    }
    let [a, b, aa, bb, ab] = sums.map(|sum| sum / n.max(1.0));
    let spread = ((aa - a * a) * (bb - b * b)).max(0.0).sqrt();
    if spread > 0.5 {
        (ab - a * b) / spread
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    fn of(at: impl Fn(usize, usize) -> [u8; 3]) -> Layout {
        let frame = Array3::from_shape_fn((96, 128, 3), |(y, x, c)| at(x, y)[c]);
        layout(frame.view(), &Plane::luma(frame.view()))
    }

    fn rough(x: usize, y: usize) -> u8 {
        let hash = (x as u64 / 3 * 73_856_093) ^ (y as u64 / 3 * 19_349_663);
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
    }

    #[test]
    fn edges_have_a_direction_and_light_a_place() {
        let stripes = of(|x, _| [if x / 8 % 2 == 0 { 20 } else { 200 }; 3]);
        assert!(
            stripes.upright > 3.0 && stripes.vertical_edges > 0.95,
            "{stripes:?}"
        );
        let levels = of(|_, y| [if y / 8 % 2 == 0 { 20 } else { 200 }; 3]);
        assert!(
            levels.upright < -3.0 && levels.level_edges > 0.95,
            "{levels:?}"
        );
        let sky = of(|x, y| {
            if y < 40 {
                [120, 160, 250]
            } else {
                [rough(x, y) / 2; 3]
            }
        });
        assert!(
            sky.light_top > 0.3 && sky.blue_top > 0.2 && sky.detail_top < -0.9,
            "{sky:?}"
        );
        assert!(
            sky.light_left.abs() < 0.05 && sky.detail_left.abs() < 0.1,
            "{sky:?}"
        );
    }

    #[test]
    fn light_from_above_leaves_sharp_shadows_below() {
        // Bars that brighten slowly on the way down, and end at once.
        let lit = of(|_, y| [(60 + y % 24 * 6) as u8; 3]);
        let turned = of(|_, y| [(60 + (95 - y) % 24 * 6) as u8; 3]);
        let aside = of(|x, _| [(60 + x % 32 * 4) as u8; 3]);
        assert!(
            lit.lit_top > 0.5 && turned.lit_top < -0.5,
            "{lit:?} {turned:?}"
        );
        assert!(
            lit.lit_left.abs() < 0.1 && aside.lit_left > 0.5,
            "{aside:?}"
        );
    }

    #[test]
    fn mirrors_and_tiles_are_seen() {
        let mirror = of(|x, y| [rough(x.min(127 - x), y); 3]);
        assert!(
            mirror.mirror_x > 0.85 && mirror.mirror_y < 0.3,
            "{mirror:?}"
        );
        let tiles = of(|x, y| [rough(x % 64, y); 3]);
        assert!(tiles.repeat_x > 0.9 && tiles.mirror_x < 0.3, "{tiles:?}");
        let plain = of(|x, y| [rough(x, y); 3]);
        assert!(plain.mirror_x < 0.3 && plain.repeat_y < 0.3, "{plain:?}");
    }
}
