//! Drawn scenes: a world with ground and sky, things that stand on the ground, and a few that move.
//!
//! Layers from far to near are painted once, wider than the frame; a camera that moves shifts near layers more than far
//! ones, and things move on their own. Light comes from above, verticals are vertical, what is near is larger and lower:
//! that is what a judge of rotation can learn from.

mod painter;

use std::f32::consts::TAU;

use self::painter::Painter;
use super::film::{Canvas, Film};
use super::lettering::Fonts;
use super::noise::{Field, Wobble};
use super::picture::{Picture, blend};
use super::stickers::{Place, Sprite};
use crate::chance::Chance;

/// A layer of the world.
struct Layer {
    sprite: Sprite,
    /// 0 far away (does not move with the camera) to 1 near.
    nearness: f32,
    /// How far its tops sway, in pixels, and how fast.
    sway: (f32, f32),
}

/// Something that moves by itself.
struct Mover {
    looks: Vec<Sprite>,
    x: f32,
    y: f32,
    speed: f32,
    scale: f32,
    bob: f32,
    nearness: f32,
}

/// A scene by chance, with the camera's own motion as `shake` in pixels (0 for a tripod) and a ride of `ride` pixels a second.
pub fn scene(chance: &mut Chance, canvas: &Canvas, fonts: &Fonts, shake: f32, ride: f32) -> Film {
    let (w, h) = canvas.size();
    let margin = (ride.abs() * canvas.seconds()).min(w as f32) as usize + w / 8 + shake as usize;
    let mut painter = Painter {
        chance: chance.fork(),
        w: w + 2 * margin,
        h,
        unit: h as f32,
    };
    let is_room = chance.is(0.25);
    let horizon = painter.h as f32
        * if is_room {
            chance.range(0.6, 0.8)
        } else {
            chance.range(0.35, 0.7)
        };
    let mut layers = Vec::new();
    let back = if is_room {
        painter.room(horizon, fonts)
    } else {
        painter.sky_and_ground(horizon)
    };
    layers.push(Layer {
        sprite: back,
        nearness: if is_room { 0.5 } else { 0.15 },
        sway: (0.0, 0.0),
    });
    if !is_room {
        if chance.is(0.6) {
            layers.push(Layer {
                sprite: painter.hills(horizon),
                nearness: 0.2,
                sway: (0.0, 0.0),
            });
        }
        if chance.is(0.6) {
            layers.push(Layer {
                sprite: painter.town(horizon, fonts),
                nearness: chance.range(0.35, 0.6),
                sway: (0.0, 0.0),
            });
        }
    }
    for _ in 0..chance.between(0, 2) {
        let nearness = chance.range(0.55, 1.0);
        let sprite = if is_room {
            painter.furniture(horizon, fonts)
        } else {
            painter.trees(horizon, nearness)
        };
        let sway = if is_room { 0.0 } else { chance.range(0.5, 4.0) };
        layers.push(Layer {
            sprite,
            nearness,
            sway: (sway, chance.range(0.3, 1.2)),
        });
    }
    layers.sort_by(|a, b| a.nearness.total_cmp(&b.nearness));
    let movers: Vec<Mover> = (0..chance.between(1, 4))
        .map(|_| painter.mover(horizon, canvas))
        .collect();
    let (dx, dy) = (Wobble::new(chance, 1.6), Wobble::new(chance, 2.1));
    let is_water = !is_room && chance.is(0.3);
    let clouds = Field::new(chance, 4);
    let clouds_move = chance.range(0.02, 0.2);
    Box::new(move |t| {
        let (shift_x, shift_y) = (dx.at(t) * shake + ride * t, dy.at(t) * shake * 0.7);
        let mut picture = Picture::flat(w, h, [0; 3]);
        let mut moved = movers.iter().peekable();
        let wind = |rate: f32, y: usize| (t * rate * TAU + y as f32 * 0.03).sin();
        for layer in &layers {
            while let Some(mover) = moved.next_if(|mover| mover.nearness < layer.nearness) {
                mover.draw(&mut picture, t, shift_x, shift_y, margin);
            }
            let by = shift_x * layer.nearness;
            let down = (shift_y * layer.nearness).round() as i32;
            for y in 0..h {
                let row = ((y as i32 + down).clamp(0, h as i32 - 1)) as usize;
                let up = ((horizon - row as f32) / layer.sprite.h as f32).max(0.0);
                let from = margin as f32 + by + layer.sway.0 * up * 3.0 * wind(layer.sway.1, y);
                let whole = from.floor();
                let share = ((from - whole) * 256.0) as u32;
                let source = &layer.sprite.px[row * layer.sprite.w..][..layer.sprite.w];
                let last = source.len() as i32 - 1;
                for (x, own) in picture.px[y * w..][..w].iter_mut().enumerate() {
                    let at = (x as i32 + whole as i32).clamp(0, last - 1) as usize;
                    let (a, b) = (source[at], source[at + 1]);
                    let alpha = (u32::from(a[3]) * (256 - share) + u32::from(b[3]) * share) >> 8;
                    if alpha > 2 {
                        let rgb = blend([a[0], a[1], a[2]], [b[0], b[1], b[2]], share);
                        *own = blend(*own, rgb, alpha * 256 / 255);
                    }
                }
            }
            if layer.nearness < 0.16 && !is_room {
                drift_clouds(&mut picture, &clouds, horizon, t * clouds_move);
                if is_water {
                    ripple(&mut picture, horizon, t);
                }
            }
        }
        moved.for_each(|mover| mover.draw(&mut picture, t, shift_x, shift_y, margin));
        picture
    })
}

/// Clouds over the upper part, on their way.
fn drift_clouds(picture: &mut Picture, field: &Field, horizon: f32, shift: f32) {
    let h = picture.h as f32;
    let w = picture.w;
    for y in 0..(horizon as usize).min(picture.h) {
        let depth = 1.0 / (0.15 + (horizon - y as f32) / h);
        for x in (0..w).step_by(2) {
            let cover = (field.at(
                x as f32 / h * depth * 0.9 + shift * depth + 8.0,
                depth * 2.0,
            ) * 1.4
                - 0.1)
                .clamp(0.0, 0.85);
            for own in &mut picture.px[y * w + x..][..2.min(w - x)] {
                *own = blend(*own, [244, 246, 250], (cover * 256.0) as u32);
            }
        }
    }
}

/// Waves over the lower part.
fn ripple(picture: &mut Picture, horizon: f32, t: f32) {
    let (w, h) = picture.size();
    let source = picture.clone();
    for y in horizon as usize..h {
        let depth = (y as f32 - horizon + 2.0) / (h as f32 - horizon + 2.0);
        let mirror = (2.0 * horizon - y as f32 / 1.2 - horizon * 0.2).max(0.0);
        let wave = (y as f32 / (0.5 + 6.0 * depth) - t * 4.0).sin();
        for x in 0..w {
            let side =
                (x as f32 / (4.0 + 30.0 * depth) + t * 2.0 + wave).sin() * (1.0 + 6.0 * depth);
            let seen = source.near((x as f32 + side) as i32, mirror as i32);
            let own = &mut picture.px[y * w + x];
            *own = blend(
                *own,
                blend(seen, [40, 90, 110], 90),
                200 - (50.0 * wave) as u32,
            );
        }
    }
}

impl Picture {
    fn size(&self) -> (usize, usize) {
        (self.w, self.h)
    }
}

impl Mover {
    fn draw(&self, onto: &mut Picture, t: f32, shift_x: f32, shift_y: f32, margin: usize) {
        let step = ((t * self.speed.abs() / 25.0).max(t * 2.0) * 1.5) as usize;
        let way = onto.w as f32 + 2.0 * margin as f32;
        let x = (self.x + self.speed * t).rem_euclid(way) - margin as f32 - shift_x * self.nearness;
        let y = self.y - (t * 9.0).sin().abs() * self.bob - shift_y * self.nearness;
        let look = &self.looks[step % self.looks.len()];
        let place = Place {
            x,
            y: y - look.h as f32 * self.scale / 2.0,
            scale: self.scale,
            angle: 0.0,
            opacity: 1.0,
        };
        look.draw(onto, place);
    }
}

/// One sprite over another of the same size.
fn over(below: &mut Sprite, above: &Sprite) {
    for (own, over) in below.px.iter_mut().zip(&above.px) {
        if over[3] > 0 {
            let share = if own[3] == 0 {
                256
            } else {
                u32::from(over[3]) * 256 / 255
            };
            let rgb = blend([own[0], own[1], own[2]], [over[0], over[1], over[2]], share);
            *own = [rgb[0], rgb[1], rgb[2], own[3].max(over[3])];
        }
    }
}
