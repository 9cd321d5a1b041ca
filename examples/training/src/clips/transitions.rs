//! From one film to the next.

use super::film::{Ease, Film};
use super::picture::{Map, Picture};
use crate::chance::Chance;

/// A way to go from one film to the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Transition {
    /// At once.
    Cut,
    /// The one fades into the other.
    Dissolve,
    /// Through one colour.
    Dip([u8; 3]),
    /// An edge passes, at an angle, this soft.
    Wipe(f32, f32),
    /// A circle opens or closes.
    Iris(bool),
    /// The next pushes the last out.
    Push(f32, f32),
    /// The next slides over the last.
    Cover(f32, f32),
    /// Rushing in.
    Zoom,
    /// Round and round.
    Spin,
    /// A blur that rushes by.
    Whip(f32),
    /// Slats.
    Blinds(usize),
    /// Squares, in no order.
    Blocks(usize, u64),
    /// An edge that turns like a clock's hand.
    Clock,
    /// Larger and larger pixels.
    Mosaic,
}

impl Transition {
    /// What slideshows use.
    pub fn draw_slide(chance: &mut Chance) -> Self {
        match chance.below(6) {
            0 => Self::Dip([0; 3]),
            1 => Self::Push(chance.sign(), 0.0),
            _ => Self::Dissolve,
        }
    }

    /// Any that somebody made: a plain cut is none, footage is full of them.
    pub fn draw(chance: &mut Chance) -> Self {
        let direction = |chance: &mut Chance| {
            if chance.is(0.6) {
                (chance.sign(), 0.0)
            } else {
                (0.0, chance.sign())
            }
        };
        match chance.below(15) {
            0 | 1 => Self::Dissolve,
            2 => Self::Dip(*chance.pick(&[[0; 3], [0; 3], [255; 3], [200, 30, 60]])),
            3 | 4 => Self::Wipe(chance.range(0.0, 6.3), chance.range(0.0, 0.2)),
            5 => Self::Iris(chance.is(0.5)),
            6 => {
                let (x, y) = direction(chance);
                Self::Push(x, y)
            }
            7 => {
                let (x, y) = direction(chance);
                Self::Cover(x, y)
            }
            8 | 9 => Self::Zoom,
            10 => Self::Spin,
            11 => Self::Whip(chance.sign()),
            12 => Self::Blinds(chance.between(4, 14)),
            13 => Self::Blocks(chance.between(4, 12), chance.bits()),
            _ => *chance.pick(&[Self::Clock, Self::Mosaic]),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Dissolve => "dissolve",
            Self::Dip(_) => "dip",
            Self::Wipe(..) => "wipe",
            Self::Iris(_) => "iris",
            Self::Push(..) => "push",
            Self::Cover(..) => "cover",
            Self::Zoom => "zoom_transition",
            Self::Spin => "spin",
            Self::Whip(_) => "whip_pan",
            Self::Blinds(_) => "blinds",
            Self::Blocks(..) => "blocks",
            Self::Clock => "clock",
            Self::Mosaic => "mosaic",
        }
    }

    /// The picture when `way` (0 to 1) of it is gone.
    fn at(self, a: Picture, b: Picture, way: f32) -> Picture {
        let (w, h) = (a.w, a.h);
        let (fw, fh) = (w as f32, h as f32);
        let soft = |distance: f32, softness: f32| {
            ((distance / softness.max(0.005) + 0.5).clamp(0.0, 1.0) * 256.0) as u32
        };
        match self {
            Self::Cut => b,
            Self::Dissolve => a.mixed(&b, way),
            Self::Dip(rgb) => {
                let flat = Picture::flat(w, h, rgb);
                if way < 0.5 {
                    a.mixed(&flat, 2.0 * way)
                } else {
                    b.mixed(&flat, 2.0 - 2.0 * way)
                }
            }
            Self::Wipe(angle, softness) => {
                let (s, c) = angle.sin_cos();
                let reach = 0.5 * (s.abs() + c.abs()) + softness;
                a.masked(&b, |x, y| {
                    let along = c * (x as f32 / fw - 0.5) + s * (y as f32 / fh - 0.5);
                    soft((2.0 * way - 1.0) * reach - along, softness)
                })
            }
            Self::Iris(opens) => {
                let far = |x: usize, y: usize| {
                    (x as f32 - fw / 2.0).hypot(y as f32 - fh / 2.0) / (fw.hypot(fh) / 2.0)
                };
                if opens {
                    a.masked(&b, |x, y| soft(way - far(x, y), 0.02))
                } else {
                    b.masked(&a, |x, y| soft(1.0 - way - far(x, y), 0.02))
                }
            }
            Self::Push(x, y) | Self::Cover(x, y) => {
                let (dx, dy) = (x * (1.0 - way) * fw, y * (1.0 - way) * fh);
                let mut both = Picture::flat(w, h, [0; 3]);
                let pushed = matches!(self, Self::Push(..));
                let (ax, ay) = if pushed {
                    (dx - x * fw, dy - y * fh)
                } else {
                    (0.0, 0.0)
                };
                both.put(&a, ax.round() as i32, ay.round() as i32);
                both.put(&b, dx.round() as i32, dy.round() as i32);
                both
            }
            Self::Zoom | Self::Spin => {
                let (picture, zoom) = if way < 0.5 {
                    (a, 1.0 + 6.0 * way * way)
                } else {
                    (b, 1.0 + 6.0 * (1.0 - way) * (1.0 - way))
                };
                let angle = if self == Self::Spin {
                    6.0 * (way - f32::from(way >= 0.5))
                } else {
                    0.0
                };
                let turned =
                    picture.warped(w, h, &Map::camera((w, h), fw / 2.0, fh / 2.0, zoom, angle));
                let rush = ((0.5 - (way - 0.5).abs()) * 0.06 * fw) as usize;
                turned.box_blurred(rush / 2)
            }
            Self::Whip(sign) => {
                let picture = if way < 0.5 { a } else { b };
                let shift = sign
                    * fw
                    * 2.0
                    * if way < 0.5 {
                        way * way * 2.0
                    } else {
                        -2.0 * (1.0 - way) * (1.0 - way)
                    };
                let map = Map::camera((w, h), fw / 2.0 + shift, fh / 2.0, 1.0, 0.0);
                picture
                    .warped(w, h, &map)
                    .blurred_rows((fw * 0.25 * (0.5 - (way - 0.5).abs())) as usize + 1)
            }
            Self::Blinds(count) => a.masked(&b, |x, _| {
                soft(way - (x as f32 / fw * count as f32).fract(), 0.02)
            }),
            Self::Blocks(count, seed) => {
                let size = (fw / count as f32).max(4.0);
                a.masked(&b, |x, y| {
                    let cell = (x as f32 / size) as u64 * 131 + (y as f32 / size) as u64;
                    let turn = Chance::new(seed ^ cell.wrapping_mul(0x9E37_79B9_7F4A_7C15)).unit();
                    soft(way * 1.05 - turn, 0.02)
                })
            }
            Self::Clock => a.masked(&b, |x, y| {
                let turn = ((x as f32 - fw / 2.0).atan2(fh / 2.0 - y as f32)
                    / std::f32::consts::TAU)
                    .rem_euclid(1.0);
                soft(way - turn, 0.01)
            }),
            Self::Mosaic => {
                let picture = a.mixed(&b, ((way - 0.4) * 5.0).clamp(0.0, 1.0));
                let cell = 1 + ((0.5 - (way - 0.5).abs()) * fw * 0.12) as i32;
                Picture::by(w, h, |x, y| {
                    picture.near(
                        x as i32 / cell * cell + cell / 2,
                        y as i32 / cell * cell + cell / 2,
                    )
                })
            }
        }
    }
}

/// One film, then the other: the way from one to the other begins at `at` and takes `long` seconds.
pub fn join(mut a: Film, mut b: Film, at: f32, long: f32, transition: Transition) -> Film {
    let long = if transition == Transition::Cut {
        0.0
    } else {
        long
    };
    Box::new(move |t| {
        if t < at {
            a(t)
        } else if t >= at + long {
            b(t)
        } else {
            transition.at(a(t), b(t), Ease::InOut.at((t - at) / long))
        }
    })
}
