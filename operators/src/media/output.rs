//! The file that is written: its container, its streams, its packets.

use std::path::{Path, PathBuf};

use ffmpeg_next::{Codec, Dictionary, Packet, Rational, codec, encoder, ffi, format};

use super::MediaError;

/// A container that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    /// The muxer's name.
    pub name: &'static str,
    /// The audio encoder for sound that the container cannot hold as it is.
    pub audio_encoder: &'static str,
}

const MP4: Container = Container {
    name: "mp4",
    audio_encoder: "aac",
};

/// By extension.
const CONTAINERS: &[(&str, Container)] = &[
    ("mp4", MP4),
    ("m4v", MP4),
    ("mov", Container { name: "mov", ..MP4 }),
    (
        "mkv",
        Container {
            name: "matroska",
            ..MP4
        },
    ),
    (
        "webm",
        Container {
            name: "webm",
            audio_encoder: "libopus",
        },
    ),
];

impl Container {
    /// The container for a file of this name.
    pub fn of(path: &Path) -> Result<Self, MediaError> {
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or("");
        CONTAINERS
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(extension))
            .map(|(_, container)| *container)
            .ok_or_else(|| {
                let known: Vec<&str> = CONTAINERS.iter().map(|(known, _)| *known).collect();
                refuse(
                    path,
                    format!(
                        "no container for extension '{extension}'; allowed are {}",
                        known.join(", ")
                    ),
                )
            })
    }

    /// Whether it can hold this codec.
    pub fn holds(self, id: codec::Id) -> bool {
        let Ok(name) = std::ffi::CString::new(self.name) else {
            return false;
        };
        // SAFETY: asks static tables; null strings are allowed.
        unsafe {
            let muxer = ffi::av_guess_format(name.as_ptr(), std::ptr::null(), std::ptr::null());
            !muxer.is_null()
                && ffi::avformat_query_codec(muxer, id.into(), ffi::FF_COMPLIANCE_NORMAL) == 1
        }
    }

    /// Refuses a video encoder whose codec does not go into this container.
    pub fn check_holds(self, path: &Path, encoder: Codec) -> Result<(), MediaError> {
        if self.holds(encoder.id()) {
            return Ok(());
        }
        Err(refuse(
            path,
            format!(
                "{} cannot hold what the encoder '{}' makes",
                self.name,
                encoder.name()
            ),
        ))
    }
}

/// The video encoder of this name, or an error that lists the encoders for H.264.
pub(crate) fn find_encoder(path: &Path, name: &str) -> Result<Codec, MediaError> {
    let known = !name.contains('\0');
    known
        .then(|| encoder::find_by_name(name))
        .flatten()
        .filter(Codec::is_video)
        .ok_or_else(|| {
            let available = h264_encoders().join(", ");
            refuse(
                path,
                format!(
                    "this ffmpeg has no video encoder '{name}'; its encoders for h264: {available}"
                ),
            )
        })
}

/// Refuses what is not the name of a pixel format.
pub(crate) fn check_pixel_format(path: &Path, name: &str) -> Result<(), MediaError> {
    let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric());
    if plain && name.parse::<format::Pixel>().is_ok() {
        return Ok(());
    }
    Err(refuse(
        path,
        format!("this ffmpeg has no pixel format '{name}'; yuv420p plays everywhere"),
    ))
}

fn h264_encoders() -> Vec<String> {
    let mut names = Vec::new();
    let mut cursor = std::ptr::null_mut();
    // SAFETY: walks ffmpeg's static list of codecs, as its documentation says to.
    unsafe {
        loop {
            let found = ffi::av_codec_iterate(&mut cursor);
            if found.is_null() {
                break;
            }
            let found = Codec::wrap(found.cast_mut());
            if found.is_encoder() && found.id() == codec::Id::H264 {
                names.push(found.name().to_owned());
            }
        }
    }
    names
}

fn refuse(path: &Path, reason: String) -> MediaError {
    MediaError::Encode {
        path: path.to_owned(),
        reason,
    }
}

/// A container that is being written.
pub(crate) struct Output {
    context: format::context::Output,
    pub container: Container,
    pub path: PathBuf,
    begun: bool,
}

impl Output {
    /// Opens `path` for writing.
    pub fn new(path: &Path, container: Container) -> Result<Self, MediaError> {
        // The prefix keeps ffmpeg from taking a name with a colon for an address.
        let name = path
            .to_str()
            .map(|name| format!("file:{name}"))
            .ok_or_else(|| refuse(path, "the name is not UTF-8".to_owned()))?;
        let context = format::output_as(&name, container.name)
            .map_err(|error| MediaError::encode(path, "opening it", error))?;
        Ok(Self {
            context,
            container,
            path: path.to_owned(),
            begun: false,
        })
    }

    /// What went wrong, with the file it is about.
    pub fn failed(&self, what: &str, error: ffmpeg_next::Error) -> MediaError {
        MediaError::encode(&self.path, what, error)
    }

    /// Whether encoders must keep their headers out of the packets.
    pub fn wants_global_headers(&self) -> bool {
        self.context
            .format()
            .flags()
            .contains(format::flag::Flags::GLOBAL_HEADER)
    }

    /// Adds a stream with these parameters. Returns its index.
    pub fn add_stream(
        &mut self,
        parameters: impl Into<codec::Parameters>,
        time_base: Rational,
    ) -> Result<usize, MediaError> {
        let path = &self.path;
        let mut stream = self
            .context
            .add_stream(encoder::find(codec::Id::None))
            .map_err(|error| MediaError::encode(path, "adding a stream", error))?;
        stream.set_parameters(parameters);
        stream.set_time_base(time_base);
        // SAFETY: a field of a live stream. The tag is the source container's name for the codec, not this one's.
        unsafe { (*(*stream.as_mut_ptr()).codecpar).codec_tag = 0 };
        Ok(stream.index())
    }

    /// Writes the header; all streams must be there.
    pub fn begin(&mut self) -> Result<(), MediaError> {
        let mut options = Dictionary::new();
        if matches!(self.container.name, "mp4" | "mov") {
            // Players can start before they have all of it.
            options.set("movflags", "+faststart");
        }
        self.context
            .write_header_with(options)
            .map_err(|error| MediaError::encode(&self.path, "writing the header", error))?;
        self.begun = true;
        Ok(())
    }

    /// Whether the header is written.
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Writes a packet whose times are in `time_base` to the stream `index`.
    pub fn write(
        &mut self,
        mut packet: Packet,
        index: usize,
        time_base: Rational,
    ) -> Result<(), MediaError> {
        let own = self
            .context
            .stream(index)
            .map_or(time_base, |stream| stream.time_base());
        packet.rescale_ts(time_base, own);
        packet.set_stream(index);
        packet.set_position(-1);
        packet
            .write_interleaved(&mut self.context)
            .map_err(|error| self.failed("writing a packet", error))
    }

    /// Writes what is left and the index.
    pub fn finish(mut self) -> Result<(), MediaError> {
        self.context
            .write_trailer()
            .map_err(|error| MediaError::encode(&self.path, "finishing the file", error))
    }
}
