//! Where exactly a bar ends that a model saw: the straight seam that stays in all frames.
//!
//! A model's edge is some pixels off; a crop wants the pixel. So the lines near the model's edge are looked at: over how
//! much of its length does a line differ from the one before it. A seam is a line where most of it does, while outside of
//! it, in the bar, hardly anything does: a bar is of one colour, a gradient or a blur. In a textured picture without a bar
//! every line differs from the next, and there is no seam.

use super::borders::Side;
use crate::signals::plane::Plane;

/// Step over the seam, mean over the frames, from which a place crosses it visibly, in 8-bit levels.
const STEP_LEVELS: f32 = 5.0;

/// Share of the places that must cross the seam visibly.
const COVERAGE: f32 = 0.5;

/// Places along the seam that are looked at; more say nothing new.
const PLACES: usize = 320;

/// Lines outside of a seam that must be quiet.
const QUIET_PX: usize = 6;

/// Lines over which an encoder may smear a seam.
const SMEAR_PX: usize = 2;

/// How much of the quiet lines may differ, as a share of how much of the seam does.
const QUIET: f32 = 0.4;

/// A seam.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seam {
    /// How many lines of pixels lie outside of it.
    pub thickness_px: usize,
    /// Share of it that is crossed visibly, 0 to 1.
    pub coverage: f32,
}

/// The seam along `side`, between `least` and `most` lines of pixels from it. All planes have one size.
pub fn seam(planes: &[Plane], side: Side, least: usize, most: usize) -> Option<Seam> {
    let first = planes.first()?;
    let (width, height) = (first.width(), first.height());
    let (deep, long) = match side {
        Side::Top | Side::Bottom => (height, width),
        Side::Left | Side::Right => (width, height),
    };
    let pixel = |plane: &Plane, depth: usize, place: usize| -> f32 {
        let (x, y) = match side {
            Side::Top => (place, depth),
            Side::Bottom => (place, height - 1 - depth),
            Side::Left => (depth, place),
            Side::Right => (width - 1 - depth, place),
        };
        f32::from(plane.row(y)[x])
    };
    let every = long.div_ceil(PLACES).max(1);
    let (least, most) = (least.max(1), most.min(deep.saturating_sub(2)));
    // How much of each line differs from the one outside of it, from a little outside of where a seam may be.
    let start = least.saturating_sub(QUIET_PX + SMEAR_PX).max(1);
    let differing = |depth: usize| -> f32 {
        let places = (0..long).step_by(every);
        let count = places.len().max(1);
        let crossing = places.filter(|place| {
            let steps = planes
                .iter()
                .map(|plane| (pixel(plane, depth, *place) - pixel(plane, depth - 1, *place)).abs());
            steps.sum::<f32>() / planes.len() as f32 >= STEP_LEVELS
        });
        crossing.count() as f32 / count as f32
    };
    let lines: Vec<f32> = (start..=most).map(differing).collect();
    (least..=most)
        .map(|depth| (depth, lines[depth - start]))
        .find(|(depth, coverage)| {
            let edge = depth - start;
            // Where so little is outside of it that all of that may be smeared, what there is has to do.
            let to = edge.saturating_sub(SMEAR_PX).max(1).min(edge);
            let outside = &lines[edge.saturating_sub(QUIET_PX + SMEAR_PX)..to];
            let mean = outside.iter().sum::<f32>() / outside.len() as f32;
            // Of the outermost line nothing is outside, and the mean is no number.
            *coverage >= COVERAGE && mean <= QUIET * coverage
        })
        .map(|(depth, _)| {
            // Where an encoder has smeared it, the seam is where it is steepest.
            let near = (depth..=(depth + SMEAR_PX).min(most)).rev();
            let best = near
                .max_by(|a, b| lines[a - start].total_cmp(&lines[b - start]))
                .unwrap_or(depth);
            Seam {
                thickness_px: best,
                coverage: lines[best - start],
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regions::test_scenes::{HEIGHT, WIDTH, frames, moving};

    fn planes(at: impl Fn(usize, usize, usize) -> [u8; 3]) -> Vec<Plane> {
        frames(6, at)
            .iter()
            .map(|frame| Plane::luma(frame.view()))
            .collect()
    }

    #[test]
    fn the_seam_is_found_to_the_pixel_on_each_side() {
        // A gradient, which is of no one colour.
        let bar = |x: usize, y: usize| [(x / 2) as u8, (y + 30) as u8, 90];
        let all = planes(|k, x, y| {
            if !(31..WIDTH - 44).contains(&x) || !(18..HEIGHT - 25).contains(&y) {
                bar(x, y)
            } else {
                moving(k, x, y)
            }
        });
        for (side, thick) in [
            (Side::Top, 18),
            (Side::Bottom, 25),
            (Side::Left, 31),
            (Side::Right, 44),
        ] {
            let found = seam(&all, side, thick - 9, thick + 9).map(|seam| seam.thickness_px);
            assert_eq!(found, Some(thick), "{side:?}");
        }
    }

    #[test]
    fn a_scene_without_a_bar_has_no_seam() {
        let all = planes(moving);
        for side in [Side::Top, Side::Left] {
            assert_eq!(seam(&all, side, 10, 40), None);
        }
        assert_eq!(seam(&[], Side::Top, 1, 9), None);
    }

    #[test]
    fn near_the_edge_of_the_frame_too_a_seam_has_something_quiet_outside() {
        for least in [0, 1, 2, 3] {
            assert_eq!(seam(&planes(moving), Side::Top, least, 12), None, "{least}");
        }
        for thick in [2, 3, 4] {
            let all = planes(|k, x, y| match y < thick {
                true => [90, 90, 90],
                false => moving(k, x, y),
            });
            let found = seam(&all, Side::Top, 1, 12).map(|seam| seam.thickness_px);
            assert_eq!(found, Some(thick));
        }
    }
}
