//! What editors leave in frames: hard-edged overlays, drawn outlines, kaleidoscopes, split colours, falling lights.

use std::collections::VecDeque;
use std::f32::consts::TAU;

use ndarray::ArrayView3;

use super::plane::Plane;

/// Luma range of 3 x 3 pixels from which an edge is stark, in levels.
const STARK_LEVELS: u8 = 150;

/// Calls `of` with the sum and the range of the luma of each 3 x 3 pixels.
fn threes(plane: &Plane, mut of: impl FnMut(u32, u8)) {
    let w = plane.width();
    let (mut least, mut most, mut sums) = (vec![0u8; w], vec![0u8; w], vec![0u32; w]);
    let rows: Vec<&[u8]> = plane.rows().collect();
    for three in rows.windows(3) {
        for x in 0..w {
            let column = [three[0][x], three[1][x], three[2][x]];
            least[x] = column[0].min(column[1]).min(column[2]);
            most[x] = column[0].max(column[1]).max(column[2]);
            sums[x] = column.map(u32::from).iter().sum();
        }
        let columns = least.windows(3).zip(most.windows(3)).zip(sums.windows(3));
        for ((least, most), sums) in columns {
            let low = least[0].min(least[1]).min(least[2]);
            let high = most[0].max(most[1]).max(most[2]);
            of(sums.iter().sum(), high - low);
        }
    }
}

/// Share of the 3 x 3 pixels that span 150 levels and more, 0 to 1: lettering and stickers with outlines.
pub fn stark(plane: &Plane) -> f64 {
    let (mut stark, mut all) = (0u32, 0u32);
    threes(plane, |_, range| {
        all += 1;
        stark += u32::from(range >= STARK_LEVELS);
    });
    f64::from(stark) / f64::from(all.max(1))
}

/// Correlation of light with detail (mean and range of 3 x 3 pixels), -1 to 1: near 0 in pictures of the world, near 1 where
/// outlines glow, near -1 where they are drawn in ink. `None` for a flat picture.
pub fn edge_light(plane: &Plane) -> Option<f64> {
    let (mut n, mut sums) = (0u64, [0u64; 5]);
    threes(plane, |light, range| {
        let (light, range) = (u64::from(light), u64::from(range));
        n += 1;
        let terms = [light, range, light * light, range * range, light * range];
        for (sum, term) in sums.iter_mut().zip(terms) {
            *sum += term;
        }
    });
    let [light, range, light2, range2, both] = sums.map(|sum| sum as f64 / n.max(1) as f64);
    let (spread_light, spread_range) = (light2 - light * light, range2 - range * range);
    (spread_light > 4.0 && spread_range > 4.0)
        .then(|| (both - light * range) / (spread_light * spread_range).sqrt())
}

/// Wedges of a kaleidoscope that are looked for.
const WEDGES: std::ops::RangeInclusive<usize> = 3..=8;

/// Correlation of the disc in the middle with itself turned by a third to an eighth, the best of them, -1 to 1; less what
/// lies under 7 % of the radius around the centre, and of edges, not of light. `None` for a flat picture or under 24 px.
pub fn turn_likeness(plane: &Plane) -> Option<f64> {
    let (w, h) = (plane.width(), plane.height());
    let radius = (w.min(h) as f32) / 2.0 - 3.0;
    if radius < 9.0 {
        return None;
    }
    let edges = above_surroundings(plane);
    let (cx, cy) = ((w as f32 - 1.0) / 2.0, (h as f32 - 1.0) / 2.0);
    let at = |x: f32, y: f32| {
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = (x - left, y - top);
        let place = top as usize * w + left as usize;
        let mix = |a: f32, b: f32, share: f32| a + (b - a) * share;
        mix(
            mix(edges[place], edges[place + 1], fx),
            mix(edges[place + w], edges[place + w + 1], fx),
            fy,
        )
    };
    let mut disc = Vec::new();
    for y in 0..h {
        for x in 0..w {
            let (dx, dy) = (x as f32 - cx, y as f32 - cy);
            let r = dx.hypot(dy);
            if r <= radius && r > 0.07 * radius {
                disc.push((dx, dy, edges[y * w + x]));
            }
        }
    }
    let power: f32 = disc.iter().map(|(_, _, own)| own * own).sum();
    if power < disc.len() as f32 {
        return None;
    }
    let likeness = |wedges: usize| {
        let (sin, cos) = (TAU / wedges as f32).sin_cos();
        let (mut product, mut turned) = (0.0f32, 0.0f32);
        for &(dx, dy, own) in &disc {
            let other = at(cx + dx * cos - dy * sin, cy + dx * sin + dy * cos);
            product += own * other;
            turned += other * other;
        }
        f64::from(product / (power * turned).sqrt().max(1.0))
    };
    WEDGES.map(likeness).reduce(f64::max)
}

/// Each pixel less the mean of the 5 x 5 around it; the border of 2 px is 0.
fn above_surroundings(plane: &Plane) -> Vec<f32> {
    let (w, h) = (plane.width(), plane.height());
    let mut edges = vec![0.0f32; w * h];
    let mut columns = vec![0u32; w];
    for y in 2..h.saturating_sub(2) {
        columns.fill(0);
        for row in y - 2..=y + 2 {
            for (sum, luma) in columns.iter_mut().zip(plane.row(row)) {
                *sum += u32::from(*luma);
            }
        }
        let row = &plane.row(y)[2..];
        let own = &mut edges[y * w + 2..];
        for ((edge, luma), around) in own.iter_mut().zip(row).zip(columns.windows(5)) {
            *edge = f32::from(*luma) - around.iter().sum::<u32>() as f32 / 25.0;
        }
    }
    edges
}

/// Levels of light within which colours are compared.
const LIGHT_BINS: usize = 16;

/// Share of the colour (squared distance from grey) that follows from the light of a pixel alone, 0 to 1: what footage was
/// graded with is a small part of its colours, a duotone, sepia or heat map is all of them. `None` without colour.
pub fn colour_by_light(frame: ArrayView3<u8>) -> Option<f64> {
    let frame = frame.as_standard_layout();
    let pixels = frame.as_slice().unwrap_or_default();
    // Of each level of light: how many pixels, the sums of red less green and of blue less green, and of both squared.
    let mut bins = [[0i64; 4]; LIGHT_BINS];
    for rgb in pixels.chunks_exact(3) {
        let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(i64::from);
        let light = (77 * r + 150 * g + 29 * b) >> 8;
        let bin = &mut bins[light as usize * LIGHT_BINS / 256];
        let (red, blue) = (r - g, b - g);
        let terms = [1, red, blue, red * red + blue * blue];
        for (sum, term) in bin.iter_mut().zip(terms) {
            *sum += term;
        }
    }
    let (mut explained, mut whole) = (0.0, 0.0);
    for bin in bins {
        let [count, red, blue, squares] = bin.map(|sum| sum as f64);
        explained += (red * red + blue * blue) / count.max(1.0);
        whole += squares;
    }
    (whole > 16.0 * (pixels.len() / 3) as f64).then(|| explained / whole)
}

/// Furthest that red and blue are looked for from one another, as a share of the width.
const SPLIT_REACH: f32 = 0.1;

/// How much better the edges of red agree with those of blue when one is moved across or down (a tenth of the width at
/// most), as a difference of correlations, whatever their sign: 0 where they lie upon each other, 0.1 and more where colours
/// were split. `None` where there are hardly any edges.
pub fn colour_split(frame: ArrayView3<u8>) -> Option<f64> {
    let (h, w, _) = frame.dim();
    let reach = (w as f32 * SPLIT_REACH) as usize;
    if reach < 2 || h <= 2 * reach + 2 {
        return None;
    }
    let steps = |channel: usize, apart: (usize, usize)| {
        let mut steps = Vec::with_capacity(w * h);
        for y in 0..h {
            for x in 0..w {
                let other = frame[[(y + apart.1).min(h - 1), (x + apart.0).min(w - 1), channel]];
                steps.push(f32::from(other) - f32::from(frame[[y, x, channel]]));
            }
        }
        steps
    };
    // Correlations for all places of blue, with red where it is.
    let gain = |apart: (usize, usize), moved: &dyn Fn(i32) -> (i32, i32)| {
        let (red, blue) = (steps(0, apart), steps(2, apart));
        let correlation = |shift: i32| {
            let (dx, dy) = moved(shift);
            let (left, top) = (dx.unsigned_abs() as usize, dy.unsigned_abs() as usize);
            let mut sums = [0.0f32; 3];
            for y in top..h - top {
                let from = y * w + left;
                let place = (from as i32 + dy * w as i32 + dx) as usize;
                let span = w - 2 * left;
                let pairs = red[from..from + span]
                    .iter()
                    .zip(&blue[place..place + span]);
                for (red, blue) in pairs {
                    sums[0] += red * blue;
                    sums[1] += red * red;
                    sums[2] += blue * blue;
                }
            }
            let scale = (sums[1] * sums[2]).sqrt();
            (scale > (w * h) as f32).then(|| f64::from(sums[0] / scale).abs())
        };
        let still = correlation(0)?;
        let reach = reach as i32;
        let best = (-reach..=reach).filter_map(correlation).reduce(f64::max)?;
        Some(best - still)
    };
    let across = gain((1, 0), &|shift| (shift, 0));
    let down = gain((0, 1), &|shift| (0, shift));
    across.into_iter().chain(down).reduce(f64::max)
}

/// Frames to each side that a speck must be gone in.
const GONE: usize = 3;
/// How much lighter or darker a speck is than the same place before and after, and than what lies around it, in levels.
const SPECK_LEVELS: i16 = 18;
/// What lies around a speck is this share of the width away.
const SPECK_REACH: f32 = 0.07;

/// Small spots that are here and gone, frame after frame of one size: snow, sparks, confetti.
#[derive(Debug, Default)]
pub struct Specks {
    planes: VecDeque<Plane>,
    frames: usize,
    bright: f64,
    dark: f64,
}

impl Specks {
    /// The next frame.
    pub fn push(&mut self, plane: &Plane) {
        if self
            .planes
            .back()
            .is_some_and(|last| !last.same_size(plane))
        {
            self.planes.clear();
        }
        self.planes.push_back(plane.clone());
        if self.planes.len() <= 2 * GONE {
            return;
        }
        let [bright, dark] = shares(&self.planes[0], &self.planes[GONE], &self.planes[2 * GONE]);
        self.bright += bright;
        self.dark += dark;
        self.frames += 1;
        self.planes.pop_front();
    }

    /// Share of the picture that bright specks cover, 0 to 1, mean over the frames. `None` with under seven frames.
    pub fn bright(&self) -> Option<f64> {
        (self.frames > 0).then(|| self.bright / self.frames as f64)
    }

    /// Bright specks over dark ones, as a power of two: near 0 for whatever moves in the world, above 2 for falling lights.
    /// `None` as for [`Specks::bright`].
    pub fn bias(&self) -> Option<f64> {
        const LEAST: f64 = 1e-4;
        let of = |sum: f64| sum / self.frames as f64 + LEAST;
        (self.frames > 0).then(|| (of(self.bright) / of(self.dark)).log2())
    }
}

/// The shares of the picture that are bright and dark specks.
fn shares(before: &Plane, plane: &Plane, after: &Plane) -> [f64; 2] {
    let (w, h) = (plane.width(), plane.height());
    let reach = ((w as f32 * SPECK_REACH) as usize).max(2);
    if w <= 2 * reach || h <= 2 * reach {
        return [0.0; 2];
    }
    let mut counts = [0u32; 2];
    for y in reach..h - reach {
        let (row, above, below) = (plane.row(y), plane.row(y - reach), plane.row(y + reach));
        let (row_before, row_after) = (before.row(y), after.row(y));
        for x in reach..w - reach {
            let own = i16::from(row[x]);
            let others = [
                row_before[x],
                row_after[x],
                row[x - reach],
                row[x + reach],
                above[x],
                below[x],
            ];
            let [mut most, mut least] = [0i16, 255];
            for other in others {
                most = most.max(i16::from(other));
                least = least.min(i16::from(other));
            }
            counts[0] += u32::from(own - most >= SPECK_LEVELS);
            counts[1] += u32::from(least - own >= SPECK_LEVELS);
        }
    }
    counts.map(|count| f64::from(count) / (w * h) as f64)
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    fn rough(x: usize, y: usize) -> u8 {
        let hash = (x as u64 * 73_856_093) ^ (y as u64 * 19_349_663);
        (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
    }

    /// Smooth light without any symmetry.
    fn world(x: f32, y: f32) -> f32 {
        110.0 + 40.0 * (x * 0.31 + y * 0.05).sin() + 40.0 * (y * 0.23 - x * 0.11).cos()
    }

    fn plane(at: impl Fn(usize, usize) -> f32) -> Plane {
        let at = |i: usize| at(i % 128, i / 128).clamp(0.0, 255.0) as u8;
        Plane::new(128, (0..128 * 72).map(at).collect())
    }

    #[test]
    fn lettering_is_stark_and_the_world_is_not() {
        let text = plane(|x, y| {
            if x / 3 % 4 == 0 && y > 50 {
                255.0
            } else {
                20.0
            }
        });
        assert!(stark(&text) > 0.1, "{}", stark(&text));
        assert_eq!(stark(&plane(|x, y| world(x as f32, y as f32))), 0.0);
    }

    #[test]
    fn outlines_glow_or_are_ink() {
        let lines = |ink: f32, paper: f32| {
            let plane = plane(|x, y| if (x + 2 * y) % 24 < 2 { ink } else { paper });
            edge_light(&plane).expect("lines")
        };
        assert!(lines(255.0, 0.0) > 0.4 && lines(0.0, 255.0) < -0.4);
        let world = edge_light(&plane(|x, y| world(x as f32, y as f32))).expect("edges");
        assert!(world.abs() < 0.3, "{world}");
        assert_eq!(edge_light(&plane(|_, _| 90.0)), None);
    }

    #[test]
    fn a_kaleidoscope_is_like_itself_when_turned() {
        let of = |wedges: Option<f32>| {
            let plane = plane(|x, y| {
                let (dx, dy) = (x as f32 - 63.5, y as f32 - 35.5);
                let Some(wedges) = wedges else {
                    return world(dx * 2.0, dy * 2.0);
                };
                let wedge = TAU / wedges;
                let angle = (dy.atan2(dx).rem_euclid(wedge) - wedge / 2.0).abs();
                let r = dx.hypot(dy);
                world(r * angle.cos() * 2.0, r * angle.sin() * 2.0)
            });
            turn_likeness(&plane).expect("edges")
        };
        assert!(of(Some(5.0)) > 0.7, "{}", of(Some(5.0)));
        assert!(of(None) < 0.4, "{}", of(None));
    }

    #[test]
    fn split_colours_agree_elsewhere() {
        let of = |dx: usize, dy: usize| {
            let light = |x: usize, y: usize| rough(x / 4, y / 4) / 2 + 40;
            let frame = Array3::from_shape_fn((72, 128, 3), |(y, x, c)| match c {
                0 => light(x + 20, y + 20),
                1 => light(x + 20 + dx / 2, y + 20 + dy / 2),
                _ => light(x + 20 + dx, y + 20 + dy),
            });
            colour_split(frame.view()).expect("edges")
        };
        assert!(of(0, 0) < 0.01, "{}", of(0, 0));
        assert!(
            of(7, 0) > 0.5 && of(0, 6) > 0.5,
            "{} {}",
            of(7, 0),
            of(0, 6)
        );
    }

    #[test]
    fn colours_of_a_duotone_follow_from_its_light() {
        let of = |colour: &dyn Fn(usize, usize) -> [u8; 3]| {
            let frame = Array3::from_shape_fn((48, 64, 3), |(y, x, c)| colour(x, y)[c]);
            colour_by_light(frame.view())
        };
        let duotone = of(&|x, y| {
            let light = rough(x, y);
            [light, light / 3, 120 - light / 4]
        });
        assert!(duotone.expect("colour") > 0.95, "{duotone:?}");
        let world = of(&|x, y| [0, 1, 2].map(|c| rough(x + 7 * c, y)));
        assert!(world.expect("colour") < 0.5, "{world:?}");
        assert_eq!(of(&|x, y| [rough(x, y); 3]), None);
    }

    #[test]
    fn snow_falls_and_the_world_pans() {
        let specks = |at: &dyn Fn(usize, usize, usize) -> f32| {
            let mut specks = Specks::default();
            for t in 0..12 {
                specks.push(&plane(|x, y| at(t, x, y)));
            }
            (
                specks.bright().expect("frames"),
                specks.bias().expect("frames"),
            )
        };
        let snow = specks(&|t, x, y| {
            let is_flake = (x + t) % 16 < 2 && (y + 72 - 5 * t % 72) % 20 < 2;
            if is_flake {
                250.0
            } else {
                world(x as f32, y as f32) * 0.7
            }
        });
        assert!(snow.0 > 0.002 && snow.1 > 2.0, "{snow:?}");
        let pan = specks(&|t, x, y| world((x + 2 * t) as f32, y as f32));
        assert!(pan.1.abs() < 1.0, "{pan:?}");
        assert_eq!(Specks::default().bright(), None);
    }
}
