//! A scene as it looks on the average over a video: what moves smears, and what was put over it does not.
//!
//! `detect_regions` shows its model this mean beside the frames. A design goes over a scene linearly, so a design over the
//! mean is the mean of the frames with the design over them.

use std::f32::consts::TAU;

use clipsieve_operators::regions::standing::Mean;
use ndarray::{Array3, ArrayView3, s};

use super::fonts::Fonts;
use super::scene::{place, scene};
use crate::chance::Chance;
use crate::sources::Sources;

/// Frames of a mean, at most, as `detect_regions` looks at.
const FRAMES: usize = 16;

/// The mean of a scene of this size over a video.
pub fn averaged(
    width: usize,
    height: usize,
    sources: &Sources,
    fonts: &Fonts,
    chance: &mut Chance,
) -> Array3<u8> {
    let footage = if sources.shots.is_empty() { 0.0 } else { 0.35 };
    match *chance.weighted(&[(footage, 0), (0.45, 1), (0.2, 2)]) {
        0 => shot(width, height, sources, chance),
        1 => moved(width, height, sources, fonts, chance),
        _ => {
            // Cuts: some shots, one after another.
            let scenes: Vec<Array3<u8>> = (0..chance.between(2, 4))
                .map(|_| scene(width, height, sources, fonts, chance))
                .collect();
            mean(scenes.iter().map(Array3::view))
        }
    }
}

/// Frames spread over a shot of real footage.
fn shot(width: usize, height: usize, sources: &Sources, chance: &mut Chance) -> Array3<u8> {
    let shot = chance.pick(&sources.shots);
    let count = chance.between(5, FRAMES).min(shot.frames.len());
    let (h, w, _) = shot.frames[0].dim();
    let place = place((w, h), (width, height), 0.6, chance);
    let frames: Vec<Array3<u8>> = (0..count)
        .map(|index| place.of(&shot.frames[index * shot.frames.len() / count]))
        .collect();
    mean(frames.iter().map(Array3::view))
}

/// A scene that the camera goes over, evenly or easing, straight or in a bow.
fn moved(
    width: usize,
    height: usize,
    sources: &Sources,
    fonts: &Fonts,
    chance: &mut Chance,
) -> Array3<u8> {
    let reach = chance.log_range(0.01, 0.6) * width.min(height) as f32;
    let way = chance.range(0.0, TAU);
    let bend = chance.range(-0.3, 0.3) * reach;
    let ease = chance.log_range(0.5, 2.0);
    let count = chance.between(5, FRAMES);
    let path: Vec<(f32, f32)> = (0..count)
        .map(|index| {
            let along = (index as f32 / (count - 1) as f32).powf(ease);
            let (far, aside) = (along * reach, bend * (along * TAU / 2.0).sin());
            let (sin, cos) = way.sin_cos();
            (far * cos - aside * sin, far * sin + aside * cos)
        })
        .collect();
    let least = |of: fn(&(f32, f32)) -> f32| path.iter().map(of).fold(0.0f32, f32::min);
    let (x0, y0) = (least(|at| at.0), least(|at| at.1));
    let offsets: Vec<(usize, usize)> = path
        .iter()
        .map(|(x, y)| ((x - x0).round() as usize, (y - y0).round() as usize))
        .collect();
    let most = |of: fn(&(usize, usize)) -> usize| offsets.iter().map(of).max().unwrap_or(0);
    let wide = scene(
        width + most(|at| at.0),
        height + most(|at| at.1),
        sources,
        fonts,
        chance,
    );
    let view = |(x, y): &(usize, usize)| wide.slice(s![*y..y + height, *x..x + width, ..]);
    mean(offsets.iter().map(view))
}

/// The mean of two pictures or more, of one size, as `detect_regions` makes it.
fn mean<'a>(frames: impl Iterator<Item = ArrayView3<'a, u8>>) -> Array3<u8> {
    let mut mean = Mean::default();
    frames.for_each(|frame| mean.add(frame));
    mean.frame().expect("two frames or more")
}
