//! Writes RGB frames as a video: what makes test clips and training clips.

use std::path::Path;

use ffmpeg_next::{format::Pixel, frame};
use ndarray::ArrayView3;

use super::encode::{EncodeOptions, EncodedInfo, Unfinished};
use super::encode_video::VideoTrack;
use super::geometry::{CropRect, check_size};
use super::output::{Container, Output, check_pixel_format, find_encoder};
use super::source::start_ffmpeg;
use super::{Interrupt, MediaError, Orientation, VideoInfo};

/// Encodes frames `[h, w, 3]` of one size (even sides), shown `fps.0 / fps.1` times a second, into the file `out`, whose
/// extension names the container: mp4, m4v, mov, mkv or webm.
///
/// # Errors
/// `Encode` for no frames, frames of different or odd sizes, an unknown container or encoder, or one that refuses; `Io`
/// when the disk does; `Interrupted`.
pub fn frames_to_file<'a>(
    frames: impl IntoIterator<Item = ArrayView3<'a, u8>>,
    fps: (u32, u32),
    out: &Path,
    options: &EncodeOptions,
    interrupt: &Interrupt,
) -> Result<EncodedInfo, MediaError> {
    start_ffmpeg();
    let refuse = |reason: &str| MediaError::Encode {
        path: out.to_owned(),
        reason: reason.to_owned(),
    };
    let during = || format!("writing {}", out.display());
    let mut frames = frames.into_iter().peekable();
    let (height, width) = match frames.peek() {
        Some(first) => (first.dim().0 as u32, first.dim().1 as u32),
        None => return Err(refuse("there are no frames to write")),
    };
    check_size(out, (width, height))?;
    if width % 2 != 0 || height % 2 != 0 {
        return Err(refuse("the sides of a frame must be even"));
    }
    let time_base = (
        i32::try_from(fps.1).unwrap_or(0),
        i32::try_from(fps.0).unwrap_or(0),
    );
    if time_base.0 <= 0 || time_base.1 <= 0 {
        return Err(refuse("the frame rate must be above 0"));
    }
    let container = Container::of(out)?;
    let encoder = find_encoder(out, &options.encoder)?;
    check_pixel_format(out, &options.pixel_format)?;
    container.check_holds(out, encoder)?;

    let unfinished = Unfinished::create(out)?;
    let mut output = Output::new(out, container)?;
    let info = described(width, height, fps);
    let rect = CropRect::whole(width, height);
    let mut video = VideoTrack::new(encoder, options, &info, rect, time_base, 0);
    for (index, frame) in frames.enumerate() {
        interrupt.check(during)?;
        if frame.dim() != (height as usize, width as usize, 3) {
            return Err(refuse("all frames must be RGB of one size"));
        }
        let mut picture = picture_of(frame);
        picture.set_pts(Some(index as i64));
        video.push(&picture, &mut output)?;
    }
    video.finish(&mut output)?;
    let frames = video.frames();
    output.finish()?;
    let bytes = std::fs::metadata(out)
        .map_err(|error| MediaError::io("read", out, error))?
        .len();
    unfinished.keep();
    Ok(EncodedInfo {
        width,
        height,
        frames,
        bytes,
        audio: None,
    })
}

/// What frames from memory would say of themselves in a file.
fn described(width: u32, height: u32, fps: (u32, u32)) -> VideoInfo {
    VideoInfo {
        container: String::new(),
        codec: "rawvideo".to_owned(),
        pixel_format: "rgb24".to_owned(),
        coded_width: width,
        coded_height: height,
        width,
        height,
        orientation: Orientation::default(),
        rotation_degrees: 0,
        sample_aspect: (1, 1),
        duration_seconds: None,
        frames_estimate: None,
        average_fps: Some(f64::from(fps.0) / f64::from(fps.1)),
        has_audio: false,
        audio_codec: None,
    }
}

fn picture_of(rgb: ArrayView3<'_, u8>) -> frame::Video {
    let (height, width, _) = rgb.dim();
    let mut picture = frame::Video::new(Pixel::RGB24, width as u32, height as u32);
    let stride = picture.stride(0);
    let rgb = rgb.as_standard_layout();
    let rows = rgb.as_slice().unwrap_or_default().chunks_exact(3 * width);
    for (to, row) in picture.data_mut(0).chunks_mut(stride).zip(rows) {
        to[..row.len()].copy_from_slice(row);
    }
    picture
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::media::{Fit, Request, Span, decode};

    #[test]
    fn frames_come_back_as_they_were_written_in_number_time_and_colour() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("made.mp4");
        let frames: Vec<Array3<u8>> = (0..9)
            .map(|k| Array3::from_shape_fn((48, 80, 3), |(_, x, c)| [40 + 20 * k, 120, x as u8][c]))
            .collect();
        let options = EncodeOptions {
            quality: 4,
            ..EncodeOptions::default()
        };
        let never = Interrupt::never();
        let views = || frames.iter().map(|frame| frame.view());
        let made = frames_to_file(views(), (6, 1), &path, &options, &never).expect("written");
        assert_eq!((made.width, made.height, made.frames), (80, 48, 9));
        let request = Request {
            span: Span::Video,
            frames: 9,
            fit: Fit::Native,
        };
        let decoded = decode(&path, None, &[request], &never).expect("decodes");
        assert_eq!(decoded.frames_decoded, 9);
        assert!((decoded.duration_seconds - 1.5).abs() < 0.01);
        for (written, read) in frames.iter().zip(&decoded.clips[0][0].frames) {
            let off = written
                .iter()
                .zip(read.iter())
                .map(|(a, b)| f64::from(a.abs_diff(*b)));
            assert!(off.sum::<f64>() / (written.len() as f64) < 5.0);
        }
    }

    #[test]
    fn what_cannot_be_written_says_why_and_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (even, odd, other) = (
            Array3::zeros((16, 16, 3)),
            Array3::zeros((16, 15, 3)),
            Array3::zeros((16, 18, 3)),
        );
        let path = folder.path().join("made.mp4");
        let write = |frames: &[&Array3<u8>], fps| {
            let views = frames.iter().map(|frame| frame.view());
            frames_to_file(
                views,
                fps,
                &path,
                &EncodeOptions::default(),
                &Interrupt::never(),
            )
            .expect_err("refused")
            .to_string()
        };
        assert!(write(&[], (5, 1)).contains("no frames"));
        assert!(write(&[&odd], (5, 1)).contains("even"));
        assert!(write(&[&even, &other], (5, 1)).contains("one size"));
        assert!(write(&[&even], (0, 1)).contains("frame rate"));
        assert!(!path.exists());
    }
}
