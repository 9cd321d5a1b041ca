//! A design: what is put over a scene, with its labels. It is drawn once and then put over one frame or over all of a clip.

use std::rc::Rc;

use clipsieve_models::training::Target;
use ndarray::{Array3, s};

use super::borders::{self, Border};
use super::fonts::Fonts;
use super::ink::Layer;
use super::{logos, subtitles, watermarks};
use crate::chance::Chance;
use crate::sources::resized;

/// The classes, in the order of the detector's outputs.
pub const CLASSES: [&str; 4] = ["border", "logo", "subtitle", "watermark"];

/// One overlay.
pub struct Overlay {
    /// Index in [`CLASSES`].
    pub class: usize,
    /// What kind of it, for figures by kind.
    pub kind: &'static str,
    /// Left, upper, right and lower edge in pixels.
    pub rect: [f32; 4],
    /// What is painted.
    pub layers: Vec<Layer>,
}

impl Overlay {
    /// An overlay around the ink of its layers, cut to the frame; `None` if there is too little of it to see.
    pub fn of(
        class: usize,
        kind: &'static str,
        layers: Vec<Layer>,
        (width, height): (usize, usize),
    ) -> Option<Self> {
        let rect = layers.iter().filter_map(Layer::bounds).reduce(|a, b| {
            [
                a[0].min(b[0]),
                a[1].min(b[1]),
                a[2].max(b[2]),
                a[3].max(b[3]),
            ]
        })?;
        let rect = [
            rect[0].max(0.0),
            rect[1].max(0.0),
            rect[2].min(width as f32),
            rect[3].min(height as f32),
        ];
        (rect[2] - rect[0] >= 4.0 && rect[3] - rect[1] >= 4.0).then_some(Overlay {
            class,
            kind,
            rect,
            layers,
        })
    }
}

/// Everything that is put over a scene.
pub struct Design {
    /// Width of the frame, in pixels.
    pub width: usize,
    /// Height of the frame, in pixels.
    pub height: usize,
    /// Bars around the picture.
    pub border: Option<Border>,
    /// What is painted over it.
    pub overlays: Vec<Overlay>,
}

/// How often a frame has nothing over it.
const CLEAN: f32 = 0.25;

impl Design {
    /// Any design for frames of this size.
    pub fn draw(width: usize, height: usize, fonts: &Fonts, chance: &mut Chance) -> Self {
        let mut design = Design {
            width,
            height,
            border: None,
            overlays: Vec::new(),
        };
        if chance.is(CLEAN) {
            return design;
        }
        let size = (width, height);
        // At least one of them; others join now and then.
        let first = *chance.weighted(&[(0.24, 0), (0.29, 1), (0.17, 2), (0.30, 3)]);
        let has = |class: usize, chance: &mut Chance| first == class || chance.is(0.12);
        if has(0, chance) {
            design.border = Some(borders::draw(size, chance));
        }
        let inner = design.inner();
        let mut overlays: Vec<Overlay> = Vec::new();
        if has(3, chance) {
            overlays.extend(watermarks::draw(size, fonts, chance));
        }
        if has(1, chance) {
            let count = if chance.is(0.15) { 2 } else { 1 };
            for _ in 0..count {
                overlays.extend(logos::draw(size, inner, fonts, chance));
            }
        }
        if has(2, chance) {
            let style = chance.fork();
            overlays.extend(subtitles::draw(size, inner, fonts, &style, chance));
        }
        // What lies over another is neither one nor the other; a tiled watermark lies beneath all.
        for overlay in overlays {
            let apart = design
                .overlays
                .iter()
                .all(|other| other.kind == "tiled" || overlap(other.rect, overlay.rect) < 0.02);
            if apart {
                design.overlays.push(overlay);
            }
        }
        design
    }

    /// Where the scene is seen: left, upper, right and lower edge.
    pub fn inner(&self) -> [usize; 4] {
        self.border
            .as_ref()
            .map_or([0, 0, self.width, self.height], |border| border.inner)
    }

    /// Puts the design over a scene of any size, which is scaled to where it is seen.
    pub fn over(&self, scene: &Array3<u8>) -> Array3<u8> {
        let [x0, y0, x1, y1] = self.inner();
        let fitted = if scene.dim() == (y1 - y0, x1 - x0, 3) {
            None
        } else {
            Some(resized(scene, (x1 - x0) as u32, (y1 - y0) as u32))
        };
        let scene = fitted.as_ref().unwrap_or(scene);
        let mut frame = match &self.border {
            None => scene.clone(),
            Some(border) => {
                let mut frame = border.around(scene, self.width, self.height);
                if border.round_px > 0 {
                    border.paint_rounded(&mut frame, scene);
                } else {
                    frame.slice_mut(s![y0..y1, x0..x1, ..]).assign(scene);
                }
                for layer in &border.writing {
                    layer.paint(&mut frame);
                }
                frame
            }
        };
        for layer in self.overlays.iter().flat_map(|overlay| &overlay.layers) {
            layer.paint(&mut frame);
        }
        frame
    }

    /// The labels: class, kind and rectangle in pixels. A border is one rectangle a side, along the whole of it.
    pub fn labels(&self) -> Vec<(usize, &'static str, [f32; 4])> {
        let (w, h) = (self.width as f32, self.height as f32);
        let [x0, y0, x1, y1] = self.inner().map(|edge| edge as f32);
        let sides = [
            [0.0, 0.0, w, y0],
            [0.0, y1, w, h],
            [0.0, 0.0, x0, h],
            [x1, 0.0, w, h],
        ];
        let bars = self.border.iter().flat_map(|border| {
            sides
                .into_iter()
                .filter(|bar| bar[2] > bar[0] && bar[3] > bar[1])
                .map(|bar| (0, border.kind, bar))
        });
        bars.chain(self.overlays.iter().map(|o| (o.class, o.kind, o.rect)))
            .collect()
    }

    /// The labels as the loss wants them, through a map of rectangles.
    pub fn targets(&self, map: impl Fn([f32; 4]) -> [f32; 4]) -> Vec<Target> {
        self.labels()
            .into_iter()
            .map(|(class, _, rect)| Target {
                class,
                box_px: map(rect),
            })
            .collect()
    }
}

/// Shared area over the smaller of two rectangles.
fn overlap(a: [f32; 4], b: [f32; 4]) -> f32 {
    let area = |r: [f32; 4]| (r[2] - r[0]).max(0.0) * (r[3] - r[1]).max(0.0);
    let shared = area([
        a[0].max(b[0]),
        a[1].max(b[1]),
        a[2].min(b[2]),
        a[3].min(b[3]),
    ]);
    shared / area(a).min(area(b)).max(1.0)
}

/// Ink with an outline and a shadow, as most overlays have: the layers from the lowest up.
pub fn dressed(
    ink: super::ink::Mask,
    (x, y): (i32, i32),
    colour: [u8; 3],
    opacity: f32,
    outline_px: usize,
    shadow_px: usize,
    dark: [u8; 3],
) -> Vec<Layer> {
    let pad = outline_px + 2 * shadow_px + 1;
    let ink = ink.padded(pad);
    let (x, y) = (x - pad as i32, y - pad as i32);
    let mut layers = Vec::new();
    if shadow_px > 0 {
        let shadow = Rc::new(ink.spread(outline_px).blurred(shadow_px));
        let by = shadow_px as i32;
        layers.push(Layer::flat(shadow, x + by, y + by, dark, opacity * 0.8));
    }
    if outline_px > 0 {
        let outline = Rc::new(ink.spread(outline_px));
        layers.push(Layer::flat(outline, x, y, dark, opacity));
    }
    layers.push(Layer::flat(Rc::new(ink), x, y, colour, opacity));
    layers
}
