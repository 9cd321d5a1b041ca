//! What the header says of a video.

use std::ffi::CStr;

use ffmpeg_next::format::stream::Stream;
use ffmpeg_next::{Rational, codec, ffi};

use super::geometry::{Canvas, CropRect, check_size, display_size};
use super::medium::{Medium, Meter};
use super::source::Source;
use super::{Interrupt, MediaError, Orientation};

/// What a container's header tells of its video, without decoding it. Durations and numbers of frames are claims.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoInfo {
    /// ffmpeg's name of the container, e.g. `mov,mp4,m4a,3gp,3g2,mj2`.
    pub container: String,
    /// ffmpeg's name of the video codec, e.g. `h264`.
    pub codec: String,
    /// ffmpeg's name of the pixel format, e.g. `yuv420p10le`; `unknown` where the header does not say.
    pub pixel_format: String,
    /// Width of a picture as it is coded, in pixels.
    pub coded_width: u32,
    /// Height of a picture as it is coded, in pixels.
    pub coded_height: u32,
    /// Width as it is shown, in square pixels: `round(coded width x sample aspect)`, or the height if it is turned on its side.
    pub width: u32,
    /// Height as it is shown, in square pixels.
    pub height: u32,
    /// How the coded picture is laid out upright.
    pub orientation: Orientation,
    /// Degrees the coded picture is turned clockwise for showing: 0, 90, 180 or 270. From the display matrix, or from a
    /// `rotate` tag where there is none.
    pub rotation_degrees: u32,
    /// Width to height of one coded pixel, as numerator and denominator; `(1, 1)` where the header does not say.
    pub sample_aspect: (i32, i32),
    /// Length in seconds.
    pub duration_seconds: Option<f64>,
    /// Number of frames: as claimed, or else length times rate, whichever is more.
    pub frames_estimate: Option<u64>,
    /// Frames a second, on average.
    pub average_fps: Option<f64>,
    /// Whether there is sound.
    pub has_audio: bool,
    /// ffmpeg's name of the codec of the best audio stream.
    pub audio_codec: Option<String>,
}

impl VideoInfo {
    pub(crate) fn canvas(&self) -> Canvas {
        Canvas {
            display: (self.width, self.height),
            orientation: self.orientation,
        }
    }

    /// The rectangle to look at: the view, if it lies in the video, or all of it.
    pub(crate) fn view(&self, view: Option<CropRect>) -> Result<CropRect, MediaError> {
        let rect = view.unwrap_or(CropRect::whole(self.width, self.height));
        if !rect.is_inside(self.width, self.height) {
            return Err(MediaError::Crop {
                rect,
                width: self.width,
                height: self.height,
                reason: "it must have an area and lie inside",
            });
        }
        Ok(rect)
    }
}

/// Reads the header of a video.
///
/// # Errors
/// As for opening: `Io`, `Open`, `NoVideo`, `Unsupported` (container, codec or size), `Interrupted`; `Decode` when the
/// picture size cannot be found out.
pub fn probe(medium: impl Into<Medium>, interrupt: &Interrupt) -> Result<VideoInfo, MediaError> {
    describe(&Source::open(&medium.into(), interrupt, &Meter::default())?)
}

pub(crate) fn describe(source: &Source) -> Result<VideoInfo, MediaError> {
    let stream = source.video_stream();
    let (coded, format, stated_aspect) = picture(&stream);
    let orientation = orientation(&stream);
    let sample_aspect = sample_aspect(source, &stream).unwrap_or(stated_aspect);
    check_size(&source.path, coded)?;
    let (width, height) = display_size(coded, sample_aspect, orientation);
    check_size(&source.path, (width, height))?;

    let time_base = f64::from(stream.time_base());
    let container_seconds = source.input.duration() as f64 / f64::from(ffi::AV_TIME_BASE);
    let duration_seconds = [stream.duration() as f64 * time_base, container_seconds]
        .into_iter()
        .find(|seconds| seconds.is_finite() && *seconds > 0.0);
    let average_fps = [stream.avg_frame_rate(), stream.rate()]
        .into_iter()
        .filter(|rate| rate.denominator() != 0)
        .map(f64::from)
        .find(|rate| rate.is_finite() && *rate > 0.0);
    let claimed = u64::try_from(stream.frames()).unwrap_or(0);
    let computed = duration_seconds
        .zip(average_fps)
        .map_or(0, |(seconds, fps)| (seconds * fps).ceil() as u64);
    let audio = source.audio().and_then(|index| source.input.stream(index));

    Ok(VideoInfo {
        container: source.input.format().name().to_owned(),
        codec: codec_name(stream.parameters().id()),
        pixel_format: pixel_format_name(format),
        coded_width: coded.0,
        coded_height: coded.1,
        width,
        height,
        orientation,
        rotation_degrees: orientation.rotation_degrees(),
        sample_aspect,
        duration_seconds,
        frames_estimate: Some(claimed.max(computed)).filter(|&frames| frames > 0),
        average_fps,
        has_audio: audio.is_some(),
        audio_codec: audio.map(|stream| codec_name(stream.parameters().id())),
    })
}

/// Coded size, pixel format and sample aspect ratio of the stream's parameters.
fn picture(stream: &Stream<'_>) -> ((u32, u32), i32, (i32, i32)) {
    let parameters = stream.parameters();
    // SAFETY: plain numbers of a live struct.
    let (width, height, format, aspect) = unsafe {
        let raw = &*parameters.as_ptr();
        (raw.width, raw.height, raw.format, raw.sample_aspect_ratio)
    };
    let side = |value| u32::try_from(value).unwrap_or(0);
    let aspect = if aspect.num > 0 && aspect.den > 0 {
        (aspect.num, aspect.den)
    } else {
        (1, 1)
    };
    ((side(width), side(height)), format, aspect)
}

/// The container's sample aspect ratio where it has one, else the codec's.
fn sample_aspect(source: &Source, stream: &Stream<'_>) -> Option<(i32, i32)> {
    // SAFETY: reads from a live context and one of its streams; a null frame is allowed.
    let guess = unsafe {
        ffi::av_guess_sample_aspect_ratio(
            source.input.as_ptr().cast_mut(),
            stream.as_ptr().cast_mut(),
            std::ptr::null_mut(),
        )
    };
    (guess.num > 0 && guess.den > 0).then_some((guess.num, guess.den))
}

fn orientation(stream: &Stream<'_>) -> Orientation {
    let matrix = stream
        .side_data()
        .find(|data| data.kind() == codec::packet::side_data::Type::DisplayMatrix)
        .and_then(|data| {
            let mut numbers = data
                .data()
                .chunks_exact(4)
                .filter_map(|bytes| bytes.try_into().ok().map(i32::from_ne_bytes));
            let mut matrix = [0; 9];
            for slot in &mut matrix {
                *slot = numbers.next()?;
            }
            Some(matrix)
        });
    match matrix {
        Some(matrix) => Orientation::from_display_matrix(&matrix),
        None => rotate_tag(stream)
            .map(Orientation::from_clockwise_degrees)
            .unwrap_or_default(),
    }
}

/// Degrees clockwise, as old files say it.
fn rotate_tag(stream: &Stream<'_>) -> Option<i64> {
    // SAFETY: the dictionary and its entry live as long as the stream; the bytes need not be UTF-8.
    let value = unsafe {
        let entry = ffi::av_dict_get(
            stream.metadata().as_ptr(),
            c"rotate".as_ptr(),
            std::ptr::null(),
            0,
        );
        CStr::from_ptr(entry.as_ref()?.value)
    };
    value.to_str().ok()?.trim().parse().ok()
}

pub(crate) fn codec_name(id: codec::Id) -> String {
    // SAFETY: the answer is a static string for every id.
    unsafe { CStr::from_ptr(ffi::avcodec_get_name(id.into())) }
        .to_string_lossy()
        .into_owned()
}

fn pixel_format_name(format: i32) -> String {
    if !(0..ffi::AVPixelFormat::AV_PIX_FMT_NB as i32).contains(&format) {
        return "unknown".to_owned();
    }
    // SAFETY: the number was just checked to be one of the enum's; descriptors are static.
    unsafe {
        let name = ffi::av_get_pix_fmt_name(std::mem::transmute::<i32, ffi::AVPixelFormat>(format));
        if name.is_null() {
            return "unknown".to_owned();
        }
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// Numerator and denominator.
pub(crate) fn parts(rational: Rational) -> (i32, i32) {
    (rational.numerator(), rational.denominator())
}
