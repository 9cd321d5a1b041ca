//! Opens a video file that is not to be trusted.
//!
//! ffmpeg gets an open reader rather than a name, no protocol to open anything else with, and a list of containers it
//! may take the bytes for. Playlists and the like (hls, dash, concat, sdp, image sequences), which make ffmpeg read
//! other files or talk to the network, are not on the list; neither are pictures, sound and subtitles. External tracks
//! of QuickTime files are never followed (ffmpeg's default).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Once;

use ffmpeg_next::format::context::{Input, StreamIo};
use ffmpeg_next::{Dictionary, Error, Packet, ffi, format, media, util};

use super::medium::{Medium, Meter};
use super::{Interrupt, MediaError};

/// The containers that are read, by the names ffmpeg has for them.
pub const CONTAINERS: &[&str] = &[
    "mov",
    "mp4",
    "matroska",
    "webm",
    "avi",
    "mpeg",
    "mpegts",
    "mpegvideo",
    "flv",
    "ogg",
    "asf",
    "rm",
    "gif",
    "ivf",
    "nut",
    "mxf",
    "dv",
    "wtv",
    "h264",
    "hevc",
    "obu",
    "m4v",
];

/// No single piece of memory ffmpeg asks for may be larger: a plane of the largest picture allowed, at 16 bits, twice.
const MAX_ALLOCATION_BYTES: usize = 512 << 20;

/// An opened container and its video stream. All other streams are left unread unless [`keep`](Source::keep)ed.
pub(crate) struct Source {
    pub input: Input,
    /// What messages call it.
    pub path: PathBuf,
    /// Index of the video stream.
    pub video: usize,
    meter: Meter,
    /// Packets that were read, and are to be handed out first.
    put_back: VecDeque<Packet>,
}

impl Source {
    /// Opens a medium and finds its video stream. What is read of it is added to `meter`.
    ///
    /// # Errors
    /// `Io` when the file cannot be read, `Unsupported` for a container that is not in [`CONTAINERS`], `NoVideo`, `Open`
    /// for all that ffmpeg cannot make sense of, `Interrupted`.
    pub fn open(medium: &Medium, interrupt: &Interrupt, meter: &Meter) -> Result<Self, MediaError> {
        start_ffmpeg();
        let path = medium.name();
        let during = || format!("opening {}", path.display());
        interrupt.check(during)?;
        let asked = interrupt.clone();
        let mut input = format::input_from_stream_with_interrupt(
            stream(medium, interrupt, meter)?,
            None,
            Some(Dictionary::from_iter([
                ("format_whitelist", CONTAINERS.join(",").as_str()),
                ("protocol_whitelist", "none"),
            ])),
            move || asked.is_raised(),
        )
        .map_err(|error| match meter.check(path) {
            Ok(()) => why_not(medium, error, interrupt),
            Err(unreadable) => unreadable,
        })
        .map_err(|error| error.or_interrupted(interrupt, &during()))?;

        let video = best_video(&input).ok_or_else(|| MediaError::NoVideo {
            path: path.to_owned(),
        })?;
        for mut stream in input.streams_mut() {
            if stream.index() != video {
                set_discard(&mut stream, ffi::AVDiscard::AVDISCARD_ALL);
            }
        }
        Ok(Self {
            input,
            path: path.to_owned(),
            video,
            meter: meter.clone(),
            put_back: VecDeque::new(),
        })
    }

    /// Fails if the medium could not be read.
    pub fn check(&self) -> Result<(), MediaError> {
        self.meter.check(&self.path)
    }

    /// The next packet of any stream that is kept.
    pub fn next(&mut self) -> Result<Packet, Error> {
        if let Some(packet) = self.put_back.pop_front() {
            return Ok(packet);
        }
        let mut packet = Packet::empty();
        packet.read(&mut self.input)?;
        Ok(packet)
    }

    /// Hands these packets out again, before all others.
    pub fn put_back(&mut self, packets: VecDeque<Packet>) {
        self.put_back = packets;
    }

    /// How many packets the index of its video has.
    pub fn index_length(&self) -> usize {
        // SAFETY: reads a number of a live stream.
        let count = unsafe {
            ffi::avformat_index_get_entries_count(self.video_stream().as_ptr().cast_mut())
        };
        usize::try_from(count).unwrap_or(0)
    }

    /// The entry of the index of its video for the packet that is decoded as number `at`, from 0.
    pub fn index_entry(&self, at: usize) -> Option<ffi::AVIndexEntry> {
        let at = i32::try_from(at).ok()?;
        // SAFETY: null beyond the end; the entry is valid until the next call about the stream, and is copied before.
        unsafe {
            let stream = self.video_stream().as_ptr().cast_mut();
            ffi::avformat_index_get_entry(stream, at).as_ref().copied()
        }
    }

    /// Whether it is an mp4 or QuickTime file.
    pub fn is_mp4(&self) -> bool {
        let format = self.input.format();
        format.name().split(',').any(|name| name == "mp4")
    }

    /// The id of the video's track in an mp4 or QuickTime file.
    pub fn track_id(&self) -> Option<u32> {
        u32::try_from(self.video_stream().id()).ok()
    }

    /// Also reads the stream `index`.
    pub fn keep(&mut self, index: usize) {
        if let Some(mut stream) = self.input.stream_mut(index) {
            set_discard(&mut stream, ffi::AVDiscard::AVDISCARD_DEFAULT);
        }
    }

    /// Index of the best audio stream.
    pub fn audio(&self) -> Option<usize> {
        self.input
            .streams()
            .best(media::Type::Audio)
            .map(|stream| stream.index())
    }

    /// The tick of the stream `index` at which the file begins to be shown.
    pub fn start_ticks(&self, index: usize) -> i64 {
        // SAFETY: one number of a live context.
        let start = unsafe { (*self.input.as_ptr()).start_time };
        let Some(stream) = self
            .input
            .stream(index)
            .filter(|_| start != ffi::AV_NOPTS_VALUE)
        else {
            return 0;
        };
        // SAFETY: plain arithmetic.
        unsafe { ffi::av_rescale_q(start, ffi::AV_TIME_BASE_Q, stream.time_base().into()) }
    }

    /// The video stream.
    pub fn video_stream(&self) -> format::stream::Stream<'_> {
        // The index came from this input, whose streams are only ever added to.
        self.input
            .stream(self.video)
            .expect("the video stream stays")
    }
}

/// Readies ffmpeg, once a process: quiet (its reasons come back as errors), and bounded in what it allocates.
pub(crate) fn start_ffmpeg() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Registers devices and networking in old versions; does nothing that can fail in those supported here.
        if let Err(error) = ffmpeg_next::init() {
            tracing::error!(%error, "ffmpeg does not start");
        }
        util::log::set_level(util::log::Level::Quiet);
        // SAFETY: sets one number that ffmpeg reads atomically.
        unsafe { ffi::av_max_alloc(MAX_ALLOCATION_BYTES) };
    });
}

fn stream(medium: &Medium, interrupt: &Interrupt, meter: &Meter) -> Result<StreamIo, MediaError> {
    let reader = medium.reader(interrupt, meter)?;
    StreamIo::from_read_seek(reader).map_err(|error| MediaError::open(medium.name(), error))
}

/// A stream of moving pictures: not the cover of a song.
fn best_video(input: &Input) -> Option<usize> {
    let is_cover = |stream: &format::stream::Stream<'_>| {
        stream
            .disposition()
            .contains(format::stream::Disposition::ATTACHED_PIC)
    };
    let best = input.streams().best(media::Type::Video)?;
    if !is_cover(&best) {
        return Some(best.index());
    }
    input
        .streams()
        .find(|stream| stream.parameters().medium() == media::Type::Video && !is_cover(stream))
        .map(|stream| stream.index())
}

fn set_discard(stream: &mut format::stream::StreamMut<'_>, discard: ffi::AVDiscard) {
    // SAFETY: the pointer is that of a live stream, and `discard` is a field for callers to set.
    unsafe { (*stream.as_mut_ptr()).discard = discard };
}

/// ffmpeg answers a container that is not on the list with "invalid argument": say which it was.
fn why_not(medium: &Medium, error: Error, interrupt: &Interrupt) -> MediaError {
    let path = medium.name();
    if (error
        == Error::Other {
            errno: libc::EINVAL,
        })
        && let Some(name) = container_name(medium, interrupt)
        && !name.split(',').any(|name| CONTAINERS.contains(&name))
    {
        return MediaError::unsupported(
            path,
            format!(
                "a container of kind '{name}'; allowed are {}",
                CONTAINERS.join(", ")
            ),
        );
    }
    MediaError::open(path, error)
}

/// What ffmpeg takes the first bytes of a file for.
fn container_name(medium: &Medium, interrupt: &Interrupt) -> Option<String> {
    let mut io = stream(medium, interrupt, &Meter::default()).ok()?;
    let mut container: *const ffi::AVInputFormat = std::ptr::null();
    // SAFETY: `io` outlives the call; ffmpeg only reads from it, and stores a pointer to one of its static formats.
    unsafe {
        let score = ffi::av_probe_input_buffer2(
            io.as_mut_ptr(),
            &mut container,
            c"".as_ptr(),
            std::ptr::null_mut(),
            0,
            0,
        );
        if score < 0 || container.is_null() {
            return None;
        }
        let name = std::ffi::CStr::from_ptr((*container).name);
        Some(name.to_string_lossy().into_owned())
    }
}
