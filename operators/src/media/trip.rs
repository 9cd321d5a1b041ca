//! Follows a route: decodes the packets that lead to the wanted frames, and nothing else.
//!
//! Where the container's index knows the packets' places, only those are read, straight from the file. Otherwise all packets
//! are read in turn, and most of them dropped.

use std::iter;
use std::ops::Range;
use std::path::Path;

use ffmpeg_next::{Packet, codec, ffi};

use super::decode::{Collector, DecodeOptions, threads_of};
use super::medium::{Medium, Meter};
use super::reader::{Faults, FrameReader, next_packet};
use super::route::{Guide, Index, Route, Sample, Step};
use super::source::Source;
use super::survey::Survey;
use super::window::Window;
use super::{Interrupt, MediaError};

/// Decodes by a route and lets the collector see each frame. Returns how many packets were left, or `None` if the stream is
/// not what the route was planned for: then nothing that the collector took can be believed.
///
/// # Errors
/// `Interrupted`, and `Io` when the medium cannot be read. Whether the file is to blame for anything else, its full decode
/// shows.
pub(crate) fn follow(
    medium: &Medium,
    meter: &Meter,
    survey: &Survey,
    route: &Route,
    options: &DecodeOptions,
    collector: &mut Collector<'_>,
    interrupt: &Interrupt,
) -> Result<Option<usize>, MediaError> {
    let Some(index) = &survey.index else {
        return Ok(None);
    };
    let trip = Trip {
        medium,
        meter,
        survey,
        index,
        route,
        interrupt,
    };
    match trip.go_in_shares(options.threads, collector) {
        Ok(left) => Ok(Some(left)),
        Err(error @ (MediaError::Interrupted { .. } | MediaError::Io { .. })) => Err(error),
        Err(error) => {
            tracing::debug!(video = %medium, %error, "a route was given up");
            Ok(None)
        }
    }
}

struct Trip<'a> {
    medium: &'a Medium,
    meter: &'a Meter,
    survey: &'a Survey,
    index: &'a Index,
    route: &'a Route,
    interrupt: &'a Interrupt,
}

impl Trip<'_> {
    /// Goes the whole way. Where decoding begins anew on the way, and packets need not be read in turn, several decoders share
    /// it: one with many threads would have to fill and empty them at each beginning.
    fn go_in_shares(
        &self,
        threads: usize,
        collector: &mut Collector<'_>,
    ) -> Result<usize, MediaError> {
        let threads = threads_of(threads);
        let shares = match self.index.has_places() {
            true => self.route.shares(threads),
            false => iter::once(0..self.index.samples.len()).collect(),
        };
        let Some((first, others)) = shares
            .split_first()
            .filter(|(_, others)| !others.is_empty())
        else {
            return self.go(0..self.index.samples.len(), threads, collector);
        };
        let wanted = collector.wanted;
        std::thread::scope(|scope| {
            let helpers: Vec<_> = others
                .iter()
                .map(|share| {
                    scope.spawn(|| {
                        let mut collector = Collector::new(wanted);
                        let left = self.go(share.clone(), 1, &mut collector)?;
                        Ok((left, collector.kept))
                    })
                })
                .collect();
            let mut left = self.go(first.clone(), 1, collector);
            for helper in helpers {
                let other = helper.join().unwrap_or_else(|_| Err(self.astray()));
                left = left.and_then(|left| {
                    let (other, kept) = other?;
                    collector.kept.extend(kept);
                    Ok(left + other)
                });
            }
            left
        })
    }

    /// Goes a part of the way that begins where decoding begins.
    fn go(
        &self,
        share: Range<usize>,
        threads: usize,
        collector: &mut Collector<'_>,
    ) -> Result<usize, MediaError> {
        let mut packets = Packets::open(self)?;
        let mut reader = self.survey.decoder(self.medium, threads)?;
        let mut guide = Guide::new(self.index, self.route);
        let end = share.end;
        for at in share {
            let (step, sample) = (self.route.steps[at], &self.index.samples[at]);
            if step == Step::Leave && packets.can_pass() {
                guide.leave();
                continue;
            }
            self.interrupt
                .check(|| format!("reading {}", self.medium))?;
            let packet = packets
                .take(sample, self.end_of_run(at), self.interrupt)?
                .ok_or_else(|| self.astray())?;
            let picture = sample
                .picture
                .or_else(|| packets.look(&packet))
                .ok_or_else(|| self.astray())?;
            if step == Step::Begin {
                self.feed(&mut reader, &mut guide, None, collector)?;
                reader.begin();
            }
            if guide.step(at, picture).map_err(|_| self.astray())? {
                self.feed(&mut reader, &mut guide, Some(&packet), collector)?;
            }
        }
        if end == self.index.samples.len() && !packets.is_over(self.interrupt)? {
            return Err(self.astray());
        }
        self.feed(&mut reader, &mut guide, None, collector)?;
        guide.arrive().map_err(|_| self.astray())
    }

    /// Where the last packet ends that is read together with that at `at`.
    fn end_of_run(&self, at: usize) -> u64 {
        let steps = self.route.steps[at..].iter();
        let run = steps.take_while(|&&step| step != Step::Leave).take(64);
        let last = &self.index.samples[at + run.count().max(1) - 1];
        last.offset.map_or(0, |offset| offset + last.bytes as u64)
    }

    /// Decodes a packet, or with `None` empties the decoder, and keeps the wanted frames.
    fn feed(
        &self,
        reader: &mut FrameReader,
        guide: &mut Guide<'_>,
        packet: Option<&Packet>,
        collector: &mut Collector<'_>,
    ) -> Result<(), MediaError> {
        reader.decode(
            self.medium.name(),
            packet,
            self.interrupt,
            |picture| match guide.frame(picture).map_err(|_| self.astray())? {
                Some(number) => collector.keep(number, picture),
                None => Ok(()),
            },
        )?;
        match reader.faults.count {
            0 => Ok(()),
            _ => Err(self.astray()),
        }
    }

    fn astray(&self) -> MediaError {
        MediaError::decode(
            self.medium.name(),
            "it is not what its index or its packets promise",
        )
    }
}

/// Where packets come from.
enum Packets<'a> {
    /// Their places in the file.
    Places {
        window: Window,
        meter: &'a Meter,
        name: &'a Path,
        /// For packets that were not looked at yet.
        inspector: Option<super::bitstream::Inspector>,
    },
    /// The container, one after the other.
    Container(Box<Source>),
}

impl<'a> Packets<'a> {
    fn open(trip: &Trip<'a>) -> Result<Self, MediaError> {
        let (medium, meter) = (trip.medium, trip.meter);
        if !trip.index.has_places() {
            let source = Source::open(medium, trip.interrupt, meter)?;
            return Ok(Self::Container(Box::new(source)));
        }
        Ok(Self::Places {
            window: Window::new(medium.reader(trip.interrupt, meter)?),
            meter,
            name: medium.name(),
            inspector: trip.survey.inspector(),
        })
    }

    /// Whether packets can be left unread.
    fn can_pass(&self) -> bool {
        matches!(self, Self::Places { .. })
    }

    /// The packet of a sample; `None` if there is another one, or none.
    fn take(
        &mut self,
        sample: &Sample,
        until: u64,
        interrupt: &Interrupt,
    ) -> Result<Option<Packet>, MediaError> {
        match self {
            Self::Places {
                window,
                meter,
                name,
                ..
            } => {
                let Some(offset) = sample.offset else {
                    return Ok(None);
                };
                let data = window.get(name, offset, sample.bytes, until, meter)?;
                Ok(data.map(|data| packet(data, sample)))
            }
            Self::Container(source) => {
                let packet = next_of_video(source, interrupt)?;
                Ok(packet.filter(|packet| {
                    let time = packet.pts().or(packet.dts());
                    (time, packet.size()) == (sample.stamp.time, sample.bytes)
                }))
            }
        }
    }

    /// What a packet says of itself.
    fn look(&mut self, packet: &Packet) -> Option<super::bitstream::Picture> {
        match self {
            Self::Places { inspector, .. } => inspector.as_mut()?.read(packet.data()?),
            Self::Container(_) => None,
        }
    }

    /// Whether there are no more packets than those of the index.
    fn is_over(&mut self, interrupt: &Interrupt) -> Result<bool, MediaError> {
        match self {
            Self::Places { .. } => Ok(true),
            Self::Container(source) => Ok(next_of_video(source, interrupt)?.is_none()),
        }
    }
}

/// The next packet of the video. A container that breaks is not at its end.
fn next_of_video(source: &mut Source, interrupt: &Interrupt) -> Result<Option<Packet>, MediaError> {
    let mut faults = Faults::default();
    loop {
        let packet = next_packet(source, &mut faults, interrupt)?;
        if faults.count > 0 {
            return Err(MediaError::decode(&source.path, faults.reason()));
        }
        match packet {
            Some(packet) if packet.stream() != source.video => {}
            packet => return Ok(packet),
        }
    }
}

/// The packet that ffmpeg would make of these bytes.
fn packet(data: &[u8], sample: &Sample) -> Packet {
    let mut packet = Packet::copy(data);
    packet.set_pts(sample.stamp.time);
    packet.set_dts(sample.decoded_at);
    packet.set_duration(sample.stamp.duration);
    if sample.key {
        packet.set_flags(codec::packet::Flags::KEY);
    }
    if sample.hidden {
        // SAFETY: one number of a live packet; the wrapper's flags leave this bit out in some versions.
        unsafe {
            let raw = codec::packet::Mut::as_mut_ptr(&mut packet);
            (*raw).flags |= ffi::AV_PKT_FLAG_DISCARD;
        }
    }
    packet
}
