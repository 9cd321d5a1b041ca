//! Pictures for the tests of the detectors: a textured world through which a camera moves, and things drawn over it.

use std::sync::Arc;

use ndarray::Array3;

use crate::media::frames::Frame;

pub const WIDTH: usize = 320;
pub const HEIGHT: usize = 200;

/// A whole number from 0 to 255 for each point and seed.
fn chance(x: i64, y: i64, seed: u64) -> f64 {
    let mut state = (x as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        ^ (y as u64).wrapping_mul(0xC2B2_AE3D_27D4_EB4F)
        ^ seed.wrapping_mul(0x1656_67B1_9E37_79F9);
    state ^= state >> 29;
    state = state.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state ^= state >> 32;
    (state & 255) as f64
}

/// Smooth noise with features of `size` pixels.
fn noise(x: f64, y: f64, size: f64, seed: u64) -> f64 {
    let (x, y) = (x / size, y / size);
    let (ix, iy) = (x.floor(), y.floor());
    let ease = |t: f64| t * t * (3.0 - 2.0 * t);
    let (fx, fy) = (ease(x - ix), ease(y - iy));
    let at = |dx: i64, dy: i64| chance(ix as i64 + dx, iy as i64 + dy, seed);
    let upper = at(0, 0) + fx * (at(1, 0) - at(0, 0));
    let lower = at(0, 1) + fx * (at(1, 1) - at(0, 1));
    upper + fy * (lower - upper)
}

/// A picture of the world from a place: coarse shapes with fine texture, 20 to 235, coloured.
pub fn world(x: f64, y: f64, seed: u64) -> [u8; 3] {
    let coarse = noise(x, y, 60.0, seed);
    // Shapes with hard edges, as things have.
    let shape = if noise(x, y, 35.0, seed + 7) > 140.0 {
        60.0
    } else {
        0.0
    };
    let fine = noise(x, y, 6.0, seed + 13) - 128.0;
    let luma = 25.0 + 0.5 * coarse + shape + 0.25 * fine;
    [luma * 1.05, luma, luma * 0.85 + 10.0].map(|channel| channel.clamp(0.0, 255.0) as u8)
}

/// `count` frames of what `at(frame, x, y)` shows.
pub fn frames(count: usize, at: impl Fn(usize, usize, usize) -> [u8; 3]) -> Vec<Frame> {
    let frame = |k: usize| {
        let mut frame = Array3::zeros((HEIGHT, WIDTH, 3));
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                for (channel, value) in at(k, x, y).into_iter().enumerate() {
                    frame[[y, x, channel]] = value;
                }
            }
        }
        Arc::new(frame)
    };
    (0..count).map(frame).collect()
}

/// What a camera sees that moves through the world; every four frames there is a cut.
pub fn moving(k: usize, x: usize, y: usize) -> [u8; 3] {
    let (shot, within) = (k / 4, (k % 4) as f64);
    world(
        x as f64 + 23.0 * within,
        y as f64 - 11.0 * within,
        1 + shot as u64,
    )
}

/// What a tripod sees: the same, but for a patch in which something moves, and a little noise.
pub fn tripod(k: usize, x: usize, y: usize) -> [u8; 3] {
    let moves = (100..200).contains(&x) && (60..150).contains(&y);
    let base = if moves {
        moving(k, x, y)
    } else {
        world(x as f64, y as f64, 1)
    };
    let grain = (chance(x as i64, y as i64, 99 + k as u64) / 64.0) as u8;
    base.map(|channel| channel.saturating_add(grain))
}

/// Strokes like letters of this height in a line that begins at `(left, upper)`; `salt` chooses the text.
pub fn is_text(
    x: usize,
    y: usize,
    left: usize,
    upper: usize,
    letter_px: usize,
    letters: usize,
    salt: usize,
) -> bool {
    let (Some(x), Some(y)) = (x.checked_sub(left), y.checked_sub(upper)) else {
        return false;
    };
    let pitch = letter_px;
    let (letter, x) = (x / pitch, x % pitch);
    let (wide, stroke) = (letter_px * 3 / 5, (letter_px / 6).max(2));
    // A space now and then.
    if letter >= letters || y >= letter_px || x >= wide || (letter + salt) % 7 == 5 {
        return false;
    }
    let middle = (letter_px - stroke) / 2;
    let shape = (letter * 5 + salt * 3) % 4;
    let upright = x < stroke || (shape < 2 && x >= wide - stroke);
    let bar = y < stroke || (shape != 1 && (middle..middle + stroke).contains(&y));
    let foot = shape >= 2 && y >= letter_px - stroke;
    upright || bar || foot
}

/// `over` laid on `under` with this opacity.
pub fn blend(under: [u8; 3], over: [u8; 3], opacity: f64) -> [u8; 3] {
    let mut mixed = under;
    for (channel, over) in mixed.iter_mut().zip(over) {
        *channel = (f64::from(*channel) * (1.0 - opacity) + f64::from(over) * opacity) as u8;
    }
    mixed
}
