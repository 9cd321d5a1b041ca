//! Which cells of a detector answer for which object: task-aligned assignment.
//!
//! After Feng et al., "TOOD: Task-aligned One-stage Object Detection", arXiv 2108.07755, section 3.2: a cell's alignment
//! with an object is `score^alpha * iou^beta`, of the class that the object has and the box that the cell predicts; the
//! cells of the highest alignment answer for it, and what their class score should be is their alignment, scaled so that
//! the best has the highest IoU. Written from the paper.
//!
//! Two things are ours. A cell may answer for an object if its middle lies within it, *or within half a cell of it*: a bar
//! of a few pixels along a side has no middles in it at all. And an object's best cell always has a target of at least
//! [`LEAST_TARGET`], so that an object that no cell overlaps yet is learnt, too.

use crate::nms::iou;

/// An object in an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Its class, from 0.
    pub class: usize,
    /// Left, upper, right and lower edge, in pixels of the network's input.
    pub box_px: [f32; 4],
}

/// How alignment is measured, and how many cells answer for an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// Exponent of the class score.
    pub alpha: f32,
    /// Exponent of the IoU.
    pub beta: f32,
    /// Cells that answer for an object, at most.
    pub cells: usize,
}

impl Default for Alignment {
    fn default() -> Self {
        Alignment {
            alpha: 0.5,
            beta: 6.0,
            cells: 10,
        }
    }
}

/// Target of an object's best cell, at least.
pub const LEAST_TARGET: f32 = 0.1;

/// The IoU that alignment is measured with, at least: cells that overlap nothing yet are told apart by their scores.
const LEAST_IOU: f32 = 0.01;

/// The cells of all levels, in the order of the network's output.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cells {
    /// Middles, x and y, in pixels.
    pub middles_px: Vec<[f32; 2]>,
    /// Sides, in pixels.
    pub strides_px: Vec<f32>,
}

/// What a cell is to answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// Which of the targets.
    pub target: usize,
    /// The score that it should give to the target's class, above 0 and up to 1.
    pub score: f32,
}

/// For each cell of one image, what it is to answer, if anything.
///
/// `scores` are probabilities, class by class (`classes * cells`); `boxes_px` what each cell predicts.
pub fn assign(
    cells: &Cells,
    scores: &[f32],
    boxes_px: &[[f32; 4]],
    targets: &[Target],
    alignment: &Alignment,
) -> Vec<Option<Answer>> {
    let count = cells.middles_px.len();
    // The IoU decides when a cell is among the best of several objects.
    let mut taken: Vec<Option<(usize, f32, f32)>> = vec![None; count];
    for (index, target) in targets.iter().enumerate() {
        let mut fitting: Vec<(usize, f32, f32)> = (0..count)
            .filter(|cell| within(cells, *cell, target.box_px))
            .map(|cell| {
                let score = scores[target.class * count + cell].max(1e-6);
                let iou = iou(boxes_px[cell], target.box_px);
                let aligned = score.powf(alignment.alpha) * iou.max(LEAST_IOU).powf(alignment.beta);
                (cell, aligned, iou)
            })
            .collect();
        // Of equals, those nearest to the middle of the object.
        fitting.sort_by(|a, b| {
            let far = |cell: usize| distance(cells.middles_px[cell], target.box_px);
            b.1.total_cmp(&a.1).then(far(a.0).total_cmp(&far(b.0)))
        });
        for (cell, aligned, iou) in fitting.into_iter().take(alignment.cells) {
            if taken[cell].is_none_or(|(_, _, other)| iou > other) {
                taken[cell] = Some((index, aligned, iou));
            }
        }
    }
    let mut best = vec![(0f32, 0f32); targets.len()]; // alignment and IoU
    for (target, aligned, iou) in taken.iter().flatten() {
        best[*target].0 = best[*target].0.max(*aligned);
        best[*target].1 = best[*target].1.max(*iou);
    }
    let answer = |(target, aligned, _): (usize, f32, f32)| {
        let (highest, iou) = best[target];
        Answer {
            target,
            score: (aligned / highest * iou.max(LEAST_TARGET)).clamp(f32::MIN_POSITIVE, 1.0),
        }
    };
    taken.into_iter().map(|one| one.map(answer)).collect()
}

/// Whether a cell may answer for a box.
fn within(cells: &Cells, cell: usize, [x0, y0, x1, y1]: [f32; 4]) -> bool {
    let ([x, y], reach) = (cells.middles_px[cell], cells.strides_px[cell] / 2.0);
    x > x0 - reach && x < x1 + reach && y > y0 - reach && y < y1 + reach
}

/// Squared distance of a point from the middle of a box.
fn distance([x, y]: [f32; 2], [x0, y0, x1, y1]: [f32; 4]) -> f32 {
    (x - (x0 + x1) / 2.0).powi(2) + (y - (y0 + y1) / 2.0).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four cells of 8 px in a row.
    fn row() -> Cells {
        Cells {
            middles_px: [4.0, 12.0, 20.0, 28.0].map(|x| [x, 4.0]).to_vec(),
            strides_px: vec![8.0; 4],
        }
    }

    fn target(class: usize, x0: f32, x1: f32) -> Target {
        Target {
            class,
            box_px: [x0, 0.0, x1, 8.0],
        }
    }

    #[test]
    fn the_best_aligned_cells_answer() {
        // The object is 16 px wide; cell 0 predicts it whole, cell 1 half of it; cell 3 is too far away.
        let boxes = [
            [0.0, 0.0, 16.0, 8.0],
            [8.0, 0.0, 16.0, 8.0],
            [16.0, 0.0, 24.0, 8.0],
            [0.0, 0.0, 16.0, 8.0],
        ];
        let alignment = Alignment {
            alpha: 1.0,
            beta: 2.0,
            cells: 2,
        };
        let scores = [0.5, 0.8, 0.9, 0.9];
        let answers = assign(&row(), &scores, &boxes, &[target(0, 0.0, 16.0)], &alignment);
        // Alignments 0.5 * 1 and 0.8 * 0.25, scaled by the best IoU, 1, over the best alignment, 0.5.
        let scores: Vec<Option<f32>> = answers.iter().map(|a| a.map(|a| a.score)).collect();
        assert_eq!(scores[0], Some(1.0));
        assert!((scores[1].unwrap_or(0.0) - 0.4).abs() < 1e-6, "{scores:?}");
        assert_eq!(scores[2..], [None, None]);
    }

    #[test]
    fn the_class_of_the_object_is_what_counts() {
        let boxes = [[0.0, 0.0, 32.0, 8.0]; 4];
        let scores = [0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9]; // class 0, then class 1
        let alignment = Alignment {
            cells: 1,
            ..Alignment::default()
        };
        let first = |class| {
            let targets = [target(class, 0.0, 32.0)];
            let answers = assign(&row(), &scores, &boxes, &targets, &alignment);
            answers.iter().position(Option::is_some)
        };
        assert_eq!((first(0), first(1)), (Some(0), Some(3)));
    }

    #[test]
    fn a_cell_between_two_objects_answers_for_the_one_it_overlaps_more() {
        let boxes = [[0.0, 0.0, 14.0, 8.0]; 4];
        let targets = [target(0, 0.0, 16.0), target(0, 8.0, 24.0)];
        let answers = assign(&row(), &[0.5; 4], &boxes, &targets, &Alignment::default());
        assert_eq!(answers[1].map(|answer| answer.target), Some(0));
        assert_eq!(answers[2].map(|answer| answer.target), Some(1));
    }

    #[test]
    fn what_has_no_middle_in_it_is_answered_for_all_the_same() {
        let bar = Target {
            class: 0,
            box_px: [0.0, 0.0, 32.0, 2.0],
        };
        let answers = assign(
            &row(),
            &[0.01; 4],
            &[[0.0; 4]; 4],
            &[bar],
            &Alignment::default(),
        );
        let scores: Vec<f32> = answers
            .iter()
            .flatten()
            .map(|answer| answer.score)
            .collect();
        assert_eq!(scores, [LEAST_TARGET; 4]);
        assert!(
            assign(
                &row(),
                &[0.5; 4],
                &[[0.0; 4]; 4],
                &[],
                &Alignment::default()
            )
            .iter()
            .all(Option::is_none)
        );
    }
}
