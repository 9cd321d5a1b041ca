//! Effects over clips that are there already: what is put on while a network learns costs no encoding, and is new each
//! time.

use ndarray::{Array4, ArrayView4, Axis, s};

use super::effects::{KINDS, apply, inset, keeps_quality, split, still_told};
use super::film::{Canvas, Film};
use super::lettering::Fonts;
use super::picture::Picture;
use super::real::Stock;
use super::transitions::{Transition, join};
use crate::chance::Chance;
use crate::dataset::NOT_JUDGED;
use crate::sources::Sources;

/// Puts effects on clips.
pub struct Effects(Stock);

/// A clip with an effect, and what it says of the other tasks.
pub struct Added {
    /// u8 `[t, n, n, 3]`.
    pub frames: Array4<u8>,
    /// The label of simcam, from that of the clip.
    pub simcam: u8,
    /// The label of low quality, from that of the clip.
    pub low_quality: u8,
}

impl Effects {
    /// With text in these fonts.
    pub fn new(fonts: Fonts) -> Self {
        Self(Stock {
            sources: Sources::default(),
            fonts,
            unoriented: Vec::new(),
        })
    }

    /// One effect over a clip u8 `[t, n, n, 3]` with these labels of simcam and low quality; where it takes a second
    /// film, that is `other`, of the same shape.
    pub fn put(
        &self,
        clip: ArrayView4<'_, u8>,
        other: ArrayView4<'_, u8>,
        (simcam, low_quality): (u8, u8),
        chance: &mut Chance,
    ) -> Added {
        let (frames, h, w, _) = clip.dim();
        let canvas = Canvas {
            w,
            h,
            fps: 8,
            frames,
            step_seconds: chance.log_range(0.08, 0.5),
        };
        let film = film_of(clip, canvas.step_seconds);
        let kind = *chance.weighted(&KINDS);
        let mut film = match kind {
            "transition" => {
                let seconds = canvas.seconds();
                let long = seconds * chance.log_range(0.04, 0.6);
                let at = chance.range(0.05, 0.95) * (seconds - long);
                let other = film_of(other, canvas.step_seconds);
                join(film, other, at, long, Transition::draw(chance))
            }
            "split_screen" => {
                let other = film_of(other, canvas.step_seconds);
                split(chance, &canvas, film, other)
            }
            "picture_in_picture" => {
                let other = film_of(other, canvas.step_seconds);
                inset(chance, &canvas, film, other)
            }
            _ => apply(chance, &canvas, &self.0, film, kind),
        };
        let mut out = Array4::zeros(clip.dim());
        for frame in 0..frames {
            let picture = film(canvas.time(frame)).into_frame();
            out.slice_mut(s![frame, .., .., ..]).assign(&picture);
        }
        Added {
            frames: out,
            simcam: if simcam == 1 {
                still_told(kind)
            } else {
                simcam
            },
            low_quality: if keeps_quality(kind) {
                low_quality
            } else {
                NOT_JUDGED
            },
        }
    }
}

/// A clip as a film whose frames are so many seconds apart.
fn film_of(clip: ArrayView4<'_, u8>, step_seconds: f32) -> Film {
    let pictures: Vec<Picture> = clip
        .axis_iter(Axis(0))
        .map(|frame| Picture::of_frame(&frame.to_owned()))
        .collect();
    Box::new(move |t| {
        let frame = (t / step_seconds).round().max(0.0) as usize;
        pictures[frame.min(pictures.len() - 1)].clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_change_clips_and_follow_their_seed() {
        let clip =
            Array4::from_shape_fn((6, 64, 64, 3), |(t, y, x, k)| (t * 9 + y * 2 + x + k) as u8);
        let other = clip.mapv(|value| 255 - value);
        let effects = Effects::new(Fonts::under(&[]));
        let put = |seed| {
            let labels = (1, 0);
            effects.put(clip.view(), other.view(), labels, &mut Chance::new(seed))
        };
        let changed = (0..60).filter(|&seed| put(seed).frames != clip).count();
        assert!(changed > 55, "{changed} of 60");
        assert_eq!(put(4).frames, put(4).frames);
        let told: Vec<u8> = (0..60).map(|seed| put(seed).simcam).collect();
        assert!(told.contains(&1) && told.contains(&NOT_JUDGED) && !told.contains(&0));
    }
}
