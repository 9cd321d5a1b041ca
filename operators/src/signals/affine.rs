//! How much of the change between two frames an affine motion of the whole picture explains.
//!
//! A camera that is simulated on a still picture (pan, zoom, rotation) moves every pixel by one affine map; in real
//! footage things move on their own and near ones move more than far ones. The map is fitted by Gauss–Newton steps on
//! the luma (Lucas and Kanade 1981; inverse compositional: Baker and Matthews, "Lucas-Kanade 20 years on", 2004), from
//! coarse to fine, begun with the best whole-pixel shift at the coarsest level.

use super::affine_maps::{Affine, COLUMNS, IDENTITY, UNKNOWNS, after_inverse, solve};
use super::plane::Plane;

/// Longest side at which the fit is made, in pixels.
const FINEST_PX: usize = 128;

/// Shortest side of a level of the pyramid, in pixels.
const COARSEST_PX: usize = 16;

/// No further level is made below a longest side of this, in pixels.
const COARSE_ENOUGH_PX: usize = 40;

/// The same, rounded up to whole vectors of four.
const PADDED: usize = COLUMNS.next_multiple_of(4);

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

/// Where a map takes the pixels of a level: what depends on the column alone is there once for all rows.
struct Targets {
    columns: Vec<[f64; 2]>,
    down: [f64; 2],
    centre: [f64; 2],
    last: [f64; 2],
    width: usize,
}

/// A place between pixels: the upper left one's, and the way beyond it.
type Target = (usize, f32, f32);

impl Targets {
    /// Where the pixels of a row go, from the left: `None` outside of the picture.
    #[inline]
    fn row(&self, y: usize) -> impl Iterator<Item = Option<Target>> + '_ {
        let [cx, cy] = self.centre;
        let dy = y as f64 - cy;
        let (across, down) = (self.down[0] * dy, self.down[1] * dy);
        self.columns.iter().map(move |[x, y]| {
            let (tx, ty) = (x + across + cx, y + down + cy);
            if !(tx >= 0.0 && ty >= 0.0 && tx < self.last[0] && ty < self.last[1]) {
                return None;
            }
            // A level is far smaller than numbers of 32 bits.
            let (ix, iy) = (tx as u32, ty as u32);
            Some((
                iy as usize * self.width + ix as usize,
                (tx - f64::from(ix)) as f32,
                (ty - f64::from(iy)) as f32,
            ))
        })
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

    /// Where a map takes the pixels of this picture.
    fn targets(&self, map: &Affine) -> Targets {
        let (cx, cy) = (
            (self.width - 1) as f64 / 2.0,
            (self.height - 1) as f64 / 2.0,
        );
        let columns = (0..self.width).map(|x| {
            let dx = x as f64 - cx;
            [map[0] + (1.0 + map[1]) * dx, map[3] + map[4] * dx]
        });
        Targets {
            columns: columns.collect(),
            down: [map[2], 1.0 + map[5]],
            centre: [cx, cy],
            last: [(self.width - 1) as f64, (self.height - 1) as f64],
            width: self.width,
        }
    }

    #[inline]
    fn sample(&self, (at, fx, fy): Target) -> f32 {
        let upper = self.data[at] + fx * (self.data[at + 1] - self.data[at]);
        let below = at + self.width;
        let lower = self.data[below] + fx * (self.data[below + 1] - self.data[below]);
        upper + fy * (lower - upper)
    }

    /// Mean absolute difference of `after(map(x))` from `self(x)`, gain and offset of the brightness fitted, in levels,
    /// over the pixels whose target under both maps is inside; `None` if that are too few.
    fn error_where(&self, after: &Level, map: &Affine, inside: &Affine) -> Option<f64> {
        let mut pairs = Vec::with_capacity(self.data.len());
        let (targets, inside) = (
            self.targets(map),
            (inside != map).then(|| self.targets(inside)),
        );
        for (y, own) in self.data.chunks_exact(self.width).enumerate() {
            let row = own.iter().zip(targets.row(y));
            let mut put = |(own, target): (&f32, Option<Target>)| {
                pairs.extend(target.map(|target| (*own, after.sample(target))));
            };
            match &inside {
                None => row.for_each(put),
                Some(inside) => row
                    .zip(inside.row(y))
                    .filter(|(_, inside)| inside.is_some())
                    .for_each(|(pixel, _)| put(pixel)),
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
        let targets = self.targets(map);
        for top in (1..self.height.saturating_sub(BLOCK_PX)).step_by(BLOCK_PX) {
            for left in (1..self.width.saturating_sub(BLOCK_PX)).step_by(BLOCK_PX) {
                found.extend(self.block_shift(after, &targets, left, top));
            }
        }
        found.sort_unstable_by(f64::total_cmp);
        found
    }

    /// The length of the shift of one block, if it can be told.
    fn block_shift(
        &self,
        after: &Level,
        targets: &Targets,
        left: usize,
        top: usize,
    ) -> Option<f64> {
        // Sums of gx, gy, off and of their products.
        let mut sums = [0.0f64; 8];
        let mut count = 0usize;
        for y in top..top + BLOCK_PX {
            let row = targets.row(y).enumerate().skip(left).take(BLOCK_PX);
            for (x, target) in row {
                let Some(target) = target else {
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
        let targets = self.targets(map);
        for y in 1..self.height - 1 {
            // Whole rows of products, of which the lower triangle and the padding are not used: vector code, where the
            // upper triangle alone would not be.
            let mut row_sums = [[0.0f32; PADDED]; UNKNOWNS];
            let inner = targets.row(y).enumerate().take(self.width - 1).skip(1);
            for (x, target) in inner {
                let Some(target) = target else {
                    continue;
                };
                let at = y * self.width + x;
                let gx = (self.data[at + 1] - self.data[at - 1]) / 2.0;
                let gy = (self.data[at + self.width] - self.data[at - self.width]) / 2.0;
                let (dx, dy) = ((x as f32 - cx) * scale, (y as f32 - cy) * scale);
                let error = after.sample(target) - self.data[at];
                // About the middle of the scale, so that gain and offset are nearly independent.
                let own = self.data[at] - 128.0;
                let row: [f32; PADDED] = [
                    gx,
                    gx * dx,
                    gx * dy,
                    gy,
                    gy * dx,
                    gy * dy,
                    own,
                    1.0,
                    error,
                    0.0,
                    0.0,
                    0.0,
                ];
                for (sums, factor) in row_sums.iter_mut().zip(row) {
                    for (sum, term) in sums.iter_mut().zip(row) {
                        *sum += factor * term;
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

#[cfg(test)]
#[path = "affine_tests.rs"]
mod tests;
