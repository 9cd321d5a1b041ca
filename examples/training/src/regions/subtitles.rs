//! Subtitles: one to three lines of any script, outlined, shadowed or on a box, mostly low.

use std::rc::Rc;

use super::design::{Overlay, dressed};
use super::fonts::Fonts;
use super::ink::{Layer, Mask};
use super::scene::colour;
use crate::chance::Chance;

const SUBTITLE: usize = 2;

/// A block of subtitles in a frame of this size whose picture is seen within `inner`. With the same `style` and another
/// `text` it is what comes next in the same video.
pub fn draw(
    size: (usize, usize),
    inner: [usize; 4],
    fonts: &Fonts,
    style: &Chance,
    text: &mut Chance,
) -> Option<Overlay> {
    let (width, height) = size;
    let chance = &mut style.clone();
    let (script, font) = fonts.any(chance);
    let em = chance.log_range(0.035, 0.085) * (height as f32).min(width as f32 * 1.1);
    let widest = chance.range(0.45, 0.92) * width as f32;
    // Wide scripts have fewer letters to a line.
    let letter = if script.spaced { 0.5 } else { 0.95 };
    let most = (widest / (em * letter)).max(2.0) as usize;
    let mut lines: Vec<Mask> = Vec::new();
    let count = *text.weighted(&[(0.5, 1), (0.4, 2), (0.1, 3)]);
    for _ in 0..count {
        let letters = text.between((most / 3).max(2), most.max(3));
        let ink = font.text(&script.line(letters, text), em)?;
        if ink.width as f32 <= 0.95 * width as f32 {
            lines.push(ink);
        }
    }
    let line_px = em * chance.range(1.1, 1.4);
    let block_h = line_px * (lines.len().max(1) - 1) as f32
        + lines.last().map_or(0.0, |line| line.height as f32);
    let front = match chance.below(10) {
        0..=5 => [255 - chance.below(25) as u8; 3],
        6..=7 => [250, 220 + chance.below(36) as u8, chance.below(110) as u8],
        _ => colour(chance).map(|c| c / 2 + 127),
    };
    let style = *chance.weighted(&[
        (0.5, "outlined"),
        (0.2, "boxed"),
        (0.2, "shadowed"),
        (0.1, "bare"),
    ]);
    let sung = chance
        .is(0.1)
        .then(|| (chance.range(0.1, 0.9), colour(chance)));
    let left = chance
        .is(0.08)
        .then(|| chance.range(0.03, 0.15) * width as f32);
    let [_, y0, _, y1] = inner.map(|edge| edge as f32);
    let margin = chance.range(0.02, 0.13) * height as f32;
    let top = match chance.below(20) {
        // Low in the picture, or low in the frame (on the bar, if there is one).
        0..=12 => y1 - margin - block_h,
        13..=14 => height as f32 - margin - block_h,
        15..=17 => y0 + margin,
        _ => chance.range(0.1, 0.8) * height as f32,
    }
    .clamp(1.0, (height as f32 - block_h - 1.0).max(1.0));

    let stroke = chance.range(0.05, 0.09);
    let pad = (em * 0.25) as usize + 1;
    let boxes = chance.range(0.45, 1.0);
    let one_box = chance.is(0.5);
    let mut layers = Vec::new();
    let (mut plates, mut letters) = (Vec::new(), Vec::new());
    for (index, ink) in lines.into_iter().enumerate() {
        let x = left.unwrap_or((width as f32 - ink.width as f32) / 2.0) as i32;
        let y = (top + index as f32 * line_px) as i32;
        plates.push([x, y, x + ink.width as i32, y + ink.height as i32]);
        let thick = (em * stroke).ceil() as usize;
        let (outline, shadow) = match style {
            "outlined" => (thick, 0),
            "shadowed" => (0, thick + 1),
            _ => (0, 0),
        };
        match sung {
            Some((share, other)) => {
                let padded = ink.padded(outline + 2 * shadow + 1);
                let at = (outline + 2 * shadow + 1) as i32;
                letters.extend(dressed(ink, (x, y), front, 1.0, outline, shadow, [0; 3]));
                let (sung, _) = padded.halves(share);
                letters.push(Layer::flat(Rc::new(sung), x - at, y - at, other, 1.0));
            }
            None => letters.extend(dressed(ink, (x, y), front, 1.0, outline, shadow, [0; 3])),
        }
    }
    if style == "boxed" {
        let back = if chance.is(0.8) {
            [chance.below(40) as u8; 3]
        } else {
            colour(chance).map(|c| c / 3)
        };
        if one_box
            && let Some(hull) = plates.iter().copied().reduce(|a, b| {
                [
                    a[0].min(b[0]),
                    a[1].min(b[1]),
                    a[2].max(b[2]),
                    a[3].max(b[3]),
                ]
            })
        {
            plates = vec![hull];
        }
        for [x0, y0, x1, y1] in plates {
            let (w, h) = ((x1 - x0) as usize + 2 * pad, (y1 - y0) as usize + 2 * pad);
            let plate = Rc::new(Mask::full(w, h));
            layers.push(Layer::flat(
                plate,
                x0 - pad as i32,
                y0 - pad as i32,
                back,
                boxes,
            ));
        }
    }
    layers.extend(letters);
    Overlay::of(
        SUBTITLE,
        if script.name == "Latin" {
            style
        } else {
            script.name
        },
        layers,
        size,
    )
}
