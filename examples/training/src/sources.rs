//! Photographs and footage to make clips from.
//!
//! Folders are read whole: pictures (JPEG, PNG) and whatever video the project's decoder takes. Footage is cut into *shots* where
//! the picture changes at once. Train and validation are kept apart **by source**: files that show the same thing (one
//! film in several codecs, the two eyes of a stereo pair) count as one source, by the likeness of small versions of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipsieve_operators::media::{
    DecodeOptions, Fit, Frame, Interrupt, Request, Span, decode_with,
};
use fast_image_resize::{
    PixelType, ResizeOptions, Resizer,
    images::{Image, ImageRef},
};
use ndarray::Array3;

use crate::chance::{Chance, fnv};
use crate::dataset::Split;
use crate::error::Error;

/// A photograph.
#[derive(Debug, Clone)]
pub struct Photo {
    /// The file's name.
    pub name: String,
    /// RGB `[h, w, 3]`, at most [`PHOTO_SIDE_PX`] on the long side.
    pub picture: Frame,
    /// Mean luma step between neighbours in 8-bit levels, at a long side of 256 px: how much there is to see.
    pub detail: f32,
}

/// Footage without a cut.
#[derive(Debug, Clone)]
pub struct Shot {
    /// The file's name.
    pub name: String,
    /// Frames in a row, as they follow one another in the file; at most [`FOOTAGE_SIDE_PX`] on the long side.
    pub frames: Vec<Frame>,
    /// Frames a second.
    pub fps: f32,
    /// The long side in the file, in pixels: what is small there is no proof of a good picture.
    pub native_long_px: u32,
}

/// All there is of one split.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Photographs with enough to see.
    pub photos: Vec<Photo>,
    /// Shots that are long enough.
    pub shots: Vec<Shot>,
}

/// Longest side of photographs in memory.
const PHOTO_SIDE_PX: u32 = 1600;
/// Longest side of footage in memory.
const FOOTAGE_SIDE_PX: u32 = 640;
/// Frames kept of one video, at most.
const FOOTAGE_FRAMES: usize = 400;
/// A shot has at least so many frames.
const SHOT_FRAMES: usize = 24;
/// A photograph with less detail shows too little.
const LEAST_DETAIL: f32 = 1.2;
/// Side of the small versions by which likeness is judged.
const THUMB_PX: u32 = 12;
/// Small versions that correlate more than this show the same.
const SAME: f32 = 0.93;
/// Share of the sources that is kept for validation.
const VAL_SHARE: f32 = 0.25;

/// What a file gave, and how it looks.
struct File<T> {
    name: String,
    looks: Vec<Vec<f32>>,
    gave: T,
}

impl Sources {
    /// Reads the folders and gives all there is in them, or the part that belongs to a split under a seed. `say` hears of
    /// files that are left out and why.
    ///
    /// # Errors
    /// If a folder cannot be read, or nothing in them is of use.
    pub fn load(
        photos: &[PathBuf],
        footage: &[PathBuf],
        share: Option<(u64, Split)>,
        say: &dyn Fn(String),
    ) -> Result<Self, Error> {
        let mut pictures = Vec::new();
        for path in files(photos)? {
            match read_photo(&path) {
                Ok(file) if file.gave.detail < LEAST_DETAIL => {
                    say(format!(
                        "{}: too little to see (detail {:.2})",
                        path.display(),
                        file.gave.detail
                    ));
                }
                Ok(file) => pictures.push(file),
                Err(error) => say(error.to_string()),
            }
        }
        let mut videos = Vec::new();
        for path in files(footage)? {
            match read_footage(&path) {
                Ok(file) if file.gave.is_empty() => say(format!(
                    "{}: no shot of {SHOT_FRAMES} frames with motion",
                    path.display()
                )),
                Ok(file) => videos.push(file),
                Err(error) => say(error.to_string()),
            }
        }
        let (photos, shots): (Vec<Photo>, Vec<Vec<Shot>>) = match share {
            Some((seed, split)) => (part(pictures, seed, split), part(videos, seed, split)),
            None => (all(pictures), all(videos)),
        };
        let shots = shots.into_iter().flatten().collect();
        Ok(Self { photos, shots })
    }
}

/// The files of these folders, in the order of their names; hidden ones left out.
fn files(folders: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(folder).map_err(Error::io("reading", folder))? {
            let path = entry.map_err(Error::io("reading", folder))?.path();
            if path.is_file() && !name_of(&path).starts_with('.') {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn all<T>(files: Vec<File<T>>) -> Vec<T> {
    files.into_iter().map(|file| file.gave).collect()
}

/// The part of the files that belongs to a split: files of one look stay together, and the looks are dealt out by a
/// seeded hash of their first file's name.
fn part<T>(files: Vec<File<T>>, seed: u64, split: Split) -> Vec<T> {
    let mut group_of: Vec<usize> = (0..files.len()).collect();
    for i in 0..files.len() {
        for j in 0..i {
            let alike = files[i]
                .looks
                .iter()
                .any(|a| files[j].looks.iter().any(|b| correlation(a, b) > SAME));
            if alike {
                let (from, to) = (group_of[i], group_of[j]);
                group_of
                    .iter_mut()
                    .filter(|group| **group == from)
                    .for_each(|group| *group = to);
            }
        }
    }
    let mut keys: BTreeMap<usize, u64> = BTreeMap::new();
    for (file, group) in files.iter().zip(&group_of) {
        let key = Chance::of(seed, "split", fnv(file.name.as_bytes())).bits();
        let held = keys.entry(*group).or_insert(key);
        *held = (*held).min(key);
    }
    let mut dealt: Vec<(u64, usize)> = keys.into_iter().map(|(group, key)| (key, group)).collect();
    dealt.sort_unstable();
    let val = ((dealt.len() as f32 * VAL_SHARE).round() as usize)
        .clamp(usize::from(dealt.len() > 1), dealt.len());
    let is_val = |group: usize| dealt[..val].iter().any(|(_, of)| *of == group);
    files
        .into_iter()
        .zip(group_of)
        .filter(|(_, group)| is_val(*group) == (split == Split::Val))
        .map(|(file, _)| file.gave)
        .collect()
}

fn correlation(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A small version of a frame's luma with mean 0 and norm 1; empty for a flat one, which is like nothing.
fn look(frame: &Array3<u8>) -> Vec<f32> {
    let small = resized(frame, THUMB_PX, THUMB_PX);
    let luma: Vec<f32> = small
        .as_slice()
        .unwrap_or_default()
        .chunks_exact(3)
        .map(luma)
        .collect();
    let mean = luma.iter().sum::<f32>() / luma.len() as f32;
    let norm = luma
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f32>()
        .sqrt();
    if norm < luma.len() as f32 * 0.2 {
        return Vec::new();
    }
    luma.iter().map(|value| (value - mean) / norm).collect()
}

/// Luma of an RGB pixel, 0 to 255.
pub fn luma(rgb: &[u8]) -> f32 {
    0.299 * f32::from(rgb[0]) + 0.587 * f32::from(rgb[1]) + 0.114 * f32::from(rgb[2])
}

/// A frame at another size, antialiased.
pub fn resized(frame: &Array3<u8>, width: u32, height: u32) -> Array3<u8> {
    let (h, w, _) = frame.dim();
    let standard = frame.as_standard_layout();
    let bytes = standard.as_slice().unwrap_or_default();
    let mut to = Image::new(width.max(1), height.max(1), PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(fast_image_resize::ResizeAlg::Convolution(
        fast_image_resize::FilterType::CatmullRom,
    ));
    // Both images are of one kind and hold what their sizes say.
    if let Ok(from) = ImageRef::new(w as u32, h as u32, bytes, PixelType::U8x3) {
        let _ = Resizer::new().resize(&from, &mut to, &options);
    }
    let shape = (to.height() as usize, to.width() as usize, 3);
    Array3::from_shape_vec(shape, to.into_vec()).unwrap_or_else(|_| Array3::zeros(shape))
}

/// The size with this longest side and the same shape; never larger.
fn within(width: u32, height: u32, side: u32) -> (u32, u32) {
    let long = width.max(height);
    if long <= side {
        return (width, height);
    }
    let scaled = |length: u32| (length * side / long).max(1);
    (scaled(width), scaled(height))
}

fn read_photo(path: &Path) -> Result<File<Photo>, Error> {
    let picture = image::open(path)
        .map_err(|error| Error::file(path, error))?
        .into_rgb8();
    let (width, height) = picture.dimensions();
    let picture = Array3::from_shape_vec((height as usize, width as usize, 3), picture.into_raw())
        .map_err(|error| Error::file(path, error))?;
    let (w, h) = within(width, height, PHOTO_SIDE_PX);
    let picture = if (w, h) == (width, height) {
        picture
    } else {
        resized(&picture, w, h)
    };
    let name = name_of(path);
    Ok(File {
        name: name.clone(),
        looks: vec![look(&picture)],
        gave: Photo {
            name,
            detail: detail(&picture),
            picture: Arc::new(picture),
        },
    })
}

fn detail(picture: &Array3<u8>) -> f32 {
    let (h, w, _) = picture.dim();
    let (w, h) = within(w as u32, h as u32, 256);
    let small = resized(picture, w, h);
    let luma: Vec<f32> = small
        .as_slice()
        .unwrap_or_default()
        .chunks_exact(3)
        .map(luma)
        .collect();
    let steps = luma
        .chunks_exact(w as usize)
        .flat_map(|row| row.windows(2))
        .map(|pair| (pair[0] - pair[1]).abs());
    steps.sum::<f32>() / luma.len().max(1) as f32
}

fn read_footage(path: &Path) -> Result<File<Vec<Shot>>, Error> {
    let request = Request {
        span: Span::Video,
        frames: 1 << 16,
        fit: Fit::Within { max_side: 16 },
    };
    let options = DecodeOptions::default();
    let never = Interrupt::never();
    let count = decode_with(path, None, &[request], &options, &never)?.frames_decoded;
    // Of a long video windows with all their frames, spread over it.
    let decoded = decode_with(
        path,
        None,
        &[Request {
            span: Span::Video,
            frames: count,
            fit: Fit::Within {
                max_side: if count > 4 * FOOTAGE_FRAMES {
                    FOOTAGE_SIDE_PX / 2
                } else {
                    FOOTAGE_SIDE_PX
                },
            },
        }],
        &options,
        &never,
    )?;
    let frames = decoded
        .clips
        .into_iter()
        .flatten()
        .next()
        .map(|clip| clip.frames)
        .unwrap_or_default();
    let fps = (count as f64 / decoded.duration_seconds.max(0.04)) as f32;
    let name = name_of(path);
    let native_long_px = decoded.info.width.max(decoded.info.height);
    let looks = (0..5)
        .filter_map(|k| frames.get(k * frames.len().saturating_sub(1) / 4))
        .map(|frame| look(frame))
        .collect();
    let mut shots: Vec<Vec<Frame>> = cut(&frames)
        .into_iter()
        .filter(|shot| shot.len() >= SHOT_FRAMES && lives(shot))
        .collect();
    drop(frames);
    let total: usize = shots.iter().map(Vec::len).sum();
    if total > FOOTAGE_FRAMES {
        for shot in &mut shots {
            let keep = (shot.len() * FOOTAGE_FRAMES / total).max(SHOT_FRAMES);
            shot.truncate(keep);
        }
    }
    let shots = shots.into_iter().map(|frames| Shot {
        name: name.clone(),
        frames,
        fps,
        native_long_px,
    });
    Ok(File {
        name: name.clone(),
        looks,
        gave: shots.collect(),
    })
}

/// Cuts footage where the picture changes at once, or fades through black.
fn cut(frames: &[Frame]) -> Vec<Vec<Frame>> {
    let smalls: Vec<Vec<f32>> = frames
        .iter()
        .map(|frame| {
            let small = resized(frame, 24, 24);
            small
                .as_slice()
                .unwrap_or_default()
                .chunks_exact(3)
                .map(luma)
                .collect()
        })
        .collect();
    let mean = |small: &[f32]| small.iter().sum::<f32>() / small.len() as f32;
    let change = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
    };
    let mut shots = vec![Vec::new()];
    let mut usual = 2.0f32;
    for (index, frame) in frames.iter().enumerate() {
        if index > 0 {
            let step = change(&smalls[index - 1], &smalls[index]);
            if step > 8.0f32.max(4.0 * usual) {
                shots.push(Vec::new());
            } else {
                usual = 0.9 * usual + 0.1 * step;
            }
        }
        if mean(&smalls[index]) < 8.0 {
            shots.push(Vec::new());
        } else if let Some(shot) = shots.last_mut() {
            shot.push(Arc::clone(frame));
        }
    }
    shots
}

/// Whether something moves in a shot, and there is something to see.
fn lives(shot: &[Frame]) -> bool {
    let luma_of = |frame: &Frame| -> Vec<f32> {
        resized(frame, 64, 64)
            .as_slice()
            .unwrap_or_default()
            .chunks_exact(3)
            .map(luma)
            .collect()
    };
    let (first, middle) = (luma_of(&shot[0]), luma_of(&shot[shot.len() / 2]));
    let most = first
        .iter()
        .zip(&middle)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    most > 12.0 && detail(&middle_of(shot)) > LEAST_DETAIL / 2.0
}

fn middle_of(shot: &[Frame]) -> Array3<u8> {
    (*shot[shot.len() / 2]).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, look: &[f32]) -> File<String> {
        let norm = look.iter().map(|x| x * x).sum::<f32>().sqrt();
        File {
            name: name.to_owned(),
            looks: vec![look.iter().map(|x| x / norm).collect()],
            gave: name.to_owned(),
        }
    }

    fn some() -> Vec<File<String>> {
        let mut files = vec![
            file("a.mp4", &[1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            file("a.webm", &[1.0, -0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        ];
        for k in 2..8 {
            let mut look = [0.0; 8];
            look[k] = 1.0;
            files.push(file(&format!("{k}.mp4"), &look));
        }
        files
    }

    #[test]
    fn every_source_is_in_one_split_and_the_same_footage_stays_together() {
        for seed in 0..20 {
            let (train, val) = (
                part(some(), seed, Split::Train),
                part(some(), seed, Split::Val),
            );
            assert_eq!(train.len() + val.len(), 8);
            assert!(train.iter().all(|name| !val.contains(name)));
            assert!(!val.is_empty() && !train.is_empty());
            let holds = |part: &[String], name: &str| part.iter().any(|held| held == name);
            assert_eq!(holds(&val, "a.mp4"), holds(&val, "a.webm"));
        }
        assert_ne!(part(some(), 1, Split::Val), part(some(), 3, Split::Val));
    }

    #[test]
    fn footage_is_cut_where_the_picture_changes_at_once() {
        let frame = |grey: u8, k: usize| -> Frame {
            Arc::new(Array3::from_shape_fn((32, 48, 3), |(y, x, _)| {
                grey.wrapping_add(((x + y + k) % 16) as u8)
            }))
        };
        let frames: Vec<Frame> = (0..60)
            .map(|k| frame(if k < 25 { 40 } else { 170 }, k))
            .collect();
        let lengths: Vec<usize> = cut(&frames).iter().map(Vec::len).collect();
        assert_eq!(lengths, [25, 35]);
    }
}
