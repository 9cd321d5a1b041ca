//! From a detector's raw output to boxes: threshold, then class-aware non-maximum suppression.
//!
//! An anchor counts with its best class only. Going from the best score down, a box is kept unless it overlaps one of
//! its class that was kept before; equal scores go in the order of the anchors. Greedy in score order means that the
//! first `max_det` boxes kept are the answer, so the work is bounded by `max_nms * max_det`.

/// A detected object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Index into the model's labels.
    pub class: usize,
    /// Probability of the class, above `conf`.
    pub score: f32,
    /// Left, top, right, bottom in pixels of the frame that was given; it may reach over its edges.
    pub box_px: [f32; 4],
}

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NmsLimits {
    /// A score must be above this, 0..1.
    pub conf: f32,
    /// A box whose intersection over union with a kept one is above this is dropped, 0..1.
    pub iou: f32,
    /// The most boxes of an image.
    pub max_det: usize,
    /// The most candidates looked at, the best ones.
    pub max_nms: usize,
}

/// The boxes of one image, best first, from its raw output [4 + classes, anchors] in row-major order: centre x, centre
/// y, width and height in pixels, then a probability a class. Boxes that are not finite are dropped.
pub fn nms(raw: &[f32], classes: usize, limits: &NmsLimits) -> Vec<Detection> {
    let anchors = raw.len() / (4 + classes);
    let row = |i: usize| &raw[i * anchors..(i + 1) * anchors];
    let (xs, ys, widths, heights) = (row(0), row(1), row(2), row(3));
    let mut candidates: Vec<Detection> = Vec::new();
    for anchor in 0..anchors {
        let mut best = (0, f32::NEG_INFINITY);
        for class in 0..classes {
            let score = row(4 + class)[anchor];
            if score > best.1 {
                best = (class, score);
            }
        }
        let (class, score) = best;
        let (half_width, half_height) = (widths[anchor] / 2.0, heights[anchor] / 2.0);
        let (x, y) = (xs[anchor], ys[anchor]);
        let box_px = [
            x - half_width,
            y - half_height,
            x + half_width,
            y + half_height,
        ];
        if score > limits.conf && box_px.iter().all(|side| side.is_finite()) {
            candidates.push(Detection {
                class,
                score,
                box_px,
            });
        }
    }
    // Stable, so that equal scores stay in the order of the anchors.
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(limits.max_nms);

    let mut kept: Vec<Detection> = Vec::new();
    for candidate in candidates {
        if kept.len() == limits.max_det {
            break;
        }
        let hidden = |k: &Detection| {
            k.class == candidate.class && iou(k.box_px, candidate.box_px) > limits.iou
        };
        if !kept.iter().any(hidden) {
            kept.push(candidate);
        }
    }
    kept
}

/// Intersection over union, 0 to 1, of two boxes [left, top, right, bottom]; 0 when neither has an area.
pub fn iou(a: [f32; 4], b: [f32; 4]) -> f32 {
    let area = |r: [f32; 4]| (r[2] - r[0]).max(0.0) * (r[3] - r[1]).max(0.0);
    let inner = area([
        a[0].max(b[0]),
        a[1].max(b[1]),
        a[2].min(b[2]),
        a[3].min(b[3]),
    ]);
    let outer = area(a) + area(b) - inner;
    if outer > 0.0 { inner / outer } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: NmsLimits = NmsLimits {
        conf: 0.25,
        iou: 0.5,
        max_det: 300,
        max_nms: 30_000,
    };

    /// Raw output from (x, y, width, height, scores) an anchor.
    fn raw(anchors: &[([f32; 4], [f32; 2])]) -> Vec<f32> {
        let boxes = (0..4).flat_map(|i| anchors.iter().map(move |a| a.0[i]));
        let scores = (0..2).flat_map(|i| anchors.iter().map(move |a| a.1[i]));
        boxes.chain(scores).collect()
    }

    #[test]
    fn overlaps_go_within_a_class_only() {
        let here = [10.0, 10.0, 4.0, 4.0];
        let found = nms(
            &raw(&[
                (here, [0.5, 0.1]),
                (here, [0.9, 0.8]),
                (here, [0.1, 0.7]),
                ([50.0, 10.0, 4.0, 4.0], [0.6, 0.0]),
            ]),
            2,
            &LIMITS,
        );
        let classes: Vec<(usize, f32)> = found.iter().map(|d| (d.class, d.score)).collect();
        assert_eq!(classes, [(0, 0.9), (1, 0.7), (0, 0.6)]);
        assert_eq!(found[0].box_px, [8.0, 8.0, 12.0, 12.0]);
    }

    #[test]
    fn thresholds_are_strict() {
        // Two 2 x 1 boxes that share one half each (intersection 1, union 3), and one apart.
        let three = raw(&[
            ([1.0, 0.5, 2.0, 1.0], [0.5, 0.0]),
            ([2.0, 0.5, 2.0, 1.0], [0.4, 0.0]),
            ([9.0, 0.5, 2.0, 1.0], [0.25, 0.0]),
        ]);
        let kept = |conf: f32, iou: f32| {
            let limits = NmsLimits {
                conf,
                iou,
                ..LIMITS
            };
            nms(&three, 2, &limits).len()
        };
        let third = 1.0 / 3.0;
        assert_eq!((kept(0.25, third), kept(0.2499, third)), (2, 3));
        assert_eq!((kept(0.25, third - 1e-3), kept(0.5, third)), (1, 0));
    }

    #[test]
    fn limits_hold_and_nonsense_is_dropped() {
        let many: Vec<_> = (0..50)
            .map(|i| {
                (
                    [i as f32 * 10.0, 0.0, 4.0, 4.0],
                    [0.3 + i as f32 * 0.01, 0.0],
                )
            })
            .collect();
        let found = nms(
            &raw(&many),
            2,
            &NmsLimits {
                max_det: 3,
                ..LIMITS
            },
        );
        assert_eq!(
            found.iter().map(|d| d.box_px[0]).collect::<Vec<_>>(),
            [488.0, 478.0, 468.0]
        );
        assert_eq!(
            nms(
                &raw(&many),
                2,
                &NmsLimits {
                    max_nms: 2,
                    ..LIMITS
                }
            )
            .len(),
            2
        );
        let bad = raw(&[
            ([f32::NAN, 0.0, 1.0, 1.0], [0.9, 0.0]),
            ([0.0, 0.0, 1.0, 1.0], [f32::NAN, f32::NAN]),
        ]);
        assert!(nms(&bad, 2, &LIMITS).is_empty());
        assert!(nms(&[], 2, &LIMITS).is_empty());
    }
}
