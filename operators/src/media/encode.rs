//! Writes a rectangle of a video as a video of its own.
//!
//! The file is decoded once; each picture is stood upright, stretched to square pixels, cut and encoded, at the time at
//! which it was shown (uneven times stay uneven). The best audio stream comes along: copied packet by packet where
//! the container can hold it, else encoded anew. Nothing but the output file is written, and a file that was not
//! finished is removed.

use std::path::{Path, PathBuf};

use ffmpeg_next::{Packet, frame};

use super::decode::CropJob;
use super::encode_audio::AudioTrack;
use super::encode_video::VideoTrack;
use super::geometry::CropRect;
use super::info::{describe, parts};
use super::medium::{Medium, Meter};
use super::output::{Container, Output, check_pixel_format, find_encoder};
use super::reader::{Faults, FrameReader, next_packet};
use super::source::Source;
use super::{Interrupt, MediaError, VideoInfo};

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
    /// Threads of the decoder and of the filters, each; 0 takes one for each core. The encoder always has one, so that a
    /// crop does not depend on how many cores a machine has.
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

/// Encodes the part `rect` (display pixels; even offsets and sizes, inside the video) of a video into the file
/// `out`, whose extension names the container: mp4, m4v, mov, mkv or webm.
///
/// # Errors
/// As for decoding; `Crop` for a rectangle that is odd or sticks out; `Encode` for an unknown container or encoder, or
/// one that refuses; `Io` when the disk does.
pub fn crop_to_file(
    medium: impl Into<Medium>,
    rect: CropRect,
    out: &Path,
    options: &EncodeOptions,
    interrupt: &Interrupt,
) -> Result<EncodedInfo, MediaError> {
    let medium = medium.into();
    let job = CropJob {
        rect,
        out: out.to_owned(),
        options: options.clone(),
    };
    let (faults, encoded) = play(
        &medium,
        &Meter::default(),
        options.threads,
        Some(&job),
        interrupt,
        |_| Ok(()),
    )?;
    encoded.ok_or_else(|| MediaError::decode(medium.name(), faults.reason()))
}

/// Decodes a whole video once, shows each picture to `each`, and encodes the crop on the way, if there is one to make.
pub(crate) fn play(
    medium: &Medium,
    meter: &Meter,
    threads: usize,
    crop: Option<&CropJob>,
    interrupt: &Interrupt,
    mut each: impl FnMut(&frame::Video) -> Result<(), MediaError>,
) -> Result<(Faults, Option<EncodedInfo>), MediaError> {
    let name = medium.name();
    let mut source = Source::open(medium, interrupt, meter)?;
    let info = describe(&source)?;
    let mut writer = match crop {
        Some(job) => Some(CropWriter::new(&mut source, &info, job)?),
        None => None,
    };
    let stream = source.video_stream();
    let time_base = parts(stream.time_base());
    let mut reader = FrameReader::new(name, stream.parameters(), time_base, threads)?;
    let mut faults = Faults::default();
    loop {
        let packet = next_packet(&mut source, &mut faults, interrupt)?;
        match packet {
            Some(packet) if packet.stream() != source.video => {
                if let Some(writer) = &mut writer {
                    writer.sound(packet)?;
                }
            }
            packet => {
                reader.decode(name, packet.as_ref(), interrupt, |picture| {
                    each(picture)?;
                    match &mut writer {
                        Some(writer) => writer.picture(picture),
                        None => Ok(()),
                    }
                })?;
                if packet.is_none() {
                    break;
                }
            }
        }
    }
    faults.count += reader.faults.count;
    faults.first = reader.faults.first.or(faults.first);
    let encoded = match writer {
        Some(writer) if writer.video.frames() > 0 => Some(writer.finish(interrupt)?),
        _ => None,
    };
    Ok((faults, encoded))
}

/// Makes the file of a crop, from the pictures and the sound of a source.
struct CropWriter<'a> {
    unfinished: Unfinished,
    output: Output,
    video: VideoTrack<'a>,
    audio: Option<AudioTrack>,
    job: &'a CropJob,
}

impl<'a> CropWriter<'a> {
    /// Begins the file; from here on the source also gives the sound.
    fn new(source: &mut Source, info: &'a VideoInfo, job: &'a CropJob) -> Result<Self, MediaError> {
        let CropJob { rect, out, options } = job;
        info.view(Some(*rect))?;
        if [rect.x, rect.y, rect.width, rect.height]
            .iter()
            .any(|side| side % 2 != 0)
        {
            return Err(MediaError::Crop {
                rect: *rect,
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
        let audio = match source.audio() {
            Some(index) => AudioTrack::new(source, index, &mut output)?,
            None => None,
        };
        if let Some(track) = &audio {
            source.keep(track.input);
        }
        let video = VideoTrack::new(
            encoder,
            options,
            info,
            *rect,
            parts(source.video_stream().time_base()),
            source.start_ticks(source.video),
        );
        Ok(Self {
            unfinished,
            output,
            video,
            audio,
            job,
        })
    }

    /// Takes a packet of another stream than the video.
    fn sound(&mut self, packet: Packet) -> Result<(), MediaError> {
        match &mut self.audio {
            Some(track) if track.input == packet.stream() => track.push(packet, &mut self.output),
            _ => Ok(()),
        }
    }

    fn picture(&mut self, picture: &frame::Video) -> Result<(), MediaError> {
        self.video.push(picture, &mut self.output)?;
        match &mut self.audio {
            Some(track) if self.output.has_begun() => track.write_held_back(&mut self.output),
            _ => Ok(()),
        }
    }

    fn finish(mut self, interrupt: &Interrupt) -> Result<EncodedInfo, MediaError> {
        let out = &self.job.out;
        self.video.finish(&mut self.output)?;
        let audio = match self.audio {
            Some(track) => Some(track.finish(&mut self.output)?),
            None => None,
        };
        interrupt.check(|| format!("writing {}", out.display()))?;
        self.output.finish()?;
        let bytes = std::fs::metadata(out)
            .map_err(|error| MediaError::io("read", out, error))?
            .len();
        self.unfinished.keep();
        Ok(EncodedInfo {
            width: self.job.rect.width,
            height: self.job.rect.height,
            frames: self.video.frames(),
            bytes,
            audio,
        })
    }
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
