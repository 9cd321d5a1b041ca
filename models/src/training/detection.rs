//! The loss of a YOLOv8 detector.
//!
//! * Which cell answers for what: [`super::detection_assign`] (TOOD, arXiv 2108.07755).
//! * Classes: binary cross-entropy of every cell, towards the scores that the assignment wants.
//! * Boxes: one minus the complete IoU (Zheng et al., "Distance-IoU Loss", arXiv 1911.08287), of the cells that answer.
//! * Distances: the distribution focal loss (Li et al., "Generalized Focal Loss", arXiv 2006.04388), of the same cells.
//!
//! Boxes and distances are weighted by the wanted scores, and all is divided by their sum over the batch. Written from the
//! papers.

use std::f64::consts::PI;

use tch::{Kind, Reduction, Tensor, no_grad};

use super::detection_assign::{Alignment, Answer, Cells, Target, assign};
use crate::error::{ModelError, Result};
use crate::yolov8::{BINS, LevelOutput};

/// What the parts of the loss weigh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gains {
    /// One minus the complete IoU.
    pub boxes: f64,
    /// Cross-entropy of the classes.
    pub classes: f64,
    /// Distribution focal loss.
    pub distances: f64,
}

impl Default for Gains {
    fn default() -> Self {
        Gains {
            boxes: 5.0,
            classes: 1.0,
            distances: 1.5,
        }
    }
}

/// The loss of a batch and its parts, unweighted.
#[derive(Debug)]
pub struct DetectionLoss {
    /// What is minimised: a scalar with a gradient.
    pub total: Tensor,
    /// One minus the complete IoU, weighted mean.
    pub boxes: f64,
    /// Cross-entropy of the classes.
    pub classes: f64,
    /// Distribution focal loss, weighted mean.
    pub distances: f64,
}

/// The loss of what a network says of a batch of images, each with its objects.
///
/// # Errors
/// [`ModelError::Input`] when there are not as many lists of objects as images, or a class is none of the network's;
/// otherwise when libtorch refuses (memory).
pub fn detection_loss(
    levels: &[LevelOutput],
    targets: &[Vec<Target>],
    alignment: &Alignment,
    gains: &Gains,
) -> Result<DetectionLoss> {
    let joined = Joined::of(levels)?;
    let (batch, classes, count) = joined.classes.size3()?;
    if batch as usize != targets.len() {
        return Err(ModelError::Input(format!(
            "found {} lists of objects for {batch} images",
            targets.len()
        )));
    }
    if let Some(odd) = targets.iter().flatten().find(|t| t.class as i64 >= classes) {
        return Err(ModelError::Input(format!(
            "found an object of class {}, allowed: below {classes}",
            odd.class
        )));
    }
    let wanted = no_grad(|| Wanted::of(&joined, targets, alignment))?;
    let device = joined.classes.device();
    let scores = Tensor::from_slice(&wanted.scores)
        .f_view([batch, classes, count])?
        .f_to(device)?;
    let norm = wanted
        .weights
        .iter()
        .map(|w| f64::from(*w))
        .sum::<f64>()
        .max(1.0);
    let classes_loss = joined
        .classes
        .f_binary_cross_entropy_with_logits(
            &scores,
            None::<&Tensor>,
            None::<&Tensor>,
            Reduction::Sum,
        )?
        .f_div_scalar(norm)?;
    if wanted.cells.is_empty() {
        return Ok(DetectionLoss {
            classes: classes_loss.f_double_value(&[])?,
            total: classes_loss.f_mul_scalar(gains.classes)?,
            boxes: 0.0,
            distances: 0.0,
        });
    }

    let answering = Tensor::from_slice(&wanted.cells).f_to(device)?;
    let weights = Tensor::from_slice(&wanted.weights).f_to(device)?;
    let sides = Tensor::from_slice(&wanted.sides)
        .f_view([-1, 4])?
        .f_to(device)?; // [p, 4] in cells
    let logits = joined
        .distances
        .f_transpose(1, 2)?
        .f_reshape([-1, 4 * BINS])?
        .f_index_select(0, &answering)?
        .f_view([-1, 4, BINS])?; // [p, 4, 16]
    let bins = Tensor::f_arange(BINS, (Kind::Float, device))?;
    let predicted = logits
        .f_softmax(2, Kind::Float)?
        .f_mul(&bins)?
        .f_sum_dim_intlist([2].as_slice(), false, Kind::Float)?; // [p, 4]
    let weighted = |loss: &Tensor| -> Result<Tensor> {
        Ok(loss
            .f_mul(&weights)?
            .f_sum(Kind::Float)?
            .f_div_scalar(norm)?)
    };
    let boxes_loss = weighted(
        &complete_iou(&predicted, &sides)?
            .f_neg()?
            .f_add_scalar(1.0)?,
    )?;
    let distances_loss = weighted(&distribution_focal(&logits, &sides)?)?;
    let total = classes_loss
        .f_mul_scalar(gains.classes)?
        .f_add(&boxes_loss.f_mul_scalar(gains.boxes)?)?
        .f_add(&distances_loss.f_mul_scalar(gains.distances)?)?;
    Ok(DetectionLoss {
        total,
        boxes: boxes_loss.f_double_value(&[])?,
        classes: classes_loss.f_double_value(&[])?,
        distances: distances_loss.f_double_value(&[])?,
    })
}

/// All levels, one after another.
struct Joined {
    /// [b, 64, cells]
    distances: Tensor,
    /// [b, classes, cells]
    classes: Tensor,
    /// [b, 4, cells]: left, upper, right and lower edge in pixels, without a gradient.
    boxes_px: Tensor,
    cells: Cells,
}

impl Joined {
    fn of(levels: &[LevelOutput]) -> Result<Self> {
        let (mut distances, mut classes, mut boxes_px) = (Vec::new(), Vec::new(), Vec::new());
        let mut cells = Cells::default();
        for level in levels {
            let stride = level.stride_px as f32;
            for y in 0..level.height {
                for x in 0..level.width {
                    let middle = [x, y].map(|at| (at as f32 + 0.5) * stride);
                    cells.middles_px.push(middle);
                    cells.strides_px.push(stride);
                }
            }
            distances.push(level.distances.shallow_clone());
            classes.push(level.classes.shallow_clone());
            boxes_px.push(no_grad(|| -> Result<Tensor> {
                let (sides, middles) = (level.sides()?, level.middles()?);
                let near = middles.f_sub(&sides.f_narrow(1, 0, 2)?)?;
                let far = middles.f_add(&sides.f_narrow(1, 2, 2)?)?;
                Ok(Tensor::f_cat(&[near, far], 1)?.f_mul_scalar(level.stride_px)?)
            })?);
        }
        Ok(Joined {
            distances: Tensor::f_cat(&distances, 2)?,
            classes: Tensor::f_cat(&classes, 2)?,
            boxes_px: Tensor::f_cat(&boxes_px, 2)?,
            cells,
        })
    }
}

/// What the assignment wants of a batch.
#[derive(Default)]
struct Wanted {
    /// [b, classes, cells]
    scores: Vec<f32>,
    /// The cells that answer for an object, counted through the batch.
    cells: Vec<i64>,
    /// For each of them, the distances to the object's edges, in cells (4 each).
    sides: Vec<f32>,
    /// For each of them, the score it should have.
    weights: Vec<f32>,
}

impl Wanted {
    fn of(joined: &Joined, targets: &[Vec<Target>], alignment: &Alignment) -> Result<Self> {
        let count = joined.cells.middles_px.len();
        let scores = host(&joined.classes.f_sigmoid()?)?;
        let boxes = host(&joined.boxes_px.f_transpose(1, 2)?)?;
        let classes = scores.len() / (count * targets.len()).max(1);
        let mut wanted = Wanted {
            scores: vec![0.0; scores.len()],
            ..Wanted::default()
        };
        for (image, targets) in targets.iter().enumerate() {
            let scores = &scores[image * classes * count..][..classes * count];
            let (boxes, _) = boxes[image * 4 * count..][..4 * count].as_chunks::<4>();
            let answers = assign(&joined.cells, scores, boxes, targets, alignment);
            for (cell, answer) in answers.into_iter().enumerate() {
                let Some(Answer { target, score }) = answer else {
                    continue;
                };
                let target = &targets[target];
                let place = (image * classes + target.class) * count + cell;
                wanted.scores[place] = score;
                wanted.cells.push((image * count + cell) as i64);
                wanted.weights.push(score);
                let ([x, y], stride) =
                    (joined.cells.middles_px[cell], joined.cells.strides_px[cell]);
                let [x0, y0, x1, y1] = target.box_px;
                let sides = [x - x0, y - y0, x1 - x, y1 - y];
                wanted.sides.extend(sides.map(|side| side / stride));
            }
        }
        Ok(wanted)
    }
}

fn host(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = tensor.f_to(tch::Device::Cpu)?.f_contiguous()?;
    let mut numbers = vec![0f32; tensor.numel()];
    let count = numbers.len();
    tensor.f_copy_data(&mut numbers, count)?;
    Ok(numbers)
}

/// Complete IoU of boxes around one middle each, given as distances to the left, upper, right and lower edge, [p, 4] both:
/// `iou - rho^2 / c^2 - alpha v`, up to 1.
fn complete_iou(predicted: &Tensor, wanted: &Tensor) -> Result<Tensor> {
    let sides = |t: &Tensor| -> Result<[Tensor; 4]> {
        Ok([
            t.f_select(1, 0)?,
            t.f_select(1, 1)?,
            t.f_select(1, 2)?,
            t.f_select(1, 3)?,
        ])
    };
    let ([pl, pt, pr, pb], [wl, wt, wr, wb]) = (sides(predicted)?, sides(wanted)?);
    let tiny = 1e-7;
    let (pw, ph) = (pl.f_add(&pr)?, pt.f_add(&pb)?);
    let (ww, wh) = (wl.f_add(&wr)?, wt.f_add(&wb)?);
    let common_w = pl
        .f_minimum(&wl)?
        .f_add(&pr.f_minimum(&wr)?)?
        .f_clamp_min(0.0)?;
    let common_h = pt
        .f_minimum(&wt)?
        .f_add(&pb.f_minimum(&wb)?)?
        .f_clamp_min(0.0)?;
    let common = common_w.f_mul(&common_h)?;
    let union = pw
        .f_mul(&ph)?
        .f_add(&ww.f_mul(&wh)?)?
        .f_sub(&common)?
        .f_add_scalar(tiny)?;
    let iou = common.f_div(&union)?;

    // Squared distance of the middles over the squared diagonal of the box around both.
    let around_w = pl.f_maximum(&wl)?.f_add(&pr.f_maximum(&wr)?)?;
    let around_h = pt.f_maximum(&wt)?.f_add(&pb.f_maximum(&wb)?)?;
    let diagonal = around_w
        .f_square()?
        .f_add(&around_h.f_square()?)?
        .f_add_scalar(tiny)?;
    let apart =
        |near_p: &Tensor, far_p: &Tensor, near_w: &Tensor, far_w: &Tensor| -> Result<Tensor> {
            let middle_p = far_p.f_sub(near_p)?;
            let middle_w = far_w.f_sub(near_w)?;
            Ok(middle_p.f_sub(&middle_w)?.f_square()?.f_mul_scalar(0.25)?)
        };
    let distance = apart(&pl, &pr, &wl, &wr)?
        .f_add(&apart(&pt, &pb, &wt, &wb)?)?
        .f_div(&diagonal)?;

    // How the shapes differ.
    let slant = |w: &Tensor, h: &Tensor| w.f_atan2(&h.f_add_scalar(tiny)?);
    let shape = slant(&ww, &wh)?
        .f_sub(&slant(&pw, &ph)?)?
        .f_square()?
        .f_mul_scalar(4.0 / (PI * PI))?;
    let alpha = no_grad(|| -> Result<Tensor> {
        let rest = iou.f_neg()?.f_add(&shape)?.f_add_scalar(1.0 + tiny)?;
        Ok(shape.f_div(&rest)?)
    })?;
    Ok(iou.f_sub(&distance)?.f_sub(&alpha.f_mul(&shape)?)?)
}

/// Distribution focal loss of distances, mean over the four sides: logits [p, 4, 16] against distances [p, 4] in cells, of
/// which what lies outside of the bins counts as the nearest bin.
fn distribution_focal(logits: &Tensor, sides: &Tensor) -> Result<Tensor> {
    let sides = sides.f_clamp(0.0, BINS as f64 - 1.0 - 1e-3)?;
    let near = sides.f_floor()?;
    let far_share = sides.f_sub(&near)?;
    let near_share = far_share.f_neg()?.f_add_scalar(1.0)?;
    let near = near.f_to_kind(Kind::Int64)?;
    let logs = logits.f_log_softmax(2, Kind::Float)?;
    let at = |bin: &Tensor| -> Result<Tensor> {
        Ok(logs
            .f_gather(2, &bin.f_unsqueeze(2)?, false)?
            .f_squeeze_dim(2)?)
    };
    let likely = at(&near)?
        .f_mul(&near_share)?
        .f_add(&at(&near.f_add_scalar(1)?)?.f_mul(&far_share)?)?;
    Ok(likely
        .f_neg()?
        .f_mean_dim([1].as_slice(), false, Kind::Float)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rows(values: &[[f32; 4]]) -> Tensor {
        Tensor::from_slice(values.as_flattened()).view([-1, 4])
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double)).unwrap()
    }

    #[test]
    fn complete_iou_by_hand() {
        let wanted = rows(&[[1.0, 1.0, 1.0, 1.0]; 4]);
        let predicted = rows(&[
            [1.0, 1.0, 1.0, 1.0],
            // Moved by a whole width: no overlap; middles 2 apart, box around both 4 x 2.
            [3.0, 1.0, -1.0, 1.0],
            // Twice as wide: IoU 1/2, same middle, slants of 45 and 63.435 degrees.
            [2.0, 1.0, 2.0, 1.0],
            // Moved by half a width.
            [2.0, 1.0, 0.0, 1.0],
        ]);
        let found = numbers(&complete_iou(&predicted, &wanted).unwrap());
        let v = 4.0 / (PI * PI) * ((2f64).atan() - PI / 4.0).powi(2);
        let alpha = v / (1.0 - 0.5 + v);
        let expected = [1.0, -4.0 / 20.0, 0.5 - alpha * v, 1.0 / 3.0 - 1.0 / 13.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} and {expected}");
        }
    }

    #[test]
    fn the_focal_loss_is_least_where_the_distribution_has_the_distance_for_its_mean() {
        // Two bins share the mass: 2 has 3/4, 3 has 1/4, all others next to nothing.
        let mut bins = [-30f32; 16];
        bins[2] = (0.75f32).ln();
        bins[3] = (0.25f32).ln();
        let logits = Tensor::from_slice(&bins).view([1, 1, 16]).repeat([2, 4, 1]);
        let sides = rows(&[[2.25; 4], [2.0; 4]]);
        let found = numbers(&distribution_focal(&logits, &sides).unwrap());
        let entropy = -(0.75 * (0.75f64).ln() + 0.25 * (0.25f64).ln());
        assert!((found[0] - entropy).abs() < 1e-5, "{found:?}");
        assert!((found[1] + (0.75f64).ln()).abs() < 1e-5, "{found:?}");
        // Distances outside of the bins are clamped, not an error.
        let far = rows(&[[-3.0; 4], [99.0; 4]]);
        let found = numbers(&distribution_focal(&logits, &far).unwrap());
        assert!(found.iter().all(|loss| loss.is_finite()));
    }

    /// A level of 2 x 2 cells of 8 px for one image and two classes, all logits 0.
    fn level() -> LevelOutput {
        let options = (Kind::Float, tch::Device::Cpu);
        LevelOutput {
            distances: Tensor::zeros([1, 64, 4], options).set_requires_grad(true),
            classes: Tensor::zeros([1, 2, 4], options).set_requires_grad(true),
            height: 2,
            width: 2,
            stride_px: 8,
        }
    }

    #[test]
    fn an_image_without_objects_costs_its_classes_alone() {
        let loss = detection_loss(
            &[level()],
            &[vec![]],
            &Alignment::default(),
            &Gains::default(),
        )
        .unwrap();
        // Eight scores of one half: ln 2 each, over a norm of 1.
        assert!((loss.classes - 8.0 * (2f64).ln()).abs() < 1e-5);
        assert_eq!((loss.boxes, loss.distances), (0.0, 0.0));
    }

    #[test]
    fn gradients_pull_scores_up_where_the_object_is() {
        let (level, object) = (
            level(),
            Target {
                class: 1,
                box_px: [0.0, 0.0, 8.0, 8.0],
            },
        );
        let (distances, classes) = (
            level.distances.shallow_clone(),
            level.classes.shallow_clone(),
        );
        let alignment = Alignment {
            cells: 1,
            ..Alignment::default()
        };
        let loss =
            detection_loss(&[level], &[vec![object]], &alignment, &Gains::default()).unwrap();
        // All distributions are even: distances of 7.5 cells, ln 16 of focal loss, weighted by the target, 0.1.
        assert!(
            (loss.distances - 0.1 * (16f64).ln()).abs() < 1e-5,
            "{loss:?}"
        );
        loss.total.backward();
        let pull = numbers(&classes.grad().view([-1]));
        // The first cell should reach 0.1 for class 1, all others 0: sigmoid(0) - target.
        for (place, pull) in pull.iter().enumerate() {
            let target = if place == 4 { 0.1 } else { 0.0 };
            assert!((pull - (0.5 - target)).abs() < 1e-5, "{place}: {pull}");
        }
        let moved = numbers(
            &distances
                .grad()
                .abs()
                .sum_dim_intlist([1].as_slice(), false, Kind::Float)
                .view([-1]),
        );
        assert!(moved[0] > 0.0 && moved[1..] == [0.0; 3], "{moved:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |targets: &[Vec<Target>]| {
            detection_loss(
                &[level()],
                targets,
                &Alignment::default(),
                &Gains::default(),
            )
            .unwrap_err()
            .to_string()
        };
        assert!(refused(&[]).contains("0 lists of objects for 1 images"));
        let odd = Target {
            class: 2,
            box_px: [0.0, 0.0, 8.0, 8.0],
        };
        assert!(refused(&[vec![odd]]).contains("class 2, allowed: below 2"));
    }
}
