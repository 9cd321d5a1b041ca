//! Sprites: pictures with see-through parts, put over others.

use super::film::Canvas;
use super::lettering::{Fonts, words};
use super::picture::{Picture, hsv};
use crate::chance::Chance;

/// RGBA, colours as they are (not multiplied by the opacity).
#[derive(Debug, Clone)]
pub struct Sprite {
    /// Width in pixels.
    pub w: usize,
    /// Height in pixels.
    pub h: usize,
    /// The pixels.
    pub px: Vec<[u8; 4]>,
}

/// Where a sprite is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Its middle, in pixels.
    pub x: f32,
    /// Its middle, in pixels.
    pub y: f32,
    /// Pixels drawn for one of the sprite.
    pub scale: f32,
    /// Turned by so many radians.
    pub angle: f32,
    /// 0 to 1.
    pub opacity: f32,
}

impl Sprite {
    /// A shape: opacity by x and y from -1 to 1 (about 0 at the edges), one colour at the top, one at the bottom.
    pub fn shape(side: usize, top: [u8; 3], bottom: [u8; 3], of: impl Fn(f32, f32) -> f32) -> Self {
        let mut px = Vec::with_capacity(side * side);
        for y in 0..side {
            for x in 0..side {
                let at = |k: usize| (k as f32 + 0.5) * 2.2 / side as f32 - 1.1;
                let share = y as f32 / side as f32;
                let mix = |c: usize| {
                    (f32::from(top[c]) * (1.0 - share) + f32::from(bottom[c]) * share) as u8
                };
                let alpha = (of(at(x), at(y)).clamp(0.0, 1.0) * 255.0) as u8;
                px.push([mix(0), mix(1), mix(2), alpha]);
            }
        }
        Self {
            w: side,
            h: side,
            px,
        }
    }

    /// Ink of one colour, 0 to 1 by pixel, with an outline about it.
    pub fn of_ink(
        w: usize,
        h: usize,
        ink: &[f32],
        colour: [u8; 3],
        outline: Option<[u8; 3]>,
    ) -> Self {
        let edge = |x: usize, y: usize| {
            let rows = y.saturating_sub(1)..(y + 2).min(h);
            rows.flat_map(|row| {
                (x.saturating_sub(1)..(x + 2).min(w)).map(move |column| ink[row * w + column])
            })
            .fold(0.0, f32::max)
        };
        let mut px = Vec::with_capacity(w * h);
        for y in 0..h {
            for x in 0..w {
                let own = ink[y * w + x];
                let [r, g, b] = match outline {
                    Some(dark) => super::picture::blend(dark, colour, (own * 256.0) as u32),
                    None => colour,
                };
                let alpha = if outline.is_some() { edge(x, y) } else { own };
                px.push([r, g, b, (alpha * 255.0) as u8]);
            }
        }
        Self { w, h, px }
    }

    /// A part of a picture behind a mask from 0 to 1 by x and y from -1 to 1.
    pub fn cut_out(picture: &Picture, of: impl Fn(f32, f32) -> f32) -> Self {
        let px = picture.px.iter().enumerate().map(|(at, rgb)| {
            let (x, y) = (at % picture.w, at / picture.w);
            let at = |k: usize, n: usize| (k as f32 + 0.5) * 2.0 / n as f32 - 1.0;
            let alpha = of(at(x, picture.w), at(y, picture.h)).clamp(0.0, 1.0) * 255.0;
            [rgb[0], rgb[1], rgb[2], alpha as u8]
        });
        Self {
            w: picture.w,
            h: picture.h,
            px: px.collect(),
        }
    }

    /// Draws it over a picture.
    pub fn draw(&self, onto: &mut Picture, place: Place) {
        if place.scale <= 1e-3 || place.opacity <= 0.0 {
            return;
        }
        let (s, c) = place.angle.sin_cos();
        let reach = (self.w as f32).hypot(self.h as f32) / 2.0 * place.scale + 1.0;
        let span = |at: f32, len: usize| {
            let low = (at - reach).max(0.0) as usize;
            low..((at + reach).max(0.0) as usize + 1).min(len)
        };
        let (half_w, half_h) = (self.w as f32 / 2.0, self.h as f32 / 2.0);
        let opacity = (place.opacity.min(1.0) * 256.0) as u32;
        for y in span(place.y, onto.h) {
            for x in span(place.x, onto.w) {
                let (dx, dy) = (
                    (x as f32 - place.x) / place.scale,
                    (y as f32 - place.y) / place.scale,
                );
                let (u, v) = (c * dx + s * dy + half_w, -s * dx + c * dy + half_h);
                if u < 0.0 || v < 0.0 || u >= self.w as f32 || v >= self.h as f32 {
                    continue;
                }
                let [r, g, b, a] = self.sample(u - 0.5, v - 0.5);
                let own = &mut onto.px[y * onto.w + x];
                *own = super::picture::blend(*own, [r, g, b], u32::from(a) * opacity / 255);
            }
        }
    }

    fn sample(&self, x: f32, y: f32) -> [u8; 4] {
        let (ix, iy) = (x.floor(), y.floor());
        let (fx, fy) = (x - ix, y - iy);
        let at = |x: f32, y: f32| {
            let (x, y) = (
                (x.max(0.0) as usize).min(self.w - 1),
                (y.max(0.0) as usize).min(self.h - 1),
            );
            self.px[y * self.w + x]
        };
        let (a, b, c, d) = (
            at(ix, iy),
            at(ix + 1.0, iy),
            at(ix, iy + 1.0),
            at(ix + 1.0, iy + 1.0),
        );
        std::array::from_fn(|k| {
            let upper = f32::from(a[k]) * (1.0 - fx) + f32::from(b[k]) * fx;
            let lower = f32::from(c[k]) * (1.0 - fx) + f32::from(d[k]) * fx;
            (upper * (1.0 - fy) + lower * fy) as u8
        })
    }
}

/// A soft step from 1 inside to 0 outside of a distance.
fn inside(distance: f32) -> f32 {
    0.5 - distance * 14.0
}

/// A sticker by chance: hearts, stars, faces, bubbles, arrows, or text.
pub fn sticker(chance: &mut Chance, fonts: &Fonts, canvas: &Canvas) -> Sprite {
    let side = (canvas.w.min(canvas.h) as f32 * chance.range(0.14, 0.4)) as usize;
    let hue = chance.range(0.0, 6.0);
    let (top, bottom) = (
        hsv(hue, chance.range(0.3, 1.0), 1.0),
        hsv(hue + chance.range(-0.7, 0.7), 0.9, 0.8),
    );
    match chance.below(8) {
        0 => Sprite::shape(side, top, bottom, |x, y| {
            let y = -y * 1.1 + 0.1;
            let bowl = x * x + y * y - 0.45;
            inside((bowl.powi(3) - x * x * y.powi(3)).signum() * bowl.abs().max(0.03) * 0.3)
        }),
        1 => {
            let points = chance.between(4, 9) as f32;
            let depth = chance.range(0.25, 0.6);
            Sprite::shape(side, top, bottom, move |x, y| {
                let turn = (y.atan2(x) * points / std::f32::consts::TAU).rem_euclid(1.0) - 0.5;
                inside(x.hypot(y) - (0.95 - depth * (1.0 - turn.abs() * 2.0)))
            })
        }
        2 | 3 => face(chance, side),
        4 => Sprite::shape(side, top, bottom, |x, y| {
            inside((x.hypot(y) - 0.85).abs() - 0.1)
        }),
        5 => Sprite::shape(side, top, bottom, |x, y| {
            let shaft = (y.abs() - 0.2).max(x - 0.2).max(-x - 0.9);
            let tip = (y.abs() * 0.8 + x - 0.85).max(-x + 0.15);
            inside(shaft.min(tip))
        }),
        _ => {
            let count = chance.between(1, 3);
            let text = words(chance, count);
            let px = (canvas.h as f32 * chance.range(0.08, 0.2)).max(12.0);
            let outline =
                chance
                    .is(0.6)
                    .then_some(if chance.is(0.7) { [0, 0, 0] } else { [255; 3] });
            fonts.line(chance, &text, px, top, outline)
        }
    }
}

/// A round face with eyes and a mouth.
fn face(chance: &mut Chance, side: usize) -> Sprite {
    let mood = chance.range(-1.0, 1.0);
    let mut face = Sprite::shape(side, [255, 225, 90], [245, 180, 40], |x, y| {
        inside(x.hypot(y) - 0.95)
    });
    let dark = Sprite::shape(side, [60, 35, 10], [60, 35, 10], |x, y| {
        let eyes = ((x.abs() - 0.33) * 1.3).hypot(y + 0.25) - 0.13;
        let mouth = (y - 0.4 - mood * 0.9 * (0.2 - x * x))
            .abs()
            .max(x.abs() - 0.5)
            - 0.06;
        inside(eyes.min(mouth))
    });
    for (own, over) in face.px.iter_mut().zip(&dark.px) {
        let rgb = super::picture::blend(
            [own[0], own[1], own[2]],
            [over[0], over[1], over[2]],
            u32::from(over[3]),
        );
        own[..3].copy_from_slice(&rgb);
    }
    face
}

/// How a sprite enters, stays and moves.
#[derive(Debug, Clone, Copy)]
pub struct Dance {
    x: f32,
    y: f32,
    rate: f32,
    phase: f32,
    kind: usize,
    appears: f32,
    scale: f32,
}

impl Dance {
    /// A way to move over a canvas.
    pub fn draw(chance: &mut Chance, canvas: &Canvas) -> Self {
        Self {
            x: canvas.w as f32 * chance.range(0.1, 0.9),
            y: canvas.h as f32 * chance.range(0.1, 0.9),
            rate: chance.range(0.4, 2.5),
            phase: chance.range(0.0, 6.3),
            kind: chance.below(6),
            appears: canvas.seconds()
                * if chance.is(0.5) {
                    0.0
                } else {
                    chance.range(0.0, 0.6)
                },
            scale: chance.range(0.6, 1.3),
        }
    }

    /// Where the sprite is at a time.
    pub fn at(&self, t: f32, canvas: &Canvas) -> Place {
        let age = t - self.appears;
        let mut place = Place {
            x: self.x,
            y: self.y,
            scale: if age < 0.0 {
                0.0
            } else {
                self.scale
                    * (age * 5.0)
                        .min(1.0)
                        .max(if self.appears == 0.0 { 1.0 } else { 0.0 })
            },
            angle: 0.0,
            opacity: 1.0,
        };
        let wave = (self.rate * std::f32::consts::TAU * t + self.phase).sin();
        match self.kind {
            0 => place.scale *= 1.0 + 0.25 * wave,
            1 => place.y -= wave.abs() * canvas.h as f32 * 0.12,
            2 => place.angle = wave * 0.5,
            3 => place.angle = self.rate * t * 2.0,
            4 => {
                let way = canvas.w as f32 * 1.3;
                place.x = (self.x + self.rate * t * canvas.w as f32 * 0.25).rem_euclid(way)
                    - canvas.w as f32 * 0.15;
            }
            _ => place.opacity = 0.6 + 0.4 * wave,
        }
        place
    }
}
