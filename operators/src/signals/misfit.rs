//! How far parts of the picture are from where one affine motion of the whole puts them, and how that motion runs on.
//!
//! After the best affine map between two frames ([`super::affine`]) each block of the picture has a difference left, and the
//! small shift that explains it best says by how many pixels the block lies elsewhere. A simulated camera leaves
//! every block in its place, whatever its texture; things that move by themselves, and depth, do not. Grain has no direction
//! and shifts little.

use super::affine::{Fit, Pyramid, fit};
use super::signal::{median, quantile};

/// What a clip's pairs of frames say together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Misfit {
    /// [`super::affine::residual`], median over all pairs that move, 0 to 1.
    pub residual: Option<f64>,
    /// Misplacement of the block in the middle of the order, median over the pairs, in pixels of the fit (128 or fewer a side).
    pub middle_px: Option<f64>,
    /// That of the block at 90 % of the order, median over the pairs.
    pub high_px: Option<f64>,
    /// That of the block at 90 %, at 90 % of the pairs.
    pub peak_px: Option<f64>,
    /// Share of blocks that are more than 0.3 pixels from their place, mean over the pairs, 0 to 1.
    pub astray: Option<f64>,
    /// Share of the picture's change that is left, at the best tenth of the pairs, 0 to 1.
    pub least_residual: Option<f64>,
    /// Share of the picture's change that is left, at the worst tenth of the pairs, 0 to 1.
    pub most_residual: Option<f64>,
    /// Mean length of the fitted motion, in pixels a pair.
    pub camera_px: Option<f64>,
    /// How much the fitted motion changes from pair to pair, as a share of its length: 0 for a glide, 1 and more for a hand.
    pub roughness: Option<f64>,
    /// Size of the fitted zoom and turn together, a pair, as pixels at the border.
    pub turn_px: Option<f64>,
}

/// Blocks further than this from their place are astray, in pixels.
const ASTRAY_PX: f64 = 0.3;

/// More change left than this is a cut or no motion at all: such pairs say nothing of a camera.
const CUT_RESIDUAL: f64 = 0.93;

/// Measures frames that follow one another evenly.
pub fn misfit(pyramids: &[Pyramid]) -> Misfit {
    let fits: Vec<Option<Fit>> = pyramids
        .windows(2)
        .map(|pair| fit(&pair[0], &pair[1]))
        .collect();
    let is_cut = |fit: &Fit| fit.residual > CUT_RESIDUAL;
    let moving: Vec<&Fit> = fits.iter().flatten().collect();
    let whole: Vec<&Fit> = moving.iter().copied().filter(|fit| !is_cut(fit)).collect();
    let used = if whole.len() * 3 >= moving.len() {
        &whole
    } else {
        &moving
    };
    let over = |of: &dyn Fn(&Fit) -> f64, at: f64| {
        let mut values: Vec<f64> = used.iter().map(|fit| of(fit)).collect();
        quantile(&mut values, at)
    };
    let mean = |of: &dyn Fn(&Fit) -> f64| {
        (!used.is_empty()).then(|| used.iter().map(|fit| of(fit)).sum::<f64>() / used.len() as f64)
    };
    let camera_px = mean(&|fit| fit.shift_px().hypot(fit.turn_px()));
    let mut changes: Vec<f64> = fits
        .windows(2)
        .filter_map(|pair| match (&pair[0], &pair[1]) {
            (Some(a), Some(b)) if !is_cut(a) && !is_cut(b) => Some(a.change_px(b)),
            _ => None,
        })
        .collect();
    let mut residuals: Vec<f64> = moving.iter().map(|fit| fit.residual).collect();
    Misfit {
        residual: median(&mut residuals),
        middle_px: over(&|fit| fit.block_quantile(0.5), 0.5),
        high_px: over(&|fit| fit.block_quantile(0.9), 0.5),
        peak_px: over(&|fit| fit.block_quantile(0.9), 0.9),
        astray: mean(&|fit| fit.share_above(ASTRAY_PX)),
        least_residual: over(&|fit| fit.residual, 0.1),
        most_residual: over(&|fit| fit.residual, 0.9),
        camera_px,
        roughness: median(&mut changes)
            .zip(camera_px)
            .map(|(change, length)| change / (length + 0.1)),
        turn_px: mean(&Fit::turn_px),
    }
}

#[cfg(test)]
mod tests {
    use super::super::plane::Plane;
    use super::*;

    fn scene(x: f64, y: f64) -> f64 {
        let waves = [
            (0.11, 0.05, 1.0),
            (-0.04, 0.13, 2.0),
            (0.21, -0.17, 0.5),
            (-0.15, -0.09, 3.3),
        ];
        128.0
            + 26.0
                * waves
                    .iter()
                    .map(|(u, v, phase)| (u * x + v * y + phase).sin())
                    .sum::<f64>()
    }

    fn clip(at: impl Fn(f64, f64, f64) -> f64) -> Misfit {
        let frames: Vec<Pyramid> = (0..8)
            .map(|k| {
                let data = (0..160 * 120).map(|i| {
                    at((i % 160) as f64, (i / 160) as f64, f64::from(k)).clamp(0.0, 255.0) as u8
                });
                Pyramid::new(&Plane::new(160, data.collect()))
            })
            .collect();
        misfit(&frames)
    }

    #[test]
    fn a_glide_over_a_picture_leaves_all_blocks_in_place_and_a_walker_does_not() {
        let glide = clip(|x, y, k| scene(x + 2.0 * k, y + 0.5 * k));
        assert!(glide.high_px.expect("moves") < 0.2, "{glide:?}");
        assert!(glide.roughness.expect("moves") < 0.15, "{glide:?}");
        // 160 px are fitted at 80: half the way.
        let camera = glide.camera_px.expect("moves");
        assert!((camera - 1.03).abs() < 0.25, "{glide:?}");
        let walker = clip(|x, y, k| {
            if (x - 40.0 - 4.0 * k).hypot(y - 60.0) < 32.0 {
                scene(1.7 * (x - 4.0 * k), y + 500.0)
            } else {
                scene(x + 2.0 * k, y)
            }
        });
        assert!(walker.high_px.expect("moves") > 0.5, "{walker:?}");
        assert!(walker.astray.expect("moves") > 0.1, "{walker:?}");
        let hand = clip(|x, y, k| {
            let (dx, dy) = (3.0 * (k * 2.1).sin(), 3.0 * (k * 3.7).cos());
            scene(x + dx, y + dy)
        });
        assert!(hand.high_px.expect("moves") < 0.3, "{hand:?}");
        assert!(hand.roughness.expect("moves") > 0.6, "{hand:?}");
    }

    #[test]
    fn what_does_not_move_says_nothing() {
        assert_eq!(clip(|x, y, _| scene(x, y)), Misfit::default());
        assert_eq!(misfit(&[]), Misfit::default());
    }
}
