//! Logos: names, initials, geometric marks and emblems, opaque or translucent, mostly in a corner.

use std::f32::consts::{PI, TAU};
use std::rc::Rc;

use super::design::{Overlay, dressed};
use super::fonts::Fonts;
use super::ink::{Layer, Mask};
use super::scene::colour;
use super::words;
use crate::chance::Chance;

const LOGO: usize = 1;

/// A logo in a frame of this size whose picture is seen within `inner`.
pub fn draw(
    size: (usize, usize),
    inner: [usize; 4],
    fonts: &Fonts,
    chance: &mut Chance,
) -> Option<Overlay> {
    let (width, height) = size;
    let long = width.min(height * 16 / 9) as f32;
    let (kind, layers) = match chance.below(10) {
        0..=3 => ("name", wordmark(long, fonts, chance)?),
        4..=5 => ("mark", mark(long * chance.log_range(0.03, 0.14), chance)),
        6..=7 => (
            "emblem",
            emblem(long * chance.log_range(0.04, 0.14), fonts, chance)?,
        ),
        8 => ("badge", badge(long, fonts, chance)?),
        _ => ("lockup", lockup(long, fonts, chance)?),
    };
    let opacity = if chance.is(0.45) {
        1.0
    } else {
        chance.range(0.3, 0.9)
    };
    let bounds = layers.iter().filter_map(Layer::bounds).reduce(|a, b| {
        [
            a[0].min(b[0]),
            a[1].min(b[1]),
            a[2].max(b[2]),
            a[3].max(b[3]),
        ]
    })?;
    let (w, h) = (bounds[2] - bounds[0], bounds[3] - bounds[1]);
    if w < 8.0 || h < 5.0 || w > 0.33 * width as f32 || h > 0.33 * height as f32 {
        return None;
    }
    // Mostly within the picture, now and then anywhere in the frame.
    let [x0, y0, x1, y1] = if chance.is(0.8) {
        inner.map(|edge| edge as f32)
    } else {
        [0.0, 0.0, width as f32, height as f32]
    };
    let (free_x, free_y) = (x1 - x0 - w, y1 - y0 - h);
    if free_x < 0.0 || free_y < 0.0 {
        return None;
    }
    let near = |free: f32, side: f32, chance: &mut Chance| {
        let margin = (chance.log_range(0.008, 0.09) * side).min(free);
        if chance.is(0.5) {
            margin
        } else {
            free - margin
        }
    };
    let (x, y) = match chance.below(10) {
        0..=6 => (
            near(free_x, width as f32, chance),
            near(free_y, height as f32, chance),
        ),
        7 => (free_x * chance.unit(), near(free_y, height as f32, chance)),
        8 => (near(free_x, width as f32, chance), free_y * chance.unit()),
        _ => (free_x * chance.unit(), free_y * chance.unit()),
    };
    let (dx, dy) = ((x0 + x - bounds[0]) as i32, (y0 + y - bounds[1]) as i32);
    let layers = layers
        .into_iter()
        .map(|layer| Layer {
            x: layer.x + dx,
            y: layer.y + dy,
            opacity: layer.opacity * opacity,
            ..layer
        })
        .collect();
    let kind = if opacity < 0.6 { "translucent" } else { kind };
    Overlay::of(LOGO, kind, layers, size)
}

/// White and light more often than not.
fn ink_colour(chance: &mut Chance) -> [u8; 3] {
    match chance.below(10) {
        0..=4 => [255 - chance.below(20) as u8; 3],
        5 => [chance.below(60) as u8; 3],
        _ => {
            let mut vivid = colour(chance);
            vivid[chance.below(3)] = 255 - chance.below(40) as u8;
            vivid
        }
    }
}

fn dark(chance: &mut Chance) -> [u8; 3] {
    [chance.below(50) as u8; 3]
}

fn wordmark(long: f32, fonts: &Fonts, chance: &mut Chance) -> Option<Vec<Layer>> {
    let (script, font) = if chance.is(0.75) {
        fonts.latin(chance)
    } else {
        fonts.any(chance)
    };
    let text = if script.name == "Latin" {
        words::name(chance)
    } else {
        script.line(2, chance)
    };
    let em = long * chance.log_range(0.018, 0.06);
    let ink = font.text(&text, em)?;
    let (outline, shadow) = trimmings(em, chance);
    Some(dressed(
        ink,
        (0, 0),
        ink_colour(chance),
        1.0,
        outline,
        shadow,
        dark(chance),
    ))
}

/// Widths of outline and shadow, in pixels; often none.
fn trimmings(em: f32, chance: &mut Chance) -> (usize, usize) {
    let outline = if chance.is(0.3) {
        (em * 0.06).ceil() as usize
    } else {
        0
    };
    let shadow = if chance.is(0.3) {
        (em * 0.08).ceil() as usize
    } else {
        0
    };
    (outline, shadow)
}

/// One to three simple shapes on top of one another.
fn mark(size: f32, chance: &mut Chance) -> Vec<Layer> {
    let mut layers = Vec::new();
    let count = chance.between(1, 3);
    for index in 0..count {
        let share = 1.0 - 0.3 * index as f32;
        let side = (size * share).max(5.0);
        let mask = shape(side, chance);
        let offset = |chance: &mut Chance| {
            ((size - side) / 2.0 + chance.range(-0.15, 0.15) * size * index as f32) as i32
        };
        let (x, y) = (offset(chance), offset(chance));
        let first = ink_colour(chance);
        let second = if chance.is(0.3) {
            ink_colour(chance)
        } else {
            first
        };
        layers.push(Layer {
            mask: Rc::new(mask),
            x,
            y,
            colours: [first, second],
            opacity: 1.0,
        });
    }
    layers
}

/// A shape of about this size.
fn shape(side: f32, chance: &mut Chance) -> Mask {
    let r = side / 2.0;
    let n = side.ceil() as usize;
    let polygon = |corners: f32, inner: f32, turn: f32| {
        move |x: f32, y: f32| {
            let angle = (y.atan2(x) + turn).rem_euclid(TAU / corners) - PI / corners;
            let reach = inner + (1.0 - inner) * (angle.abs() / (PI / corners));
            x.hypot(y) - r * reach
        }
    };
    let turn = chance.range(0.0, TAU);
    match chance.below(9) {
        0 => Mask::shape(n, n, |x, y| x.hypot(y) - r),
        1 => {
            let thick = r * chance.range(0.15, 0.45);
            Mask::shape(n, n, |x, y| {
                (x.hypot(y) - r + thick / 2.0).abs() - thick / 2.0
            })
        }
        2 => {
            let round = r * chance.range(0.0, 0.5);
            let flat = chance.range(0.4, 1.0);
            Mask::shape(n, n, |x, y| {
                let (dx, dy) = (x.abs() - r + round, y.abs() - r * flat + round);
                dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - round
            })
        }
        3 => Mask::shape(n, n, polygon(chance.between(3, 6) as f32, 0.75, turn)),
        4 => Mask::shape(n, n, polygon(chance.between(4, 8) as f32, 0.4, turn)),
        5 => {
            let bars = chance.between(2, 4) as f32;
            Mask::shape(n, n, |x, y| {
                let cell = side / bars;
                let across = ((x + r).rem_euclid(cell) - cell / 2.0).abs() - cell * 0.3;
                across.max(y.abs() - r)
            })
        }
        6 => {
            let arm = r * chance.range(0.2, 0.45);
            Mask::shape(n, n, |x, y| {
                let (a, b) = (x.abs(), y.abs());
                (a.min(b) - arm).max(a.max(b) - r)
            })
        }
        7 => {
            let shift = r * chance.range(0.3, 0.8);
            Mask::shape(n, n, |x, y| {
                (x.hypot(y) - r).max(r * 0.9 - (x - shift).hypot(y))
            })
        }
        _ => {
            let waves = chance.range(1.0, 3.0);
            let thick = r * chance.range(0.15, 0.3);
            Mask::shape(n, n, |x, y| {
                ((y - 0.4 * r * (x / r * waves * PI).sin()).abs() - thick).max(x.abs() - r)
            })
        }
    }
}

/// Letters in a shape.
fn emblem(size: f32, fonts: &Fonts, chance: &mut Chance) -> Option<Vec<Layer>> {
    let side = size.max(10.0);
    let mut layers = Vec::new();
    let first = ink_colour(chance);
    let ring = chance.is(0.3);
    let base = if ring {
        let thick = side * 0.08;
        let r = side / 2.0;
        let n = side.ceil() as usize;
        Mask::shape(n, n, move |x, y| (x.hypot(y) - r + thick).abs() - thick)
    } else {
        shape(side, chance)
    };
    let (mask_w, mask_h) = (base.width as i32, base.height as i32);
    layers.push(Layer {
        mask: Rc::new(base),
        x: 0,
        y: 0,
        colours: [
            first,
            if chance.is(0.3) {
                ink_colour(chance)
            } else {
                first
            },
        ],
        opacity: 1.0,
    });
    let (_, font) = fonts.latin(chance);
    let text = words::initials(chance);
    let ink = font.text(&text, side * 0.9 / (text.chars().count() as f32).max(1.4))?;
    let (x, y) = (
        (mask_w - ink.width as i32) / 2,
        (mask_h - ink.height as i32) / 2,
    );
    let light = first.iter().map(|c| u32::from(*c)).sum::<u32>() > 380;
    let letters = match (ring, light) {
        (true, _) => first,
        (false, true) => dark(chance),
        (false, false) => [255; 3],
    };
    layers.push(Layer::flat(Rc::new(ink), x, y, letters, 1.0));
    Some(layers)
}

/// `LIVE`, a clock, a channel's number: letters on a small plate.
fn badge(long: f32, fonts: &Fonts, chance: &mut Chance) -> Option<Vec<Layer>> {
    let (_, font) = fonts.latin(chance);
    let text = match chance.below(5) {
        0 => "LIVE".to_owned(),
        1 => format!("{:02}:{:02}", chance.below(24), chance.below(60)),
        2 => "HD".to_owned(),
        3 => format!("{}", chance.between(1, 99)),
        _ => words::name(chance),
    };
    let em = long * chance.log_range(0.018, 0.045);
    let ink = font.text(&text, em)?;
    let pad = (em * chance.range(0.25, 0.7)) as usize + 1;
    let (w, h) = (ink.width + 2 * pad, ink.height + 2 * pad);
    let round = if chance.is(0.5) { em * 0.3 } else { 0.0 };
    let plate = Mask::shape(w, h, |x, y| {
        let (dx, dy) = (
            x.abs() - w as f32 / 2.0 + round,
            y.abs() - h as f32 / 2.0 + round,
        );
        dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0) - round
    });
    let back = if chance.is(0.4) {
        dark(chance)
    } else {
        ink_colour(chance)
    };
    let light = back.iter().map(|c| u32::from(*c)).sum::<u32>() > 380;
    let front = if light { dark(chance) } else { [255; 3] };
    Some(vec![
        Layer::flat(Rc::new(plate), 0, 0, back, chance.range(0.5, 1.0)),
        Layer::flat(Rc::new(ink), pad as i32, pad as i32, front, 1.0),
    ])
}

/// A mark with a name beside it or below.
fn lockup(long: f32, fonts: &Fonts, chance: &mut Chance) -> Option<Vec<Layer>> {
    let size = long * chance.log_range(0.03, 0.08);
    let mut layers = mark(size, chance);
    let (_, font) = fonts.latin(chance);
    let beside = chance.is(0.6);
    let em = size * if beside { 0.6 } else { 0.35 };
    let ink = font.text(&words::name(chance), em)?;
    let (x, y) = if beside {
        (
            (size * 1.2) as i32,
            ((size - ink.height as f32) / 2.0) as i32,
        )
    } else {
        (
            ((size - ink.width as f32) / 2.0) as i32,
            (size * 1.15) as i32,
        )
    };
    let (outline, shadow) = trimmings(em, chance);
    layers.extend(dressed(
        ink,
        (x, y),
        ink_colour(chance),
        1.0,
        outline,
        shadow,
        dark(chance),
    ));
    Some(layers)
}
