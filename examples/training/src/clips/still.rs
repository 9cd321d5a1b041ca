//! Films that a simulated camera makes of one picture or a few: `simcam`.

use std::f32::consts::TAU;

use super::film::{Canvas, Ease, Film, wrap};
use super::noise::{Grain, Wobble, grain};
use super::picture::{Map, Picture, tones};
use super::real::{Made, Stock, Want, real};
use super::stickers::{Dance, sticker};
use super::transitions::{Transition, join};
use crate::chance::Chance;

/// A simulated camera by chance.
pub fn simulated(chance: &mut Chance, canvas: &Canvas, stock: &Stock) -> Made {
    let kind = *chance.weighted(&[
        (0.14, "pan"),
        (0.14, "zoom"),
        (0.07, "rotate"),
        (0.2, "ken_burns"),
        (0.06, "slow_drift"),
        (0.08, "shake"),
        (0.07, "zigzag"),
        (0.05, "tilt"),
        (0.07, "frozen"),
        (0.12, "slideshow"),
        (0.04, "overlay"),
        (0.04, "framed"),
    ]);
    let mut sources = Vec::new();
    let mut clean = true;
    let mut one = |chance: &mut Chance, canvas: &Canvas, kind: &str| {
        let (picture, source, is_clean) = picture(chance, canvas, stock);
        sources.push(source);
        clean &= is_clean;
        moved(chance, canvas, picture, kind)
    };
    let film = match kind {
        "slideshow" => {
            let count = chance.between(2, 5);
            let mut film: Option<Film> = None;
            for slide in 0..count {
                let way = *chance.pick(&["pan", "zoom", "ken_burns", "frozen", "slow_drift"]);
                let next = one(chance, canvas, way);
                film = Some(match film {
                    None => next,
                    Some(before) => {
                        let at = canvas.seconds() * slide as f32 / count as f32;
                        let long = if chance.is(0.35) {
                            0.0
                        } else {
                            canvas.seconds() / count as f32 * chance.range(0.1, 0.5)
                        };
                        let transition = Transition::draw_slide(chance);
                        join(before, next, at, long, transition)
                    }
                });
            }
            film.unwrap_or_else(|| Box::new(|_| Picture::flat(2, 2, [0; 3])))
        }
        "overlay" => {
            let way = *chance.pick(&["frozen", "pan", "ken_burns", "slow_drift"]);
            let film = one(chance, canvas, way);
            let sprites: Vec<_> = (0..chance.between(1, 2))
                .map(|_| sticker(chance, &stock.fonts, canvas))
                .collect();
            let places: Vec<_> = sprites
                .iter()
                .map(|_| Dance::draw(chance, canvas).at(canvas.seconds(), canvas))
                .collect();
            wrap(film, move |mut picture, _| {
                for (sprite, place) in sprites.iter().zip(&places) {
                    sprite.draw(
                        &mut picture,
                        super::stickers::Place {
                            angle: 0.0,
                            opacity: 1.0,
                            ..*place
                        },
                    );
                }
                picture
            })
        }
        "framed" => {
            let inner = Canvas {
                w: (canvas.w as f32 * chance.range(0.6, 0.95)) as usize / 2 * 2,
                h: (canvas.h as f32 * chance.range(0.5, 0.95)) as usize / 2 * 2,
                ..*canvas
            };
            let way = *chance.pick(&["pan", "zoom", "ken_burns"]);
            let mut film = one(chance, &inner, way);
            let (w, h) = canvas.size();
            let colour = *chance.pick(&[[0; 3], [255; 3], [30, 40, 70]]);
            let is_blurred = chance.is(0.5);
            Box::new(move |t| {
                let picture = film(t);
                let mut whole = if is_blurred {
                    picture.filling(w, h).box_blurred(w / 20)
                } else {
                    Picture::flat(w, h, colour)
                };
                whole.put(
                    &picture,
                    ((w - picture.w) / 2) as i32,
                    ((h - picture.h) / 2) as i32,
                );
                whole
            })
        }
        _ => one(chance, canvas, kind),
    };
    let film = if chance.is(0.15) {
        faded_in(film, canvas.seconds() * chance.range(0.05, 0.25))
    } else {
        film
    };
    let film = with_grain(chance, film);
    Made {
        film,
        source: sources.join("+"),
        kind,
        is_clean: clean,
    }
}

fn faded_in(film: Film, long: f32) -> Film {
    wrap(film, move |picture, t| {
        if t < long {
            picture.toned(&tones(t / long, 0.0, 1.0))
        } else {
            picture
        }
    })
}

/// Grain that programs add to still pictures, in some.
fn with_grain(chance: &mut Chance, film: Film) -> Film {
    if !chance.is(0.4) {
        return film;
    }
    let (sigma, seed) = (chance.log_range(0.4, 6.0), chance.bits());
    let kind = *chance.pick(&[Grain::Luma, Grain::Colour, Grain::Coarse]);
    let mut number = 0;
    wrap(film, move |mut picture, _| {
        number += 1;
        grain(&mut picture, sigma, kind, seed.wrapping_add(number));
        picture
    })
}

/// A still picture large enough for a camera to move over: a photograph, or one frame of footage or of a drawn scene.
fn picture(chance: &mut Chance, canvas: &Canvas, stock: &Stock) -> (Picture, String, bool) {
    let photos = &stock.sources.photos;
    if !photos.is_empty() && chance.is(0.55) {
        let photo = chance.pick(photos);
        let picture = Picture::of_frame(&photo.picture);
        let is_clean = picture.w * 10 >= canvas.w * 13 && picture.h * 10 >= canvas.h * 13;
        return (
            if chance.is(0.5) {
                picture.mirrored()
            } else {
                picture
            },
            photo.name.clone(),
            is_clean,
        );
    }
    // Larger than the canvas, as a photograph is.
    let large = Canvas {
        w: canvas.w * 7 / 5 / 2 * 2,
        h: canvas.h * 7 / 5 / 2 * 2,
        ..*canvas
    };
    let mut made = real(chance, &large, stock, Want::default());
    let picture = (made.film)(canvas.seconds() * chance.unit());
    (picture, made.source, made.is_clean)
}

/// A film of one picture under one way to move.
fn moved(chance: &mut Chance, canvas: &Canvas, picture: Picture, kind: &str) -> Film {
    let (w, h) = canvas.size();
    let (fw, fh) = (w as f32, h as f32);
    let seconds = canvas.seconds();
    let ease = Ease::draw(chance);
    // The picture is brought near the canvas's own scale, so that moving it is all that is left to do.
    let spare = match kind {
        "pan" | "zigzag" => chance.range(1.1, 1.8),
        "slow_drift" | "frozen" => chance.range(1.0, 1.15),
        _ => chance.range(1.1, 1.5),
    };
    let base = picture.covering(
        (fw * spare).ceil() as usize + 2,
        (fh * spare).ceil() as usize + 2,
    );
    let (cx, cy) = (base.w as f32 / 2.0, base.h as f32 / 2.0);
    let (room_x, room_y) = (
        (base.w as f32 - fw) / 2.0 - 1.0,
        (base.h as f32 - fh) / 2.0 - 1.0,
    );
    let zoom_out = |zoom: f32| (fw / base.w as f32).max(fh / base.h as f32) + zoom;
    match kind {
        "frozen" => {
            let picture = base.warped(w, h, &Map::camera((w, h), cx, cy, 1.0, 0.0));
            Box::new(move |_| picture.clone())
        }
        "pan" | "slow_drift" => {
            let share = if kind == "pan" {
                chance.range(0.3, 1.0)
            } else {
                chance.log_range(0.03, 0.3)
            };
            let across = room_x.max(room_y * 0.01);
            let (vx, vy) = match chance.below(4) {
                0 => (across * share, 0.0),
                1 => (0.0, room_y * share),
                _ => (
                    across * share * chance.range(-1.0, 1.0),
                    room_y * share * chance.range(-1.0, 1.0),
                ),
            };
            let sign = chance.sign();
            camera(canvas, base, move |t| {
                let way = sign * (2.0 * ease.at(t / seconds) - 1.0);
                (cx + vx * way, cy + vy * way, 1.0, 0.0)
            })
        }
        "zoom" => {
            let (low, high) = (zoom_out(0.01), zoom_out(0.01) + chance.log_range(0.04, 1.0));
            let (ox, oy) = (chance.range(-0.3, 0.3), chance.range(-0.3, 0.3));
            let is_in = chance.is(0.6);
            camera(canvas, base, move |t| {
                let way = ease.at(t / seconds);
                let zoom = low * (high / low).powf(if is_in { way } else { 1.0 - way });
                let free = 1.0 - low / zoom;
                (cx + ox * free * cx, cy + oy * free * cy, zoom, 0.0)
            })
        }
        "rotate" => {
            let (from, turn) = (
                chance.range(-0.2, 0.2),
                chance.log_range(0.03, 0.8) * chance.sign(),
            );
            let zoom = chance.range(1.2, 1.6);
            camera(canvas, base, move |t| {
                (cx, cy, zoom, from + turn * ease.at(t / seconds))
            })
        }
        "ken_burns" => {
            let ends: [(f32, f32, f32, f32); 2] = [(); 2].map(|()| {
                let zoom = zoom_out(chance.range(0.02, 0.6));
                let free = |half: f32, len: f32| (half - len / 2.0 / zoom - 1.0).max(0.0);
                (
                    cx + free(cx, fw) * chance.range(-1.0, 1.0),
                    cy + free(cy, fh) * chance.range(-1.0, 1.0),
                    zoom,
                    if chance.is(0.25) {
                        chance.range(-0.06, 0.06)
                    } else {
                        0.0
                    },
                )
            });
            let [a, b] = ends;
            let shake = if chance.is(0.2) {
                chance.log_range(0.2, 2.0)
            } else {
                0.0
            };
            let (dx, dy) = (Wobble::new(chance, 1.5), Wobble::new(chance, 1.5));
            camera(canvas, base, move |t| {
                let way = ease.at(t / seconds);
                let mix = |a: f32, b: f32| a + (b - a) * way;
                (
                    mix(a.0, b.0) + shake * dx.at(t),
                    mix(a.1, b.1) + shake * dy.at(t),
                    mix(a.2, b.2),
                    mix(a.3, b.3),
                )
            })
        }
        "shake" => {
            let size = fh * chance.log_range(0.004, 0.06);
            let (dx, dy, da) = (
                Wobble::new(chance, 2.5),
                Wobble::new(chance, 2.5),
                Wobble::new(chance, 1.5),
            );
            let (turn, zoom) = (chance.range(0.0, 0.03), chance.range(0.0, 0.05));
            let drift = room_x.min(size * 2.0) * chance.range(-1.0, 1.0);
            camera(canvas, base, move |t| {
                (
                    cx + size * dx.at(t) + drift * t / seconds,
                    cy + size * dy.at(t),
                    1.06 + zoom * da.at(t + 4.0),
                    turn * da.at(t),
                )
            })
        }
        "zigzag" => {
            let turns = chance.range(0.7, 3.0);
            let (a, b) = (
                room_x * chance.range(0.3, 0.95),
                room_y * chance.range(0.0, 0.9),
            );
            let is_round = chance.is(0.5);
            camera(canvas, base, move |t| {
                let phase = t / seconds * turns;
                let (x, y) = if is_round {
                    ((phase * TAU).cos(), (phase * TAU).sin())
                } else {
                    let zig = (phase.fract() * 4.0 - 2.0).abs() - 1.0;
                    (zig, -zig)
                };
                (cx + a * x, cy + b * y, 1.0, 0.0)
            })
        }
        _ => {
            // A picture tilted in space: a homography, mild.
            let (from, to) = (chance.range(-0.25, 0.25), chance.range(-0.25, 0.25));
            let (fx, tx) = (chance.range(-0.25, 0.25), chance.range(-0.25, 0.25));
            Box::new(move |t| {
                let way = ease.at(t / seconds);
                let (py, px) = (from + (to - from) * way, fx + (tx - fx) * way);
                let zoom = 1.25;
                base.bent(w, h, |x, y| {
                    let (u, v) = ((x - fw / 2.0) / fw, (y - fh / 2.0) / fh);
                    let far = 1.0 + px * u + py * v;
                    (cx + u * fw / far / zoom, cy + v * fh / far / zoom)
                })
            })
        }
    }
}

fn camera(
    canvas: &Canvas,
    base: Picture,
    path: impl Fn(f32) -> (f32, f32, f32, f32) + 'static,
) -> Film {
    let size = canvas.size();
    Box::new(move |t| {
        let (x, y, zoom, angle) = path(t);
        base.warped(size.0, size.1, &Map::camera(size, x, y, zoom, angle))
    })
}
