//! What shines or floats over a film: particles, light leaks, flares.

use std::f32::consts::TAU;

use super::super::film::{Canvas, Film, wrap};
use super::super::picture::hsv;
use super::super::stickers::{Place, Sprite};
use crate::chance::Chance;

/// Snow, rain, sparkles, bubbles, confetti, hearts.
pub(super) fn particles(chance: &mut Chance, canvas: &Canvas, film: Film) -> Film {
    let (fw, fh) = (canvas.w as f32, canvas.h as f32);
    let kind = chance.below(6);
    let count = chance.log_range(12.0, 130.0) as usize;
    let size = (fh * chance.log_range(0.015, 0.08)).max(3.0);
    let side = (size * 2.0) as usize;
    let white = [255; 3];
    let looks: Vec<Sprite> = match kind {
        0 => vec![Sprite::shape(side, white, white, |x, y| 1.0 - x.hypot(y))],
        1 => vec![Sprite::shape(
            side,
            [210, 225, 240],
            [210, 225, 240],
            |x, y| 0.6 * (1.0 - (x * 9.0).abs()) * (1.0 - y.abs()),
        )],
        2 => vec![Sprite::shape(side, [255, 250, 200], white, |x, y| {
            (0.12 / (x.abs() * y.abs() * 14.0 + 0.12)) * (1.0 - x.hypot(y))
        })],
        3 => vec![Sprite::shape(
            side,
            [255, 220, 180],
            [255, 190, 220],
            |x, y| if x.hypot(y) < 0.95 { 0.4 } else { 0.0 },
        )],
        _ => (0..5)
            .map(|k| {
                let colour = hsv(k as f32 * 1.2, 0.8, 1.0);
                Sprite::shape(side, colour, colour, move |x, y| {
                    let d = if kind == 4 {
                        x.abs().max(y.abs() * 1.8) - 0.7
                    } else {
                        (x * x + (y * 1.1 + 0.2 - x.abs() * 0.8).powi(2)) - 0.4
                    };
                    0.5 - d * 10.0
                })
            })
            .collect(),
    };
    let fall = match kind {
        1 => chance.range(1.5, 3.0),
        2 => 0.0,
        3 => -chance.range(0.05, 0.3),
        _ => chance.range(0.15, 0.9),
    } * fh;
    let wind = fw * chance.range(-0.15, 0.15);
    let bits: Vec<[f32; 5]> = (0..count)
        .map(|_| std::array::from_fn(|_| chance.unit()))
        .collect();
    let opacity = chance.range(0.5, 1.0);
    wrap(film, move |mut picture, t| {
        for (k, &[a, b, c, d, e]) in bits.iter().enumerate() {
            let pace = 0.5 + d;
            let x = (a * fw + wind * pace * t + (t * (1.0 + e) * 2.0 + b * 6.0).sin() * size)
                .rem_euclid(fw + 2.0 * size)
                - size;
            let y = (b * fh + fall * pace * t).rem_euclid(fh + 2.0 * size) - size;
            let twinkle = if kind == 2 {
                (0.5 + 0.5 * (t * (2.0 + 6.0 * e) + c * 6.3).sin()).powi(2)
            } else {
                1.0
            };
            let place = Place {
                x,
                y,
                scale: (0.4 + c) * twinkle.sqrt(),
                angle: if kind >= 4 {
                    t * (e - 0.5) * 8.0 + c * 6.0
                } else {
                    0.0
                },
                opacity: opacity * twinkle,
            };
            looks[k % looks.len()].draw(&mut picture, place);
        }
        picture
    })
}

/// Adds light: a + b, not over full scale.
pub(super) fn add(own: &mut [u8; 3], light: [f32; 3]) {
    for (value, light) in own.iter_mut().zip(light) {
        // As light on film: 1 - (1 - a)(1 - b).
        *value = 255 - ((255.0 - f32::from(*value)) * (1.0 - light.clamp(0.0, 1.0))) as u8;
    }
}

pub(super) fn light_leak(chance: &mut Chance, canvas: &Canvas, film: Film) -> Film {
    let (w, fw, fh) = (canvas.w, canvas.w as f32, canvas.h as f32);
    let blobs: Vec<[f32; 6]> = (0..chance.between(1, 3))
        .map(|_| {
            [
                chance.range(-0.2, 1.2),
                chance.range(-0.2, 1.2),
                chance.range(0.25, 0.8),
                chance.range(-0.6, 1.2),
                chance.range(-0.5, 0.5),
                chance.range(-0.3, 0.3),
            ]
        })
        .collect();
    let strength = chance.range(0.4, 0.95);
    let pulse = chance.range(0.3, 2.0);
    wrap(film, move |mut picture, t| {
        for &[x, y, size, hue, dx, dy] in &blobs {
            let (cx, cy) = (x + dx * t, y + dy * t);
            let [r, g, b] = hsv(hue.rem_euclid(6.0), 0.85, 1.0).map(|c| f32::from(c) / 255.0);
            let now = strength * (0.6 + 0.4 * (t * pulse * TAU + x * 9.0).sin());
            for (at, own) in picture.px.iter_mut().enumerate() {
                let (u, v) = ((at % w) as f32 / fw, (at / w) as f32 / fh);
                let far = ((u - cx).powi(2) + (v - cy).powi(2)) / (size * size);
                if far < 1.0 {
                    let glow = now * (1.0 - far) * (1.0 - far);
                    add(own, [r * glow, g * glow, b * glow]);
                }
            }
        }
        picture
    })
}

pub(super) fn lens_flare(chance: &mut Chance, canvas: &Canvas, film: Film) -> Film {
    let (w, fw, fh) = (canvas.w, canvas.w as f32, canvas.h as f32);
    let (x0, y0, vx, vy) = (
        chance.range(0.1, 0.9),
        chance.range(0.05, 0.6),
        chance.range(-0.15, 0.15),
        chance.range(-0.05, 0.05),
    );
    let ghosts: Vec<(f32, f32, f32)> = (0..chance.between(3, 6))
        .map(|_| {
            (
                chance.range(-0.9, 1.4),
                chance.range(0.02, 0.1),
                chance.range(0.0, 6.0),
            )
        })
        .collect();
    let (glow, streak) = (chance.range(0.5, 1.0), chance.range(0.0, 0.8));
    wrap(film, move |mut picture, t| {
        let (sx, sy) = (x0 + vx * t, y0 + vy * t);
        for (at, own) in picture.px.iter_mut().enumerate() {
            let (u, v) = ((at % w) as f32 / fw, (at / w) as f32 / fh);
            let (dx, dy) = ((u - sx) * fw / fh, v - sy);
            let r = dx.hypot(dy);
            let mut light = [glow * 0.012 / (r * r + 0.012)
                + streak * (-(dy * 60.0).powi(2)).exp() * (-dx.abs() * 2.0).exp();
                3];
            for &(along, size, hue) in &ghosts {
                let (gx, gy) = (sx + (0.5 - sx) * along * 2.0, sy + (0.5 - sy) * along * 2.0);
                let far = ((u - gx) * fw / fh).hypot(v - gy);
                if far < size {
                    let rgb = hsv(hue, 0.6, 1.0);
                    (0..3).for_each(|c| light[c] += 0.25 * f32::from(rgb[c]) / 255.0);
                }
            }
            if light[0] > 0.01 || light[2] > 0.01 {
                add(own, light);
            }
        }
        picture
    })
}
