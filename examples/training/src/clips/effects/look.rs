//! What changes the look of the film itself: glitches, filters, grading, passing clouds.

use super::super::film::{Canvas, Film, wrap};
use super::super::noise::Field;
use super::super::picture::{Picture, blend, hsv, tones};
use super::span;
use crate::chance::Chance;

pub(super) fn glitch(chance: &mut Chance, canvas: &Canvas, film: Film) -> Film {
    let (w, h) = canvas.size();
    let (seed, rate, size) = (
        chance.bits(),
        chance.range(0.25, 0.9),
        chance.range(0.03, 0.2),
    );
    let (bands, has_noise) = (chance.between(2, 9), chance.is(0.4));
    let hold = chance.range(4.0, 15.0);
    wrap(film, move |mut picture, t| {
        let mut now = Chance::of(seed, "glitch", (t * hold) as u64);
        if !now.is(rate) {
            return picture;
        }
        let source = picture.clone();
        for _ in 0..now.between(1, bands) {
            let (y, tall) = (now.below(h), now.between(2, (h / 6).max(3)));
            let off = (now.range(-1.0, 1.0) * size * w as f32) as i32;
            let split = now.between(0, w / 30 + 1) as i32;
            let shade = if has_noise && now.is(0.3) {
                Some(now.fork())
            } else {
                None
            };
            for row in y..(y + tall).min(h) {
                for x in 0..w as i32 {
                    let own = &mut picture.px[row * w + x as usize];
                    *own = [
                        source.near(x + off - split, row as i32)[0],
                        source.near(x + off, row as i32)[1],
                        source.near(x + off + split, row as i32)[2],
                    ];
                    if let Some(mut shade) = shade.clone() {
                        let value =
                            (shade.bits() ^ ((x as u64 / 3 * 7 + row as u64) * 2654435761)) as u8;
                        *own = blend(*own, [value; 3], 110);
                    }
                }
            }
        }
        picture
    })
}

/// Strong colours: duotone, invert, sepia, posterised, edges, cartoon, heat, one hue that turns.
pub(super) fn filter(chance: &mut Chance, canvas: &Canvas, film: Film) -> Film {
    let (w, h) = canvas.size();
    let kind = chance.below(9);
    let (dark, bright) = (
        hsv(chance.range(0.0, 6.0), 0.9, 0.35),
        hsv(chance.range(0.0, 6.0), 0.6, 1.0),
    );
    let (levels, turn) = (chance.between(3, 5) as i32, chance.range(0.2, 2.0));
    let share = chance.range(0.65, 1.0);
    let (from, to) = span(chance, canvas);
    let luma = |rgb: &[u8; 3]| {
        (u32::from(rgb[0]) * 77 + u32::from(rgb[1]) * 150 + u32::from(rgb[2]) * 29) >> 8
    };
    let edges = move |picture: &Picture, x: usize, y: usize| {
        let at = |dx: usize, dy: usize| {
            luma(&picture.px[(y + dy).min(h - 1) * w + (x + dx).min(w - 1)]) as i32
        };
        ((at(1, 0) - at(0, 0)).abs() + (at(0, 1) - at(0, 0)).abs()).min(255)
    };
    wrap(film, move |picture, t| {
        if t < from || t > to {
            return picture;
        }
        let grade = |of: &dyn Fn([u8; 3]) -> [u8; 3]| picture.clone().coloured(of);
        let done = match kind {
            0 | 1 => grade(&|rgb| blend(dark, bright, luma(&rgb))),
            2 => grade(&|rgb| rgb.map(|c| 255 - c)),
            3 => grade(&|rgb| {
                let y = luma(&rgb) as f32;
                [
                    (y * 1.15).min(255.0) as u8,
                    (y * 0.92) as u8,
                    (y * 0.65) as u8,
                ]
            }),
            4 => grade(&|rgb| {
                rgb.map(|c| (i32::from(c) * levels / 256 * 255 / (levels - 1)).clamp(0, 255) as u8)
            }),
            5 => Picture::by(w, h, |x, y| [(edges(&picture, x, y) * 5).min(255) as u8; 3]),
            6 => {
                let flat = picture.box_blurred(2);
                Picture::by(w, h, |x, y| {
                    let rgb = flat.px[y * w + x]
                        .map(|c| (i32::from(c) * 5 / 256 * 255 / 4).clamp(0, 255) as u8);
                    blend(
                        rgb,
                        [10; 3],
                        ((edges(&picture, x, y) - 14).max(0) * 9).min(256) as u32,
                    )
                })
            }
            7 => grade(&|rgb| {
                hsv(
                    4.0 - luma(&rgb) as f32 / 255.0 * 5.0,
                    1.0,
                    0.3 + luma(&rgb) as f32 / 365.0,
                )
            }),
            _ => {
                let tint = hsv(t * turn, 0.8, 1.0);
                grade(&|rgb| {
                    let y = luma(&rgb);
                    tint.map(|c| (u32::from(c) * y / 200).min(255) as u8)
                })
            }
        };
        picture.clone().mixed(&done, share)
    })
}

/// Gentle changes of light and colour that every kind of clip gets now and then.
pub fn graded(chance: &mut Chance, film: Film) -> Film {
    if !chance.is(0.4) {
        return film;
    }
    let table = tones(
        chance.range(0.85, 1.1),
        chance.range(-0.03, 0.05),
        chance.range(0.8, 1.25),
    );
    let colourful = chance.range(0.5, 1.35);
    let is_grey = chance.is(0.06);
    let warm = chance.range(-0.06, 0.06);
    wrap(film, move |picture, _| {
        picture.toned(&table).coloured(|rgb| {
            let y = (u32::from(rgb[0]) * 77 + u32::from(rgb[1]) * 150 + u32::from(rgb[2]) * 29)
                as f32
                / 256.0;
            let gains = [1.0 + warm, 1.0, 1.0 - warm];
            let share = if is_grey { 0.0 } else { colourful };
            std::array::from_fn(|c| {
                ((y + (f32::from(rgb[c]) - y) * share) * gains[c]).clamp(0.0, 255.0) as u8
            })
        })
    })
}

/// A field of slow light over a film, as clouds make it: no effect.
pub fn clouded(chance: &mut Chance, canvas: &Canvas, film: Film) -> Film {
    if !chance.is(0.08) {
        return film;
    }
    let field = Field::new(chance, 2);
    let (w, size) = (canvas.w, canvas.h as f32 * 1.5);
    let pace = chance.range(0.02, 0.2);
    wrap(film, move |mut picture, t| {
        for (at, rgb) in picture.px.iter_mut().enumerate() {
            let gain =
                1.0 + 0.12 * field.at((at % w) as f32 / size + t * pace, (at / w) as f32 / size);
            *rgb = rgb.map(|c| (f32::from(c) * gain).min(255.0) as u8);
        }
        picture
    })
}
