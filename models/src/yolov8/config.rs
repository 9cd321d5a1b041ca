//! The sizes of a YOLOv8 network and the thresholds of its detections.

use crate::error::Result;
use crate::fields::{Fields, shown};
use crate::letterbox::Letterbox;
use crate::nms::NmsLimits;
use crate::preprocess::MAX_SIDE_PX;

/// A frame's side is a multiple of the coarsest stride.
pub(crate) const STRIDE_PX: usize = 32;

/// The published sizes, and a smaller one of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Tiny, 0.9 M parameters: ours, half as wide as nano.
    T,
    /// Nano, 3.2 M parameters.
    N,
    /// Small, 11.2 M.
    S,
    /// Medium, 25.9 M.
    M,
    /// Large, 43.7 M.
    L,
    /// Extra large, 68.2 M.
    X,
}

/// Names in the order of [`Scale`].
const SCALES: [&str; 6] = ["t", "n", "s", "m", "l", "x"];

impl Scale {
    /// Depth multiple, width multiple, channel limit, and GFLOPs of a 640 x 640 image (published; counted for `t`).
    fn numbers(self) -> (f64, f64, f64, f64) {
        match self {
            Scale::T => (0.33, 0.125, 1024.0, 2.9),
            Scale::N => (0.33, 0.25, 1024.0, 8.7),
            Scale::S => (0.33, 0.50, 1024.0, 28.6),
            Scale::M => (0.67, 0.75, 768.0, 78.9),
            Scale::L => (1.0, 1.0, 512.0, 165.2),
            Scale::X => (1.0, 1.25, 512.0, 257.8),
        }
    }

    /// The channels of a layer that the table gives so many: limited, scaled, rounded up to a multiple of 8.
    pub(super) fn channels(self, table: i64) -> i64 {
        let (_, width, limit, _) = self.numbers();
        ((table as f64).min(limit) * width / 8.0).ceil() as i64 * 8
    }

    /// The repeats of a block that the table gives so many.
    pub(super) fn repeats(self, table: i64) -> i64 {
        let (depth, _, _, _) = self.numbers();
        ((table as f64 * depth).round_ties_even() as i64).max(1)
    }
}

impl std::fmt::Display for Scale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(SCALES[*self as usize])
    }
}

/// A YOLOv8 detector's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Yolov8Config {
    /// The size of the network.
    pub scale: Scale,
    /// Side of the square that frames are letterboxed to, in pixels; a multiple of 32.
    pub size_px: usize,
    /// Whether frames are padded to the next multiple of 32 only, and antialiased: see [`Letterbox::fitted`].
    pub fitted: bool,
    /// A score in the mean of a video's frames must be above this, 0..1. `None` of a detector that was not trained on such
    /// means, and is not shown them.
    pub mean_conf: Option<f32>,
    /// Which detections are kept.
    pub limits: NmsLimits,
    /// Added to variances when batch norms are folded.
    pub bn_eps: f64,
}

impl Yolov8Config {
    pub(crate) fn read(fields: &Fields<'_>) -> Self {
        let scales = [Scale::T, Scale::N, Scale::S, Scale::M, Scale::L, Scale::X];
        if fields.value("scale").is_none() {
            fields.note(
                "scale",
                format!("found nothing, allowed: {}", SCALES.join(", ")),
            );
        }
        let unit = |n: f64| (0.0..=1.0).contains(&n);
        let config = Yolov8Config {
            scale: scales[fields.word("scale", 1, &SCALES)],
            size_px: fields.int("size", 640, 1..=MAX_SIDE_PX) as usize,
            fitted: fields.word("letterbox", 0, &["square", "fitted"]) == 1,
            mean_conf: fields
                .value("mean_conf")
                .map(|_| fields.number("mean_conf", 0.25, unit, "a number from 0 to 1") as f32),
            limits: NmsLimits {
                conf: fields.number("conf", 0.25, unit, "a number from 0 to 1") as f32,
                iou: fields.number("iou", 0.7, unit, "a number from 0 to 1") as f32,
                max_det: fields.int("max_det", 300, 1..=30_000) as usize,
                max_nms: fields.int("max_nms", 30_000, 1..=100_000) as usize,
            },
            bn_eps: fields.number(
                "bn_eps",
                1e-3,
                |n| n > 0.0 && n < 1.0,
                "a number between 0 and 1",
            ),
        };
        if !config.size_px.is_multiple_of(STRIDE_PX) {
            let found = fields.value("size").map_or("640".into(), shown);
            fields.note(
                "size",
                format!("found {found}, allowed: a multiple of {STRIDE_PX}"),
            );
        }
        config
    }

    /// How a frame of this size is fitted into the network's input.
    ///
    /// # Errors
    /// [`ModelError::Input`](crate::ModelError::Input) when a side is 0.
    pub fn letterbox(&self, width_px: usize, height_px: usize) -> Result<Letterbox> {
        if self.fitted {
            Letterbox::fitted(width_px, height_px, self.size_px, STRIDE_PX)
        } else {
            Letterbox::new(width_px, height_px, self.size_px)
        }
    }

    /// Estimated floating-point operations for one letterboxed frame: the published figure, scaled by area.
    pub fn flops_per_frame(&self) -> u64 {
        let (_, _, _, giga) = self.scale.numbers();
        let area = (self.size_px as f64 / 640.0).powi(2);
        (giga * 1e9 * area) as u64
    }
}
