//! Films of one shape in the middle of a frame of another, with bars around them.

use super::film::{Canvas, Film, wrap};
use super::picture::Picture;
use crate::chance::Chance;

/// The canvas of a film that is to stand in the middle of this one: of the other orientation, or nearly so.
pub fn within(chance: &mut Chance, canvas: &Canvas) -> Canvas {
    let aspect = if canvas.w > canvas.h {
        chance.range(0.5, 1.0)
    } else {
        chance.range(1.0, 1.9)
    };
    let scale = (canvas.w as f32 / aspect).min(canvas.h as f32);
    let even = |side: f32| ((side / 2.0) as usize * 2).max(48);
    Canvas {
        w: even(scale * aspect),
        h: even(scale),
        ..*canvas
    }
}

/// A film in the middle of a frame, the rest black, one colour, or the film itself enlarged and blurred.
pub fn between_bars(chance: &mut Chance, canvas: &Canvas, film: Film) -> Film {
    let (w, h) = canvas.size();
    let kind = chance.below(3);
    let colour = if kind == 0 {
        [0; 3]
    } else {
        std::array::from_fn(|_| chance.below(256) as u8)
    };
    let blur = w.max(h) / chance.between(16, 40);
    let dim = chance.range(0.5, 1.0);
    wrap(film, move |picture, _| {
        let mut whole = if kind == 2 {
            picture
                .filling(w, h)
                .box_blurred(blur)
                .box_blurred(blur)
                .coloured(|rgb| rgb.map(|c| (f32::from(c) * dim) as u8))
        } else {
            Picture::flat(w, h, colour)
        };
        whole.put(
            &picture,
            (w as i32 - picture.w as i32) / 2,
            (h as i32 - picture.h as i32) / 2,
        );
        whole
    })
}
