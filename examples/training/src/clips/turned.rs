//! Films that lie on their side or upside down: `rotation`.

use super::film::{Canvas, Film, wrap};
use super::picture::Picture;
use super::real::{Made, Stock, Want, real};
use crate::chance::Chance;

/// A film the right way up (label 0) or turned (1), full frame or between bars.
pub fn turned(chance: &mut Chance, canvas: &Canvas, stock: &Stock) -> (Made, u8) {
    let is_turned = chance.is(0.5);
    let quarters = if is_turned {
        *chance.weighted(&[(0.38, 1), (0.38, 3), (0.24, 2)])
    } else {
        0
    };
    let lies = quarters % 2 == 1;
    let bars = chance.is(0.35);
    // Between bars the film has another shape than the frame.
    let (iw, ih) = if bars {
        let aspect = if canvas.w > canvas.h {
            chance.range(0.5, 1.0)
        } else {
            chance.range(1.0, 1.9)
        };
        let scale = (canvas.w as f32 / aspect).min(canvas.h as f32);
        (even(scale * aspect), even(scale))
    } else {
        canvas.size()
    };
    let inner = Canvas {
        w: if lies { ih } else { iw },
        h: if lies { iw } else { ih },
        ..*canvas
    };
    let mut made = real(
        chance,
        &inner,
        stock,
        Want {
            oriented: true,
            clean: false,
        },
    );
    if quarters > 0 {
        made.film = wrap(made.film, move |picture, _| picture.turned(quarters));
    }
    if bars {
        made.film = between_bars(chance, canvas, made.film);
    }
    made.kind = match (quarters, bars) {
        (0, false) => "upright",
        (0, true) => "upright_bars",
        (2, false) => "turned_180",
        (2, true) => "turned_180_bars",
        (_, false) => "turned_90",
        (_, true) => "turned_90_bars",
    };
    (made, u8::from(is_turned))
}

fn even(side: f32) -> usize {
    ((side / 2.0) as usize * 2).max(48)
}

/// A film in the middle of a frame, the rest black, one colour, or the film itself enlarged and blurred.
fn between_bars(chance: &mut Chance, canvas: &Canvas, mut film: Film) -> Film {
    let (w, h) = canvas.size();
    let kind = chance.below(3);
    let colour = if kind == 0 {
        [0; 3]
    } else {
        std::array::from_fn(|_| chance.below(256) as u8)
    };
    let blur = w.max(h) / chance.between(16, 40);
    let dim = chance.range(0.5, 1.0);
    Box::new(move |t| {
        let picture = film(t);
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
