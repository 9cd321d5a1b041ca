//! Bars around the picture.

use ndarray::{Array3, s};

use super::ink::{Layer, Mask};
use super::scene::colour;
use crate::chance::Chance;
use crate::sources::resized;

/// What fills a border.
#[derive(Debug, Clone)]
enum Fill {
    /// One colour at the top, perhaps another at the bottom.
    Colours([[u8; 3]; 2]),
    /// The picture itself, enlarged, blurred, and darkened to this share.
    Blurred {
        /// Blur, as a share of the frame's width.
        reach: f32,
        /// Light that is left.
        light: f32,
    },
}

/// A border: where the picture is, and what is around it.
pub struct Border {
    /// What kind, for figures by kind.
    pub kind: &'static str,
    /// Where the picture is: left, upper, right and lower edge in pixels.
    pub inner: [usize; 4],
    /// Radius of the picture's corners, in pixels.
    pub round_px: usize,
    /// What is written on it.
    pub writing: Vec<Layer>,
    fill: Fill,
}

/// Any border for a frame of this size.
pub fn draw((width, height): (usize, usize), chance: &mut Chance) -> Border {
    let shape = *chance.weighted(&[
        (0.34, "letterbox"),
        (0.26, "pillarbox"),
        (0.16, "window"),
        (0.14, "one side"),
        (0.10, "title bar"),
    ]);
    let thick = |side: usize, most: f32, chance: &mut Chance| {
        let share = if chance.is(0.5) {
            chance.log_range(0.02, most)
        } else {
            chance.range(0.05, most)
        };
        // Even, as crops are; and never so thick that nothing is left.
        ((share * side as f32 / 2.0).round() as usize * 2).max(2)
    };
    // The two bars of a pair are alike, more often than not.
    let pair = |side: usize, most: f32, chance: &mut Chance| {
        let first = thick(side, most, chance);
        if chance.is(0.8) {
            (first, first)
        } else {
            (first, thick(side, most, chance))
        }
    };
    let (mut left, mut upper, mut right, mut lower) = (0, 0, 0, 0);
    match shape {
        "letterbox" => (upper, lower) = pair(height, 0.35, chance),
        "pillarbox" => (left, right) = pair(width, 0.36, chance),
        "window" => {
            (upper, lower) = pair(height, 0.2, chance);
            (left, right) = pair(width, 0.2, chance);
        }
        "one side" => match chance.below(4) {
            0 => upper = thick(height, 0.35, chance),
            1 => lower = thick(height, 0.35, chance),
            2 => left = thick(width, 0.35, chance),
            _ => right = thick(width, 0.35, chance),
        },
        _ => {
            upper = (chance.range(0.06, 0.25) * height as f32) as usize;
            if chance.is(0.5) {
                lower = thick(height, 0.15, chance);
            }
            if chance.is(0.3) {
                (left, right) = pair(width, 0.08, chance);
            }
        }
    }
    let fill = match chance.below(100) {
        0..=41 => Fill::Colours([[chance.below(10) as u8; 3]; 2]),
        42..=51 => Fill::Colours([[255 - chance.below(16) as u8; 3]; 2]),
        52..=65 => Fill::Colours([colour(chance); 2]),
        66..=73 => Fill::Colours([colour(chance), colour(chance)]),
        _ => Fill::Blurred {
            reach: chance.log_range(0.015, 0.06),
            light: chance.range(0.45, 1.0),
        },
    };
    let kind = match (&fill, shape) {
        (Fill::Blurred { .. }, _) => "blurred",
        (Fill::Colours([a, b]), _) if a != b => "gradient",
        (_, shape) => shape,
    };
    let rounded = matches!(shape, "window" | "title bar") && chance.is(0.3);
    Border {
        kind,
        inner: [left, upper, width - right, height - lower],
        round_px: if rounded {
            (chance.range(0.01, 0.06) * width as f32) as usize
        } else {
            0
        },
        writing: Vec::new(),
        fill,
    }
}

impl Border {
    /// The frame with nothing but the border in it.
    pub fn around(&self, scene: &Array3<u8>, width: usize, height: usize) -> Array3<u8> {
        match &self.fill {
            Fill::Colours([upper, lower]) => {
                Array3::from_shape_fn((height, width, 3), |(y, _, c)| {
                    let down = y as f32 / height as f32;
                    let (a, b) = (f32::from(upper[c]), f32::from(lower[c]));
                    (a + down * (b - a)) as u8
                })
            }
            Fill::Blurred { reach, light } => {
                // Blurred at a small size, which is faster and looks the same.
                let (h, w, _) = scene.dim();
                let shape = width as f32 / height as f32;
                let (part_w, part_h) = if w as f32 / h as f32 > shape {
                    ((h as f32 * shape) as usize, h)
                } else {
                    (w, (w as f32 / shape) as usize)
                };
                let (part_w, part_h) = (part_w.clamp(1, w), part_h.clamp(1, h));
                let (x, y) = ((w - part_w) / 2, (h - part_h) / 2);
                let part = scene.slice(s![y..y + part_h, x..x + part_w, ..]).to_owned();
                let small_w = ((1.0 / reach) as u32).clamp(8, 64);
                let small_h = ((small_w as f32 / shape) as u32).max(4);
                let small = resized(
                    &resized(&part, small_w, small_h),
                    width as u32,
                    height as u32,
                );
                small.mapv(|value| (f32::from(value) * light) as u8)
            }
        }
    }

    /// Puts the picture into the frame, its corners rounded.
    pub fn paint_rounded(&self, frame: &mut Array3<u8>, scene: &Array3<u8>) {
        let [x0, y0, x1, y1] = self.inner;
        let (w, h, r) = ((x1 - x0) as f32, (y1 - y0) as f32, self.round_px as f32);
        let mask = Mask::shape(x1 - x0, y1 - y0, |x, y| {
            let (dx, dy) = (
                (x.abs() - w / 2.0 + r).max(0.0),
                (y.abs() - h / 2.0 + r).max(0.0),
            );
            dx.hypot(dy) - r
        });
        for y in 0..y1 - y0 {
            for x in 0..x1 - x0 {
                let share = f32::from(mask.at(x as i32, y as i32)) / 255.0;
                for c in 0..3 {
                    let place = &mut frame[[y + y0, x + x0, c]];
                    let old = f32::from(*place);
                    *place = (old + share * (f32::from(scene[[y, x, c]]) - old)) as u8;
                }
            }
        }
    }
}
