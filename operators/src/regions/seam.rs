//! Where exactly a bar ends that a model saw: the straight seam that stays in all frames.
//!
//! A model's edge is some pixels off; a crop wants the pixel. So the lines near the model's edge are looked at: how much of
//! the line next to one another differs, the same way, in most frames. The line where most of it does is the seam, if that
//! is enough of it.

use super::borders::Side;
use crate::signals::plane::Plane;

/// Step over the seam, mean over the frames, from which a place crosses it visibly, in 8-bit levels.
const STEP_LEVELS: f32 = 5.0;

/// Share of the places that must cross the seam visibly.
const COVERAGE: f32 = 0.5;

/// Places along the seam that are looked at; more say nothing new.
const PLACES: usize = 320;

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
    let mut best: Option<Seam> = None;
    for thickness in least..=most {
        let (mut crossed, mut places) = (0usize, 0usize);
        for place in (0..long).step_by(every) {
            // Mean of the sizes, and size of the mean: a seam of a bar need not be the same way round in each frame.
            let steps = planes
                .iter()
                .map(|plane| pixel(plane, thickness, place) - pixel(plane, thickness - 1, place));
            let sum: f32 = steps.map(f32::abs).sum();
            places += 1;
            crossed += usize::from(sum / planes.len() as f32 >= STEP_LEVELS);
        }
        let coverage = crossed as f32 / places.max(1) as f32;
        if coverage >= COVERAGE && best.is_none_or(|best| coverage > best.coverage) {
            best = Some(Seam {
                thickness_px: thickness,
                coverage,
            });
        }
    }
    // Of a textured picture every line differs from the next: a seam stands out.
    let best = best?;
    let beyond = (best.thickness_px + 3..best.thickness_px + 12).filter(|depth| *depth + 2 < deep);
    let textured = beyond.clone().filter(|depth| {
        let crossing = (0..long).step_by(every).filter(|place| {
            let sum: f32 = planes
                .iter()
                .map(|plane| (pixel(plane, *depth, *place) - pixel(plane, depth - 1, *place)).abs())
                .sum();
            sum / planes.len() as f32 >= STEP_LEVELS
        });
        crossing.count() as f32 >= 0.9 * best.coverage * (long.div_ceil(every)) as f32
    });
    (textured.count() * 3 <= beyond.count() * 2).then_some(best)
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
            if x < 31 || x >= WIDTH - 44 || y < 18 || y >= HEIGHT - 25 {
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
}
