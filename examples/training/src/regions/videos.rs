//! `regions videos`: whole videos with overlays and their labels, to judge the pipeline with.
//!
//! Overlays stand still over moving footage, or over a photograph along which a camera moves; subtitles come and go;
//! some logos are there for a part of the video only, some watermarks move. The labels are what
//! `clipsieve evaluate` reads.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clipsieve_operators::media::{EncodeOptions, Frame, Interrupt, frames_to_file};
use ndarray::{Array3, s};
use serde_json::json;

use super::Material;
use super::design::{CLASSES, Design, Overlay};
use super::fonts::Fonts;
use super::subtitles;
use crate::chance::Chance;
use crate::dataset::Split;
use crate::error::Error;
use crate::sources::{Sources, resized};

/// Arguments of `regions videos`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    material: Material,
    /// Folder for the videos and `labels.jsonl`
    #[arg(long)]
    out: PathBuf,
    /// How many
    #[arg(long, default_value_t = 60)]
    count: u64,
}

/// Frames of a video, and frames a second.
const FRAMES: usize = 72;
const FPS: (u32, u32) = (24, 1);

/// Runs `regions videos`.
pub fn run(args: &Args) -> Result<(), Error> {
    let sources = args.material.sources(Split::Val)?;
    let fonts = args.material.load_fonts()?;
    fs::create_dir_all(&args.out).map_err(Error::io("making", &args.out))?;
    let path = args.out.join("labels.jsonl");
    let mut labels = fs::File::create(&path).map_err(Error::io("writing", &path))?;
    for index in 0..args.count {
        let chance = Chance::of(args.material.seed, "videos", index);
        let label = video(args, index, &sources, &fonts, chance)?;
        writeln!(labels, "{label}").map_err(Error::io("writing", &path))?;
    }
    Ok(())
}

/// Subtitles of a video: what is shown from which frame on, and until which.
struct Lines {
    shown: Vec<(usize, usize, Overlay)>,
}

impl Lines {
    fn draw(size: (usize, usize), inner: [usize; 4], fonts: &Fonts, chance: &mut Chance) -> Self {
        let style = chance.fork();
        let mut shown = Vec::new();
        let mut at = chance.below(6);
        while at < FRAMES {
            let long = chance.between(14, 40);
            if let Some(overlay) = subtitles::draw(size, inner, fonts, &style, chance) {
                shown.push((at, at + long, overlay));
            }
            at += long + chance.below(10);
        }
        Lines { shown }
    }

    /// One box around all lines that are shown in a third of the frames at least, together.
    fn label(&self) -> Option<[f32; 4]> {
        let frames: usize = self
            .shown
            .iter()
            .map(|(from, to, _)| to.min(&FRAMES) - from.min(&FRAMES))
            .sum();
        let hull = |a: [f32; 4], b: [f32; 4]| {
            [
                a[0].min(b[0]),
                a[1].min(b[1]),
                a[2].max(b[2]),
                a[3].max(b[3]),
            ]
        };
        let all = self
            .shown
            .iter()
            .map(|(_, _, overlay)| overlay.rect)
            .reduce(hull);
        all.filter(|_| frames * 3 >= FRAMES)
    }
}

fn video(
    args: &Args,
    index: u64,
    sources: &Sources,
    fonts: &Fonts,
    mut chance: Chance,
) -> Result<serde_json::Value, Error> {
    let sizes = [
        (0.35, (640, 360)),
        (0.2, (854, 480)),
        (0.12, (1280, 720)),
        (0.15, (360, 640)),
        (0.08, (480, 480)),
        (0.1, (640, 480)),
    ];
    let size @ (width, height) = *chance.weighted(&sizes);
    let mut design = Design::draw(width, height, fonts, &mut chance);
    let inner = design.inner();
    // Subtitles are drawn anew, as they change.
    let had = design.overlays.len();
    design
        .overlays
        .retain(|overlay| CLASSES[overlay.class] != "subtitle");
    let lines = (design.overlays.len() < had).then(|| Lines::draw(size, inner, fonts, &mut chance));
    let scene = scene(
        sources,
        (inner[2] - inner[0], inner[3] - inner[1]),
        &mut chance,
    );

    let mut frames: Vec<Array3<u8>> = Vec::with_capacity(FRAMES);
    for number in 0..FRAMES {
        let mut frame = design.over(&scene(number));
        let shown = lines.iter().flat_map(|lines| &lines.shown);
        for (_, _, overlay) in shown.filter(|(from, to, _)| (*from..*to).contains(&number)) {
            for layer in &overlay.layers {
                layer.paint(&mut frame);
            }
        }
        frames.push(frame);
    }
    let mut labels = design.labels();
    if let Some(rect) = lines.as_ref().and_then(Lines::label) {
        labels.push((2, "changing", rect));
    }
    let (w, h) = (width as f32, height as f32);
    let boxes: Vec<_> = labels
        .into_iter()
        .map(|(class, kind, [x0, y0, x1, y1])| {
            let share = |at: f32, side: f32| f64::from((at / side).clamp(0.0, 1.0));
            let rect = [share(x0, w), share(y0, h), share(x1, w), share(y1, h)];
            json!({"class": CLASSES[class], "kind": kind, "box": rect})
        })
        .collect();
    let name = format!("{index:04}.mp4");
    let options = EncodeOptions {
        quality: chance.between(17, 34) as u32,
        ..EncodeOptions::default()
    };
    frames_to_file(
        frames.iter().map(Array3::view),
        FPS,
        &args.out.join(&name),
        &options,
        &Interrupt::never(),
    )?;
    Ok(json!({"file": name, "task": "regions", "boxes": boxes}))
}

/// The frames of a scene by number: footage as it was shot, or a photograph along which a camera moves.
fn scene(
    sources: &Sources,
    (width, height): (usize, usize),
    chance: &mut Chance,
) -> impl Fn(usize) -> Array3<u8> + use<> {
    let footage = !sources.shots.is_empty() && chance.is(0.75);
    let pictures: Vec<Frame> = if footage || sources.photos.is_empty() {
        let shot = chance.pick(&sources.shots);
        let first = chance.below(shot.frames.len().saturating_sub(FRAMES).max(1));
        shot.frames
            .iter()
            .skip(first)
            .take(FRAMES)
            .cloned()
            .collect()
    } else {
        vec![Arc::clone(&chance.pick(&sources.photos).picture)]
    };
    let (h, w, _) = pictures[0].dim();
    let shape = width as f32 / height as f32;
    let (most_w, most_h) = if w as f32 / h as f32 > shape {
        (h as f32 * shape, h as f32)
    } else {
        (w as f32, w as f32 / shape)
    };
    let still = pictures.len() == 1;
    let ends: [(f32, f32, f32); 2] = std::array::from_fn(|_| {
        let zoom = if still { chance.range(0.5, 0.95) } else { 1.0 };
        (zoom, chance.unit(), chance.unit())
    });
    let ends = if still { ends } else { [ends[0], ends[0]] };
    move |number| {
        // Footage that is too short goes back and forth.
        let (count, turn) = (
            pictures.len(),
            (2 * pictures.len()).saturating_sub(2).max(1),
        );
        let step = number % turn;
        let picture = &pictures[if step < count { step } else { turn - step }];
        let share = number as f32 / FRAMES as f32;
        let between = |a: f32, b: f32| a + share * (b - a);
        let zoom = between(ends[0].0, ends[1].0);
        let part = |side: f32, whole: usize| ((side * zoom) as usize).clamp(2, whole);
        let (part_w, part_h) = (part(most_w, w), part(most_h, h));
        let x = (between(ends[0].1, ends[1].1) * (w - part_w) as f32) as usize;
        let y = (between(ends[0].2, ends[1].2) * (h - part_h) as f32) as usize;
        let view = picture
            .slice(s![y..y + part_h, x..x + part_w, ..])
            .to_owned();
        resized(&view, width as u32, height as u32)
    }
}
