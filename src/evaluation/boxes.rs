//! Regions against labelled boxes, and crops against the largest clean rectangle.
//!
//! Within a video and a class, found boxes take labelled ones in order of falling score: each takes the one of the highest
//! IoU that is still free, if that IoU is at least [`MATCH_IOU`]. A found box that takes none is a false alarm, a labelled
//! one that is not taken is missed.

use super::binary::Scored;
use super::labels::{LabelBox, Rect};

/// IoU from which a found box and a labelled one are the same region.
pub const MATCH_IOU: f64 = 0.5;

/// A labelled box spoils a crop when more than this share of the box lies in it: labels and boxes are not exact to the
/// pixel.
pub const HELD_SHARE: f64 = 0.05;

/// A found region.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its class.
    pub class: String,
    /// Where it is, as shares of the frame.
    pub rect: Rect,
    /// Its score, 0 to 1.
    pub score: f64,
}

/// How the boxes of one class, or of all, were found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// How many boxes are labelled.
    pub labelled: usize,
    /// How many boxes were found.
    pub found: usize,
    /// How many found boxes are labelled ones.
    pub matched: usize,
    /// Score of every found box, and whether it is a labelled one.
    outcomes: Vec<(f64, bool)>,
}

impl Tally {
    /// Counts the boxes of one video; `any_class` lets boxes of different classes match.
    pub fn add(&mut self, found: &[&Found], labelled: &[&LabelBox], any_class: bool) {
        let mut order: Vec<&Found> = found.to_vec();
        order.sort_by(|a, b| b.score.total_cmp(&a.score));
        let mut free: Vec<&LabelBox> = labelled.to_vec();
        self.labelled += labelled.len();
        self.found += found.len();
        for one in order {
            let best = free
                .iter()
                .enumerate()
                .filter(|(_, label)| any_class || label.class == one.class)
                .map(|(index, label)| (index, iou(label.rect, one.rect)))
                .filter(|(_, overlap)| *overlap >= MATCH_IOU)
                .max_by(|a, b| a.1.total_cmp(&b.1));
            if let Some((index, _)) = best {
                free.swap_remove(index);
                self.matched += 1;
            }
            self.outcomes.push((one.score, best.is_some()));
        }
    }

    /// Share of the labelled boxes that were found. `None` without any.
    pub fn recall(&self) -> Option<f64> {
        share(self.matched, self.labelled)
    }

    /// Share of the found boxes that are labelled. `None` without any.
    pub fn precision(&self) -> Option<f64> {
        share(self.matched, self.found)
    }

    /// Average precision at IoU 0.5, over the found boxes by falling score. `None` without labelled boxes.
    pub fn average_precision(&self) -> Option<f64> {
        let found = Scored::new(self.outcomes.iter().copied());
        let of_found = found.average_precision().unwrap_or(0.0);
        self.recall().map(|recall| of_found * recall)
    }
}

/// Part of a whole; `None` of nothing.
pub fn share(part: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

fn area(rect: Rect) -> f64 {
    (rect[2] - rect[0]).max(0.0) * (rect[3] - rect[1]).max(0.0)
}

fn common(a: Rect, b: Rect) -> f64 {
    area([
        a[0].max(b[0]),
        a[1].max(b[1]),
        a[2].min(b[2]),
        a[3].min(b[3]),
    ])
}

/// Intersection over union, 0 to 1.
pub fn iou(a: Rect, b: Rect) -> f64 {
    let common = common(a, b);
    let union = area(a) + area(b) - common;
    if union > 0.0 { common / union } else { 0.0 }
}

/// Whether what is kept of the frame still holds one of these regions.
pub fn holds(kept: Rect, labelled: &[LabelBox]) -> bool {
    labelled
        .iter()
        .any(|label| common(kept, label.rect) > HELD_SHARE * area(label.rect))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn found(class: &str, rect: Rect, score: f64) -> Found {
        Found {
            class: class.to_string(),
            rect,
            score,
        }
    }

    fn label(class: &str, rect: Rect) -> LabelBox {
        LabelBox {
            class: class.to_string(),
            rect,
        }
    }

    #[test]
    fn iou_by_hand() {
        let a = [0.0, 0.0, 0.5, 0.5];
        assert_eq!(iou(a, a), 1.0);
        // A quarter of each in common: 1 / (4 + 4 - 1).
        let shifted = [0.25, 0.25, 0.75, 0.75];
        assert!((iou(a, shifted) - 1.0 / 7.0).abs() < 1e-12);
        assert_eq!(iou(a, [0.5, 0.0, 1.0, 1.0]), 0.0);
        assert_eq!(iou([0.3, 0.3, 0.3, 0.3], [0.3, 0.3, 0.3, 0.3]), 0.0);
    }

    #[test]
    fn boxes_are_matched_once_and_by_class() {
        let labelled = [
            label("logo", [0.0, 0.0, 0.2, 0.2]),
            label("subtitle", [0.2, 0.8, 0.8, 0.9]),
            label("logo", [0.8, 0.0, 1.0, 0.2]),
        ];
        let seen = [
            found("logo", [0.0, 0.0, 0.2, 0.19], 0.6), // a second box on the first logo
            found("logo", [0.0, 0.0, 0.2, 0.2], 0.9),
            found("watermark", [0.2, 0.8, 0.8, 0.9], 0.8), // the wrong class
            found("logo", [0.4, 0.4, 0.5, 0.5], 0.3),      // nothing there
        ];
        let (seen, labelled): (Vec<_>, Vec<_>) = (seen.iter().collect(), labelled.iter().collect());
        let mut strict = Tally::default();
        strict.add(&seen, &labelled, false);
        assert_eq!((strict.labelled, strict.found, strict.matched), (3, 4, 1));
        assert_eq!(strict.recall(), Some(1.0 / 3.0));
        assert_eq!(strict.precision(), Some(0.25));
        // Found at once (precision 1), and two more never.
        assert!((strict.average_precision().unwrap() - 1.0 / 3.0).abs() < 1e-12);
        let mut loose = Tally::default();
        loose.add(&seen, &labelled, true);
        assert_eq!(loose.matched, 2);
        // The second video is clean.
        strict.add(&[], &[], false);
        assert_eq!(strict.recall(), Some(1.0 / 3.0));
        assert_eq!(Tally::default().recall(), None);
        assert_eq!(Tally::default().precision(), None);
    }

    #[test]
    fn a_crop_that_cuts_all_but_a_sliver_is_clean() {
        let logo = [label("logo", [0.8, 0.0, 1.0, 0.1])];
        assert!(holds([0.0, 0.0, 1.0, 1.0], &logo));
        assert!(holds([0.0, 0.0, 0.85, 1.0], &logo));
        assert!(!holds([0.0, 0.0, 0.805, 1.0], &logo));
        assert!(!holds([0.0, 0.1, 1.0, 1.0], &logo));
        assert!(!holds([0.0, 0.0, 1.0, 1.0], &[]));
    }
}
