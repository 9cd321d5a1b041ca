//! Reads the fixtures' pictures: the top half shows the frame number as eight bits, the lowest leftmost, white for one;
//! the bottom half is red on the left and blue on the right.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use clipsieve_operators::media::{Clip, Decoded, Fit, Frame, Interrupt, Request, Span, decode};
use ndarray::Array3;

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fixtures/media")
        .join(name)
}

pub fn whole(frames: usize, fit: Fit) -> Request {
    Request {
        span: Span::Video,
        frames,
        fit,
    }
}

pub fn windows(length_seconds: f64, stride_seconds: f64, frames: usize, fit: Fit) -> Request {
    Request {
        span: Span::Windows {
            length_seconds,
            stride_seconds,
        },
        frames,
        fit,
    }
}

pub fn decoded(path: &Path, requests: &[Request]) -> Decoded {
    decode(path, None, requests, &Interrupt::never()).unwrap_or_else(|error| panic!("{error}"))
}

/// The number a picture shows.
pub fn number(frame: &Array3<u8>) -> u32 {
    let (height, width, _) = frame.dim();
    (0..8)
        .map(|bit| {
            let white = frame[[height / 4, (2 * bit + 1) * width / 16, 0]] > 128;
            u32::from(white) << bit
        })
        .sum()
}

pub fn numbers(clip: &Clip) -> Vec<u32> {
    clip.frames.iter().map(|frame| number(frame)).collect()
}

/// The mean colour of the middle of the bottom left and the bottom right quarter.
pub fn colours(frame: &Frame) -> [[u8; 3]; 2] {
    let (height, width, _) = frame.dim();
    [1, 5].map(|eighth| {
        let part = frame.slice(ndarray::s![
            height * 5 / 8..height * 7 / 8,
            width * eighth / 8..width * (eighth + 2) / 8,
            ..
        ]);
        let mean = part
            .map(|&value| f32::from(value))
            .mean_axis(ndarray::Axis(0))
            .and_then(|rows| rows.mean_axis(ndarray::Axis(0)))
            .unwrap();
        [mean[0], mean[1], mean[2]].map(|value| value.round() as u8)
    })
}

/// Asserts that the colours are red and blue, each channel within `tolerance`.
pub fn assert_red_and_blue(frame: &Frame, tolerance: u8, what: &str) {
    let found = colours(frame);
    for (found, expected) in found.iter().zip([[255, 0, 0], [0, 0, 255]]) {
        for (value, wanted) in found.iter().zip(expected) {
            assert!(
                value.abs_diff(wanted) <= tolerance,
                "{what}: {found:?}, not {expected:?}"
            );
        }
    }
}
