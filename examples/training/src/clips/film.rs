//! Films: functions from a time to a picture.

use super::picture::Picture;
use crate::chance::Chance;

/// Shows the picture of a time, in seconds from 0 to the canvas's length.
pub type Film = Box<dyn FnMut(f32) -> Picture>;

/// What a film is made for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Canvas {
    /// Width in pixels, even.
    pub w: usize,
    /// Height in pixels, even.
    pub h: usize,
    /// Frames a second, in the file.
    pub fps: u32,
    /// How many frames.
    pub frames: usize,
    /// Seconds of the world that pass from frame to frame: more than 1 / fps is as if a long video was thinned out.
    pub step_seconds: f32,
}

/// Pixels that a clip costs at most, all frames together: most are cheap, some are large.
const PIXELS: [(f32, f32); 3] = [(0.68, 1.6e6), (0.24, 3.2e6), (0.08, 7.0e6)];

impl Canvas {
    /// A size, rate and length by chance; good and bad clips draw from the same.
    pub fn draw(chance: &mut Chance) -> Self {
        let aspect = *chance.weighted(&[
            (0.45, 16.0 / 9.0),
            (0.1, 4.0 / 3.0),
            (0.05, 1.5),
            (0.05, 2.35),
            (0.1, 1.0),
            (0.05, 0.75),
            (0.2, 9.0 / 16.0),
        ]);
        let budget = *chance.weighted(&PIXELS);
        let long = chance.log_range(
            if budget > 3e6 { 320.0 } else { 240.0 },
            if budget > 5e6 { 960.0 } else { 640.0 },
        );
        let (w, h) = if aspect >= 1.0 {
            (long, long / aspect)
        } else {
            (long * aspect, long)
        };
        let even = |side: f32| ((side / 2.0).round() as usize * 2).max(96);
        let (w, h) = (even(w), even(h));
        let most = (budget / (w * h) as f32) as usize;
        let frames = chance.between(24, 100).min(most.max(18));
        let fps = *chance.pick(&[8, 10, 12, 12, 15, 15, 20, 24, 25, 25, 30]);
        let thinned = if chance.is(0.15) {
            chance.range(2.0, 6.0)
        } else {
            1.0
        };
        Self {
            w,
            h,
            fps,
            frames,
            step_seconds: thinned / fps as f32,
        }
    }

    /// Seconds of the world that it shows.
    pub fn seconds(&self) -> f32 {
        self.frames as f32 * self.step_seconds
    }

    /// The time of a frame.
    pub fn time(&self, frame: usize) -> f32 {
        frame as f32 * self.step_seconds
    }

    /// Its size.
    pub fn size(&self) -> (usize, usize) {
        (self.w, self.h)
    }
}

/// A film with something done to each picture at its time.
pub fn wrap(mut film: Film, mut with: impl FnMut(Picture, f32) -> Picture + 'static) -> Film {
    Box::new(move |t| {
        let picture = film(t);
        with(picture, t)
    })
}

/// Eases a way from 0 to 1, as programs that move pictures do.
#[derive(Debug, Clone, Copy)]
pub enum Ease {
    /// As it comes.
    Linear,
    /// Slow at both ends.
    InOut,
    /// Slow at the start.
    In,
    /// Slow at the end.
    Out,
    /// Over the end and back.
    Back,
}

impl Ease {
    /// One of them.
    pub fn draw(chance: &mut Chance) -> Self {
        *chance.weighted(&[
            (0.4, Self::Linear),
            (0.25, Self::InOut),
            (0.1, Self::In),
            (0.15, Self::Out),
            (0.1, Self::Back),
        ])
    }

    /// How far the way is at `t` of it, 0 to 1.
    pub fn at(self, t: f32) -> f32 {
        let t = t.clamp(0.0, 1.0);
        match self {
            Self::Linear => t,
            Self::InOut => t * t * (3.0 - 2.0 * t),
            Self::In => t * t,
            Self::Out => 1.0 - (1.0 - t) * (1.0 - t),
            Self::Back => {
                let u = t - 1.0;
                1.0 + u * u * (2.7 * u + 1.7)
            }
        }
    }
}
