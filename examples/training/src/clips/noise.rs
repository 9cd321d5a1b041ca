//! Smooth random fields, and the grain of a sensor.

use super::picture::Picture;
use crate::chance::Chance;

/// Value noise in several octaves: a smooth field of about -1 to 1.
#[derive(Debug, Clone)]
pub struct Field {
    lattice: Vec<f32>,
    octaves: u32,
}

const LATTICE: usize = 64;

impl Field {
    /// A field with so many octaves, each half as large.
    pub fn new(chance: &mut Chance, octaves: u32) -> Self {
        let lattice = (0..LATTICE * LATTICE)
            .map(|_| chance.range(-1.0, 1.0))
            .collect();
        Self { lattice, octaves }
    }

    /// The value at a point; a cell of the first octave is 1 wide.
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let (mut sum, mut weight, mut scale) = (0.0, 1.0, 1.0);
        for octave in 0..self.octaves {
            sum += weight
                * self.octave(
                    x * scale + octave as f32 * 17.3,
                    y * scale + octave as f32 * 5.1,
                );
            weight *= 0.5;
            scale *= 2.03;
        }
        sum
    }

    fn octave(&self, x: f32, y: f32) -> f32 {
        let (fx, fy) = (x.floor(), y.floor());
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (tx, ty) = (smooth(x - fx), smooth(y - fy));
        let at = |dx: i32, dy: i32| {
            let (x, y) = (
                (fx as i32 + dx) as usize % LATTICE,
                (fy as i32 + dy) as usize % LATTICE,
            );
            self.lattice[y * LATTICE + x]
        };
        let upper = at(0, 0) + tx * (at(1, 0) - at(0, 0));
        let lower = at(0, 1) + tx * (at(1, 1) - at(0, 1));
        upper + ty * (lower - upper)
    }
}

/// A smooth random path in time: what an unsteady hand does. About -1 to 1, slow drift and quicker tremor.
#[derive(Debug, Clone)]
pub struct Wobble(Vec<(f32, f32, f32)>);

impl Wobble {
    /// A path whose quickest part turns some `hertz` times a second.
    pub fn new(chance: &mut Chance, hertz: f32) -> Self {
        Self(
            (0..6)
                .map(|k| {
                    let share = (k as f32 + 1.0) / 6.0;
                    let rate = hertz * share * chance.range(0.6, 1.2) * std::f32::consts::TAU;
                    (rate, chance.range(0.0, 6.3), 0.55 / (1.0 + 3.0 * share))
                })
                .collect(),
        )
    }

    /// Where it is at a time.
    pub fn at(&self, t: f32) -> f32 {
        self.0
            .iter()
            .map(|(rate, phase, size)| size * 2.0 * (rate * t + phase).sin())
            .sum()
    }
}

/// How grain lies on a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Grain {
    /// The same in all channels.
    Luma,
    /// Each channel on its own.
    Colour,
    /// Clumps of two pixels.
    Coarse,
}

/// Adds grain of this deviation in levels, other for each seed.
pub fn grain(picture: &mut Picture, sigma: f32, kind: Grain, seed: u64) {
    if sigma <= 0.05 {
        return;
    }
    let mut chance = Chance::new(seed);
    let table: Vec<i16> = (0..4096)
        .map(|_| (chance.normal() * sigma * 16.0) as i16)
        .collect();
    let mut bits = 0u64;
    let mut left = 0;
    let mut draw = |chance: &mut Chance| {
        if left == 0 {
            bits = chance.bits();
            left = 5;
        }
        left -= 1;
        let value = table[(bits & 4095) as usize];
        bits >>= 12;
        value
    };
    let w = picture.w;
    let mut held: Vec<i16> = vec![0; w];
    for (y, row) in picture.px.chunks_exact_mut(w).enumerate() {
        for (x, rgb) in row.iter_mut().enumerate() {
            let steps = match kind {
                Grain::Luma => [draw(&mut chance); 3],
                Grain::Colour => [draw(&mut chance), draw(&mut chance), draw(&mut chance)],
                Grain::Coarse => {
                    if y % 2 == 0 && x % 2 == 0 {
                        held[x] = draw(&mut chance);
                    }
                    [held[x & !1]; 3]
                }
            };
            for (value, step) in rgb.iter_mut().zip(steps) {
                *value = ((i16::from(*value) * 16 + step + 8) >> 4).clamp(0, 255) as u8;
            }
        }
    }
}
