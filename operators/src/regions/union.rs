//! What pixels say and what a model says, put together.
//!
//! * **Bars.** Where the pixels show a bar along a side, theirs is exact; a model's bar there only confirms it. A model's
//!   bar alone counts if there is a straight seam near its edge ([`seam`]), and then ends there, or if the model is sure
//!   enough ([`SURE_BAR`]): rounded windows and bars filled with a blurred picture end in no straight seam.
//! * **The same thing.** Two boxes that overlap by [`SAME`] are one region. The model has seen what it is, the pixels
//!   where it ends: its class, their box. What pixels found in pieces within a model's box is that box, subtitles aside.
//! * **Overlays of the model alone.** An overlay stands still while the picture moves, and a sign in the scene moves with
//!   it. Where the picture around a box moves, the edges in it that last speak for it and move it to where they are, and if
//!   none last, against it ([`Evidence`]); how sure the model must be depends on that. Where nothing moves, the model is
//!   all there is.

use super::borders::Side;
use super::overlays::Evidence;
use super::seam::seam;
use super::signals::Seen;
use super::tracks::{in_order, iou};
use crate::kinds::Region;
use crate::signals::plane::Plane;

/// Name of both backends together, in rows.
pub const FOUND_BY_BOTH: &str = "signals+yolo";

/// IoU from which two boxes are one region.
const SAME: f32 = 0.5;

/// Share of a box in another from which it is a piece of it.
const PIECE: f32 = 0.7;

/// Persistence under which lasting edges cannot be asked for: they last over 80 % of the frames.
const LASTS: f32 = 0.85;

/// Score that a model's bar needs where the pixels show none: doors, walls and tables have straight seams, too.
const BAR_SCORE: f32 = 0.3;

/// Score from which a model's bar is taken at its word, seam or none.
const SURE_BAR: f32 = 0.65;

/// Score that a model's subtitle needs, of which nothing need last.
const SUBTITLE_SCORE: f32 = 0.55;

/// Scores that a model's overlay needs, by what the pixels say of it. They were chosen on videos that the detector of
/// `models/weights/regions` did not learn from; its card says how good they are.
struct Needed {
    /// Its edges last while the picture moves.
    lasting: f32,
    /// Some of them do.
    unclear: f32,
    /// They do not.
    moving: f32,
    /// Nothing moves, so the pixels say nothing: a thing in the scene stands as still as a logo.
    still: f32,
}

const LOGO: Needed = Needed {
    lasting: 0.2,
    unclear: 0.4,
    moving: 0.65,
    still: 0.5,
};

/// A translucent one hardly has edges, so the pixels count for less.
const WATERMARK: Needed = Needed {
    lasting: 0.2,
    unclear: 0.25,
    moving: 0.45,
    still: 0.5,
};

/// Puts the regions of a model to those of the pixels.
pub fn union(seen: &Seen, model: Vec<Region>) -> Vec<Region> {
    let (width, height) = (seen.width as f32, seen.height as f32);
    let mut regions = seen.regions.clone();
    let (bars, overlays): (Vec<Region>, Vec<Region>) = model
        .into_iter()
        .partition(|region| region.class == "border");
    for bar in bars {
        let Some(side) = side_of(bar.rect, width, height) else {
            continue; // no bar, whatever it is
        };
        let on_side = regions.iter_mut().find(|other| {
            other.class == "border" && side_of(other.rect, width, height) == Some(side)
        });
        match on_side {
            Some(exact) => confirm(exact, &bar),
            None if bar.score < BAR_SCORE => {}
            None => regions.extend(exact_bar(&seen.planes, bar, side, width, height)),
        }
    }
    for overlay in overlays {
        let same = regions
            .iter()
            .position(|other| other.class != "border" && iou(other.rect, overlay.rect) >= SAME);
        if let Some(index) = same {
            let exact = &mut regions[index];
            exact.class.clone_from(&overlay.class);
            confirm(exact, &overlay);
            continue;
        }
        let Some(overlay) = judged(seen, overlay) else {
            continue;
        };
        // A watermark over all of the frame has lines of text over it that are none of its pieces.
        let in_pieces = |other: &Region| {
            other.class != "border"
                && (other.class != "subtitle" || overlay.class == "subtitle")
                && share_inside(other.rect, overlay.rect) >= PIECE
        };
        let had_pieces = regions.iter().any(in_pieces);
        regions.retain(|other| !in_pieces(other));
        // Nor is a piece of what is known already a region of its own.
        let known = |other: &Region| {
            other.class == overlay.class && share_inside(overlay.rect, other.rect) >= PIECE
        };
        if !regions.iter().any(known) {
            regions.push(Region {
                found_by: if had_pieces {
                    FOUND_BY_BOTH
                } else {
                    overlay.found_by
                },
                ..overlay
            });
        }
    }
    regions.sort_by(in_order);
    regions
}

/// The region was found once more, perhaps by another backend.
fn confirm(exact: &mut Region, other: &Region) {
    exact.score = exact.score.max(other.score);
    exact.persistence = exact.persistence.max(other.persistence);
    if exact.found_by != other.found_by {
        exact.found_by = FOUND_BY_BOTH;
    }
}

/// Along which side a box is a bar: it touches the side, and is longer along it than deep.
fn side_of([x0, y0, x1, y1]: [f32; 4], width: f32, height: f32) -> Option<Side> {
    let (wide, high) = ((x1 - x0) / width, (y1 - y0) / height);
    let touch = 0.02;
    let sides = [
        (Side::Top, y0 <= touch * height && wide >= 0.5 && high < 0.5),
        (
            Side::Bottom,
            y1 >= (1.0 - touch) * height && wide >= 0.5 && high < 0.5,
        ),
        (Side::Left, x0 <= touch * width && high >= 0.5 && wide < 0.5),
        (
            Side::Right,
            x1 >= (1.0 - touch) * width && high >= 0.5 && wide < 0.5,
        ),
    ];
    sides.into_iter().find_map(|(side, is)| is.then_some(side))
}

/// A model's bar along the whole of its side, moved to the seam near its edge; `None` if there is no seam and the model is
/// not sure.
fn exact_bar(planes: &[Plane], bar: Region, side: Side, width: f32, height: f32) -> Option<Region> {
    let [x0, y0, x1, y1] = bar.rect;
    let (deep, thick) = match side {
        Side::Top => (height, y1),
        Side::Bottom => (height, height - y0),
        Side::Left => (width, x1),
        Side::Right => (width, width - x0),
    };
    let slack = (0.02 * deep).max(0.2 * thick).max(6.0);
    let (least, most) = ((thick - slack).max(2.0), (thick + slack).min(0.48 * deep));
    let thick = match seam(planes, side, least as usize, most as usize) {
        Some(found) => found.thickness_px as f32,
        None if bar.score >= SURE_BAR => thick,
        None => return None,
    };
    let rect = match side {
        Side::Top => [0.0, 0.0, width, thick],
        Side::Bottom => [0.0, height - thick, width, height],
        Side::Left => [0.0, 0.0, thick, height],
        Side::Right => [width - thick, 0.0, width, height],
    };
    Some(Region { rect, ..bar })
}

/// A model's overlay in the light of what lasts: moved to its lasting edges, or left out. Of classes that this file knows
/// nothing of, the model's word is taken.
fn judged(seen: &Seen, overlay: Region) -> Option<Region> {
    let needed = match overlay.class.as_str() {
        "logo" => LOGO,
        "watermark" => WATERMARK,
        "subtitle" => return (overlay.score >= SUBTITLE_SCORE).then_some(overlay),
        _ => return Some(overlay),
    };
    let stands = overlay.persistence >= LASTS;
    let evidence = seen.evidence(overlay.rect).filter(|_| stands);
    let (needed, rect) = match evidence {
        None => (needed.still, overlay.rect),
        Some(Evidence { lasting, bounds }) if lasting >= 0.3 => {
            // The edges of a small part of it, or of more than it, are not its bounds.
            let exact = bounds.filter(|bounds| iou(*bounds, overlay.rect) >= SAME);
            (needed.lasting, exact.unwrap_or(overlay.rect))
        }
        Some(Evidence { lasting, .. }) if lasting < 0.06 => (needed.moving, overlay.rect),
        Some(_) => (needed.unclear, overlay.rect),
    };
    (overlay.score >= needed).then_some(Region { rect, ..overlay })
}

/// How much of a rectangle lies in another one, 0 to 1.
pub(super) fn share_inside(inner: [f32; 4], outer: [f32; 4]) -> f32 {
    let side = |low: f32, high: f32| (high - low).max(0.0);
    let shared = side(inner[0].max(outer[0]), inner[2].min(outer[2]))
        * side(inner[1].max(outer[1]), inner[3].min(outer[3]));
    shared / (side(inner[0], inner[2]) * side(inner[1], inner[3])).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::frames::Frame;
    use crate::regions::signals;
    use crate::regions::test_scenes::{WIDTH, frames, moving, tripod};

    fn region(class: &str, rect: [f32; 4], score: f32) -> Region {
        Region {
            class: class.to_owned(),
            rect,
            score,
            persistence: 1.0,
            found_by: "yolo",
        }
    }

    fn both(frames: &[Frame], model: &[Region]) -> Vec<(String, [f32; 4], &'static str)> {
        union(&signals::look(frames, 0.3), model.to_vec())
            .into_iter()
            .map(|region| (region.class, region.rect, region.found_by))
            .collect()
    }

    const LOGO: [f32; 4] = [270.0, 12.0, 302.0, 32.0];

    /// A checked logo over a scene.
    fn with_logo(scene: impl Fn(usize, usize, usize) -> [u8; 3]) -> Vec<Frame> {
        frames(12, |k, x, y| {
            let [x0, y0, x1, y1] = LOGO.map(|edge| edge as usize);
            if (x0..x1).contains(&x) && (y0..y1).contains(&y) {
                if (x / 6 + y / 6) % 2 == 0 {
                    [250; 3]
                } else {
                    [10; 3]
                }
            } else {
                scene(k, x, y)
            }
        })
    }

    #[test]
    fn what_both_see_is_one_region_with_the_class_of_the_model_and_the_box_of_the_pixels() {
        let alone = signals::find(&with_logo(moving), 0.3);
        let rough = [264.0, 8.0, 306.0, 36.0];
        let found = both(&with_logo(moving), &[region("watermark", rough, 0.5)]);
        assert_eq!(
            found,
            [("watermark".to_owned(), alone[0].rect, FOUND_BY_BOTH)]
        );
    }

    #[test]
    fn over_a_moving_scene_a_model_needs_lasting_edges_or_certainty() {
        let elsewhere = [60.0, 80.0, 110.0, 110.0];
        let clean = frames(12, moving);
        assert!(both(&clean, &[region("logo", elsewhere, 0.5)]).is_empty());
        assert_eq!(both(&clean, &[region("logo", elsewhere, 0.9)]).len(), 1);
        // Subtitles change, so nothing of them need last.
        assert_eq!(both(&clean, &[region("subtitle", elsewhere, 0.6)]).len(), 1);
        let still = frames(12, |_, x, y| tripod(0, x, y));
        let found = both(&still, &[region("logo", elsewhere, 0.7)]);
        assert_eq!(found, [("logo".to_owned(), elsewhere, "yolo")]);
        assert!(both(&still, &[region("logo", elsewhere, 0.4)]).is_empty());
    }

    #[test]
    fn the_bar_of_the_pixels_wins_and_a_bar_of_the_model_needs_a_seam() {
        let thick = 24;
        let bar = frames(
            12,
            |k, x, y| if y < thick { [0; 3] } else { moving(k, x, y) },
        );
        let rough = region("border", [0.0, 0.0, WIDTH as f32, 29.0], 0.6);
        let exact = [0.0, 0.0, WIDTH as f32, thick as f32];
        assert_eq!(
            both(&bar, std::slice::from_ref(&rough)),
            [("border".to_owned(), exact, FOUND_BY_BOTH)]
        );
        // Of no one colour: pixels alone do not see it.
        let gradient = frames(12, |k, x, y| {
            if y < thick {
                [(x / 2) as u8, 120, 60]
            } else {
                moving(k, x, y)
            }
        });
        assert!(both(&gradient, &[]).is_empty());
        // Seen twice by the model alone, it is still the model's alone.
        assert_eq!(
            both(&gradient, &[rough.clone(), rough.clone()]),
            [("border".to_owned(), exact, "yolo")]
        );
        let unsure = region("border", rough.rect, 0.28);
        assert!(both(&gradient, &[unsure]).is_empty());
        assert!(both(&frames(12, moving), &[rough]).is_empty());
        // Of a bar that the model is sure of, none is asked.
        let sure = region("border", [0.0, 0.0, WIDTH as f32 - 4.0, 29.0], 0.8);
        assert_eq!(
            both(&frames(12, moving), &[sure]),
            [("border".to_owned(), [0.0, 0.0, WIDTH as f32, 29.0], "yolo")]
        );
        let adrift = region("border", [40.0, 60.0, 200.0, 90.0], 0.9);
        assert!(both(&frames(12, moving), &[adrift]).is_empty());
    }

    #[test]
    fn a_subtitle_over_a_watermark_is_none_of_its_pieces() {
        let seen = signals::look(&frames(12, moving), 0.3);
        let line = region("subtitle", [60.0, 140.0, 260.0, 165.0], 0.7);
        let all = region("watermark", [0.0, 0.0, WIDTH as f32, 180.0], 0.9);
        let found = union(&seen, vec![line, all]);
        let classes: Vec<&str> = found.iter().map(|region| region.class.as_str()).collect();
        assert_eq!(classes.len(), 2, "{found:?}");
        assert!(classes.contains(&"subtitle") && classes.contains(&"watermark"));
    }

    #[test]
    fn pieces_are_one_region() {
        let words = |k: usize, x: usize, y: usize| {
            let in_word = |from: usize| (from..from + 30).contains(&x);
            if (20..36).contains(&y) && (in_word(30) || in_word(110)) {
                if (x / 4 + y / 4).is_multiple_of(2) {
                    [250; 3]
                } else {
                    [10; 3]
                }
            } else {
                moving(k, x, y)
            }
        };
        let shot = frames(12, words);
        assert!(
            signals::find(&shot, 0.3).len() >= 2,
            "the case needs pieces"
        );
        let whole = [28.0, 18.0, 142.0, 38.0];
        let found = both(&shot, &[region("watermark", whole, 0.8)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].2, FOUND_BY_BOTH);
    }
}
