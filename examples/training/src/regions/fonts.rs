//! Fonts of the system by script, and text as they shape it.
//!
//! `rustybuzz` chooses and places the glyphs (Arabic letters join, Devanagari vowels go where they belong), `ab_glyph` fills
//! their outlines.

use std::fs;
use std::path::{Path, PathBuf};

use ab_glyph::{Font as _, FontRef, GlyphId, PxScale, point};
use rustybuzz::{Face, UnicodeBuffer};

use super::ink::Mask;
use super::words::{SCRIPTS, Script};
use crate::chance::Chance;
use crate::error::Error;

/// A font that is loaded for good.
pub struct Font {
    face: Face<'static>,
    outlines: FontRef<'static>,
}

/// Fonts by script.
pub struct Fonts {
    by_script: Vec<(&'static Script, Vec<Font>)>,
}

/// Fonts of a script, at most: more only take memory.
const MOST_FONTS: usize = 14;

impl Fonts {
    /// The fonts below a folder that can write the scripts of [`SCRIPTS`]; scripts without a font are told to `say`.
    ///
    /// # Errors
    /// If there is none for the first script, Latin.
    pub fn load(folder: &Path, say: &dyn Fn(String)) -> Result<Self, Error> {
        let mut files = Vec::new();
        walk(folder, &mut files)?;
        files.sort();
        let mut by_script = Vec::new();
        for script in &SCRIPTS {
            let mut fonts: Vec<Font> = Vec::new();
            let named = |path: &PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                script.fonts.iter().any(|start| name.starts_with(start))
            };
            let fitting: Vec<&PathBuf> = files.iter().filter(|path| named(path)).collect();
            // Spread over all that there are.
            let step = fitting.len().div_ceil(MOST_FONTS).max(1);
            for path in fitting.into_iter().step_by(step) {
                fonts.extend(Font::load(path).filter(|font| font.writes(script.words[0])));
            }
            if fonts.is_empty() {
                say(format!(
                    "no font in {} writes {}; scripts/fonts.sh installs some",
                    folder.display(),
                    script.name
                ));
            } else {
                by_script.push((script, fonts));
            }
        }
        if by_script
            .first()
            .is_none_or(|(script, _)| script.name != SCRIPTS[0].name)
        {
            return Err(Error::file(
                folder,
                "holds no fonts; scripts/fonts.sh installs some",
            ));
        }
        Ok(Fonts { by_script })
    }

    /// A script by its weight, and a font of it.
    pub fn any(&self, chance: &mut Chance) -> (&'static Script, &Font) {
        let weights: Vec<(f32, usize)> = self
            .by_script
            .iter()
            .enumerate()
            .map(|(index, (script, _))| (script.weight, index))
            .collect();
        let (script, fonts) = &self.by_script[*chance.weighted(&weights)];
        (script, chance.pick(fonts))
    }

    /// A font of the first script, Latin.
    pub fn latin(&self, chance: &mut Chance) -> (&'static Script, &Font) {
        let (script, fonts) = &self.by_script[0];
        (script, chance.pick(fonts))
    }
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io("reading", folder))? {
        let path = entry.map_err(Error::io("reading", folder))?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| {
            ["ttf", "otf", "ttc"]
                .iter()
                .any(|known| extension == *known)
        }) {
            files.push(path);
        }
    }
    Ok(())
}

impl Font {
    fn load(path: &Path) -> Option<Self> {
        // Fonts live as long as the program.
        let bytes: &'static [u8] = Box::leak(fs::read(path).ok()?.into_boxed_slice());
        Some(Font {
            face: Face::from_slice(bytes, 0)?,
            outlines: FontRef::try_from_slice_and_index(bytes, 0).ok()?,
        })
    }

    fn writes(&self, text: &str) -> bool {
        self.text(text, 20.0).is_some()
    }

    /// Text with an em of so many pixels, cut to its ink; `None` if the font lacks a letter, or there is no ink.
    pub fn text(&self, text: &str, em_px: f32) -> Option<Mask> {
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.guess_segment_properties();
        let shaped = rustybuzz::shape(&self.face, &[], buffer);
        let units = self.face.units_per_em() as f32;
        let to_px = em_px / units;
        // `ab_glyph` scales by the height of the font, not by its em.
        let scale = PxScale::from(self.outlines.height_unscaled() * to_px);
        let mut pen = (0f32, 0f32);
        let mut glyphs = Vec::new();
        for (info, place) in shaped.glyph_infos().iter().zip(shaped.glyph_positions()) {
            if info.glyph_id == 0 {
                return None;
            }
            let at = point(
                pen.0 + place.x_offset as f32 * to_px,
                pen.1 - place.y_offset as f32 * to_px,
            );
            let glyph = GlyphId(info.glyph_id as u16).with_scale_and_position(scale, at);
            glyphs.extend(self.outlines.outline_glyph(glyph));
            pen.0 += place.x_advance as f32 * to_px;
            pen.1 -= place.y_advance as f32 * to_px;
        }
        let bounds = glyphs.iter().map(|glyph| glyph.px_bounds());
        let (min, max) = bounds.fold(
            ((f32::MAX, f32::MAX), (f32::MIN, f32::MIN)),
            |(min, max), b| {
                (
                    (min.0.min(b.min.x), min.1.min(b.min.y)),
                    (max.0.max(b.max.x), max.1.max(b.max.y)),
                )
            },
        );
        if glyphs.is_empty() || max.0 - min.0 < 1.0 || max.1 - min.1 < 1.0 {
            return None;
        }
        let mut mask = Mask::empty((max.0 - min.0) as usize + 2, (max.1 - min.1) as usize + 2);
        for glyph in &glyphs {
            let bounds = glyph.px_bounds();
            let left = (bounds.min.x - min.0) as i32;
            let upper = (bounds.min.y - min.1) as i32;
            glyph.draw(|x, y, covered| mask.add(left + x as i32, upper + y as i32, covered));
        }
        Some(mask)
    }
}
