//! Regions from the pixels alone: what all frames of a video together give away, without a model.

use std::sync::Arc;

use super::blurred_fill;
use super::borders::{self, Side};
use super::overlays::{self, Evidence, Small, Stillness};
use super::subtitles::{self, LowerPart};
use super::tracks::{in_order, iou};
use super::union::share_inside;
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
    look(frames, persistence).regions
}

/// What was seen in the frames, and what it was seen by.
pub struct Seen {
    /// The regions, as [`find`] gives them.
    pub regions: Vec<Region>,
    /// Width of the frames, in pixels.
    pub width: usize,
    /// Height of the frames, in pixels.
    pub height: usize,
    /// Luma of the frames that were looked at; none if there was too little to look at.
    pub planes: Vec<Plane>,
    /// What lasts, at working size; none if there was too little to look at.
    stillness: Option<Stillness>,
    /// Pixels to a pixel of the working size.
    factor: usize,
}

impl Seen {
    /// What the pixels say of a box in display pixels; `None` where they have nothing to say.
    pub fn evidence(&self, rect: [f32; 4]) -> Option<Evidence> {
        let scale = self.factor as f32;
        let stillness = self.stillness.as_ref()?;
        let mut evidence = stillness.evidence(rect.map(|edge| edge / scale))?;
        evidence.bounds = evidence
            .bounds
            .map(|bounds| at_full(bounds, self.factor, self.width, self.height));
        Some(evidence)
    }
}

/// As [`find`], with what a model's findings are held against.
pub fn look(frames: &[Frame], persistence: f32) -> Seen {
    let mut frames = frames.to_vec();
    frames.dedup_by(|a, b| Arc::ptr_eq(a, b));
    let (height, width, _) = frames.first().map_or((0, 0, 0), |frame| frame.dim());
    let mut seen = Seen {
        regions: Vec::new(),
        width,
        height,
        planes: Vec::new(),
        stillness: None,
        factor: width.min(height).div_ceil(WORKING_PX).max(1),
    };
    if width.min(height) < 16 || frames.iter().any(|frame| frame.dim() != frames[0].dim()) {
        return seen;
    }
    seen.planes = frames
        .iter()
        .map(|frame| Plane::luma(frame.view()))
        .collect();
    if frames.len() < MIN_FRAMES {
        return seen;
    }
    let mut regions = borders_of(&frames, &seen.planes);
    let mut scene = [0.0, 0.0, width as f32, height as f32];
    for region in &regions {
        scene = without(scene, region.rect, width as f32, height as f32);
    }
    let (overlays, stillness) = overlays_of(&seen.planes, seen.factor, scene, persistence);
    regions.extend(overlays);
    regions.retain(|region| region.persistence >= persistence - 1e-4);
    regions.sort_by(in_order);
    seen.regions = regions;
    seen.stillness = stillness;
    seen
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

/// A box of the working size in display pixels. A pixel there is `factor` pixels, and its gradient reaches one further.
fn at_full(rect: [f32; 4], factor: usize, width: usize, height: usize) -> [f32; 4] {
    let scale = factor as f32;
    [
        ((rect[0] - 1.0) * scale).max(0.0),
        ((rect[1] - 1.0) * scale).max(0.0),
        ((rect[2] + 1.0) * scale).min(width as f32),
        ((rect[3] + 1.0) * scale).min(height as f32),
    ]
}

fn overlays_of(
    planes: &[Plane],
    factor: usize,
    scene: [f32; 4],
    persistence: f32,
) -> (Vec<Region>, Option<Stillness>) {
    let (width, height) = (planes[0].width(), planes[0].height());
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

    let at_full = |rect: [f32; 4]| at_full(rect, factor, width, height);
    let (found, stillness) = overlays::look(&smalls, inner);
    let mut regions: Vec<Region> = found
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
    (regions, stillness)
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
