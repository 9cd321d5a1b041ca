//! Films that lie on their side or upside down: `rotation`.

use super::bars::{between_bars, within};
use super::film::{Canvas, wrap};
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
    let shown = if bars {
        within(chance, canvas)
    } else {
        *canvas
    };
    let inner = Canvas {
        w: if lies { shown.h } else { shown.w },
        h: if lies { shown.w } else { shown.h },
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
