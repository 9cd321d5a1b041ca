//! Packets out of a container, frames out of packets, with broken ones counted and passed over.

use std::io;
use std::path::Path;

use ffmpeg_next::{Error, Packet, codec, decoder, ffi, frame};

use super::bitstream::Inspector;
use super::geometry::MAX_PIXELS;
use super::info::codec_name;
use super::route::{Index, Sample};
use super::source::Source;
use super::timeline::Stamp;
use super::{Interrupt, MediaError};

/// Broken packets in a row after which a container is taken to be at its end.
const MAX_BROKEN_READS: usize = 10_000;
/// Errors a decoder may give for one packet, or while it is emptied.
const MAX_ERRORS_PER_PACKET: usize = 256;

/// What broke on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// How many packets were unreadable or did not decode.
    pub count: u64,
    /// What ffmpeg said of the first.
    pub first: Option<Error>,
}

impl Faults {
    fn note(&mut self, error: Error) {
        self.count += 1;
        self.first.get_or_insert(error);
    }

    /// The reason for a file of which nothing decodes.
    pub fn reason(&self) -> String {
        match self.first {
            Some(error) => format!("no frame decodes: {}", super::error::lowercase(error)),
            None => "no frame decodes: the stream is empty".to_owned(),
        }
    }
}

/// The next packet of the streams that are kept; `None` at the end. A container that breaks off ends there.
pub(crate) fn next_packet(
    source: &mut Source,
    faults: &mut Faults,
    interrupt: &Interrupt,
) -> Result<Option<Packet>, MediaError> {
    let mut broken = 0;
    loop {
        interrupt.check(|| format!("reading {}", source.path.display()))?;
        let mut packet = Packet::empty();
        match packet.read(&mut source.input) {
            // An empty packet would tell the decoder that the stream is over.
            Ok(()) if packet.size() == 0 => {}
            Ok(()) => return Ok(Some(packet)),
            Err(Error::Eof) => return Ok(None),
            Err(Error::InvalidData) if broken < MAX_BROKEN_READS => {
                broken += 1;
                faults.note(Error::InvalidData);
            }
            Err(error) => {
                interrupt.check(|| format!("reading {}", source.path.display()))?;
                if let Some(reason) = disk_error(error) {
                    return Err(MediaError::Io {
                        action: "read",
                        path: source.path.clone(),
                        source: reason,
                    });
                }
                faults.note(error);
                return Ok(None);
            }
        }
    }
}

/// What the file system answered, if that is what went wrong: such a file is not shorter than it says, it could not be read.
fn disk_error(error: Error) -> Option<io::Error> {
    const DISK: [i32; 7] = [
        libc::EIO,
        libc::ESTALE,
        libc::ETIMEDOUT,
        libc::ENXIO,
        libc::EREMOTEIO,
        libc::ENOTCONN,
        libc::ECONNRESET,
    ];
    match error {
        Error::Other { errno } if DISK.contains(&errno) => {
            Some(io::Error::from_raw_os_error(errno))
        }
        _ => None,
    }
}

fn inspector(source: &Source) -> Option<Inspector> {
    let parameters = source.video_stream().parameters();
    // SAFETY: fields of live parameters; the header is as long as its size says, and is copied.
    let (header, fields) = unsafe {
        let raw = &*parameters.as_ptr();
        let header = match (raw.extradata.is_null(), usize::try_from(raw.extradata_size)) {
            (false, Ok(length)) => std::slice::from_raw_parts(raw.extradata, length).to_vec(),
            _ => Vec::new(),
        };
        (header, (&raw const raw.field_order).cast::<i32>().read())
    };
    // Two fields may make up one frame, each a packet.
    let is_progressive = fields == ffi::AVFieldOrder::AV_FIELD_UNKNOWN as i32
        || fields == ffi::AVFieldOrder::AV_FIELD_PROGRESSIVE as i32;
    if !is_progressive {
        return None;
    }
    Inspector::new(parameters.id(), &header)
}

/// The stamps of the frames that the packets promise, in order of presentation. Nothing is decoded. Packets that an edit
/// list cuts away are left out.
///
/// With `index`, also an index of all packets, if there is no doubt about any of them.
pub(crate) fn scan(
    source: &mut Source,
    index: bool,
    interrupt: &Interrupt,
) -> Result<(Vec<Stamp>, Option<Index>), MediaError> {
    let mut inspector = if index { inspector(source) } else { None };
    let mut faults = Faults::default();
    let mut stamps = Vec::new();
    let mut samples = Vec::new();
    while let Some(packet) = next_packet(source, &mut faults, interrupt)? {
        if packet.stream() != source.video {
            continue;
        }
        // SAFETY: one number of a live packet; the wrapper's flags leave these bits out in some versions.
        let flags = unsafe { (*codec::packet::Ref::as_ptr(&packet)).flags };
        let stamp = Stamp {
            time: packet.pts().or(packet.dts()),
            duration: packet.duration(),
        };
        let hidden = flags & ffi::AV_PKT_FLAG_DISCARD != 0;
        if let Some(inspect) = &mut inspector {
            let plain = flags & ffi::AV_PKT_FLAG_CORRUPT == 0
                && packet.pts().is_some()
                && !changes_parameters(&packet);
            match packet
                .data()
                .filter(|_| plain)
                .and_then(|data| inspect.read(data))
            {
                Some(picture) => samples.push(Sample {
                    stamp,
                    bytes: packet.size(),
                    hidden,
                    picture,
                }),
                None => inspector = None,
            }
        }
        if !hidden {
            stamps.push(stamp);
        }
    }
    // A stream without any times keeps its order, for the sort is stable; one with some is only ever predicted wrong.
    stamps.sort_by_key(|stamp| stamp.time);
    let is_sound = inspector.is_some() && faults.count == 0;
    let index = is_sound.then_some(samples).and_then(Index::new);
    Ok((stamps, index))
}

/// Whether a packet brings what a decoder has to know of those after it.
fn changes_parameters(packet: &Packet) -> bool {
    use codec::packet::side_data::Type;
    packet
        .side_data()
        .any(|data| matches!(data.kind(), Type::NewExtraData | Type::ParamChange))
}

/// A decoder that lives through broken packets.
pub(crate) struct FrameReader {
    decoder: decoder::Video,
    frame: frame::Video,
    pub faults: Faults,
}

impl FrameReader {
    /// A decoder for the source's video stream, with this many threads (0: one for each core).
    pub fn new(source: &Source, threads: usize) -> Result<Self, MediaError> {
        let stream = source.video_stream();
        let failed = |error| MediaError::decode(&source.path, error);
        let mut context = codec::Context::from_parameters(stream.parameters()).map_err(failed)?;
        context.set_threading(codec::threading::Config {
            kind: codec::threading::Type::Frame,
            count: threads,
            ..Default::default()
        });
        // SAFETY: a limit for callers to set before the decoder is opened.
        unsafe { (*context.as_mut_ptr()).max_pixels = MAX_PIXELS as i64 };
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(stream.time_base());
        let decoder = decoder.video().map_err(|error| match error {
            Error::DecoderNotFound => MediaError::unsupported(
                &source.path,
                format!(
                    "the codec '{}': this ffmpeg has no decoder for it",
                    codec_name(stream.parameters().id())
                ),
            ),
            error => failed(error),
        })?;
        Ok(Self {
            decoder,
            frame: frame::Video::empty(),
            faults: Faults::default(),
        })
    }

    /// Forgets all pictures, to begin anew where nothing refers to them.
    pub fn begin(&mut self) {
        self.decoder.flush();
    }

    /// Decodes one packet, or with `None` empties the decoder, and hands on the frames that come out.
    pub fn decode(
        &mut self,
        path: &Path,
        packet: Option<&Packet>,
        interrupt: &Interrupt,
        mut each: impl FnMut(&frame::Video) -> Result<(), MediaError>,
    ) -> Result<(), MediaError> {
        loop {
            let sent = match packet {
                Some(packet) => self.decoder.send_packet(packet),
                None => self.decoder.send_eof(),
            };
            match sent {
                Ok(()) | Err(Error::Eof) => break,
                Err(Error::Other {
                    errno: libc::EAGAIN,
                }) => {
                    if !self.receive(path, interrupt, &mut each)? {
                        break;
                    }
                }
                Err(error) => {
                    self.faults.note(error);
                    break;
                }
            }
        }
        self.receive(path, interrupt, &mut each)?;
        Ok(())
    }

    /// Takes all frames that are ready. Returns whether there were any.
    fn receive(
        &mut self,
        path: &Path,
        interrupt: &Interrupt,
        each: &mut impl FnMut(&frame::Video) -> Result<(), MediaError>,
    ) -> Result<bool, MediaError> {
        let (mut any, mut errors) = (false, 0);
        loop {
            interrupt.check(|| format!("decoding {}", path.display()))?;
            match self.decoder.receive_frame(&mut self.frame) {
                Ok(()) => {
                    any = true;
                    each(&self.frame)?;
                }
                Err(
                    Error::Other {
                        errno: libc::EAGAIN,
                    }
                    | Error::Eof,
                ) => return Ok(any),
                Err(error) => {
                    self.faults.note(error);
                    errors += 1;
                    if errors == MAX_ERRORS_PER_PACKET {
                        return Ok(any);
                    }
                }
            }
        }
    }
}
