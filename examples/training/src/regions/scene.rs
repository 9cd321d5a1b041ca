//! What lies beneath the overlays: photographs, footage and drawn scenes, with much in them that looks like an overlay and is
//! none.

use std::f32::consts::TAU;
use std::rc::Rc;

use clipsieve_operators::media::Frame;
use ndarray::{Array3, s};

use super::fonts::Fonts;
use super::ink::{Layer, Mask};
use super::words;
use crate::chance::Chance;
use crate::sources::{Sources, resized};

/// A colour of any kind.
pub fn colour(chance: &mut Chance) -> [u8; 3] {
    std::array::from_fn(|_| chance.below(256) as u8)
}

/// A frame of this size with no overlay in it.
pub fn scene(
    width: usize,
    height: usize,
    sources: &Sources,
    fonts: &Fonts,
    chance: &mut Chance,
) -> Array3<u8> {
    let kinds = [
        (if sources.photos.is_empty() { 0.0 } else { 0.5 }, 0),
        (if sources.shots.is_empty() { 0.0 } else { 0.33 }, 1),
        (0.17, 2),
    ];
    let mut frame = match chance.weighted(&kinds).to_owned() {
        0 => {
            let photo = chance.pick(&sources.photos);
            part(&photo.picture, width, height, 0.35, chance)
        }
        1 => {
            let shot = chance.pick(&sources.shots);
            let frame: &Frame = chance.pick(&shot.frames);
            part(frame, width, height, 0.6, chance)
        }
        _ => drawn(width, height, chance),
    };
    if chance.is(0.5) {
        frame.invert_axis(ndarray::Axis(1));
        frame = frame.as_standard_layout().into_owned();
    }
    if chance.is(0.35) {
        furnish(&mut frame, fonts, chance);
    }
    grade(&mut frame, chance);
    frame
}

/// A part of a picture, of the shape of the frame; at least `least` of the largest such part.
fn part(
    picture: &Array3<u8>,
    width: usize,
    height: usize,
    least: f32,
    chance: &mut Chance,
) -> Array3<u8> {
    let (h, w, _) = picture.dim();
    place((w, h), (width, height), least, chance).of(picture)
}

/// Which part of a picture is seen in a frame.
pub struct Place {
    /// Left, upper, right and lower edge in pixels of the picture.
    part: [usize; 4],
    /// Width and height of the frame, in pixels.
    size: (u32, u32),
}

impl Place {
    /// The part of this picture, scaled to the frame.
    pub fn of(&self, picture: &Array3<u8>) -> Array3<u8> {
        let [x0, y0, x1, y1] = self.part;
        let view = picture.slice(s![y0..y1, x0..x1, ..]).to_owned();
        resized(&view, self.size.0, self.size.1)
    }
}

/// Any part of a picture of `(w, h)` of the shape of the frame; at least `least` of the largest such part.
pub fn place(
    (w, h): (usize, usize),
    (width, height): (usize, usize),
    least: f32,
    chance: &mut Chance,
) -> Place {
    let shape = width as f32 / height as f32;
    let (mut part_w, mut part_h) = if w as f32 / h as f32 > shape {
        (h as f32 * shape, h as f32)
    } else {
        (w as f32, w as f32 / shape)
    };
    let zoom = chance.range(least, 1.0);
    part_w = (part_w * zoom).max(2.0);
    part_h = (part_h * zoom).max(2.0);
    let (part_w, part_h) = ((part_w as usize).min(w), (part_h as usize).min(h));
    let (x, y) = (chance.between(0, w - part_w), chance.between(0, h - part_h));
    Place {
        part: [x, y, x + part_w, y + part_h],
        size: (width as u32, height as u32),
    }
}

/// Smooth light, shapes with hard edges, texture: a sky, a wall, a room, the night.
fn drawn(width: usize, height: usize, chance: &mut Chance) -> Array3<u8> {
    let dark = chance.is(0.35);
    let level = |chance: &mut Chance| {
        let top = if dark { 60.0 } else { 256.0 };
        [0; 3].map(|_| chance.range(0.0, top))
    };
    let (upper, lower) = (level(chance), level(chance));
    let waves: Vec<(f32, f32, f32, f32)> = (0..chance.between(0, 4))
        .map(|_| {
            let size = chance.log_range(0.02, 1.0) * width as f32;
            let way = chance.range(0.0, TAU);
            let strength = chance.range(2.0, if dark { 14.0 } else { 40.0 });
            (
                TAU / size * way.cos(),
                TAU / size * way.sin(),
                chance.range(0.0, TAU),
                strength,
            )
        })
        .collect();
    let mut frame = Array3::zeros((height, width, 3));
    let bend = chance.log_range(0.3, 3.0);
    for y in 0..height {
        let down = (y as f32 / height as f32).powf(bend);
        for x in 0..width {
            let wave: f32 = waves
                .iter()
                .map(|(kx, ky, phase, strength)| {
                    strength * (kx * x as f32 + ky * y as f32 + phase).sin()
                })
                .sum();
            for c in 0..3 {
                let value = upper[c] + down * (lower[c] - upper[c]) + wave;
                frame[[y, x, c]] = value.clamp(0.0, 255.0) as u8;
            }
        }
    }
    // Things: boxes, poles, discs; a few of them large, many small.
    let things = if chance.is(0.2) {
        0
    } else {
        chance.between(2, 25)
    };
    for _ in 0..things {
        let size = chance.log_range(0.02, 0.6) * width as f32;
        let (w, h) = (
            (size * chance.log_range(0.3, 3.0)).clamp(2.0, 2.0 * width as f32) as usize,
            size.clamp(2.0, 2.0 * height as f32) as usize,
        );
        let mask = match chance.below(3) {
            0 => Mask::full(w, h),
            1 => Mask::full(w, h).turned(chance.range(-0.6, 0.6)),
            _ => {
                let (a, b) = (w as f32 / 2.0, h as f32 / 2.0);
                Mask::shape(w, h, |x, y| ((x / a).hypot(y / b) - 1.0) * a.min(b))
            }
        };
        let mask = if chance.is(0.3) {
            mask.padded(4).blurred(chance.between(1, 4))
        } else {
            mask
        };
        let colour = if dark {
            colour(chance).map(|c| c / 4)
        } else {
            colour(chance)
        };
        let layer = Layer {
            mask: Rc::new(mask),
            x: chance.range(-0.2, 1.0) as i32 + chance.below(width + w) as i32 - w as i32,
            y: chance.below(height + h) as i32 - h as i32,
            colours: [
                colour,
                colour.map(|c| (f32::from(c) * chance.range(0.5, 1.0)) as u8),
            ],
            opacity: chance.range(0.4, 1.0),
        };
        layer.paint(&mut frame);
    }
    if dark && chance.is(0.6) {
        for _ in 0..chance.between(5, 120) {
            let (x, y) = (chance.below(width), chance.below(height));
            let light = chance.between(60, 255) as u8;
            for c in 0..3 {
                frame[[y, x, c]] = light;
            }
        }
    }
    frame
}

/// Puts things of the scene into it that could be taken for overlays: signs and posters at an angle, lit windows, bands
/// and edges that look like bars but are not, skies and floors without any texture.
fn furnish(frame: &mut Array3<u8>, fonts: &Fonts, chance: &mut Chance) {
    let (height, width, _) = frame.dim();
    for _ in 0..chance.between(1, 2) {
        match chance.below(5) {
            0 | 1 => sign(frame, fonts, chance),
            2 => windows(frame, chance),
            3 => {
                // A dark or light part at one side, with an edge that is neither straight nor hard.
                let colour = if chance.is(0.6) {
                    [chance.below(25) as u8; 3]
                } else {
                    colour(chance)
                };
                let depth = chance.range(0.08, 0.45) * height as f32;
                let (slope, wave, size) = (
                    chance.range(-0.25, 0.25),
                    chance.range(0.0, 14.0),
                    chance.range(0.05, 0.6) * width as f32,
                );
                let soft = chance.range(0.5, 30.0);
                let below = chance.is(0.5);
                let phase = chance.range(0.0, TAU);
                for y in 0..height {
                    for x in 0..width {
                        let far = if below { height - 1 - y } else { y } as f32;
                        let from_middle = x as f32 - width as f32 / 2.0;
                        let edge = depth
                            + slope * from_middle
                            + wave * (x as f32 / size * TAU + phase).sin();
                        let share = ((edge - far) / soft).clamp(0.0, 1.0);
                        if share > 0.0 {
                            for (c, colour) in colour.iter().enumerate() {
                                let place = &mut frame[[y, x, c]];
                                let old = f32::from(*place);
                                *place = (old + share * (f32::from(*colour) - old)) as u8;
                            }
                        }
                    }
                }
            }
            _ => {
                // A pole, a shelf, a frame of a door: straight and hard, but not along the whole of a side.
                let upright = chance.is(0.5);
                let thick = chance.log_range(0.01, 0.12);
                let long = chance.range(0.3, 0.9);
                let (w, h) = if upright {
                    (thick * width as f32, long * height as f32)
                } else {
                    (long * width as f32, thick * height as f32)
                };
                let mask = Mask::full(w as usize + 2, h as usize + 2);
                let turned = mask.turned(chance.range(-0.15, 0.15));
                let at = |chance: &mut Chance, side: usize, own: usize| {
                    chance.below(side.max(1)) as i32 - own as i32 / 3
                };
                let (x, y) = (
                    at(chance, width, turned.width),
                    at(chance, height, turned.height),
                );
                let first = colour(chance);
                Layer {
                    mask: Rc::new(turned),
                    x,
                    y,
                    colours: [first, colour(chance)],
                    opacity: chance.range(0.5, 1.0),
                }
                .paint(frame);
            }
        }
    }
}

/// Writing that belongs to the scene: on a board, at an angle, lit and blurred as the rest.
fn sign(frame: &mut Array3<u8>, fonts: &Fonts, chance: &mut Chance) {
    let (height, width, _) = frame.dim();
    let (script, font) = fonts.any(chance);
    let text = if chance.is(0.5) {
        words::name(chance)
    } else {
        script.line(chance.between(3, 14), chance)
    };
    let Some(ink) = font.text(&text, chance.log_range(0.025, 0.14) * height as f32) else {
        return;
    };
    let angle = chance.sign() * chance.range(0.06, 0.5);
    let pad = chance.between(3, 12);
    let ink = ink.padded(pad);
    let soft = chance.between(0, 2);
    let prepared = |mask: Mask| {
        let turned = mask.turned(angle).padded(soft);
        Rc::new(if soft > 0 {
            turned.blurred(soft)
        } else {
            turned
        })
    };
    let board = prepared(Mask::full(ink.width, ink.height));
    let letters = prepared(ink);
    let (x, y) = (
        chance.below(width) as i32 - board.width as i32 / 2,
        chance.below(height) as i32 - board.height as i32 / 2,
    );
    if chance.is(0.7) {
        let colours = [colour(chance), colour(chance)];
        Layer {
            mask: board,
            x,
            y,
            colours,
            opacity: chance.range(0.5, 1.0),
        }
        .paint(frame);
    }
    Layer::flat(letters, x, y, colour(chance), chance.range(0.5, 0.95)).paint(frame);
}

/// Lit windows or tiles in rows.
fn windows(frame: &mut Array3<u8>, chance: &mut Chance) {
    let (height, width, _) = frame.dim();
    let (w, h) = (chance.between(3, 24), chance.between(3, 30));
    let (gap_x, gap_y) = (w + chance.between(2, 20), h + chance.between(2, 20));
    let (columns, rows) = (chance.between(2, 9), chance.between(1, 7));
    let (x0, y0) = (chance.below(width) as i32, chance.below(height) as i32);
    let slant = chance.range(-0.2, 0.2);
    let mask = Rc::new(Mask::full(w, h));
    let light = colour(chance);
    let opacity = chance.range(0.3, 1.0);
    for row in 0..rows {
        for column in 0..columns {
            if chance.is(0.8) {
                let x = x0 + (column * gap_x) as i32;
                let y = y0 + (row * gap_y) as i32 + (slant * (column * gap_x) as f32) as i32;
                Layer::flat(Rc::clone(&mask), x, y, light, opacity).paint(frame);
            }
        }
    }
}

/// Light, contrast and colour of the whole.
fn grade(frame: &mut Array3<u8>, chance: &mut Chance) {
    let gamma = chance.log_range(0.6, 1.6);
    let gain = if chance.is(0.1) {
        chance.range(0.15, 0.5)
    } else {
        chance.range(0.75, 1.15)
    };
    let lift = chance.range(-12.0, 18.0);
    let curve: Vec<f32> = (0..256)
        .map(|level| (level as f32 / 255.0).powf(gamma) * 255.0 * gain + lift)
        .collect();
    let saturation = if chance.is(0.08) {
        0.0
    } else {
        chance.range(0.5, 1.3)
    };
    let tint: [f32; 3] = std::array::from_fn(|_| chance.range(0.92, 1.08));
    for mut pixel in frame.rows_mut() {
        let rgb: [f32; 3] = std::array::from_fn(|c| curve[usize::from(pixel[c])]);
        let grey = 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2];
        for c in 0..3 {
            let value = (grey + saturation * (rgb[c] - grey)) * tint[c];
            pixel[c] = value.clamp(0.0, 255.0) as u8;
        }
    }
}
