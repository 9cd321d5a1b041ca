//! `regions sheet`: samples with their labels on one picture.

use std::path::PathBuf;

use ndarray::{Array3, s};

use super::Material;
use super::samples::batch;
use super::train::detector_config;
use crate::dataset::Split;
use crate::error::Error;

/// Arguments of `regions sheet`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    material: Material,
    /// The picture to write (PNG or JPEG)
    #[arg(long)]
    out: PathBuf,
    /// Rows of samples, one batch each
    #[arg(long, default_value_t = 6)]
    rows: usize,
    /// Samples in a row
    #[arg(long, default_value_t = 5)]
    columns: usize,
    /// Longer side of a sample, in pixels; a multiple of 32
    #[arg(long, default_value_t = 384)]
    size: usize,
}

/// Colours of border, logo, subtitle and watermark.
const COLOURS: [[u8; 3]; 4] = [[255, 60, 60], [60, 255, 60], [80, 160, 255], [255, 220, 40]];

/// Runs `regions sheet`.
pub fn run(args: &Args) -> Result<(), Error> {
    let sources = args.material.sources(Split::Train)?;
    let fonts = args.material.load_fonts()?;
    let (_, sizes) = detector_config(&args.out, args.size)?;
    let mut sheet = Array3::<u8>::zeros((args.rows * args.size, args.columns * args.size, 3));
    for row in 0..args.rows {
        let material = (&sources, &fonts, args.material.seed);
        let samples = batch("train", row as u64, args.columns, &sizes, material)?;
        for (column, mut sample) in samples.into_iter().enumerate() {
            for target in &sample.targets {
                outline(&mut sample.frame, target.box_px, COLOURS[target.class]);
            }
            let (h, w, _) = sample.frame.dim();
            let (y, x) = (row * args.size, column * args.size);
            sheet
                .slice_mut(s![y..y + h, x..x + w, ..])
                .assign(&sample.frame);
        }
    }
    let (h, w, _) = sheet.dim();
    image::save_buffer(
        &args.out,
        sheet.as_slice().unwrap_or_default(),
        w as u32,
        h as u32,
        image::ExtendedColorType::Rgb8,
    )
    .map_err(|error| Error::file(&args.out, error))
}

fn outline(frame: &mut Array3<u8>, box_px: [f32; 4], colour: [u8; 3]) {
    let (h, w, _) = frame.dim();
    let edge = |at: f32, most: usize| (at.round().max(0.0) as usize).min(most - 1);
    let (x0, x1) = (edge(box_px[0], w), edge(box_px[2] - 1.0, w));
    let (y0, y1) = (edge(box_px[1], h), edge(box_px[3] - 1.0, h));
    for (c, value) in colour.into_iter().enumerate() {
        for x in x0..=x1 {
            frame[[y0, x, c]] = value;
            frame[[y1, x, c]] = value;
        }
        for y in y0..=y1 {
            frame[[y, x0, c]] = value;
            frame[[y, x1, c]] = value;
        }
    }
}
