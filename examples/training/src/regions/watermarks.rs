//! Watermarks: a large translucent text or mark, alone, or tiled over the whole frame.
//!
//! The label of a tiled watermark is one hull over all tiles: what a safe crop needs to know is that no part of the frame
//! is clean, and a box a tile would send it looking for the gaps.

use std::rc::Rc;

use super::design::Overlay;
use super::fonts::Fonts;
use super::ink::{Layer, Mask};
use super::scene::colour;
use super::words;
use crate::chance::Chance;

const WATERMARK: usize = 3;

/// A watermark over a frame of this size.
pub fn draw(size: (usize, usize), fonts: &Fonts, chance: &mut Chance) -> Option<Overlay> {
    let (width, height) = size;
    let tiled = chance.is(0.35);
    let (script, font) = if chance.is(0.8) {
        fonts.latin(chance)
    } else {
        fonts.any(chance)
    };
    let text = if script.name == "Latin" {
        words::stamp(chance)
    } else {
        script.line(3, chance)
    };
    let wide = if tiled {
        chance.log_range(0.1, 0.3)
    } else {
        chance.log_range(0.22, 0.75)
    } * width as f32;
    // A first look tells how wide the text is.
    let probe = font.text(&text, 20.0)?;
    let em = (20.0 * wide / probe.width as f32).clamp(7.0, 0.35 * height as f32);
    let mut ink = font.text(&text, em)?;
    if chance.is(0.15) {
        // Outlined letters alone.
        let thick = (em * 0.05).ceil() as usize;
        let spread = ink.padded(thick).spread(thick);
        let inside = ink.padded(thick);
        let mut hollow = Mask::empty(spread.width, spread.height);
        for y in 0..spread.height as i32 {
            for x in 0..spread.width as i32 {
                let ink = spread.at(x, y).saturating_sub(inside.at(x, y));
                hollow.add(x, y, f32::from(ink) / 255.0);
            }
        }
        ink = hollow;
    }
    let angle = match chance.below(10) {
        0..=3 => 0.0,
        4..=8 => chance.sign() * chance.range(0.2, 0.85),
        _ => chance.sign() * std::f32::consts::FRAC_PI_2,
    };
    if angle != 0.0 {
        ink = ink.turned(angle);
    }
    let colour = match chance.below(10) {
        0..=6 => [255; 3],
        7 => [chance.below(60) as u8; 3],
        _ => colour(chance),
    };
    let ink = Rc::new(ink);
    if tiled {
        let opacity = chance.range(0.1, 0.4);
        let gap_x = ink.width as f32 * chance.range(1.05, 1.8);
        let gap_y = ink.height as f32 * chance.range(1.1, 2.5) + 0.03 * height as f32;
        let shift = if chance.is(0.6) { gap_x / 2.0 } else { 0.0 };
        let (x0, y0) = (-gap_x * chance.unit(), -gap_y * chance.unit());
        let mut layers = Vec::new();
        let mut row = 0;
        while y0 + row as f32 * gap_y < height as f32 {
            let y = y0 + row as f32 * gap_y;
            let mut x = x0 - if row % 2 == 1 { shift } else { 0.0 };
            while x < width as f32 {
                layers.push(Layer::flat(
                    Rc::clone(&ink),
                    x as i32,
                    y as i32,
                    colour,
                    opacity,
                ));
                x += gap_x;
            }
            row += 1;
        }
        return Overlay::of(WATERMARK, "tiled", layers, size);
    }
    let opacity = chance.range(0.14, 0.55);
    let (w, h) = (ink.width as f32, ink.height as f32);
    let (free_x, free_y) = ((width as f32 - w).max(0.0), (height as f32 - h).max(0.0));
    let (x, y) = if chance.is(0.55) {
        (free_x / 2.0, free_y / 2.0)
    } else {
        (free_x * chance.unit(), free_y * chance.unit())
    };
    let layer = Layer::flat(ink, x as i32, y as i32, colour, opacity);
    let kind = if angle == 0.0 { "single" } else { "slanted" };
    Overlay::of(WATERMARK, kind, vec![layer], size)
}
