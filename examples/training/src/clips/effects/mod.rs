//! What editors add to films: `vfx`.

mod light;
mod look;

use std::f32::consts::TAU;

use self::light::{lens_flare, light_leak, particles};
pub use self::look::{clouded, graded};
use self::look::{filter, glitch};
use super::film::{Canvas, Film, wrap};
use super::lettering::words;
use super::noise::Wobble;
use super::picture::{Map, Picture, blend, hsv};
use super::real::{Made, Stock, Want, real};
use super::stickers::{Dance, Place, Sprite, sticker};
use super::still::simulated;
use super::transitions::{Transition, join};
use crate::chance::Chance;
use crate::dataset::NOT_JUDGED;

/// What a film with effects says of the other tasks.
pub struct Spoiled {
    /// The film.
    pub made: Made,
    /// Whether the world or a simulated camera moves beneath: 0, 1, or 255 if that cannot be said any more.
    pub simcam: u8,
    /// Whether the picture beneath is still as good as it was.
    pub keeps_quality: bool,
}

/// What an editor adds, and how often.
pub(super) const KINDS: [(f32, &str); 21] = [
    (0.25, "transition"),
    (0.09, "particles"),
    (0.05, "light_leak"),
    (0.04, "lens_flare"),
    (0.08, "glitch"),
    (0.04, "rgb_split"),
    (0.03, "scan_lines"),
    (0.06, "shake_effect"),
    (0.05, "mirror"),
    (0.03, "kaleidoscope"),
    (0.03, "tiles"),
    (0.04, "split_screen"),
    (0.09, "stickers"),
    (0.07, "text"),
    (0.11, "filter"),
    (0.03, "frame"),
    (0.03, "pixelate"),
    (0.04, "picture_in_picture"),
    (0.04, "flash"),
    (0.03, "echo"),
    (0.04, "bend"),
];

/// A film with one effect, sometimes two.
pub fn spoiled(chance: &mut Chance, canvas: &Canvas, stock: &Stock) -> Spoiled {
    let is_still = chance.is(0.15);
    let base = |chance: &mut Chance| {
        if is_still {
            simulated(chance, canvas, stock)
        } else {
            real(chance, canvas, stock, Want::default())
        }
    };
    let mut made = base(chance);
    let kind = *chance.weighted(&KINDS);
    let (film, name) = match kind {
        "transition" => {
            let count = if chance.is(0.6) {
                1
            } else {
                chance.between(2, 3)
            };
            let mut film = made.film;
            let mut name = "";
            for k in 0..count {
                let next = base(chance);
                made.source = format!("{}+{}", made.source, next.source);
                made.is_clean &= next.is_clean;
                let transition = Transition::draw(chance);
                name = transition.name();
                let part = canvas.seconds() / (count as f32 + 1.0);
                let long = part * chance.range(0.15, 0.9);
                let at = part * (k as f32 + 1.0) - long * chance.range(0.3, 0.7);
                film = join(film, next.film, at, long, transition);
            }
            (film, name)
        }
        "split_screen" | "picture_in_picture" => {
            let other = if chance.is(0.6) {
                base(chance)
            } else {
                real(chance, canvas, stock, Want::default())
            };
            made.source = format!("{}+{}", made.source, other.source);
            let film = if kind == "split_screen" {
                split(chance, canvas, made.film, other.film)
            } else {
                inset(chance, canvas, made.film, other.film)
            };
            (film, kind)
        }
        _ => (apply(chance, canvas, stock, made.film, kind), kind),
    };
    let keeps_quality = keeps_quality(kind);
    made.film = film;
    if chance.is(0.15) {
        let second = *chance.pick(&[
            "stickers",
            "text",
            "particles",
            "filter",
            "light_leak",
            "glitch",
        ]);
        made.film = apply(chance, canvas, stock, made.film, second);
        made.is_clean &= matches!(second, "stickers" | "text" | "particles");
    }
    let simcam = if is_still { still_told(kind) } else { 0 };
    Spoiled {
        made: Made { kind: name, ..made },
        simcam,
        keeps_quality,
    }
}

/// Whether the picture beneath an effect is still as good as it was.
pub(super) fn keeps_quality(kind: &str) -> bool {
    matches!(
        kind,
        "transition" | "stickers" | "text" | "split_screen" | "particles" | "frame"
    )
}

/// Whether it can still be told that a simulated camera moves beneath an effect: its label then.
pub(super) fn still_told(kind: &str) -> u8 {
    match kind {
        "filter" | "stickers" | "text" | "frame" | "pixelate" => 1,
        _ => NOT_JUDGED,
    }
}

/// From when to when an effect is there: all the time, or for a part.
fn span(chance: &mut Chance, canvas: &Canvas) -> (f32, f32) {
    let seconds = canvas.seconds();
    if chance.is(0.5) {
        return (-1.0, seconds + 1.0);
    }
    let long = chance.range(0.25, 0.7) * seconds;
    let from = chance.range(0.0, seconds - long);
    (from, from + long)
}

pub(super) fn apply(
    chance: &mut Chance,
    canvas: &Canvas,
    stock: &Stock,
    film: Film,
    kind: &str,
) -> Film {
    let (w, h) = canvas.size();
    let (fw, fh) = (w as f32, h as f32);
    match kind {
        "particles" => particles(chance, canvas, film),
        "light_leak" => light_leak(chance, canvas, film),
        "lens_flare" => lens_flare(chance, canvas, film),
        "glitch" => glitch(chance, canvas, film),
        "rgb_split" => {
            let (size, rate) = (fw * chance.log_range(0.006, 0.04), chance.range(0.5, 4.0));
            let (from, to) = span(chance, canvas);
            let steady = chance.is(0.4);
            wrap(film, move |picture, t| {
                if t < from || t > to {
                    return picture;
                }
                let off = (size * if steady { 1.0 } else { (t * rate * TAU).sin() }) as i32;
                Picture::by(w, h, |x, y| {
                    let (x, y) = (x as i32, y as i32);
                    [
                        picture.near(x - off, y)[0],
                        picture.near(x, y)[1],
                        picture.near(x + off, y)[2],
                    ]
                })
            })
        }
        "scan_lines" => {
            let (period, depth) = (chance.between(2, 6), chance.range(0.25, 0.7));
            let (roll, tint): (f32, [u8; 3]) = (
                chance.range(0.0, 60.0),
                *chance.pick(&[[255, 255, 255], [190, 255, 200], [200, 220, 255]]),
            );
            wrap(film, move |mut picture, t| {
                for (y, row) in picture.px.chunks_exact_mut(w).enumerate() {
                    let is_dark = (y + (t * roll) as usize) % period < period.div_ceil(2);
                    let band = 1.0 + 0.25 * ((y as f32 / fh - t * 0.4) * TAU).sin();
                    let gain = if is_dark { 1.0 - depth } else { 1.0 } * band;
                    for rgb in row {
                        for (value, tint) in rgb.iter_mut().zip(tint) {
                            *value = (f32::from(*value) * gain * f32::from(tint) / 255.0).min(255.0)
                                as u8;
                        }
                    }
                }
                picture
            })
        }
        "shake_effect" => {
            let (beat, size) = (chance.range(1.5, 6.0), chance.range(0.04, 0.15));
            let turn = chance.range(0.0, 0.1);
            let (dx, dy) = (
                Wobble::new(chance, beat * 3.0),
                Wobble::new(chance, beat * 3.0),
            );
            let is_zoom = chance.is(0.5);
            let (from, to) = span(chance, canvas);
            wrap(film, move |picture, t| {
                if t < from || t > to {
                    return picture;
                }
                let hit = (1.0 - (t * beat).fract()).powi(2);
                let (x, y) = if is_zoom {
                    (0.0, 0.0)
                } else {
                    (dx.at(t), dy.at(t))
                };
                let map = Map::camera(
                    (w, h),
                    fw * (0.5 + size * x * hit),
                    fh * (0.5 + size * y * hit),
                    1.0 + size * (1.0 + hit * 2.0),
                    turn * hit * dx.at(t + 2.0),
                );
                picture.warped(w, h, &map)
            })
        }
        "mirror" => {
            let kind = chance.below(4);
            let (from, to) = span(chance, canvas);
            wrap(film, move |picture, t| {
                if t < from || t > to {
                    return picture;
                }
                Picture::by(w, h, |x, y| {
                    let (x, y) = match kind {
                        0 => (x.min(w - 1 - x), y),
                        1 => (x.max(w - 1 - x), y),
                        2 => (x, y.min(h - 1 - y)),
                        _ => (x.min(w - 1 - x), y.min(h - 1 - y)),
                    };
                    picture.px[y * w + x]
                })
            })
        }
        "kaleidoscope" => {
            let (parts, spin) = (chance.between(3, 8) as f32, chance.range(-0.6, 0.6));
            wrap(film, move |picture, t| {
                picture.bent(w, h, |x, y| {
                    let (dx, dy) = (x - fw / 2.0, y - fh / 2.0);
                    let wedge = TAU / parts;
                    let angle = ((dy.atan2(dx) + spin * t).rem_euclid(wedge) - wedge / 2.0).abs();
                    let r = dx.hypot(dy);
                    (fw / 2.0 + r * angle.cos(), fh / 2.0 + r * angle.sin())
                })
            })
        }
        "tiles" => {
            let (across, down) = (chance.between(2, 4), chance.between(1, 4));
            let flips = chance.is(0.4);
            let (from, to) = span(chance, canvas);
            wrap(film, move |picture, t| {
                if t < from || t > to {
                    return picture;
                }
                let small = picture.resized(w.div_ceil(across), h.div_ceil(down));
                Picture::by(w, h, |x, y| {
                    let (u, v) = (x % small.w, y % small.h);
                    let u = if flips && (x / small.w) % 2 == 1 {
                        small.w - 1 - u
                    } else {
                        u
                    };
                    small.px[v * small.w + u]
                })
            })
        }
        "stickers" => {
            let sprites: Vec<(Sprite, Dance)> = (0..chance.between(1, 5))
                .map(|_| {
                    (
                        sticker(chance, &stock.fonts, canvas),
                        Dance::draw(chance, canvas),
                    )
                })
                .collect();
            let canvas = *canvas;
            wrap(film, move |mut picture, t| {
                sprites
                    .iter()
                    .for_each(|(sprite, dance)| sprite.draw(&mut picture, dance.at(t, &canvas)));
                picture
            })
        }
        "text" => text(chance, canvas, stock, film),
        "filter" => filter(chance, canvas, film),
        "frame" => {
            let colour = *chance.pick(&[
                [0; 3],
                [255; 3],
                [240, 200, 210],
                [30, 30, 60],
                [245, 235, 200],
            ]);
            let (wide, is_round) = (chance.range(0.06, 0.22), chance.is(0.5));
            let (dots, hue) = (chance.range(6.0, 18.0), chance.range(0.0, 6.0));
            let is_gay = chance.is(0.5);
            wrap(film, move |mut picture, t| {
                for y in 0..h {
                    for x in 0..w {
                        let (u, v) = (x as f32 / fw * 2.0 - 1.0, y as f32 / fh * 2.0 - 1.0);
                        let edge = if is_round {
                            u.hypot(v) / 1.1
                        } else {
                            u.abs().max(v.abs())
                        };
                        let share = ((edge - 1.0 + wide) * 40.0).clamp(0.0, 1.0);
                        if share > 0.0 {
                            let dot = ((u * dots + t).sin() * (v * dots - t).cos()) > 0.6;
                            let rgb = if is_gay && dot {
                                hsv(hue + u + v, 0.7, 1.0)
                            } else {
                                colour
                            };
                            let own = &mut picture.px[y * w + x];
                            *own = blend(*own, rgb, (share * 256.0) as u32);
                        }
                    }
                }
                picture
            })
        }
        "pixelate" => {
            let cell = (fw * chance.log_range(0.015, 0.07)).max(3.0) as i32;
            let is_part = chance.is(0.4);
            let (cx, cy, r) = (
                fw * chance.range(0.3, 0.7),
                fh * chance.range(0.3, 0.7),
                fh * chance.range(0.2, 0.45),
            );
            let (from, to) = span(chance, canvas);
            wrap(film, move |picture, t| {
                if t < from || t > to {
                    return picture;
                }
                Picture::by(w, h, |x, y| {
                    if is_part && (x as f32 - cx).hypot(y as f32 - cy) > r {
                        return picture.px[y * w + x];
                    }
                    picture.near(
                        x as i32 / cell * cell + cell / 2,
                        y as i32 / cell * cell + cell / 2,
                    )
                })
            })
        }
        "flash" => {
            let (beat, colour) = (
                chance.range(0.4, 2.5),
                *chance.pick(&[[255; 3], [255; 3], [0; 3], [255, 80, 120]]),
            );
            let (decay, jump) = (chance.range(3.0, 12.0), chance.range(0.0, 1.0));
            let mut film = film;
            let seconds = canvas.seconds();
            Box::new(move |t| {
                let phase = t * beat + 0.5;
                // Time jumps or rushes with every flash.
                let warped = (t + jump * 0.4 * (phase * TAU).sin() / beat).clamp(0.0, seconds);
                let share = (-phase.fract() * decay).exp() * f32::from(phase >= 1.0);
                film(warped).mixed(&Picture::flat(w, h, colour), share)
            })
        }
        "echo" => {
            let (keep, zoom) = (chance.range(0.5, 0.85), chance.range(1.0, 1.08));
            let mut held: Option<Picture> = None;
            wrap(film, move |picture, _| {
                let mixed = match held.take() {
                    Some(before) => {
                        let before = before.warped(
                            w,
                            h,
                            &Map::camera((w, h), fw / 2.0, fh / 2.0, zoom, 0.0),
                        );
                        picture.mixed(&before, keep)
                    }
                    None => picture,
                };
                held = Some(mixed.clone());
                mixed
            })
        }
        _ => {
            let (kind, size, rate) = (
                chance.below(4),
                chance.range(0.3, 1.0),
                chance.range(0.3, 2.0),
            );
            wrap(film, move |picture, t| {
                picture.bent(w, h, |x, y| {
                    let (dx, dy) = (x - fw / 2.0, y - fh / 2.0);
                    let r = dx.hypot(dy) / fh;
                    match kind {
                        0 => (
                            x + size * 0.04 * fw * (y / fh * 12.0 + t * rate * TAU).sin(),
                            y,
                        ),
                        1 => {
                            let a = size * 2.0 * (t * rate).sin() * (-r * r * 6.0).exp();
                            (
                                fw / 2.0 + dx * a.cos() - dy * a.sin(),
                                fh / 2.0 + dx * a.sin() + dy * a.cos(),
                            )
                        }
                        2 => {
                            let k = 1.0 - size * 0.6 * (-r * r * 8.0).exp();
                            (fw / 2.0 + dx * k, fh / 2.0 + dy * k)
                        }
                        _ => {
                            let ring = size
                                * 0.03
                                * fw
                                * (r * 30.0 - t * rate * TAU).sin()
                                * (-r * 2.0).exp();
                            (
                                x + ring * dx / (r * fh + 1.0),
                                y + ring * dy / (r * fh + 1.0),
                            )
                        }
                    }
                })
            })
        }
    }
}

fn text(chance: &mut Chance, canvas: &Canvas, stock: &Stock, film: Film) -> Film {
    let lines: Vec<(Sprite, f32, f32)> = (0..chance.between(1, 3))
        .map(|_| {
            let count = chance.between(1, 4);
            let line = words(chance, count);
            let px = (canvas.h as f32 * chance.range(0.07, 0.22)).max(10.0);
            let colour = if chance.is(0.5) {
                [255; 3]
            } else {
                hsv(chance.range(0.0, 6.0), 0.9, 1.0)
            };
            let outline = chance.is(0.6).then_some([0, 0, 0]);
            let sprite = stock.fonts.line(chance, &line, px, colour, outline);
            (
                sprite,
                canvas.w as f32 * chance.range(0.3, 0.7),
                canvas.h as f32 * chance.range(0.12, 0.88),
            )
        })
        .collect();
    let (kind, rate, appears) = (
        chance.below(6),
        chance.range(0.5, 2.5),
        canvas.seconds() * chance.range(0.0, 0.4),
    );
    let canvas = *canvas;
    wrap(film, move |mut picture, t| {
        let age = t - appears;
        if age < 0.0 {
            return picture;
        }
        for (k, (sprite, x, y)) in lines.iter().enumerate() {
            let fits = (canvas.w as f32 * 0.95 / sprite.w as f32).min(1.0);
            let mut place = Place {
                x: *x,
                y: *y,
                scale: fits,
                angle: 0.0,
                opacity: 1.0,
            };
            match kind {
                0 => place.x += canvas.w as f32 * (1.0 - (age * rate * 1.5).min(1.0)).powi(2),
                1 => place.scale *= (age * rate * 2.0).min(1.0) * (1.0 + 0.06 * (age * 9.0).sin()),
                2 => place.opacity = (age * rate).min(1.0),
                3 => {
                    place.x = canvas.w as f32 * 1.5
                        - (age * rate * 0.4 * canvas.w as f32).rem_euclid(canvas.w as f32 * 2.0)
                }
                4 => place.y -= (age * rate * 6.0 + k as f32).sin().abs() * canvas.h as f32 * 0.08,
                _ => place.opacity = f32::from((age * rate * 3.0).fract() < 0.7),
            }
            sprite.draw(&mut picture, place);
        }
        picture
    })
}

/// Two or more films side by side.
pub(super) fn split(chance: &mut Chance, canvas: &Canvas, mut a: Film, mut b: Film) -> Film {
    let (w, h) = canvas.size();
    let kind = chance.below(4);
    let line = if chance.is(0.6) { (h / 60).max(2) } else { 0 };
    let colour = *chance.pick(&[[255; 3], [0; 3], [250, 210, 60]]);
    Box::new(move |t| {
        let (one, two) = (a(t), b(t));
        let mut both = Picture::flat(w, h, colour);
        let (hw, hh) = (w / 2, h / 2);
        match kind {
            0 => {
                both.put(&one.filling(hw - line, h), 0, 0);
                both.put(&two.filling(w - hw, h), hw as i32, 0);
            }
            1 => {
                both.put(&one.filling(w, hh - line), 0, 0);
                both.put(&two.filling(w, h - hh), 0, hh as i32);
            }
            2 => {
                let (small, other) = (
                    one.filling(hw - line, hh - line),
                    two.filling(hw - line, hh - line),
                );
                both.put(&small, 0, 0);
                both.put(&other, (hw + line / 2) as i32, 0);
                both.put(&other.mirrored(), 0, (hh + line / 2) as i32);
                both.put(
                    &small.mirrored(),
                    (hw + line / 2) as i32,
                    (hh + line / 2) as i32,
                );
            }
            _ => {
                let third = w / 3;
                both.put(&one.filling(third - line, h), 0, 0);
                both.put(&two.filling(third - line, h), third as i32, 0);
                both.put(&one.filling(w - 2 * third, h), 2 * third as i32, 0);
            }
        }
        both
    })
}

/// A small film in a corner of a large one.
pub(super) fn inset(chance: &mut Chance, canvas: &Canvas, mut a: Film, mut b: Film) -> Film {
    let (w, h) = canvas.size();
    let size = chance.range(0.22, 0.45);
    let (sw, sh) = ((w as f32 * size) as usize, (h as f32 * size) as usize);
    let (x, y) = (chance.below(w - sw), chance.below(h - sh));
    let edge = if chance.is(0.7) { (h / 80).max(2) } else { 0 };
    let drift = if chance.is(0.3) {
        w as f32 * chance.range(-0.1, 0.1)
    } else {
        0.0
    };
    Box::new(move |t| {
        let mut picture = a(t);
        let small = b(t).filling(sw, sh);
        let x = x as i32 + (drift * t) as i32;
        picture.put(
            &Picture::flat(sw + 2 * edge, sh + 2 * edge, [255; 3]),
            x - edge as i32,
            y as i32 - edge as i32,
        );
        picture.put(&small, x, y as i32);
        picture
    })
}
