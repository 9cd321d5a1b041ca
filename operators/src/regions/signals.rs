//! Regions from the pixels alone: what all frames of a video together give away, without a model.

use std::sync::Arc;

use super::blurred_fill;
use super::borders::{self, Side};
use super::overlays::{self, Small};
use super::subtitles::{self, LowerPart};
use super::tracks::{in_order, iou};
use crate::kinds::Region;
use crate::media::frames::Frame;
use crate::signals::plane::Plane;

/// The backend's name in rows.
pub const FOUND_BY: &str = "signals";

/// Short side of the working size for overlays, in pixels, at most.
const WORKING_PX: usize = 480;

/// Frames under which nothing persists.
const MIN_FRAMES: usize = 3;

/// The regions that persist in at least `persistence` of these frames, which are to be spread evenly over a video: 8 to
/// 16 are enough. All frames must have one size, the display size; boxes are in its pixels.
///
/// `border` is a bar along a side, of one colour (exact to the pixel where it is clean) or filled with a blurred copy of
/// the picture; `logo` a small overlay near a corner or an edge; `subtitle` text in the lower third, whether it changes or
/// not; `watermark` any other overlay. Overlays are only told from the scene where the scene moves: of a video that stands
/// still nothing but borders is said. Frames that repeat the one before them in memory count once.
pub fn find(frames: &[Frame], persistence: f32) -> Vec<Region> {
    let mut frames = frames.to_vec();
    frames.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let Some(first) = frames.first() else {
        return Vec::new();
    };
    let (height, width, _) = first.dim();
    if frames.len() < MIN_FRAMES
        || width.min(height) < 16
        || frames.iter().any(|frame| frame.dim() != first.dim())
    {
        return Vec::new();
    }

    let planes: Vec<Plane> = frames
        .iter()
        .map(|frame| Plane::luma(frame.view()))
        .collect();
    let mut regions = borders_of(&frames, &planes);
    let mut scene = [0.0, 0.0, width as f32, height as f32];
    for region in &regions {
        scene = without(scene, region.rect, width as f32, height as f32);
    }
    regions.extend(overlays_of(&planes, scene, persistence));
    regions.retain(|region| region.persistence >= persistence - 1e-4);
    regions.sort_by(in_order);
    regions
}

fn region(class: &str, rect: [f32; 4], score: f32, persistence: f32) -> Region {
    Region {
        class: class.to_owned(),
        rect,
        score,
        persistence,
        found_by: FOUND_BY,
    }
}

fn borders_of(frames: &[Frame], planes: &[Plane]) -> Vec<Region> {
    let (height, width) = (planes[0].height(), planes[0].width());
    let (w, h) = (width as f32, height as f32);
    let bars = borders::borders(frames);
    let has = |sides: [Side; 2]| bars.iter().any(|bar| sides.contains(&bar.side));
    let mut regions: Vec<Region> = bars
        .iter()
        .map(|bar| {
            region(
                "border",
                bar.rect(width, height),
                bar.coverage,
                bar.persistence,
            )
        })
        .collect();
    if !has([Side::Left, Side::Right])
        && let Some(fill) = blurred_fill::beside(planes)
    {
        let (first, second) = (fill.first_px as f32, fill.second_px as f32);
        regions.push(region("border", [0.0, 0.0, first, h], fill.coverage, 1.0));
        regions.push(region(
            "border",
            [w - second, 0.0, w, h],
            fill.coverage,
            1.0,
        ));
    } else if !has([Side::Top, Side::Bottom])
        && let Some(fill) = blurred_fill::above(planes)
    {
        let (first, second) = (fill.first_px as f32, fill.second_px as f32);
        regions.push(region("border", [0.0, 0.0, w, first], fill.coverage, 1.0));
        regions.push(region(
            "border",
            [0.0, h - second, w, h],
            fill.coverage,
            1.0,
        ));
    }
    regions
}

/// What a border leaves of the scene.
fn without(scene: [f32; 4], border: [f32; 4], width: f32, height: f32) -> [f32; 4] {
    let [mut left, mut upper, mut right, mut lower] = scene;
    if border[2] - border[0] >= width {
        if border[1] <= 0.0 {
            upper = upper.max(border[3]);
        } else {
            lower = lower.min(border[1]);
        }
    } else if border[3] - border[1] >= height {
        if border[0] <= 0.0 {
            left = left.max(border[2]);
        } else {
            right = right.min(border[0]);
        }
    }
    [left, upper, right, lower]
}

fn overlays_of(planes: &[Plane], scene: [f32; 4], persistence: f32) -> Vec<Region> {
    let (width, height) = (planes[0].width(), planes[0].height());
    let factor = width.min(height).div_ceil(WORKING_PX).max(1);
    let smalls: Vec<Small> = planes
        .iter()
        .map(|plane| {
            let (width, data) = plane.shrunk(factor);
            Small { width, data }
        })
        .collect();
    let scale = factor as f32;
    // A little inside the borders: their edges last, too.
    let margin = |edge: f32, end: f32| if edge > 0.0 && edge < end { 2.0 } else { 0.0 };
    let [left, upper, right, lower] = scene;
    let inner = [
        (left / scale).ceil() + margin(left, width as f32),
        (upper / scale).ceil() + margin(upper, height as f32),
        (right / scale).floor() - margin(right, width as f32),
        (lower / scale).floor() - margin(lower, height as f32),
    ]
    .map(|edge| edge.max(0.0) as usize);

    // A pixel of the working size is `factor` pixels, and its gradient reaches one further.
    let at_full = |rect: [f32; 4]| {
        [
            ((rect[0] - 1.0) * scale).max(0.0),
            ((rect[1] - 1.0) * scale).max(0.0),
            ((rect[2] + 1.0) * scale).min(width as f32),
            ((rect[3] + 1.0) * scale).min(height as f32),
        ]
    };
    let mut regions: Vec<Region> = overlays::overlays(&smalls, inner)
        .into_iter()
        .map(|overlay| {
            let rect = at_full(overlay.rect.map(|edge| edge as f32));
            let class = class_of(rect, width as f32, height as f32);
            region(class, rect, overlay.score, overlay.persistence)
        })
        .collect();

    let lower_parts: Vec<LowerPart> = smalls
        .iter()
        .map(|small| LowerPart::new(small.width, &small.data))
        .collect();
    if let Some(found) = subtitles::subtitles(&lower_parts, persistence) {
        let rect = at_full(found.rect);
        // The same text is found as an overlay, too, if it does not change: in one piece or in several.
        regions.retain(|other| share_inside(other.rect, rect) < 0.7);
        if regions.iter().all(|other| iou(other.rect, rect) < 0.3) {
            regions.push(region("subtitle", rect, found.score, found.persistence));
        }
    }
    regions
}

/// How much of a rectangle lies in another one, 0 to 1.
fn share_inside(inner: [f32; 4], outer: [f32; 4]) -> f32 {
    let side = |low: f32, high: f32| (high - low).max(0.0);
    let shared = side(inner[0].max(outer[0]), inner[2].min(outer[2]))
        * side(inner[1].max(outer[1]), inner[3].min(outer[3]));
    shared / (side(inner[0], inner[2]) * side(inner[1], inner[3])).max(1.0)
}

/// What an overlay is, by its place and shape.
fn class_of([left, upper, right, lower]: [f32; 4], width: f32, height: f32) -> &'static str {
    let (w, h) = (right - left, lower - upper);
    let (x, y) = ((left + right) / 2.0 / width, (upper + lower) / 2.0 / height);
    let aside = (x - 0.5).abs() > 0.2;
    let outer = (y - 0.5).abs() > 0.2;
    if y > 0.66 && w >= 3.0 * h && w >= 0.2 * width && !(aside && w < 0.3 * width) {
        "subtitle"
    } else if w * h <= 0.06 * width * height && aside && outer {
        "logo"
    } else {
        "watermark"
    }
}

#[cfg(test)]
#[path = "signals_tests.rs"]
mod tests;
