//! Batches of frames and what is to be found in them.

use std::sync::Arc;

use clipsieve_models::training::Target;
use clipsieve_models::yolov8::Yolov8Config;
use clipsieve_operators::regions::signals;
use image::ImageEncoder;
use image::codecs::jpeg::JpegEncoder;
use ndarray::{Array3, s};

use super::average::averaged;
use super::design::Design;
use super::fonts::Fonts;
use super::scene::scene;
use crate::chance::Chance;
use crate::error::Error;
use crate::sources::{Sources, resized};

/// Shapes of frames (width over height) and how often.
const SHAPES: [(f32, f32); 9] = [
    (0.46, 16.0 / 9.0),
    (0.16, 9.0 / 16.0),
    (0.10, 4.0 / 3.0),
    (0.07, 1.0),
    (0.05, 1.85),
    (0.05, 2.35),
    (0.04, 3.0 / 4.0),
    (0.04, 4.0 / 5.0),
    (0.03, 1.5),
];

/// Long sides of frames as they are drawn, in pixels.
const LONG_PX: (f32, f32) = (352.0, 768.0);

/// How often a sample is the mean of a video instead of a frame.
const AVERAGED: f32 = 0.35;

/// One frame, fitted for the network, and what is to be found in it.
pub struct Sample {
    /// [h, w, 3]
    pub frame: Array3<u8>,
    /// In pixels of it.
    pub targets: Vec<Target>,
    /// The kind of each target.
    pub kinds: Vec<&'static str>,
}

/// Batch `index` of the stream called `stream`: so many samples of one size.
pub fn batch(
    stream: &str,
    index: u64,
    count: usize,
    config: &Yolov8Config,
    (sources, fonts, seed): (&Sources, &Fonts, u64),
) -> Result<Vec<Sample>, Error> {
    let mut chance = Chance::of(seed, stream, index);
    let shape = *chance.weighted(&SHAPES) * chance.range(0.98, 1.02);
    let long = chance.log_range(LONG_PX.0, LONG_PX.1);
    let (w, h) = if shape >= 1.0 {
        (long, long / shape)
    } else {
        (long * shape, long)
    };
    let (width, height) = ((w / 2.0) as usize * 2, (h / 2.0) as usize * 2);
    let letterbox = config.letterbox(width, height)?;
    (0..count)
        .map(|_| {
            let mut chance = chance.fork();
            let design = Design::draw(width, height, fonts, &mut chance);
            let [x0, y0, x1, y1] = design.inner();
            let drawn = if chance.is(AVERAGED) { averaged } else { scene };
            let scene = drawn(x1 - x0, y1 - y0, sources, fonts, &mut chance);
            let frame = worn(&design.over(&scene), &mut chance);
            Ok(Sample {
                frame: letterbox.apply(frame.view())?,
                targets: design.targets(|rect| letterbox.map(rect)),
                kinds: design.labels().iter().map(|(_, kind, _)| *kind).collect(),
            })
        })
        .collect()
}

/// What scaling, noise and coding do to a frame.
fn worn(frame: &Array3<u8>, chance: &mut Chance) -> Array3<u8> {
    let (height, width, _) = frame.dim();
    let mut frame = frame.clone();
    if chance.is(0.15) {
        let share = chance.range(0.5, 0.9);
        let small = resized(
            &frame,
            (width as f32 * share) as u32,
            (height as f32 * share) as u32,
        );
        frame = resized(&small, width as u32, height as u32);
    }
    if chance.is(0.15) {
        let strength = chance.log_range(1.0, 10.0);
        frame.mapv_inplace(|value| {
            (f32::from(value) + strength * chance.normal()).clamp(0.0, 255.0) as u8
        });
    }
    if chance.is(0.85) {
        frame = coded(&frame, chance.log_range(14.0, 96.0) as u8);
    }
    frame
}

/// Through JPEG and back.
fn coded(frame: &Array3<u8>, quality: u8) -> Array3<u8> {
    let (height, width, _) = frame.dim();
    let standard = frame.as_standard_layout();
    let Some(bytes) = standard.as_slice() else {
        return frame.clone();
    };
    let mut file = Vec::new();
    let written = JpegEncoder::new_with_quality(&mut file, quality).write_image(
        bytes,
        width as u32,
        height as u32,
        image::ExtendedColorType::Rgb8,
    );
    let read =
        written.and_then(|()| image::load_from_memory_with_format(&file, image::ImageFormat::Jpeg));
    match read {
        Ok(read) => Array3::from_shape_vec((height, width, 3), read.into_rgb8().into_raw())
            .unwrap_or_else(|_| frame.clone()),
        Err(_) => frame.clone(),
    }
}

/// Cuts bars that footage has of its own out of it: nobody labelled them.
pub fn without_bars(sources: &mut Sources) {
    for shot in &mut sources.shots {
        let step = (shot.frames.len() / 12).max(1);
        let some: Vec<_> = shot.frames.iter().step_by(step).cloned().collect();
        let found = signals::find(&some, 0.3);
        let Some(first) = shot.frames.first() else {
            continue;
        };
        let (height, width, _) = first.dim();
        let (w, h) = (width as f32, height as f32);
        let (mut x0, mut y0, mut x1, mut y1) = (0.0f32, 0.0f32, w, h);
        for bar in found.iter().filter(|region| region.class == "border") {
            let [left, upper, right, lower] = bar.rect;
            if right - left >= w {
                if upper <= 0.0 {
                    y0 = y0.max(lower);
                } else {
                    y1 = y1.min(upper);
                }
            } else if left <= 0.0 {
                x0 = x0.max(right);
            } else {
                x1 = x1.min(left);
            }
        }
        if (x0, y0, x1, y1) == (0.0, 0.0, w, h) || x1 - x0 < 32.0 || y1 - y0 < 32.0 {
            continue;
        }
        let (x0, y0, x1, y1) = (
            x0 as usize + 1,
            y0 as usize + 1,
            x1 as usize - 1,
            y1 as usize - 1,
        );
        for frame in &mut shot.frames {
            *frame = Arc::new(frame.slice(s![y0..y1, x0..x1, ..]).to_owned());
        }
    }
}
