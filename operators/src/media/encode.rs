//! Writes a rectangle of a video as a video of its own.
//!
//! The file is decoded once; each picture is stood upright, stretched to square pixels, cut and encoded, at the time at
//! which it was shown (uneven times stay uneven). The best audio stream comes along: copied packet by packet where
//! the container can hold it, else encoded anew. Nothing but the output file is written, and a file that was not
//! finished is removed.

use std::path::{Path, PathBuf};

use super::encode_audio::AudioTrack;
use super::encode_video::VideoTrack;
use super::geometry::CropRect;
use super::info::{describe, parts};
use super::output::{Container, Output, check_pixel_format, find_encoder};
use super::reader::{Faults, FrameReader, next_packet};
use super::source::Source;
use super::{Interrupt, MediaError};

/// How a crop is encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// ffmpeg's name of the video encoder.
    pub encoder: String,
    /// Its speed preset, for encoders that have presets.
    pub preset: String,
    /// Constant quality, on the encoder's own scale; for libx264 0 (lossless) to 51.
    pub quality: u32,
    /// ffmpeg's name of the pixel format to encode.
    pub pixel_format: String,
    /// Threads of the decoder, the filters and the encoder, each; 0 takes one for each core.
    pub threads: usize,
}

impl Default for EncodeOptions {
    /// H.264 that plays everywhere, quickly and hardly worse than what was read; one thread.
    fn default() -> Self {
        Self {
            encoder: "libx264".to_owned(),
            preset: "veryfast".to_owned(),
            quality: 18,
            pixel_format: "yuv420p".to_owned(),
            threads: 1,
        }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodedInfo {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames encoded.
    pub frames: u64,
    /// Size of the file.
    pub bytes: u64,
    /// The sound: ffmpeg's name of its codec, and whether it was copied as it was.
    pub audio: Option<AudioInfo>,
}

/// The sound of what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioInfo {
    /// ffmpeg's name of the codec.
    pub codec: String,
    /// Whether its packets are those of the source.
    pub copied: bool,
}

/// Encodes the part `rect` (display pixels; even offsets and sizes, inside the video) of the video at `path` into the file
/// `out`, whose extension names the container: mp4, m4v, mov, mkv or webm.
///
/// # Errors
/// As for decoding; `Crop` for a rectangle that is odd or sticks out; `Encode` for an unknown container or encoder, or
/// one that refuses; `Io` when the disk does.
pub fn crop_to_file(
    path: &Path,
    rect: CropRect,
    out: &Path,
    options: &EncodeOptions,
    interrupt: &Interrupt,
) -> Result<EncodedInfo, MediaError> {
    let mut source = Source::open(path, interrupt)?;
    let info = describe(&source)?;
    info.view(Some(rect))?;
    if [rect.x, rect.y, rect.width, rect.height]
        .iter()
        .any(|side| side % 2 != 0)
    {
        return Err(MediaError::Crop {
            rect,
            width: info.width,
            height: info.height,
            reason: "its offsets and sizes must be even",
        });
    }
    let container = Container::of(out)?;
    let encoder = find_encoder(out, &options.encoder)?;
    check_pixel_format(out, &options.pixel_format)?;
    container.check_holds(out, encoder)?;

    let unfinished = Unfinished::create(out)?;
    let mut output = Output::new(out, container)?;
    let mut audio = match source.audio() {
        Some(index) => AudioTrack::new(&source, index, &mut output)?,
        None => None,
    };
    if let Some(track) = &audio {
        source.keep(track.input);
    }
    let mut reader = FrameReader::new(&source, options.threads)?;
    let time_base = parts(source.video_stream().time_base());
    let mut video = VideoTrack::new(
        encoder,
        options,
        &info,
        rect,
        time_base,
        source.start_ticks(source.video),
    );
    let mut faults = Faults::default();
    loop {
        let packet = next_packet(&mut source, &mut faults, interrupt)?;
        match packet {
            Some(packet) if packet.stream() != source.video => {
                if let Some(track) = audio
                    .as_mut()
                    .filter(|track| track.input == packet.stream())
                {
                    track.push(packet, &mut output)?;
                }
            }
            packet => {
                reader.decode(path, packet.as_ref(), interrupt, |picture| {
                    video.push(picture, &mut output)?;
                    match &mut audio {
                        Some(track) if output.has_begun() => track.write_held_back(&mut output),
                        _ => Ok(()),
                    }
                })?;
                if packet.is_none() {
                    break;
                }
            }
        }
    }
    if video.frames() == 0 {
        faults.first = reader.faults.first.or(faults.first);
        return Err(MediaError::decode(path, faults.reason()));
    }
    video.finish(&mut output)?;
    let audio = match audio {
        Some(track) => Some(track.finish(&mut output)?),
        None => None,
    };
    interrupt.check(|| format!("writing {}", out.display()))?;
    output.finish()?;
    let bytes = std::fs::metadata(out)
        .map_err(|error| MediaError::io("read", out, error))?
        .len();
    unfinished.keep();
    Ok(EncodedInfo {
        width: rect.width,
        height: rect.height,
        frames: video.frames(),
        bytes,
        audio,
    })
}

/// A file that is removed unless it is kept.
pub(crate) struct Unfinished(Option<PathBuf>);

impl Unfinished {
    pub fn create(path: &Path) -> Result<Self, MediaError> {
        std::fs::File::create(path).map_err(|error| MediaError::io("write", path, error))?;
        Ok(Self(Some(path.to_owned())))
    }

    pub fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(path) = &self.0
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(path = %path.display(), %error, "an unfinished file stays behind");
        }
    }
}
