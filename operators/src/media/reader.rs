//! Packets out of a container, frames out of packets, with broken ones counted and passed over.

use std::path::Path;

use ffmpeg_next::{Error, Packet, Rational, codec, decoder, frame};

use super::geometry::MAX_PIXELS;
use super::info::codec_name;
use super::source::Source;
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
        match source.next() {
            // An empty packet would tell the decoder that the stream is over.
            Ok(packet) if packet.size() == 0 => {}
            Ok(packet) => return Ok(Some(packet)),
            Err(error) => {
                interrupt.check(|| format!("reading {}", source.path.display()))?;
                source.check()?;
                match error {
                    Error::Eof => return Ok(None),
                    Error::InvalidData if broken < MAX_BROKEN_READS => {
                        broken += 1;
                        faults.note(error);
                    }
                    _ => {
                        faults.note(error);
                        return Ok(None);
                    }
                }
            }
        }
    }
}

/// A decoder that lives through broken packets.
pub(crate) struct FrameReader {
    decoder: decoder::Video,
    frame: frame::Video,
    pub faults: Faults,
}

impl FrameReader {
    /// A decoder for a stream with these parameters and seconds of a tick, with this many threads (0: one for each core).
    pub fn new(
        name: &Path,
        parameters: codec::Parameters,
        time_base: (i32, i32),
        threads: usize,
    ) -> Result<Self, MediaError> {
        let failed = |error| MediaError::decode(name, error);
        let codec = parameters.id();
        let mut context = codec::Context::from_parameters(parameters).map_err(failed)?;
        context.set_threading(codec::threading::Config {
            kind: codec::threading::Type::Frame,
            count: threads,
            ..Default::default()
        });
        // SAFETY: a limit for callers to set before the decoder is opened.
        unsafe { (*context.as_mut_ptr()).max_pixels = MAX_PIXELS as i64 };
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(Rational(time_base.0, time_base.1));
        let decoder = decoder.video().map_err(|error| match error {
            Error::DecoderNotFound => MediaError::unsupported(
                name,
                format!(
                    "the codec '{}': this ffmpeg has no decoder for it",
                    codec_name(codec)
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
