//! Films in which the world moves: footage, photographs with depth and things that pass, drawn scenes.

use std::sync::Arc;

use super::film::{Canvas, Film, wrap};
use super::lettering::Fonts;
use super::noise::{Field, Grain, Wobble, grain};
use super::picture::{Map, Picture, tones};
use super::scene::scene;
use super::stickers::{Place, Sprite};
use super::transitions::{Transition, join};
use crate::chance::Chance;
use crate::sources::{Shot, Sources};

/// What clips are made from.
pub struct Stock {
    /// Photographs and footage of one split.
    pub sources: Sources,
    /// For text in pictures.
    pub fonts: Fonts,
    /// Names of photographs whose right way up cannot be seen.
    pub unoriented: Vec<String>,
}

/// A film, what it is made of, and how.
pub struct Made {
    /// The film.
    pub film: Film,
    /// Of which sources.
    pub source: String,
    /// In which way.
    pub kind: &'static str,
    /// Whether the pictures are as large and clean as the canvas: no proof of quality otherwise.
    pub is_clean: bool,
}

/// What kinds of films are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Want {
    /// The right way up must be plain to see.
    pub oriented: bool,
    /// Each picture must be as good as the canvas.
    pub clean: bool,
}

/// A film of real motion by chance, in one shot or cut from two or three.
pub fn real(chance: &mut Chance, canvas: &Canvas, stock: &Stock, want: Want) -> Made {
    let mut made = shot(chance, canvas, stock, want);
    let cuts = *chance.weighted(&[(0.88, 0), (0.08, 1), (0.04, 2)]);
    for cut in 1..=cuts {
        let next = shot(chance, canvas, stock, want);
        let at = canvas.seconds() * (cut as f32 + chance.range(-0.3, 0.3)) / (cuts as f32 + 1.0);
        made = Made {
            film: join(made.film, next.film, at, 0.0, Transition::Cut),
            source: format!("{}+{}", made.source, next.source),
            kind: "cut",
            is_clean: made.is_clean && next.is_clean,
        };
    }
    made
}

/// One shot.
fn shot(chance: &mut Chance, canvas: &Canvas, stock: &Stock, want: Want) -> Made {
    let (shots, photos) = (&stock.sources.shots, &stock.sources.photos);
    let usable: Vec<&Shot> = shots
        .iter()
        .filter(|shot| !want.clean || is_clean(shot, canvas))
        .collect();
    let footage = if usable.is_empty() { 0.0 } else { 0.42 };
    let drawn = if want.clean { 0.22 } else { 0.3 };
    let photo = if photos.is_empty() { 0.0 } else { 0.33 };
    let mut made = match *chance.weighted(&[(footage, 0), (drawn, 1), (photo, 2)]) {
        0 => {
            let shot = pick_shot(chance, &usable);
            footage_film(chance, canvas, shot, want)
        }
        1 => drawn_film(chance, canvas, &stock.fonts),
        _ => depth_film(chance, canvas, stock, want),
    };
    if chance.is(0.5) {
        made.film = mirrored(made.film);
    }
    made
}

/// Whether a shot fills the canvas with no fewer pixels than it has.
fn is_clean(shot: &Shot, canvas: &Canvas) -> bool {
    let (h, w, _) = shot.frames[0].dim();
    shot.native_long_px >= 400 && w * 10 >= canvas.w * 9 && h * 10 >= canvas.h * 9
}

/// A shot: first a file, then one of its shots, so that films with many cuts do not crowd out others.
fn pick_shot<'a>(chance: &mut Chance, shots: &[&'a Shot]) -> &'a Shot {
    let mut names: Vec<&str> = shots.iter().map(|shot| shot.name.as_str()).collect();
    names.dedup();
    let name = *chance.pick(&names);
    let of: Vec<&'a Shot> = shots
        .iter()
        .copied()
        .filter(|shot| shot.name == name)
        .collect();
    chance.pick::<&Shot>(&of)
}

fn mirrored(film: Film) -> Film {
    wrap(film, |picture, _| picture.mirrored())
}

/// Part of a shot, at some speed, forwards or backwards, cropped. Where the right way up must be seen, the crop may pan as
/// cameras do, four times of five sideways.
fn footage_film(chance: &mut Chance, canvas: &Canvas, shot: &Shot, want: Want) -> Made {
    let frames: Vec<_> = shot.frames.iter().map(Arc::clone).collect();
    let speed = if chance.is(0.6) {
        1.0
    } else {
        chance.log_range(0.5, 1.8)
    };
    let rate = shot.fps * speed;
    let needed = canvas.seconds() * rate;
    let have = frames.len() as f32 - 1.0;
    // A shot that is too short is played slower, never frozen.
    let rate = if needed > have {
        have / canvas.seconds()
    } else {
        rate
    };
    let start = chance.range(0.0, (have - canvas.seconds() * rate).max(0.0));
    let is_backwards = chance.is(0.15);
    let (h, w, _) = frames[0].dim();
    let (w, h) = (w as f32, h as f32);
    let (cw, ch) = (canvas.w as f32, canvas.h as f32);
    let least = (cw / w).max(ch / h);
    let zoom = least.max(if chance.is(0.5) {
        least
    } else {
        (least * chance.range(1.0, 1.6)).min(1.0).max(least)
    });
    let (part_w, part_h) = (cw / zoom, ch / zoom);
    let place = |chance: &mut Chance| {
        (
            chance.range(0.0, (w - part_w).max(0.0)),
            chance.range(0.0, (h - part_h).max(0.0)),
        )
    };
    let (x, y) = place(chance);
    let (to_x, to_y) = if want.oriented && chance.is(0.5) {
        let (to_x, to_y) = place(chance);
        if chance.is(0.8) { (to_x, y) } else { (x, to_y) }
    } else {
        (x, y)
    };
    let shake = if chance.is(0.25) {
        chance.log_range(0.3, 4.0)
    } else {
        0.0
    };
    let (dx, dy) = (Wobble::new(chance, 2.0), Wobble::new(chance, 2.0));
    let (out_w, out_h) = canvas.size();
    let seconds = canvas.seconds();
    let is_plain = zoom > 0.98 && shake == 0.0;
    let film: Film = Box::new(move |t| {
        let t = if is_backwards { seconds - t } else { t };
        let at = ((start + t * rate).round().max(0.0) as usize).min(frames.len() - 1);
        let frame = &frames[at];
        let way = t / seconds;
        let part = Picture::of_frame(frame).crop(
            (x + (to_x - x) * way) as usize,
            (y + (to_y - y) * way) as usize,
            part_w.round() as usize,
            part_h.round() as usize,
        );
        if is_plain && (part.w, part.h) == (out_w, out_h) {
            return part;
        }
        if shake == 0.0 {
            return part.resized(out_w, out_h);
        }
        let (margin_x, margin_y) = (out_w / 16 + 4, out_h / 16 + 4);
        let large = part.resized(out_w + 2 * margin_x, out_h + 2 * margin_y);
        let (cx, cy) = ((large.w as f32 - 1.0) / 2.0, (large.h as f32 - 1.0) / 2.0);
        large.warped(
            out_w,
            out_h,
            &Map::camera(
                (out_w, out_h),
                cx + dx.at(t) * shake,
                cy + dy.at(t) * shake,
                1.0,
                0.004 * dx.at(t + 9.0),
            ),
        )
    });
    Made {
        film,
        source: shot.name.clone(),
        kind: "footage",
        is_clean: is_clean(shot, canvas),
    }
}

/// A drawn scene, from a tripod, a hand or a ride.
fn drawn_film(chance: &mut Chance, canvas: &Canvas, fonts: &Fonts) -> Made {
    let seed = chance.bits();
    let (kind, shake, ride) = match chance.below(3) {
        0 => ("drawn_tripod", 0.0, 0.0),
        1 => (
            "drawn_hand",
            canvas.h as f32 * chance.log_range(0.004, 0.05),
            0.0,
        ),
        _ => {
            let speed = canvas.w as f32 * chance.log_range(0.02, 0.4) * chance.sign()
                / (canvas.step_seconds * canvas.fps as f32);
            (
                "drawn_ride",
                canvas.h as f32 * chance.range(0.0, 0.02),
                speed,
            )
        }
    };
    let film = scene(&mut Chance::new(seed), canvas, fonts, shake, ride);
    Made {
        film: with_sensor(chance, film, 0.8),
        source: format!("drawn:{seed:016x}"),
        kind,
        is_clean: true,
    }
}

/// The grain and small changes of light that a sensor adds.
pub fn with_sensor(chance: &mut Chance, film: Film, share: f32) -> Film {
    if !chance.is(share) {
        return film;
    }
    let sigma = chance.log_range(0.3, 4.0);
    let kind = *chance.pick(&[Grain::Luma, Grain::Colour, Grain::Coarse]);
    let seed = chance.bits();
    let light = Wobble::new(chance, 0.5);
    let flicker = if chance.is(0.3) {
        chance.range(0.0, 0.03)
    } else {
        0.0
    };
    let mut number = 0;
    wrap(film, move |mut picture, t| {
        if flicker > 0.0 {
            picture = picture.toned(&tones(1.0 + flicker * light.at(t), 0.0, 1.0));
        }
        number += 1;
        grain(&mut picture, sigma, kind, seed.wrapping_add(number));
        picture
    })
}

/// A photograph given a depth that no affine map has, seen by a camera that moves, with parts of others passing by.
fn depth_film(chance: &mut Chance, canvas: &Canvas, stock: &Stock, want: Want) -> Made {
    let photos: Vec<_> = stock
        .sources
        .photos
        .iter()
        .filter(|photo| {
            !want.oriented
                || !stock
                    .unoriented
                    .iter()
                    .any(|name| photo.name.contains(name.as_str()))
        })
        .collect();
    if photos.is_empty() {
        return drawn_film(chance, canvas, &stock.fonts);
    }
    let photo = *chance.pick(&photos);
    let (w, h) = canvas.size();
    let whole = Picture::of_frame(&photo.picture);
    let enlarge = 1.12
        * if chance.is(0.5) {
            1.0
        } else {
            chance.range(1.0, 1.5)
        };
    let (large_w, large_h) = ((w as f32 * enlarge) as usize, (h as f32 * enlarge) as usize);
    let is_clean = whole.w * 10 >= large_w * 9 && whole.h * 10 >= large_h * 9;
    let base = whole.covering(large_w, large_h);
    let (x0, y0) = (
        chance.range(w as f32 / 2.0, base.w as f32 - w as f32 / 2.0),
        chance.range(h as f32 / 2.0, base.h as f32 - h as f32 / 2.0),
    );
    // Depth: near at the bottom, hills and edges at random, in steps as of things that stand before others.
    let field = Field::new(chance, 3);
    let (cell, steps, tilt) = (
        h as f32 * chance.range(0.15, 0.6),
        chance.between(2, 6) as f32,
        chance.range(0.0, 0.8),
    );
    let is_stepped = chance.is(0.6);
    let depth: Vec<f32> = (0..w * h)
        .map(|at| {
            let (x, y) = ((at % w) as f32, (at / w) as f32);
            let hill = 0.5 + 0.6 * field.at(x / cell + 7.0, y / cell + 3.0);
            let hill = if is_stepped {
                (hill * steps).floor() / steps + 0.15 * hill
            } else {
                hill
            };
            (hill * (1.0 - tilt) + tilt * y / h as f32).clamp(0.0, 1.0)
        })
        .collect();
    let is_tripod = chance.is(0.35);
    let reach = if is_tripod {
        0.0
    } else {
        h as f32 * chance.log_range(0.015, 0.1)
    };
    let (ride_x, ride_y) = if is_tripod {
        (0.0, 0.0)
    } else {
        (chance.range(-1.0, 1.0), chance.range(-0.3, 0.3))
    };
    let hand = if is_tripod {
        0.0
    } else {
        chance.range(0.0, 0.6)
    };
    let (dx, dy) = (Wobble::new(chance, 1.2), Wobble::new(chance, 1.4));
    let turn = chance.range(0.0, 0.01) * f32::from(!is_tripod);
    // Leaves and water: a part of the picture sways by itself.
    let sway = if chance.is(if is_tripod { 0.8 } else { 0.3 }) {
        chance.log_range(0.6, 4.0)
    } else {
        0.0
    };
    let (sway_x, sway_y, sway_r) = (
        chance.range(0.0, w as f32),
        chance.range(0.0, h as f32),
        h as f32 * chance.range(0.15, 0.6),
    );
    let sway_rate = chance.range(0.5, 2.5) * std::f32::consts::TAU;
    let movers = movers(chance, canvas, stock, &photo.name, is_tripod && sway == 0.0);
    let seconds = canvas.seconds();
    let film: Film = Box::new(move |t| {
        let way = t / seconds - 0.5;
        let (ox, oy) = (
            reach * (ride_x * way * 2.0 + hand * dx.at(t)),
            reach * (ride_y * way * 2.0 + hand * dy.at(t)),
        );
        let map = Map::camera(
            (w, h),
            x0 + ox * 0.5,
            y0 + oy * 0.5,
            1.0,
            turn * dy.at(t + 5.0),
        );
        let mut row = 0;
        let mut picture = base.bent(w, h, |x, y| {
            let near = depth[row];
            row += 1;
            let (mut sx, mut sy) = map.at(x, y);
            sx += ox * near;
            sy += oy * near;
            if sway > 0.0 {
                let far = ((x - sway_x).powi(2) + (y - sway_y).powi(2)) / (sway_r * sway_r);
                if far < 1.0 {
                    let wave =
                        sway * (1.0 - far) * (sway_rate * t + (x * 0.9 + y * 1.7) * 0.05).sin();
                    sx += wave;
                    sy += wave * 0.3;
                }
            }
            (sx, sy)
        });
        for mover in &movers {
            mover.draw(&mut picture, t);
        }
        picture
    });
    Made {
        film: with_sensor(chance, film, 0.85),
        source: photo.name.clone(),
        kind: if is_tripod {
            "photo_tripod"
        } else {
            "photo_depth"
        },
        is_clean,
    }
}

/// A part of a photograph on its way.
struct Passing {
    sprite: Sprite,
    from: (f32, f32),
    speed: (f32, f32),
    scale: (f32, f32),
    turn: f32,
    wobble: Wobble,
    bob: f32,
    span: (f32, f32),
}

impl Passing {
    fn draw(&self, onto: &mut Picture, t: f32) {
        let wrap = |at: f32, span: f32, size: usize| {
            (at + size as f32).rem_euclid(span + 2.0 * size as f32) - size as f32
        };
        let place = Place {
            x: wrap(
                self.from.0 + self.speed.0 * t,
                self.span.0,
                self.sprite.w / 2,
            ),
            y: wrap(
                self.from.1 + self.speed.1 * t + self.bob * self.wobble.at(t),
                self.span.1,
                self.sprite.h / 2,
            ),
            scale: self.scale.0 * (1.0 + self.scale.1 * self.wobble.at(t * 0.5 + 3.0)),
            angle: self.turn * self.wobble.at(t * 0.7),
            opacity: 1.0,
        };
        self.sprite.draw(onto, place);
    }
}

fn movers(
    chance: &mut Chance,
    canvas: &Canvas,
    stock: &Stock,
    but: &str,
    needed: bool,
) -> Vec<Passing> {
    let others: Vec<_> = stock
        .sources
        .photos
        .iter()
        .filter(|photo| photo.name != but)
        .collect();
    if others.is_empty() {
        return Vec::new();
    }
    let count = chance.between(usize::from(needed), 3);
    (0..count)
        .map(|_| {
            let photo = chance.pick(&others);
            let side = canvas.h as f32 * chance.log_range(0.08, 0.5);
            let aspect = chance.range(0.5, 1.8);
            let whole = Picture::of_frame(&photo.picture);
            let zoom = chance.range(1.2, 3.0);
            let (pw, ph) = ((side * aspect).max(8.0), side.max(8.0));
            let large = whole.covering((pw * zoom) as usize, (ph * zoom) as usize);
            let (x, y) = (
                chance.below(large.w - pw as usize + 1),
                chance.below(large.h - ph as usize + 1),
            );
            let part = large.crop(x, y, pw as usize, ph as usize);
            let edge = Field::new(chance, 3);
            let ragged = chance.range(0.1, 0.5);
            let sprite = Sprite::cut_out(&part, move |x, y| {
                (0.85 - x.hypot(y) + ragged * edge.at(x * 2.0 + 5.0, y * 2.0 + 5.0)) * 10.0
            });
            let pace = canvas.w as f32 * chance.log_range(0.02, 0.5)
                / (canvas.step_seconds * canvas.fps as f32);
            let heading = if chance.is(0.7) {
                chance.range(-0.3, 0.3)
            } else {
                chance.range(-1.5, 1.5)
            };
            Passing {
                from: (
                    chance.range(0.0, canvas.w as f32),
                    chance.range(0.2, 1.0) * canvas.h as f32,
                ),
                speed: (pace * heading.cos() * chance.sign(), pace * heading.sin()),
                scale: (1.0, chance.range(0.0, 0.2)),
                turn: chance.range(0.0, 0.3),
                wobble: Wobble::new(chance, chance.clone().range(0.5, 2.0)),
                bob: canvas.h as f32 * chance.range(0.0, 0.08),
                span: (canvas.w as f32, canvas.h as f32),
                sprite,
            }
        })
        .collect()
}
