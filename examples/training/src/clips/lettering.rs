//! Text, from the fonts of the machine; without any, rows of strokes that look like text from afar.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ab_glyph::{Font, FontArc, Glyph, PxScale, ScaleFont, point};

use super::stickers::Sprite;
use crate::chance::Chance;

/// The fonts found on a machine; cheap to copy.
#[derive(Debug, Clone, Default)]
pub struct Fonts(Arc<Vec<FontArc>>);

/// Fonts kept in memory, at most.
const MOST_FONTS: usize = 24;

impl Fonts {
    /// The TrueType and OpenType fonts under these folders, in the order of their paths.
    pub fn under(folders: &[PathBuf]) -> Self {
        let mut paths = Vec::new();
        folders
            .iter()
            .for_each(|folder| walk(folder, 4, &mut paths));
        paths.sort();
        let fonts = paths
            .iter()
            .filter_map(|path| FontArc::try_from_vec(std::fs::read(path).ok()?).ok())
            .take(MOST_FONTS);
        Self(Arc::new(fonts.collect()))
    }

    /// A line of text as a sprite of one colour, `px` high, with an outline of another colour if one is wanted.
    pub fn line(
        &self,
        chance: &mut Chance,
        text: &str,
        px: f32,
        colour: [u8; 3],
        outline: Option<[u8; 3]>,
    ) -> Sprite {
        let (w, h, ink) = if self.0.is_empty() {
            strokes(chance, text.chars().count(), px)
        } else {
            letters(chance.pick(&self.0), text, px)
        };
        Sprite::of_ink(w, h, &ink, colour, outline)
    }
}

fn walk(folder: &Path, depth: usize, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.is_dir() && depth > 0 {
            walk(&path, depth - 1, into);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "ttf" || extension == "otf")
        {
            into.push(path);
        }
    }
}

/// How much ink each pixel has, 0 to 1, and the size; 2 px of margin.
fn letters(font: &FontArc, text: &str, px: f32) -> (usize, usize, Vec<f32>) {
    let font = font.as_scaled(PxScale::from(px));
    let mut glyphs: Vec<Glyph> = Vec::new();
    let mut x = 2.0;
    for letter in text.chars() {
        let id = font.glyph_id(letter);
        glyphs.push(id.with_scale_and_position(px, point(x, 2.0 + font.ascent())));
        x += font.h_advance(id);
    }
    let (w, h) = (
        x.ceil() as usize + 3,
        (font.height().ceil() as usize + 5).max(5),
    );
    let mut ink = vec![0.0f32; w * h];
    for glyph in glyphs {
        let Some(outlined) = font.font().outline_glyph(glyph) else {
            continue;
        };
        let bounds = outlined.px_bounds();
        outlined.draw(|gx, gy, share| {
            let (x, y) = (
                bounds.min.x as i32 + gx as i32,
                bounds.min.y as i32 + gy as i32,
            );
            if (0..w as i32).contains(&x) && (0..h as i32).contains(&y) {
                let at = y as usize * w + x as usize;
                ink[at] = (ink[at] + share).min(1.0);
            }
        });
    }
    (w, h, ink)
}

fn strokes(chance: &mut Chance, letters: usize, px: f32) -> (usize, usize, Vec<f32>) {
    let (cell, h) = ((px * 0.6).max(3.0) as usize, px as usize + 4);
    let w = cell * letters.max(1) + 4;
    let mut ink = vec![0.0; w * h];
    let pen = (px / 8.0).max(1.0) as usize;
    for letter in 0..letters.max(1) {
        let left = 2 + letter * cell;
        for _ in 0..3 {
            let is_upright = chance.is(0.6);
            let (x, y) = (
                left + chance.below(cell - pen.min(cell - 1)),
                2 + chance.below(h / 2),
            );
            let (dx, dy) = if is_upright {
                (pen, h / 2)
            } else {
                (cell / 2, pen)
            };
            for row in y..(y + dy).min(h - 2) {
                ink[row * w..][x..(x + dx).min(w - 2)].fill(1.0);
            }
        }
    }
    (w, h, ink)
}

const SYLLABLES: [&str; 24] = [
    "ka", "lo", "mi", "re", "ta", "su", "ne", "vo", "shi", "dra", "pel", "on", "er", "ing", "sta",
    "quo", "fi", "ban", "ju", "wor", "zed", "ly", "gra", "the",
];

/// Words that mean nothing, with capitals and numbers here and there.
pub fn words(chance: &mut Chance, count: usize) -> String {
    let word = |chance: &mut Chance| {
        if chance.is(0.1) {
            return chance.below(3000).to_string();
        }
        let mut word: String = (0..chance.between(1, 3))
            .map(|_| *chance.pick(&SYLLABLES))
            .collect();
        if chance.is(0.3) {
            word = word.to_uppercase();
        } else if chance.is(0.3) {
            word[..1].make_ascii_uppercase();
        }
        word
    };
    (0..count)
        .map(|_| word(chance))
        .collect::<Vec<_>>()
        .join(" ")
}
