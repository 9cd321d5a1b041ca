//! What makes a picture poor: `low_quality`.

use std::path::Path;

use clipsieve_operators::media::{
    EncodeOptions, Fit, Interrupt, Request, Span, decode, frames_to_file,
};
use ndarray::Array3;

use super::film::Canvas;
use super::noise::{Grain, grain};
use super::picture::{Picture, blend, tones};
use crate::chance::Chance;
use crate::error::Error;

/// Spoils the frames of a clip; says how, and whether what was done could be taken for an effect.
pub fn damaged(
    chance: &mut Chance,
    canvas: &Canvas,
    frames: Vec<Picture>,
    scratch: &Path,
) -> Result<(Vec<Picture>, &'static str), Error> {
    let kind = *chance.weighted(&[
        (0.24, "low_bitrate"),
        (0.08, "reencoded"),
        (0.12, "upscaled"),
        (0.14, "blur"),
        (0.05, "motion_blur"),
        (0.1, "noise"),
        (0.07, "dark"),
        (0.06, "blown"),
        (0.05, "low_contrast"),
        (0.06, "dropped"),
        (0.03, "posterised"),
        (0.04, "combed"),
        (0.03, "chroma"),
        (0.03, "lost_blocks"),
    ]);
    let mut frames = harm(chance, canvas, frames, scratch, kind)?;
    if chance.is(0.15) {
        let second = *chance.pick(&["low_bitrate", "blur", "noise", "dark", "low_contrast"]);
        frames = harm(chance, canvas, frames, scratch, second)?;
    }
    Ok((frames, kind))
}

fn each(frames: Vec<Picture>, of: impl FnMut(Picture) -> Picture) -> Vec<Picture> {
    frames.into_iter().map(of).collect()
}

fn harm(
    chance: &mut Chance,
    canvas: &Canvas,
    frames: Vec<Picture>,
    scratch: &Path,
    kind: &str,
) -> Result<Vec<Picture>, Error> {
    let (w, h) = canvas.size();
    let fh = h.min(w) as f32;
    Ok(match kind {
        "low_bitrate" => {
            let coding = poor(chance);
            let small = chance.is(0.3);
            let scale = if small { chance.range(0.5, 0.9) } else { 1.0 };
            recoded(canvas, frames, scratch, &coding, scale)?
        }
        "reencoded" => {
            let mut frames = frames;
            for _ in 0..chance.between(2, 3) {
                let mut coding = poor(chance);
                coding.quality = coding.quality * 4 / 5;
                let scale = chance.range(0.75, 1.0);
                frames = recoded(canvas, frames, scratch, &coding, scale)?;
            }
            frames
        }
        "upscaled" => {
            let scale = chance.log_range(0.15, 0.5);
            let (sw, sh) = (
                ((w as f32 * scale) as usize).max(16),
                ((h as f32 * scale) as usize).max(16),
            );
            let is_nearest = chance.is(0.15);
            each(frames, |picture| {
                let small = picture.resized(sw, sh);
                if is_nearest {
                    Picture::by(w, h, |x, y| small.px[y * sh / h * sw + x * sw / w])
                } else {
                    small.resized(w, h)
                }
            })
        }
        "blur" => {
            let size = fh * chance.log_range(0.005, 0.03);
            match chance.below(3) {
                0 => each(frames, |picture| {
                    picture.box_blurred((size * 1.2).round().max(1.0) as usize)
                }),
                1 => each(frames, |picture| disc_blurred(&picture, size * 1.6)),
                _ => each(frames, |picture| picture.blurred(size)),
            }
        }
        "motion_blur" => {
            let r = (fh * chance.log_range(0.015, 0.07)).max(2.0) as usize;
            match chance.below(3) {
                0 => each(frames, |picture| picture.blurred_rows(r)),
                1 => each(frames, |picture| {
                    picture.transposed().blurred_rows(r).transposed()
                }),
                _ => {
                    let (dx, dy) = (
                        chance.range(-1.0, 1.0) * r as f32,
                        chance.range(-1.0, 1.0) * r as f32,
                    );
                    each(frames, |picture| smeared(&picture, dx, dy))
                }
            }
        }
        "noise" => {
            let (sigma, seed) = (chance.log_range(7.0, 40.0), chance.bits());
            let grain_kind = *chance.pick(&[Grain::Luma, Grain::Colour, Grain::Coarse]);
            let is_salt = chance.is(0.2);
            let share = chance.log_range(0.003, 0.05);
            let mut number = 0u64;
            each(frames, |mut picture| {
                number += 1;
                if is_salt {
                    let mut here = Chance::of(seed, "salt", number);
                    for _ in 0..(picture.px.len() as f32 * share) as usize {
                        let at = here.below(picture.px.len());
                        picture.px[at] = if here.is(0.5) { [255; 3] } else { [0; 3] };
                    }
                } else {
                    grain(&mut picture, sigma, grain_kind, seed.wrapping_add(number));
                }
                picture
            })
        }
        "dark" => {
            let table = if chance.is(0.5) {
                tones(chance.range(0.06, 0.35), 0.0, 1.0)
            } else {
                tones(1.0, -chance.range(0.3, 0.6), chance.range(1.0, 1.6))
            };
            let (sigma, seed) = (
                if chance.is(0.5) {
                    chance.range(1.0, 6.0)
                } else {
                    0.0
                },
                chance.bits(),
            );
            let mut number = 0u64;
            each(frames, |picture| {
                number += 1;
                let mut picture = picture.toned(&table);
                grain(
                    &mut picture,
                    sigma,
                    Grain::Colour,
                    seed.wrapping_add(number),
                );
                picture
            })
        }
        "blown" => {
            let table = if chance.is(0.5) {
                tones(chance.range(1.8, 4.0), 0.0, 1.0)
            } else {
                tones(chance.range(1.0, 1.5), chance.range(0.25, 0.55), 0.8)
            };
            each(frames, |picture| picture.toned(&table))
        }
        "low_contrast" => {
            let gain = chance.range(0.12, 0.4);
            let table = tones(gain, (1.0 - gain) * chance.range(0.3, 0.8), 1.0);
            each(frames, |picture| picture.toned(&table))
        }
        "dropped" => dropped(chance, frames),
        "posterised" => {
            let levels = chance.between(4, 12) as i32;
            each(frames, |picture| {
                picture.coloured(|rgb| {
                    rgb.map(|c| {
                        (i32::from(c) * levels / 256 * 255 / (levels - 1)).clamp(0, 255) as u8
                    })
                })
            })
        }
        "combed" => {
            let apart = chance.between(1, 2);
            (0..frames.len())
                .map(|k| {
                    let mut picture = frames[k].clone();
                    let other = &frames[(k + apart).min(frames.len() - 1)];
                    for y in (1..h).step_by(2) {
                        picture.px[y * w..(y + 1) * w]
                            .copy_from_slice(&other.px[y * w..(y + 1) * w]);
                    }
                    picture
                })
                .collect()
        }
        "chroma" => {
            let (kind, size) = (chance.below(3), chance.range(0.01, 0.04));
            let off = (size * w as f32) as i32 + 2;
            let cell = chance.between(6, 20);
            each(frames, |picture| {
                let luma = |rgb: [u8; 3]| {
                    (i32::from(rgb[0]) * 77 + i32::from(rgb[1]) * 150 + i32::from(rgb[2]) * 29) >> 8
                };
                Picture::by(w, h, |x, y| {
                    let own = picture.px[y * w + x];
                    let from = match kind {
                        0 => picture.near(x as i32 + off, y as i32),
                        1 => picture.near((x / cell * cell) as i32, (y / cell * cell) as i32),
                        _ => picture.near(x as i32 - off, y as i32 + off / 2),
                    };
                    let (own_y, from_y) = (luma(own), luma(from));
                    std::array::from_fn(|c| {
                        (own_y + (i32::from(from[c]) - from_y)).clamp(0, 255) as u8
                    })
                })
            })
        }
        _ => {
            let (seed, rate) = (chance.bits(), chance.range(0.2, 0.8));
            let source = frames.clone();
            frames
                .into_iter()
                .enumerate()
                .map(|(k, mut picture)| {
                    let mut here = Chance::of(seed, "lost", k as u64 / 3);
                    if here.is(rate) {
                        for _ in 0..here.between(1, 12) {
                            let (bw, bh) = (here.between(1, 10) * 16, here.between(1, 3) * 16);
                            let (x, y) = (here.below(w) / 16 * 16, here.below(h) / 16 * 16);
                            let old = &source[k.saturating_sub(here.between(1, 6))];
                            let grey = here.is(0.3);
                            for row in y..(y + bh).min(h) {
                                for column in x..(x + bw).min(w) {
                                    let own = &mut picture.px[row * w + column];
                                    *own = if grey {
                                        blend(*own, [128; 3], 220)
                                    } else {
                                        old.near(column as i32 + 8, row as i32)
                                    };
                                }
                            }
                        }
                    }
                    picture
                })
                .collect()
        }
    })
}

/// Frames that stand still or are left out, as when a recorder or a network cannot follow.
fn dropped(chance: &mut Chance, frames: Vec<Picture>) -> Vec<Picture> {
    let is_regular = chance.is(0.5);
    let hold = chance.between(2, 6);
    let (share, mut left, mut at) = (chance.range(0.25, 0.7), 0usize, 0usize);
    (0..frames.len())
        .map(|k| {
            if is_regular {
                at = k / hold * hold;
            } else if left > 0 {
                left -= 1;
            } else {
                at = k;
                if chance.is(share) {
                    left = chance.between(1, 7);
                }
            }
            frames[at].clone()
        })
        .collect()
}

/// As out of focus: the mean over a disc.
fn disc_blurred(picture: &Picture, r: f32) -> Picture {
    // A disc of few taps over a small box: near enough, and quick.
    let r = r.max(1.0);
    let soft = picture.box_blurred(((r / 3.0) as usize).max(1));
    let taps: Vec<(i32, i32)> = (0..12)
        .map(|k| {
            let (a, far) = (k as f32 * 2.399_963, r * ((k as f32 + 0.5) / 12.0).sqrt());
            (
                (a.cos() * far).round() as i32,
                (a.sin() * far).round() as i32,
            )
        })
        .collect();
    mean_of_taps(&soft, &taps)
}

fn smeared(picture: &Picture, dx: f32, dy: f32) -> Picture {
    let taps: Vec<(i32, i32)> = (0..9)
        .map(|k| {
            let way = k as f32 / 4.0 - 1.0;
            ((dx * way).round() as i32, (dy * way).round() as i32)
        })
        .collect();
    mean_of_taps(picture, &taps)
}

fn mean_of_taps(picture: &Picture, taps: &[(i32, i32)]) -> Picture {
    Picture::by(picture.w, picture.h, |x, y| {
        let mut sums = [0u32; 3];
        for (dx, dy) in taps {
            let rgb = picture.near(x as i32 + dx, y as i32 + dy);
            (0..3).for_each(|c| sums[c] += u32::from(rgb[c]));
        }
        sums.map(|sum| (sum / taps.len() as u32) as u8)
    })
}

/// An encoder at far too low a quality.
fn poor(chance: &mut Chance) -> EncodeOptions {
    let (encoder, low, high) = *chance.weighted(&[
        (0.6, ("libx264", 35, 50)),
        (0.17, ("mpeg4", 13, 31)),
        (0.13, ("mpeg2video", 14, 31)),
        (0.1, ("libx265", 36, 50)),
    ]);
    let preset = *chance.pick(&["ultrafast", "superfast", "veryfast"]);
    EncodeOptions {
        encoder: encoder.to_owned(),
        preset: preset.to_owned(),
        quality: chance.between(low, high) as u32,
        ..EncodeOptions::default()
    }
}

/// Through an encoder and back, at `scale` of the size.
fn recoded(
    canvas: &Canvas,
    frames: Vec<Picture>,
    scratch: &Path,
    coding: &EncodeOptions,
    scale: f32,
) -> Result<Vec<Picture>, Error> {
    let even = |side: usize| ((side as f32 * scale / 2.0).round() as usize * 2).max(48);
    let (w, h) = (even(canvas.w), even(canvas.h));
    let frames: Vec<Array3<u8>> = frames
        .into_iter()
        .map(|picture| {
            if scale < 1.0 {
                picture.resized(w, h)
            } else {
                picture
            }
            .into_frame()
        })
        .collect();
    let path = scratch.join("poor.mkv");
    let never = Interrupt::never();
    // MPEG-2 knows only a few rates.
    let fps = if coding.encoder == "mpeg2video" {
        25
    } else {
        canvas.fps
    };
    frames_to_file(
        frames.iter().map(|frame| frame.view()),
        (fps, 1),
        &path,
        coding,
        &never,
    )?;
    let request = Request {
        span: Span::Video,
        frames: frames.len(),
        fit: Fit::Native,
    };
    let decoded = decode(&path, None, &[request], &never)?;
    let back = decoded
        .clips
        .into_iter()
        .flatten()
        .next()
        .map(|clip| clip.frames)
        .unwrap_or_default();
    Ok(back
        .iter()
        .map(|frame| Picture::of_frame(frame).resized(canvas.w, canvas.h))
        .collect())
}
