//! How much of the change between two frames an affine motion of the whole picture explains.
//!
//! A camera that is simulated on a still picture (pan, zoom, rotation) moves every pixel by one affine map; in real
//! footage things move on their own and near ones move more than far ones. The map is fitted by Gauss–Newton steps on
//! the luma (Lucas and Kanade 1981; inverse compositional: Baker and Matthews, "Lucas-Kanade 20 years on", 2004), from
//! coarse to fine, begun with the best whole-pixel shift at the coarsest level.

use super::plane::Plane;

/// Longest side at which the fit is made, in pixels.
const FINEST_PX: usize = 128;

/// Shortest side of a level of the pyramid, in pixels.
const COARSEST_PX: usize = 16;

/// No further level is made below a longest side of this, in pixels.
const COARSE_ENOUGH_PX: usize = 40;

/// What a step solves for: the six numbers of the map, gain and offset of the brightness.
const UNKNOWNS: usize = 8;

/// The same and the right side.
const COLUMNS: usize = UNKNOWNS + 1;

/// A step that moves no pixel further than this is the last one of its level, in pixels.
const DONE_PX: f64 = 0.05;

/// Steps at each level, at most.
const STEPS: usize = 6;

/// Change under this many 8-bit levels, unaligned, is no motion.
const NO_MOTION_LEVELS: f64 = 0.8;

/// Share of the picture that must still be seen after the motion.
const MIN_OVERLAP: f64 = 0.4;

/// A frame made small for the fit: levels from fine to coarse.
#[derive(Debug, Clone)]
pub struct Pyramid(Vec<Level>);

/// Luma as floats, [h, w].
#[derive(Debug, Clone)]
struct Level {
    width: usize,
    height: usize,
    data: Vec<f32>,
}

/// x' = a0 + (1 + a1) x + a2 y, y' = a3 + a4 x + (1 + a5) y, from the picture's centre, in pixels of a level.
type Affine = [f64; 6];

const IDENTITY: Affine = [0.0; 6];

impl Pyramid {
    /// The pyramid of a frame's luma: means of whole pixels down to 128 px, a little blurred, then halves.
    pub fn new(plane: &Plane) -> Self {
        let factor = plane.width().max(plane.height()).div_ceil(FINEST_PX).max(1);
        let (width, data) = plane.shrunk(factor);
        let height = data.len().checked_div(width).unwrap_or(0);
        let mut levels = Vec::new();
        let mut level = Level {
            width,
            height,
            data,
        }
        .blurred();
        while level.width.min(level.height) >= COARSEST_PX {
            let next = level.halved();
            let enough = level.width.max(level.height) <= COARSE_ENOUGH_PX;
            levels.push(level);
            if enough {
                break;
            }
            level = next;
        }
        Self(levels)
    }
}

/// What is left of the difference of two frames after the best affine motion, as a share of the difference without it:
/// 0 (one flat picture moved by a camera) to 1 (nothing is explained).
///
/// Both are mean absolute differences of the luma, each after a fit of gain and offset (so a fade is no motion),
/// over the pixels that both frames show. `None` if there is no motion (under 0.8 levels of 255), if the frames differ in size,
/// or if they are under 16 px.
pub fn residual(before: &Pyramid, after: &Pyramid) -> Option<f64> {
    let (map, unaligned) = best_map(before, after)?;
    residual_of(before.0.first()?, after.0.first()?, &map, unaligned)
}

/// The best map, and the difference without it; `None` without motion.
fn best_map(before: &Pyramid, after: &Pyramid) -> Option<(Affine, f64)> {
    let (fine, fine_after) = (before.0.first()?, after.0.first()?);
    if (fine.width, fine.height) != (fine_after.width, fine_after.height) {
        return None;
    }
    let unaligned = fine.error(fine_after, &IDENTITY)?;
    if unaligned < NO_MOTION_LEVELS {
        return None;
    }
    let mut levels = before.0.iter().zip(&after.0).rev();
    let (coarse, coarse_after) = levels.next()?;
    let mut map = coarse.shift_to(coarse_after);
    map = coarse.fit(coarse_after, map);
    for (level, level_after) in levels {
        map[0] *= 2.0;
        map[3] *= 2.0;
        map = level.fit(level_after, map);
    }
    Some((map, unaligned))
}

fn residual_of(fine: &Level, after: &Level, map: &Affine, unaligned: f64) -> Option<f64> {
    let aligned = fine.error(after, map).unwrap_or(unaligned);
    // The pixels that both show after the motion are the ones to compare before it, too.
    let unaligned = fine.error_where(after, &IDENTITY, map)?;
    (unaligned >= NO_MOTION_LEVELS).then(|| (aligned / unaligned).min(1.0))
}

/// The affine motion between two frames, and what it leaves where.
#[derive(Debug, Clone)]
pub struct Fit {
    map: Affine,
    /// Half the longer side of the level at which it was fitted, in pixels.
    reach_px: f64,
    /// As [`residual`] gives it.
    pub residual: f64,
    /// How far each block is from its place, in pixels, from least to most.
    blocks_px: Vec<f64>,
}

/// Side of the blocks whose misplacement is measured, in pixels of the fit.
const BLOCK_PX: usize = 10;

/// Blocks whose steps are weaker than this many levels a pixel in some direction are not told from noise.
const LEAST_STEP_LEVELS: f64 = 1.5;

/// The best affine motion from one frame to the next with what it leaves; `None` as for [`residual`].
pub fn fit(before: &Pyramid, after: &Pyramid) -> Option<Fit> {
    let (map, unaligned) = best_map(before, after)?;
    let (fine, fine_after) = (before.0.first()?, after.0.first()?);
    let residual = residual_of(fine, fine_after, &map, unaligned)?;
    Some(Fit {
        map,
        reach_px: (fine.width.max(fine.height) as f64) / 2.0,
        residual,
        blocks_px: fine.misplaced(fine_after, &map),
    })
}

impl Fit {
    /// How far the middle of the picture moves, in pixels.
    pub fn shift_px(&self) -> f64 {
        self.map[0].hypot(self.map[3])
    }

    /// The motion of the middle along x and y, in pixels.
    pub fn shift(&self) -> (f64, f64) {
        (self.map[0], self.map[3])
    }

    /// How far zoom, turn and shear move the border, in pixels.
    pub fn turn_px(&self) -> f64 {
        let [_, a, b, _, c, d] = self.map;
        (a * a + b * b + c * c + d * d).sqrt() / std::f64::consts::SQRT_2 * self.reach_px
    }

    /// How far this motion is from another one: at the middle and at the border together, in pixels.
    pub fn change_px(&self, other: &Fit) -> f64 {
        let off = |k: usize| self.map[k] - other.map[k];
        let turn = (off(1).powi(2) + off(2).powi(2) + off(4).powi(2) + off(5).powi(2)).sqrt()
            / std::f64::consts::SQRT_2
            * self.reach_px;
        off(0).hypot(off(3)).hypot(turn)
    }

    /// The misplacement at this share (0 to 1) of the order of blocks, in pixels; 0 if none could be measured.
    pub fn block_quantile(&self, share: f64) -> f64 {
        let last = self.blocks_px.len().saturating_sub(1) as f64;
        let at = (share * last).round() as usize;
        self.blocks_px.get(at).copied().unwrap_or(0.0)
    }

    /// Share of blocks that are misplaced by more than this, 0 to 1.
    pub fn share_above(&self, px: f64) -> f64 {
        let few = self.blocks_px.partition_point(|block| *block <= px);
        1.0 - few as f64 / self.blocks_px.len().max(1) as f64
    }
}

impl Level {
    /// Blurred by [1 2 1] / 4 both ways: the interpolation of the fit then costs little sharpness.
    fn blurred(&self) -> Self {
        let Self { width, height, .. } = *self;
        let at = |x: usize, y: usize| self.data[y * width + x];
        let mut across = vec![0.0; self.data.len()];
        for y in 0..height {
            for x in 0..width {
                let (left, right) = (x.saturating_sub(1), (x + 1).min(width - 1));
                across[y * width + x] = (at(left, y) + 2.0 * at(x, y) + at(right, y)) / 4.0;
            }
        }
        let mut data = vec![0.0; self.data.len()];
        for y in 0..height {
            let (up, down) = (y.saturating_sub(1), (y + 1).min(height - 1));
            for x in 0..width {
                let own = across[y * width + x];
                data[y * width + x] =
                    (across[up * width + x] + 2.0 * own + across[down * width + x]) / 4.0;
            }
        }
        Self {
            width,
            height,
            data,
        }
    }

    fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut data = Vec::with_capacity(width * height);
        for y in 0..height {
            let upper = &self.data[2 * y * self.width..][..self.width];
            let lower = &self.data[(2 * y + 1) * self.width..][..self.width];
            let cells = upper.chunks_exact(2).zip(lower.chunks_exact(2));
            data.extend(cells.map(|(u, l)| (u[0] + u[1] + l[0] + l[1]) / 4.0));
        }
        Self {
            width,
            height,
            data,
        }
    }

    /// Where the map takes a pixel, if that is inside the picture: the upper left pixel there, and the way beyond it.
    #[inline]
    fn target(&self, map: &Affine, x: usize, y: usize) -> Option<(usize, f32, f32)> {
        let (cx, cy) = (
            (self.width - 1) as f64 / 2.0,
            (self.height - 1) as f64 / 2.0,
        );
        let (dx, dy) = (x as f64 - cx, y as f64 - cy);
        let tx = map[0] + (1.0 + map[1]) * dx + map[2] * dy + cx;
        let ty = map[3] + map[4] * dx + (1.0 + map[5]) * dy + cy;
        if !(tx >= 0.0
            && ty >= 0.0
            && tx < (self.width - 1) as f64
            && ty < (self.height - 1) as f64)
        {
            return None;
        }
        let (ix, iy) = (tx as usize, ty as usize);
        Some((
            iy * self.width + ix,
            (tx - ix as f64) as f32,
            (ty - iy as f64) as f32,
        ))
    }

    #[inline]
    fn sample(&self, (at, fx, fy): (usize, f32, f32)) -> f32 {
        let upper = self.data[at] + fx * (self.data[at + 1] - self.data[at]);
        let below = at + self.width;
        let lower = self.data[below] + fx * (self.data[below + 1] - self.data[below]);
        upper + fy * (lower - upper)
    }

    /// Mean absolute difference of `after(map(x))` from `self(x)`, gain and offset of the brightness fitted, in levels,
    /// over the pixels whose target under both maps is inside; `None` if that are too few.
    fn error_where(&self, after: &Level, map: &Affine, inside: &Affine) -> Option<f64> {
        let mut pairs = Vec::with_capacity(self.data.len());
        for y in 0..self.height {
            for x in 0..self.width {
                if self.target(inside, x, y).is_some()
                    && let Some(target) = self.target(map, x, y)
                {
                    pairs.push((self.data[y * self.width + x], after.sample(target)));
                }
            }
        }
        if (pairs.len() as f64) < MIN_OVERLAP * self.data.len() as f64 {
            return None;
        }
        let count = pairs.len() as f64;
        let (mut sum, mut sum_after) = (0.0, 0.0);
        for (own, after) in &pairs {
            sum += f64::from(*own);
            sum_after += f64::from(*after);
        }
        let (mean, mean_after) = (sum / count, sum_after / count);
        let (mut squares, mut products) = (0.0, 0.0);
        for (own, after) in &pairs {
            let own = f64::from(*own) - mean;
            squares += own * own;
            products += own * (f64::from(*after) - mean_after);
        }
        let gain = if squares > 0.0 {
            products / squares
        } else {
            0.0
        };
        let off = pairs.iter().map(|(own, after)| {
            (f64::from(*after) - mean_after - gain * (f64::from(*own) - mean)).abs()
        });
        Some(off.sum::<f64>() / count)
    }

    /// How far blocks of `after` are from where the map puts those of this picture, in pixels, in order: the shift that
    /// explains best what is left of each block (Lucas and Kanade), its mean taken out, so that light does not count.
    /// Blocks without steps in two directions say nothing and are left out.
    fn misplaced(&self, after: &Level, map: &Affine) -> Vec<f64> {
        let mut found = Vec::new();
        for top in (1..self.height.saturating_sub(BLOCK_PX)).step_by(BLOCK_PX) {
            for left in (1..self.width.saturating_sub(BLOCK_PX)).step_by(BLOCK_PX) {
                found.extend(self.block_shift(after, map, left, top));
            }
        }
        found.sort_unstable_by(f64::total_cmp);
        found
    }

    /// The length of the shift of one block, if it can be told.
    fn block_shift(&self, after: &Level, map: &Affine, left: usize, top: usize) -> Option<f64> {
        // Sums of gx, gy, off and of their products.
        let mut sums = [0.0f64; 8];
        let mut count = 0usize;
        for y in top..top + BLOCK_PX {
            for x in left..left + BLOCK_PX {
                let Some(target) = self.target(map, x, y) else {
                    continue;
                };
                let at = y * self.width + x;
                let off = after.sample(target) - self.data[at];
                let gx = (self.data[at + 1] - self.data[at - 1]) / 2.0;
                let gy = (self.data[at + self.width] - self.data[at - self.width]) / 2.0;
                count += 1;
                let terms = [gx, gy, off, gx * gx, gx * gy, gy * gy, gx * off, gy * off];
                for (sum, term) in sums.iter_mut().zip(terms) {
                    *sum += f64::from(term);
                }
            }
        }
        if count * 2 < BLOCK_PX * BLOCK_PX {
            return None;
        }
        let [gx, gy, off, xx, xy, yy, xo, yo] = sums.map(|sum| sum / count as f64);
        let (xx, xy, yy) = (xx - gx * gx, xy - gx * gy, yy - gy * gy);
        let (xo, yo) = (xo - gx * off, yo - gy * off);
        let (half, root) = ((xx + yy) / 2.0, ((xx - yy).powi(2) / 4.0 + xy * xy).sqrt());
        if half - root < LEAST_STEP_LEVELS * LEAST_STEP_LEVELS {
            return None;
        }
        let determinant = xx * yy - xy * xy;
        let (dx, dy) = (
            (yy * xo - xy * yo) / determinant,
            (xx * yo - xy * xo) / determinant,
        );
        Some(dx.hypot(dy).min(BLOCK_PX as f64))
    }

    /// Mean absolute difference under this map, gain and offset fitted, in levels.
    fn error(&self, after: &Level, map: &Affine) -> Option<f64> {
        self.error_where(after, map, map)
    }

    /// The shift by whole pixels, up to a quarter of the sides, under which the pictures correlate best.
    fn shift_to(&self, after: &Level) -> Affine {
        let (reach_x, reach_y) = (self.width as i32 / 4, self.height as i32 / 4);
        let mut best = (f64::NEG_INFINITY, IDENTITY);
        for dy in -reach_y..=reach_y {
            for dx in -reach_x..=reach_x {
                let correlation = self.correlation(after, dx, dy);
                if correlation > best.0 {
                    best = (
                        correlation,
                        [f64::from(dx), 0.0, 0.0, f64::from(dy), 0.0, 0.0],
                    );
                }
            }
        }
        best.1
    }

    /// Correlation of `after`, shifted, with this picture over the pixels that both show, -1 to 1.
    fn correlation(&self, after: &Level, dx: i32, dy: i32) -> f64 {
        let span = |shift: i32, len: usize| {
            let shift_len = shift.unsigned_abs() as usize;
            let start = if shift < 0 { shift_len } else { 0 };
            (start, len - shift_len)
        };
        let ((x, width), (y, height)) = (span(dx, self.width), span(dy, self.height));
        let (x_after, y_after) = (span(-dx, self.width).0, span(-dy, self.height).0);
        let mut sums = [0.0f64; 5];
        for row in 0..height {
            let own = &self.data[(y + row) * self.width + x..][..width];
            let other = &after.data[(y_after + row) * self.width + x_after..][..width];
            let mut row_sums = [0.0f32; 5];
            for (a, b) in own.iter().zip(other) {
                let (a, b) = (a - 128.0, b - 128.0);
                for (sum, value) in row_sums.iter_mut().zip([a, b, a * a, b * b, a * b]) {
                    *sum += value;
                }
            }
            for (sum, row_sum) in sums.iter_mut().zip(row_sums) {
                *sum += f64::from(row_sum);
            }
        }
        let count = (width * height) as f64;
        let [a, b, aa, bb, ab] = sums.map(|sum| sum / count);
        let spread = ((aa - a * a) * (bb - b * b)).max(0.0).sqrt();
        if spread > 0.0 {
            (ab - a * b) / spread
        } else {
            -1.0
        }
    }

    /// The map after some Gauss–Newton steps from `start`; `start` itself if they lead nowhere better.
    fn fit(&self, after: &Level, start: Affine) -> Affine {
        let mut map = start;
        for _ in 0..STEPS {
            let Some((next, way_px)) = self.step(after, &map) else {
                break;
            };
            map = next;
            if way_px < DONE_PX {
                break;
            }
        }
        let error = |map: &Affine| self.error(after, map).unwrap_or(f64::INFINITY);
        if error(&map) <= error(&start) {
            map
        } else {
            start
        }
    }

    /// One inverse compositional step, with gain and offset of the brightness free: the new map, and how far it moves
    /// the picture's border at most, in pixels. `None` if it cannot be solved.
    fn step(&self, after: &Level, map: &Affine) -> Option<(Affine, f64)> {
        let (cx, cy) = (
            (self.width - 1) as f32 / 2.0,
            (self.height - 1) as f32 / 2.0,
        );
        let scale = 1.0 / cx.max(cy);
        // Normal equations, the error as last column.
        let mut normal = [[0.0f64; COLUMNS]; UNKNOWNS];
        for y in 1..self.height - 1 {
            let mut row_sums = [[0.0f32; COLUMNS]; UNKNOWNS];
            for x in 1..self.width - 1 {
                let Some(target) = self.target(map, x, y) else {
                    continue;
                };
                let at = y * self.width + x;
                let gx = (self.data[at + 1] - self.data[at - 1]) / 2.0;
                let gy = (self.data[at + self.width] - self.data[at - self.width]) / 2.0;
                let (dx, dy) = ((x as f32 - cx) * scale, (y as f32 - cy) * scale);
                let error = after.sample(target) - self.data[at];
                // About the middle of the scale, so that gain and offset are nearly independent.
                let own = self.data[at] - 128.0;
                let row = [gx, gx * dx, gx * dy, gy, gy * dx, gy * dy, own, 1.0, error];
                for i in 0..UNKNOWNS {
                    for j in i..COLUMNS {
                        row_sums[i][j] += row[i] * row[j];
                    }
                }
            }
            for i in 0..UNKNOWNS {
                for j in i..COLUMNS {
                    normal[i][j] += f64::from(row_sums[i][j]);
                }
            }
        }
        let solved = solve(normal)?;
        let scale = f64::from(scale);
        let [a0, a1, a2, a3, a4, a5, ..] = solved;
        let delta = [a0, a1 * scale, a2 * scale, a3, a4 * scale, a5 * scale];
        let way_px = solved[..6].iter().map(|entry| entry.abs()).sum();
        Some((after_inverse(map, &delta)?, way_px))
    }
}

/// The map that first undoes `delta` and then does `map`; `None` if `delta` cannot be undone.
fn after_inverse(map: &Affine, delta: &Affine) -> Option<Affine> {
    let (a, b, c, d) = (1.0 + delta[1], delta[2], delta[4], 1.0 + delta[5]);
    let determinant = a * d - b * c;
    if !(determinant.abs() > 1e-3 && determinant.is_finite()) {
        return None;
    }
    let [ia, ib, ic, id] = [d, -b, -c, a].map(|entry| entry / determinant);
    let (it0, it1) = (
        -(ia * delta[0] + ib * delta[3]),
        -(ic * delta[0] + id * delta[3]),
    );
    let (ma, mb, mc, md) = (1.0 + map[1], map[2], map[4], 1.0 + map[5]);
    Some([
        map[0] + ma * it0 + mb * it1,
        ma * ia + mb * ic - 1.0,
        ma * ib + mb * id,
        map[3] + mc * it0 + md * it1,
        mc * ia + md * ic,
        mc * ib + md * id - 1.0,
    ])
}

/// Solves the symmetric system whose upper triangle and right side these are, by elimination; `None` if it is singular.
fn solve(mut rows: [[f64; COLUMNS]; UNKNOWNS]) -> Option<[f64; UNKNOWNS]> {
    for i in 1..UNKNOWNS {
        let (done, rest) = rows.split_at_mut(i);
        for (j, row) in done.iter().enumerate() {
            rest[0][j] = row[i];
        }
    }
    for i in 0..UNKNOWNS {
        // The matrix is positive semidefinite: the diagonal will do as pivot.
        let pivot_row = rows[i];
        if pivot_row[i] <= 1e-6 {
            return None;
        }
        for (j, row) in rows.iter_mut().enumerate() {
            if j != i {
                let factor = row[i] / pivot_row[i];
                for (entry, pivot) in row.iter_mut().zip(pivot_row).skip(i) {
                    *entry -= factor * pivot;
                }
            }
        }
    }
    let mut solution = [0.0; UNKNOWNS];
    for (i, row) in rows.iter().enumerate() {
        solution[i] = row[UNKNOWNS] / row[i];
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A smooth, busy picture without a period.
    fn scene(x: f64, y: f64) -> f64 {
        let waves = [
            (0.11, 0.05, 1.0),
            (-0.04, 0.13, 2.0),
            (0.21, -0.17, 0.5),
            (0.023, 0.031, 4.0),
            (-0.15, -0.09, 3.3),
        ];
        let sum: f64 = waves
            .iter()
            .map(|(u, v, phase)| (u * x + v * y + phase).sin())
            .sum();
        128.0 + 24.0 * sum
    }

    /// Where a point of the frame lies in the scene.
    type Camera = fn(f64, f64) -> (f64, f64);

    fn frame(at: impl Fn(f64, f64) -> f64) -> Pyramid {
        let size = 256;
        let data = (0..size * size)
            .map(|i| at((i % size) as f64, (i / size) as f64).clamp(0.0, 255.0) as u8);
        Pyramid::new(&Plane::new(size, data.collect()))
    }

    #[test]
    fn a_camera_over_a_still_picture_leaves_little() {
        let before = frame(scene);
        let maps: [(&str, Camera); 4] = [
            ("pan", |x, y| (x + 3.3, y - 1.7)),
            ("fast pan", |x, y| (x + 24.0, y + 9.0)),
            ("zoom", |x, y| {
                (128.0 + (x - 128.0) * 0.96, 128.0 + (y - 128.0) * 0.96)
            }),
            ("turn", |x, y| {
                (x + 0.03 * (y - 128.0), y - 0.03 * (x - 128.0))
            }),
        ];
        for (name, map) in maps {
            let after = frame(|x, y| {
                let (x, y) = map(x, y);
                scene(x, y) * 0.95 + 5.0
            });
            let left = residual(&before, &after).expect("it moves");
            assert!(left < 0.12, "{name}: {left}");
        }
    }

    #[test]
    fn things_that_move_on_their_own_are_not_explained() {
        let world = |shift: f64| {
            frame(move |x, y| {
                if (x - 80.0 - shift).powi(2) + (y - 120.0).powi(2) < 3600.0 {
                    scene(2.0 * (x - shift), y + 900.0)
                } else {
                    scene(x + shift, y)
                }
            })
        };
        let left = residual(&world(0.0), &world(6.0)).expect("it moves");
        assert!(left > 0.3, "{left}");
        let other = residual(
            &frame(scene),
            &frame(|x, y| scene(-1.7 * y + 4000.0, 1.3 * x)),
        );
        assert!(other.expect("it changes") > 0.6, "{other:?}");
    }

    #[test]
    fn without_motion_there_is_nothing_to_say() {
        let still = frame(scene);
        assert_eq!(residual(&still, &still), None);
        let faded = frame(|x, y| scene(x, y) - 9.0);
        assert_eq!(residual(&still, &faded), None);
        let tiny = Pyramid::new(&Plane::new(8, vec![0; 64]));
        assert_eq!(residual(&tiny, &tiny), None);
    }
}
