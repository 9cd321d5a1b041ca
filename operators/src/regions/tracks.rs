//! From boxes seen frame by frame to regions that persist.

use std::cmp::Ordering;

pub use clipsieve_models::nms::iou;

use crate::kinds::Region;

/// Smallest overlap (intersection over union) of a box with a track's mean box that makes it part of the track.
pub const MIN_IOU: f32 = 0.5;

/// What a detector saw in one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameBox {
    /// What it is: `logo`, `border` …
    pub class: String,
    /// Left, upper, right and lower edge in display pixels; right and lower are the first that lie outside.
    pub rect: [f32; 4],
    /// Confidence, 0 to 1.
    pub score: f32,
}

/// A track while it grows.
struct Growing<'a> {
    class: &'a str,
    sum: [f64; 4],
    hull: [f32; 4],
    score_sum: f64,
    seen: usize,
}

impl<'a> Growing<'a> {
    fn new(first: &'a FrameBox) -> Self {
        Self {
            class: &first.class,
            sum: first.rect.map(f64::from),
            hull: first.rect,
            score_sum: f64::from(first.score),
            seen: 1,
        }
    }

    fn mean(&self) -> [f32; 4] {
        self.sum.map(|edge| (edge / self.seen as f64) as f32)
    }

    fn add(&mut self, next: &FrameBox) {
        for (sum, edge) in self.sum.iter_mut().zip(next.rect) {
            *sum += f64::from(edge);
        }
        self.hull = hull(self.hull, next.rect);
        self.score_sum += f64::from(next.score);
        self.seen += 1;
    }
}

/// Joins the boxes of the frames to tracks, and gives the tracks that were seen in at least `persistence` of the frames:
/// as regions, each with the hull of its boxes, their mean score, and the share of the frames in which it was seen.
///
/// Frame by frame, in order, each box goes to the track of its class with whose mean box it overlaps most, if they
/// overlap by [`MIN_IOU`] or more; the best overlaps are served first, and a track takes one box a frame. Of subtitles,
/// whose lines differ in length, it is the height that must overlap by as much. A box that no track takes begins one. A track need not be seen in frames that follow one another: a sign that blinks is one track.
/// Boxes without an area, or with an edge that is no number, are passed over.
///
/// The answer is in order of class, then of the most persistent, then of the edges, so it does not depend on the order
/// of the boxes within a frame unless two overlap a track equally.
pub fn track(per_frame: &[Vec<FrameBox>], persistence: f32, found_by: &'static str) -> Vec<Region> {
    let mut growing: Vec<Growing> = Vec::new();
    for boxes in per_frame {
        let boxes: Vec<&FrameBox> = boxes.iter().filter(|seen| area(seen.rect) > 0.0).collect();
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for (t, track) in growing.iter().enumerate() {
            let mean = track.mean();
            for (b, seen) in boxes.iter().enumerate() {
                let overlap = likeness(track.class, mean, seen.rect);
                if seen.class == track.class && overlap >= MIN_IOU {
                    pairs.push((overlap, t, b));
                }
            }
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut track_taken = vec![false; growing.len()];
        let mut box_taken = vec![false; boxes.len()];
        for (_, t, b) in pairs {
            if !track_taken[t] && !box_taken[b] {
                track_taken[t] = true;
                box_taken[b] = true;
                growing[t].add(boxes[b]);
            }
        }
        for (seen, taken) in boxes.iter().zip(&box_taken) {
            if !taken {
                growing.push(Growing::new(seen));
            }
        }
    }

    // The slack keeps 3 of 10 frames at a persistence of 0.3, which as f32 is a little more.
    let needed = f64::from(persistence) * per_frame.len() as f64 - 1e-4;
    let mut regions: Vec<Region> = growing
        .into_iter()
        .filter(|track| track.seen as f64 >= needed)
        .map(|track| Region {
            class: track.class.to_owned(),
            rect: track.hull,
            score: (track.score_sum / track.seen as f64) as f32,
            persistence: track.seen as f32 / per_frame.len() as f32,
            found_by,
        })
        .collect();
    regions.sort_by(in_order);
    regions
}

/// How alike two boxes of a class are, 0 to 1. Lines of subtitles are short and long, and one or two of them: there, what
/// counts is how much of the height of the lower box they share, if one is above the other at all.
fn likeness(class: &str, a: [f32; 4], b: [f32; 4]) -> f32 {
    if class != "subtitle" {
        return iou(a, b);
    }
    let across = a[2].min(b[2]) - a[0].max(b[0]);
    let down = a[3].min(b[3]) - a[1].max(b[1]);
    let lower = (a[3] - a[1]).min(b[3] - b[1]);
    if across > 0.0 && lower > 0.0 {
        (down / lower).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

/// By class, the most persistent first, then by edges.
pub(crate) fn in_order(a: &Region, b: &Region) -> Ordering {
    let edges = || {
        a.rect
            .iter()
            .zip(&b.rect)
            .map(|(a, b)| a.total_cmp(b))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    };
    a.class
        .cmp(&b.class)
        .then(b.persistence.total_cmp(&a.persistence))
        .then_with(edges)
}

/// The smallest rectangle that holds both.
pub(crate) fn hull(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
    [
        a[0].min(b[0]),
        a[1].min(b[1]),
        a[2].max(b[2]),
        a[3].max(b[3]),
    ]
}

/// Area of a rectangle; 0 if it is turned inside out or an edge is not finite.
fn area(rect: [f32; 4]) -> f32 {
    if rect.iter().all(|edge| edge.is_finite()) {
        (rect[2] - rect[0]).max(0.0) * (rect[3] - rect[1]).max(0.0)
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(class: &str, rect: [f32; 4], score: f32) -> FrameBox {
        FrameBox {
            class: class.to_owned(),
            rect,
            score,
        }
    }

    #[test]
    fn overlap_is_intersection_over_union() {
        assert_eq!(iou([0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0]), 2.0 / 6.0);
        assert_eq!(iou([0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 3.0, 2.0]), 0.0);
        assert_eq!(iou([0.0; 4], [0.0; 4]), 0.0);
        assert_eq!(iou([f32::NAN, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]), 0.0);
    }

    #[test]
    fn a_track_has_the_hull_and_the_mean_score_of_its_boxes() {
        let frames = vec![
            vec![seen("logo", [10.0, 10.0, 30.0, 20.0], 0.5)],
            vec![],
            vec![seen("logo", [12.0, 9.0, 32.0, 19.0], 0.7)],
            vec![],
        ];
        let tracks = track(&frames, 0.3, "yolo");
        assert_eq!(tracks.len(), 1);
        assert_eq!(tracks[0].rect, [10.0, 9.0, 32.0, 20.0]);
        assert!((tracks[0].score - 0.6).abs() < 1e-6);
        assert_eq!(tracks[0].persistence, 0.5);
        assert_eq!(tracks[0].found_by, "yolo");
    }

    #[test]
    fn exactly_the_share_counts_and_less_does_not() {
        let rect = [0.0, 0.0, 8.0, 8.0];
        let frames = |hits: usize| -> Vec<Vec<FrameBox>> {
            (0..10)
                .map(|i| {
                    if i < hits {
                        vec![seen("logo", rect, 1.0)]
                    } else {
                        vec![]
                    }
                })
                .collect()
        };
        assert_eq!(track(&frames(3), 0.3, "yolo").len(), 1);
        assert_eq!(track(&frames(2), 0.3, "yolo").len(), 0);
        assert_eq!(track(&[], 0.3, "yolo").len(), 0);
    }

    #[test]
    fn classes_do_not_mix_and_a_track_takes_one_box_a_frame() {
        let rect = [0.0, 0.0, 10.0, 10.0];
        let near = [1.0, 0.0, 11.0, 10.0];
        let frames = vec![
            vec![seen("logo", rect, 1.0), seen("watermark", rect, 1.0)],
            vec![seen("logo", near, 1.0), seen("logo", rect, 1.0)],
        ];
        let tracks = track(&frames, 0.6, "yolo");
        assert_eq!(tracks.len(), 1, "{tracks:?}");
        assert_eq!(tracks[0].class, "logo");
        assert_eq!(tracks[0].rect, rect, "the better overlap is served first");
    }

    #[test]
    fn a_box_that_moves_away_from_the_mean_begins_a_track_of_its_own() {
        let frames: Vec<Vec<FrameBox>> = (0..10)
            .map(|i| {
                vec![seen(
                    "logo",
                    [i as f32 * 6.0, 0.0, i as f32 * 6.0 + 10.0, 10.0],
                    1.0,
                )]
            })
            .collect();
        assert!(track(&frames, 0.3, "yolo").is_empty());
    }

    #[test]
    fn lines_of_subtitles_are_one_track_however_long() {
        let frames = vec![
            vec![seen("subtitle", [100.0, 80.0, 120.0, 90.0], 1.0)],
            vec![seen("subtitle", [20.0, 79.0, 200.0, 91.0], 1.0)],
            vec![seen("subtitle", [60.0, 66.0, 160.0, 90.0], 1.0)],
            vec![seen("subtitle", [60.0, 10.0, 160.0, 20.0], 1.0)],
        ];
        let tracks = track(&frames, 0.5, "yolo");
        assert_eq!(tracks.len(), 1, "{tracks:?}");
        assert_eq!(tracks[0].rect, [20.0, 66.0, 200.0, 91.0]);
    }

    #[test]
    fn boxes_without_an_area_are_passed_over() {
        let frames = vec![vec![
            seen("logo", [5.0, 5.0, 5.0, 9.0], 1.0),
            seen("logo", [9.0, 5.0, 5.0, 9.0], 1.0),
            seen("logo", [f32::NAN, 0.0, 5.0, 9.0], 1.0),
            seen("logo", [0.0, 0.0, f32::INFINITY, 9.0], 1.0),
        ]];
        assert!(track(&frames, 0.0, "yolo").is_empty());
    }
}
