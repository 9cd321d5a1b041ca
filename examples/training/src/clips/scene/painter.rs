//! Paints what stands in a scene: sky and ground, hills, towns, trees, rooms, furniture, and what moves.

use super::super::film::Canvas;
use super::super::lettering::{Fonts, words};
use super::super::noise::Field;
use super::super::picture::{blend, hsv};
use super::super::stickers::Sprite;
use super::{Mover, over};
use crate::chance::Chance;

/// Paints layers of one size.
pub(super) struct Painter {
    pub(super) chance: Chance,
    pub(super) w: usize,
    pub(super) h: usize,
    pub(super) unit: f32,
}

impl Painter {
    pub(super) fn paint(&self, of: impl Fn(usize, usize) -> [u8; 4]) -> Sprite {
        let px = (0..self.w * self.h)
            .map(|at| of(at % self.w, at / self.w))
            .collect();
        Sprite {
            w: self.w,
            h: self.h,
            px,
        }
    }

    pub(super) fn blank(&self) -> Sprite {
        Sprite {
            w: self.w,
            h: self.h,
            px: vec![[0; 4]; self.w * self.h],
        }
    }

    pub(super) fn sky_and_ground(&mut self, horizon: f32) -> Sprite {
        let hour = self.chance.unit();
        let (zenith, low) = if hour < 0.65 {
            (
                hsv(
                    3.5 + self.chance.range(-0.2, 0.2),
                    0.7,
                    self.chance.range(0.5, 0.9),
                ),
                hsv(3.4, 0.2, 0.98),
            )
        } else if hour < 0.85 {
            (
                hsv(4.2, 0.5, 0.5),
                hsv(self.chance.range(0.2, 0.9), 0.6, 0.95),
            )
        } else {
            ([14, 18, 40], [50, 60, 96])
        };
        let dark = if hour < 0.85 { 1.0 } else { 0.35 };
        let earth = hsv(
            self.chance.range(0.4, 2.4),
            self.chance.range(0.1, 0.7),
            self.chance.range(0.35, 0.7) * dark,
        );
        let texture = Field::new(&mut self.chance, 5);
        let fine = Field::new(&mut self.chance, 3);
        let tiles = self.chance.is(0.4).then(|| self.chance.range(0.2, 0.6));
        let is_road = self.chance.is(0.35);
        let (sun_x, sun_y) = (
            self.chance.range(0.1, 0.9) * self.w as f32,
            horizon * self.chance.range(0.1, 0.8),
        );
        let has_sun = self.chance.is(0.4);
        let (middle, unit) = (self.w as f32 / 2.0, self.unit);
        self.paint(|x, y| {
            let (fx, fy) = (x as f32, y as f32);
            let rgb = if fy < horizon {
                let share = (fy / horizon).powf(1.3);
                let mut rgb = blend(zenith, low, (share * 256.0) as u32);
                if has_sun {
                    let far = (fx - sun_x).hypot(fy - sun_y) / unit;
                    let glow = (0.35 / (1.0 + far * far * 60.0)
                        + if far < 0.04 { 0.65 } else { 0.0 })
                    .min(1.0);
                    rgb = blend(rgb, [255, 245, 215], (glow * 256.0) as u32);
                }
                rgb
            } else {
                // A plane below the eye: rows lie at 1 / (y - horizon).
                let depth = unit / (fy - horizon + 1.5);
                let (u, v) = ((fx - middle) / unit * depth, depth * 3.0);
                let mut value = 1.0
                    + 0.3 * texture.at(u * 1.5 + 30.0, v * 0.7)
                    + 0.2 * fine.at(u * 9.0 + 90.0, v * 5.0) / (1.0 + depth * 0.1);
                if let Some(size) = tiles {
                    let line = |a: f32| (a / size).rem_euclid(1.0) < 0.06;
                    if line(u) || line(v * 0.35) {
                        value *= 0.65;
                    }
                }
                let mut rgb = earth.map(|c| (f32::from(c) * value).clamp(0.0, 255.0) as u8);
                if is_road && u.abs() < 0.9 {
                    let grey =
                        (88.0 + 26.0 * fine.at(u * 20.0 + 40.0, v * 9.0)).clamp(0.0, 255.0) as u8;
                    let dash = u.abs() < 0.04 && (v * 0.9).rem_euclid(1.0) < 0.5;
                    rgb = if dash || (0.82..0.87).contains(&u.abs()) {
                        [225, 222, 210]
                    } else {
                        [grey, grey, grey.saturating_add(4)]
                    };
                }
                let haze = (depth / 40.0).min(0.8);
                blend(rgb, low, (haze * 256.0) as u32)
            };
            [rgb[0], rgb[1], rgb[2], 255]
        })
    }

    pub(super) fn hills(&mut self, horizon: f32) -> Sprite {
        let ridge = Field::new(&mut self.chance, 5);
        let height = self.unit * self.chance.range(0.08, 0.35);
        let stretch = self.unit * self.chance.range(0.25, 0.9);
        let rock = hsv(
            self.chance.range(1.0, 4.0),
            self.chance.range(0.1, 0.5),
            self.chance.range(0.3, 0.6),
        );
        let has_snow = self.chance.is(0.4);
        let rough = Field::new(&mut self.chance, 5);
        let unit = self.unit;
        self.paint(|x, y| {
            let top = horizon - height * (0.55 + 0.6 * ridge.at(x as f32 / stretch + 9.0, 3.0));
            if (y as f32) < top || y as f32 > horizon + 2.0 {
                return [0; 4];
            }
            let up = (horizon - y as f32) / height;
            let shade = 0.8 + 0.45 * rough.at(x as f32 / unit * 14.0, y as f32 / unit * 20.0);
            let base = if has_snow && up > 0.6 {
                [232, 236, 244]
            } else {
                rock
            };
            let rgb = base.map(|c| (f32::from(c) * shade).clamp(0.0, 255.0) as u8);
            let rgb = blend(
                rgb,
                [190, 205, 225],
                (90.0 - 50.0 * up.clamp(0.0, 1.0)) as u32,
            );
            [rgb[0], rgb[1], rgb[2], 255]
        })
    }

    pub(super) fn rect(
        &mut self,
        sprite: &mut Sprite,
        x: f32,
        y: f32,
        w: f32,
        h: f32,
        of: impl Fn(f32, f32) -> [u8; 3],
    ) {
        let span = |from: f32, len: f32, most: usize| {
            (from.max(0.0) as usize).min(most)..((from + len).max(0.0) as usize).min(most)
        };
        for row in span(y, h, sprite.h) {
            for column in span(x, w, sprite.w) {
                let [r, g, b] = of((column as f32 - x) / w, (row as f32 - y) / h);
                sprite.px[row * sprite.w + column] = [r, g, b, 255];
            }
        }
    }

    pub(super) fn text(&mut self, sprite: &mut Sprite, fonts: &Fonts, x: f32, y: f32, px: f32) {
        let count = self.chance.between(1, 2);
        let text = words(&mut self.chance, count);
        let colour = if self.chance.is(0.5) {
            [250, 250, 245]
        } else {
            [25, 25, 35]
        };
        let line = fonts.line(&mut self.chance, &text, px, colour, None);
        for row in 0..line.h {
            for column in 0..line.w {
                let (tx, ty) = (x as i32 + column as i32, y as i32 + row as i32);
                if (0..sprite.w as i32).contains(&tx) && (0..sprite.h as i32).contains(&ty) {
                    let own = &mut sprite.px[ty as usize * sprite.w + tx as usize];
                    let [r, g, b, a] = line.px[row * line.w + column];
                    let rgb = blend([own[0], own[1], own[2]], [r, g, b], u32::from(a));
                    *own = [rgb[0], rgb[1], rgb[2], own[3].max(a)];
                }
            }
        }
    }

    pub(super) fn town(&mut self, horizon: f32, fonts: &Fonts) -> Sprite {
        let mut sprite = self.blank();
        let base = horizon + self.unit * self.chance.range(0.02, 0.12);
        let mut x = -self.unit * 0.2;
        while x < self.w as f32 {
            let (w, h) = (
                self.unit * self.chance.range(0.1, 0.45),
                self.unit * self.chance.range(0.12, 0.6),
            );
            let wall = hsv(
                self.chance.range(0.0, 6.0),
                self.chance.range(0.05, 0.4),
                self.chance.range(0.4, 0.9),
            );
            let glass = if self.chance.is(0.3) {
                [250, 225, 150]
            } else {
                hsv(3.6, 0.3, self.chance.range(0.2, 0.6))
            };
            let (columns, floors) = (
                self.chance.between(2, 7) as f32,
                (h / self.unit * self.chance.range(12.0, 22.0))
                    .round()
                    .max(2.0),
            );
            let grain = Field::new(&mut self.chance, 3);
            self.rect(&mut sprite, x, base - h, w, h, |u, v| {
                let (cu, cv) = ((u * columns).fract(), (v * floors).fract());
                let shade = 0.85 + 0.12 * grain.at(u * 9.0, v * 9.0) - 0.15 * v + 0.1 * (1.0 - u);
                let is_window = (0.25..0.75).contains(&cu) && (0.25..0.8).contains(&cv) && v > 0.04;
                let rgb = if is_window { glass } else { wall };
                rgb.map(|c| (f32::from(c) * shade).clamp(0.0, 255.0) as u8)
            });
            if self.chance.is(0.4) {
                // A pitched roof.
                let (roof, tile) = (
                    w * self.chance.range(0.25, 0.5),
                    hsv(self.chance.range(0.0, 0.6), 0.6, 0.5),
                );
                self.rect(&mut sprite, x, base - h, w, 1.0, |_, _| tile);
                for row in 0..roof as usize {
                    let inset = w / 2.0 * row as f32 / roof;
                    self.rect(
                        &mut sprite,
                        x + inset,
                        base - h - row as f32,
                        w - 2.0 * inset,
                        1.0,
                        |_, _| tile,
                    );
                }
            }
            if self.chance.is(0.35) {
                let (px, down) = ((w * 0.16).clamp(7.0, 40.0), h * self.chance.range(0.1, 0.7));
                self.text(&mut sprite, fonts, x + w * 0.1, base - down - px, px);
            }
            x += w * self.chance.range(1.0, 1.6);
        }
        sprite
    }

    pub(super) fn trees(&mut self, horizon: f32, nearness: f32) -> Sprite {
        let mut sprite = self.blank();
        let count = self.chance.between(1, 7);
        for _ in 0..count {
            let x = self.chance.range(0.0, self.w as f32);
            let size = self.unit * (0.15 + 0.8 * nearness * nearness) * self.chance.range(0.6, 1.2);
            let base = horizon + self.unit * (0.02 + 0.5 * nearness * nearness);
            let bark = hsv(0.5, 0.5, self.chance.range(0.2, 0.4));
            let trunk = size * 0.07;
            self.rect(
                &mut sprite,
                x - trunk / 2.0,
                base - size * 0.5,
                trunk,
                size * 0.5,
                |u, _| bark.map(|c| (f32::from(c) * (1.2 - 0.6 * u)) as u8),
            );
            let leaf = hsv(
                self.chance.range(1.1, 2.2),
                self.chance.range(0.4, 0.8),
                self.chance.range(0.3, 0.6),
            );
            let edge = Field::new(&mut self.chance, 4);
            let is_fir = self.chance.is(0.4);
            let (top, wide) = (base - size, size * if is_fir { 0.25 } else { 0.38 });
            self.blob(
                &mut sprite,
                x - wide,
                top,
                2.0 * wide,
                size * 0.75,
                move |u, v| {
                    let shape = if is_fir {
                        v * 0.9 - (u * 2.0 - 1.0).abs()
                    } else {
                        0.85 - (u * 2.0 - 1.0).hypot(v * 2.0 - 1.0)
                    };
                    let ragged = shape + 0.28 * edge.at(u * 7.0 + 3.0, v * 7.0);
                    let light = 0.75 + 0.5 * edge.at(u * 14.0 + 20.0, v * 14.0)
                        - 0.3 * (v - 0.4)
                        - 0.2 * (u - 0.5);
                    (
                        ragged * 12.0,
                        leaf.map(|c| (f32::from(c) * light.clamp(0.25, 1.6)).min(255.0) as u8),
                    )
                },
            );
        }
        sprite
    }

    pub(super) fn blob(
        &mut self,
        sprite: &mut Sprite,
        x: f32,
        y: f32,
        w: f32,
        h: f32,
        of: impl Fn(f32, f32) -> (f32, [u8; 3]),
    ) {
        let span = |from: f32, len: f32, most: usize| {
            (from.max(0.0) as usize).min(most)..((from + len).max(0.0) as usize).min(most)
        };
        for row in span(y, h, sprite.h) {
            for column in span(x, w, sprite.w) {
                let (alpha, rgb) = of((column as f32 - x) / w, (row as f32 - y) / h);
                let alpha = (alpha.clamp(0.0, 1.0) * 255.0) as u32;
                if alpha > 0 {
                    let own = &mut sprite.px[row * sprite.w + column];
                    let rgb = if own[3] == 0 {
                        rgb
                    } else {
                        blend([own[0], own[1], own[2]], rgb, alpha * 256 / 255)
                    };
                    *own = [rgb[0], rgb[1], rgb[2], own[3].max(alpha as u8)];
                }
            }
        }
    }

    pub(super) fn room(&mut self, floor: f32, fonts: &Fonts) -> Sprite {
        let wall = hsv(
            self.chance.range(0.0, 6.0),
            self.chance.range(0.05, 0.35),
            self.chance.range(0.5, 0.9),
        );
        let boards = hsv(
            self.chance.range(0.2, 0.7),
            self.chance.range(0.3, 0.7),
            self.chance.range(0.3, 0.6),
        );
        let stripes = self
            .chance
            .is(0.4)
            .then(|| self.unit * self.chance.range(0.03, 0.12));
        let texture = Field::new(&mut self.chance, 4);
        let lamp = self.chance.range(0.2, 0.8) * self.w as f32;
        let (unit, middle) = (self.unit, self.w as f32 / 2.0);
        let mut sprite = self.paint(|x, y| {
            let (fx, fy) = (x as f32, y as f32);
            let near_lamp =
                1.25 / (0.6 + ((fx - lamp).hypot(fy - unit * 0.1) / unit).powi(2) * 0.8);
            let rgb = if fy < floor {
                let band = stripes.is_some_and(|size| (fx / size).rem_euclid(1.0) < 0.5);
                let shade = (0.75
                    + 0.06 * texture.at(fx / unit * 20.0, fy / unit * 20.0)
                    + if band { 0.08 } else { 0.0 })
                    * near_lamp.min(1.3);
                if floor - fy < unit * 0.025 {
                    [225; 3].map(|c: u8| (f32::from(c) * shade.min(1.0)) as u8)
                } else {
                    wall.map(|c| (f32::from(c) * shade).min(255.0) as u8)
                }
            } else {
                let depth = unit / (fy - floor + unit * 0.12);
                let (u, v) = ((fx - middle) / unit * depth * 4.0, depth * 2.0);
                let seam =
                    u.rem_euclid(1.0) < 0.05 || (v * 2.0 + u.floor() * 0.37).rem_euclid(1.0) < 0.02;
                let shade = (0.8 + 0.25 * texture.at(u * 1.2 + 20.0, v * 14.0))
                    * if seam { 0.6 } else { 1.0 }
                    * near_lamp.min(1.2);
                boards.map(|c| (f32::from(c) * shade).clamp(0.0, 255.0) as u8)
            };
            [rgb[0], rgb[1], rgb[2], 255]
        });
        for _ in 0..self.chance.between(1, 4) {
            let (w, h) = (
                unit * self.chance.range(0.12, 0.45),
                unit * self.chance.range(0.12, 0.4),
            );
            let (x, y) = (
                self.chance.range(0.0, self.w as f32),
                unit * self.chance.range(0.05, 0.3),
            );
            let is_window = self.chance.is(0.4);
            let art = Field::new(&mut self.chance, 4);
            let hue = self.chance.range(0.0, 6.0);
            self.rect(&mut sprite, x - 4.0, y - 4.0, w + 8.0, h + 8.0, |_, _| {
                [70, 52, 38]
            });
            self.rect(&mut sprite, x, y, w, h, |u, v| {
                if is_window {
                    let bar = (u - 0.5).abs() < 0.03 || (v - 0.5).abs() < 0.03;
                    if bar {
                        [235; 3]
                    } else {
                        blend([120, 170, 230], [225, 235, 245], (v * 256.0) as u32)
                    }
                } else {
                    hsv(
                        hue + 1.5 * art.at(u * 3.0, v * 3.0),
                        0.5,
                        (0.6 + 0.35 * art.at(u * 5.0 + 9.0, v * 5.0)).clamp(0.0, 1.0),
                    )
                }
            });
        }
        if self.chance.is(0.4) {
            let (x, px) = (
                self.chance.range(0.1, 0.7) * self.w as f32,
                unit * self.chance.range(0.05, 0.1),
            );
            self.text(&mut sprite, fonts, x, unit * 0.4, px);
        }
        // The lamp hangs from above.
        self.rect(&mut sprite, lamp - 1.0, 0.0, 3.0, unit * 0.1, |_, _| {
            [40; 3]
        });
        self.rect(
            &mut sprite,
            lamp - unit * 0.05,
            unit * 0.1,
            unit * 0.1,
            unit * 0.05,
            |_, v| blend([250, 240, 200], [255, 255, 235], (v * 256.0) as u32),
        );
        sprite
    }

    pub(super) fn furniture(&mut self, floor: f32, fonts: &Fonts) -> Sprite {
        let mut sprite = self.blank();
        for _ in 0..self.chance.between(1, 3) {
            let (w, h) = (
                self.unit * self.chance.range(0.2, 0.7),
                self.unit * self.chance.range(0.15, 0.5),
            );
            let x = self.chance.range(0.0, self.w as f32);
            let base = floor + self.unit * self.chance.range(0.02, 0.25);
            let wood = hsv(
                self.chance.range(0.0, 6.0),
                self.chance.range(0.1, 0.6),
                self.chance.range(0.25, 0.8),
            );
            if self.chance.is(0.5) {
                let top = h * 0.15;
                self.rect(&mut sprite, x, base - h, w, top, |_, v| {
                    wood.map(|c| (f32::from(c) * (1.15 - 0.4 * v)).min(255.0) as u8)
                });
                for leg in [0.05, 0.9] {
                    self.rect(
                        &mut sprite,
                        x + w * leg,
                        base - h + top,
                        w * 0.06,
                        h - top,
                        |_, _| wood.map(|c| (f32::from(c) * 0.7) as u8),
                    );
                }
            } else {
                let shelves = self.chance.between(2, 4) as f32;
                let books = self.chance.between(5, 14) as f32;
                let hue = self.chance.range(0.0, 6.0);
                self.rect(&mut sprite, x, base - h, w, h, |u, v| {
                    let (shelf, cell) = ((v * shelves).fract(), (u * books).floor());
                    let tall = 0.3 + 0.25 * (cell * 12.9 + (v * shelves).floor() * 7.7).sin().abs();
                    if shelf > tall && shelf < 0.92 {
                        hsv(hue + cell * 1.7, 0.6, 0.7)
                    } else {
                        wood.map(|c| (f32::from(c) * if shelf >= 0.92 { 1.0 } else { 0.4 }) as u8)
                    }
                });
            }
            if self.chance.is(0.3) {
                let px = self.unit * 0.06;
                self.text(&mut sprite, fonts, x, base - h - px * 1.4, px);
            }
        }
        sprite
    }

    /// A walker, a car or a bird.
    pub(super) fn mover(&mut self, horizon: f32, canvas: &Canvas) -> Mover {
        let nearness = self.chance.range(0.25, 1.0);
        let size = self.unit * (0.08 + 0.45 * nearness * nearness) * self.chance.range(0.7, 1.2);
        let y =
            (horizon + self.unit * (0.03 + 0.42 * nearness * nearness)).min(self.h as f32 * 1.05);
        let side = (size as usize).clamp(8, 400);
        let pace = canvas.w as f32 * self.chance.log_range(0.03, 0.5) * self.chance.sign();
        let x = self.chance.range(0.0, self.w as f32);
        let coat = hsv(
            self.chance.range(0.0, 6.0),
            self.chance.range(0.2, 0.9),
            self.chance.range(0.3, 0.9),
        );
        let kind = self.chance.below(5);
        let looks = match kind {
            0 | 1 => {
                let legs = hsv(self.chance.range(0.0, 6.0), 0.3, 0.3);
                (0..4)
                    .map(|step| {
                        let stride = [0.0, 0.16, 0.0, -0.16][step];
                        let mut body = Sprite::shape(side, legs, legs, move |x, y| {
                            let leg = |lean: f32| (x - lean * (y - 0.1)).abs() - 0.08;
                            14.0 * -leg(stride).min(leg(-stride)).max((y - 0.55).abs() - 0.45)
                        });
                        let torso = Sprite::shape(
                            side,
                            coat,
                            coat.map(|c| (f32::from(c) * 0.6) as u8),
                            move |x, y| {
                                let arm = (x - stride * (y + 0.5) * 1.4)
                                    .abs()
                                    .max((y + 0.2).abs() - 0.32)
                                    - 0.05;
                                14.0 * -((x / 0.22).hypot((y + 0.22) / 0.42) - 1.0)
                                    .mul_add(0.3, 0.0)
                                    .min(arm)
                            },
                        );
                        let head = Sprite::shape(side, [70, 50, 40], [225, 180, 150], |x, y| {
                            14.0 * (0.16 - x.hypot((y + 0.82) * 0.9))
                        });
                        over(&mut body, &torso);
                        over(&mut body, &head);
                        body
                    })
                    .collect()
            }
            2 | 3 => (0..2)
                .map(|step| {
                    let mut car = Sprite::shape(side, coat, coat.map(|c| c / 2), |x, y| {
                        let hull = (x.abs() - 0.95).max((y - 0.6).abs() - 0.22);
                        let cabin = (x.abs() - 0.62 + (0.3 - y).max(0.0) * 0.4)
                            .max((y - 0.22).abs() - 0.22);
                        14.0 * -hull.min(cabin)
                    });
                    let glass = Sprite::shape(side, [200, 220, 235], [90, 110, 130], |x, y| {
                        14.0 * -((x.abs() - 0.42).max((y - 0.24).abs() - 0.12)).max(0.04 - x.abs())
                    });
                    let wheels = Sprite::shape(side, [25; 3], [15; 3], move |x, y| {
                        let d = (x.abs() - 0.55).hypot(y - 0.82);
                        let spoke = if step == 0 { 0.05 } else { 0.0 };
                        14.0 * (0.2 - d).min(d - spoke)
                    });
                    over(&mut car, &glass);
                    over(&mut car, &wheels);
                    car
                })
                .collect(),
            _ => (0..4)
                .map(|step| {
                    let lift = [0.7, 0.2, -0.4, 0.2][step];
                    Sprite::shape(side / 2, [40, 40, 46], [20, 20, 24], move |x, y| {
                        12.0 * (0.1 - (y + lift * x.abs()).abs()) * f32::from(x.abs() < 0.95)
                    })
                })
                .collect(),
        };
        let is_bird = kind == 4;
        Mover {
            looks,
            x,
            y: if is_bird {
                horizon * self.chance.range(0.1, 0.8)
            } else {
                y
            },
            speed: pace * if is_bird { 1.5 } else { 1.0 },
            scale: 1.0,
            bob: if kind < 2 { size * 0.02 } else { 0.0 },
            nearness,
        }
    }
}
