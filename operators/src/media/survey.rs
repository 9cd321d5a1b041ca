//! What is known of a video before any of it is decoded: its header, the frames that are promised, and where their packets
//! lie.
//!
//! **From the container's index**, where there is one that says it all: mp4 and QuickTime files have tables of every packet's
//! place, length, time of decoding and shift to its time of presentation. ffmpeg has read them (and applied edit lists); the
//! shifts, which it keeps to itself, are read once more ([`SampleTable`]). The two have to agree on every packet, and the
//! first packet has to be, byte for byte and tick for tick, the one ffmpeg hands out. Nothing else of the file is read, unless it is
//! so small that reading it costs nothing next to decoding: then every packet is looked at.
//!
//! **From the packets**, for all other containers: they are read once, without decoding.
//!
//! A survey is made once a video, however many stages look at it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ffmpeg_next::{Packet, codec, ffi};

use super::bitstream::Inspector;
use super::info::{describe, parts};
use super::medium::{Medium, Meter, Metered};
use super::reader::{Faults, FrameReader, next_packet};
use super::route::{Index, Sample};
use super::sample_table::{SampleTable, Tracks};
use super::source::Source;
use super::timeline::{Stamp, Timeline};
use super::window::Window;
use super::{Interrupt, MediaError, VideoInfo};

/// What is known of a video before it is decoded.
pub(crate) struct Survey {
    pub info: VideoInfo,
    /// Seconds of a tick, as numerator and denominator.
    pub time_base: (i32, i32),
    /// The frames that are promised, in order of presentation.
    pub stamps: Vec<Stamp>,
    /// All packets, if there is no doubt about any of them.
    pub index: Option<Index>,
    /// Looks at packets; knows the parameter sets that the stream began with.
    inspector: Option<Inspector>,
    parameters: Mutex<codec::Parameters>,
    /// What making the survey has read.
    pub bytes_read: u64,
}

impl Survey {
    /// Looks a video over.
    ///
    /// # Errors
    /// As for [`probe`](super::probe).
    pub fn take(medium: &Medium, interrupt: &Interrupt) -> Result<Self, MediaError> {
        let meter = Meter::default();
        let (reader, tracks) = tracks(medium, interrupt, &meter)?;
        let mut source = Source::open(medium, interrupt, &meter)?;
        let info = describe(&source)?;
        let mut inspector = inspector(&source);
        let tracks = (reader, tracks.filter(|_| source.is_mp4()));
        let tabled = match &mut inspector {
            Some(inspector) => tabled(medium, &mut source, tracks, inspector, interrupt, &meter)?,
            None => None,
        };
        let (stamps, index) = match tabled {
            Some(found) => found,
            None => {
                if let Some(inspector) = &mut inspector {
                    inspector.restart();
                }
                scan(&mut source, inspector.as_mut(), interrupt)?
            }
        };
        let stream = source.video_stream();
        Ok(Self {
            info,
            time_base: parts(stream.time_base()),
            stamps,
            inspector: inspector.filter(|_| index.is_some()),
            index,
            parameters: Mutex::new(stream.parameters().clone()),
            bytes_read: meter.bytes(),
        })
    }

    /// The timeline of these frames.
    pub fn timeline(&self, stamps: &[Stamp]) -> Timeline {
        let usual = self.info.average_fps.map(f64::recip);
        Timeline::new(stamps, self.time_base, usual)
    }

    /// A decoder for the video.
    pub fn decoder(&self, medium: &Medium, threads: usize) -> Result<FrameReader, MediaError> {
        let parameters = self
            .parameters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        FrameReader::new(medium.name(), parameters, self.time_base, threads)
    }

    /// An inspector that has seen the first packet.
    pub fn inspector(&self) -> Option<Inspector> {
        self.inspector.clone()
    }

    /// The bytes that it holds itself, about.
    pub fn bytes(&self) -> u64 {
        let packets = self.index.as_ref().map_or(0, |index| index.samples.len());
        let size = size_of::<Sample>() + size_of::<Option<usize>>() + size_of::<usize>();
        (packets * size + self.stamps.len() * size_of::<Stamp>()) as u64
    }
}

/// For a stream whose packets can be told apart.
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

/// What an mp4 or QuickTime file says of its tracks, with the reader that read it. Looked at before ffmpeg opens the file:
/// it would go by all of it.
fn tracks(
    medium: &Medium,
    interrupt: &Interrupt,
    meter: &Meter,
) -> Result<(Metered, Option<Tracks>), MediaError> {
    interrupt.check(|| format!("opening {medium}"))?;
    let mut reader = medium.reader(interrupt, meter)?;
    let tracks = Tracks::read(&mut reader);
    meter.check(medium.name())?;
    // Samples in other files need no bytes here.
    if tracks.as_ref().is_some_and(Tracks::lead_elsewhere) {
        return Err(MediaError::Unsupported {
            path: medium.name().to_owned(),
            reason: "it refers to media data in other files (`dref`), which are never opened; \
                     make it self-contained"
                .to_owned(),
        });
    }
    if let Some(samples) = tracks.as_ref().and_then(Tracks::impossible_samples) {
        return Err(MediaError::unsupported(
            medium.name(),
            format!(
                "its tables promise {samples} samples, and it has fewer bytes; it is damaged, or made to do harm"
            ),
        ));
    }
    Ok((reader, tracks))
}

type Found = (Vec<Stamp>, Option<Index>);

/// The frames and packets by the container's index; `None` if it has none that can be trusted.
fn tabled(
    medium: &Medium,
    source: &mut Source,
    (mut reader, tracks): (Metered, Option<Tracks>),
    inspector: &mut Inspector,
    interrupt: &Interrupt,
    meter: &Meter,
) -> Result<Option<Found>, MediaError> {
    let (Some(track), Some(tracks)) = (source.track_id(), tracks) else {
        return Ok(None);
    };
    let Some(table) = tracks.table(track) else {
        return Ok(None);
    };
    let length = reader
        .length()
        .map_err(|error| MediaError::io("read", medium.name(), error))?;
    let Some(first) = first_packet(source, interrupt)? else {
        return Ok(None);
    };
    let Some(mut samples) = samples(source, &table, &first, length) else {
        return Ok(None);
    };
    let mut window = Window::new(reader);
    let whole = length <= medium.whole_bytes();
    let mut is_sound = true;
    for (at, sample) in samples.iter_mut().enumerate() {
        let Some(offset) = sample.offset.filter(|_| whole || at == 0) else {
            break;
        };
        interrupt.check(|| format!("reading {medium}"))?;
        let Some(data) = window.get(medium.name(), offset, sample.bytes, length, meter)? else {
            return Ok(None);
        };
        if at == 0 && first.data() != Some(data) {
            return Ok(None);
        }
        match inspector.read(data) {
            Some(picture) => sample.picture = Some(picture),
            None => {
                is_sound = false;
                break;
            }
        }
    }
    let mut stamps: Vec<Stamp> = samples
        .iter()
        .filter(|sample| !sample.hidden)
        .map(|sample| sample.stamp)
        .collect();
    stamps.sort_by_key(|stamp| stamp.time);
    let index = is_sound.then_some(samples).and_then(Index::new);
    Ok(Some((stamps, index)))
}

/// The first packet of the video; it and those before it are handed out again.
fn first_packet(source: &mut Source, interrupt: &Interrupt) -> Result<Option<Packet>, MediaError> {
    let mut faults = Faults::default();
    let mut before = VecDeque::new();
    let mut first = None;
    while let Some(packet) = next_packet(source, &mut faults, interrupt)? {
        let is_first = packet.stream() == source.video;
        before.push_back(packet.clone());
        if is_first {
            first = Some(packet);
            break;
        }
    }
    source.put_back(before);
    Ok(first.filter(|_| faults.count == 0))
}

/// What the two readings of the index come to; `None` if they disagree, or the first packet is not what they say.
fn samples(
    source: &Source,
    table: &SampleTable,
    first: &Packet,
    length: u64,
) -> Option<Vec<Sample>> {
    let entries = source.index_length();
    if entries == 0 || entries > table.places.len() {
        return None;
    }
    let mut places = table.places.iter();
    let mut samples = Vec::with_capacity(entries);
    let end = source.video_stream().duration();
    let (mut lead, mut usual) = (0, 0);
    for at in 0..entries {
        let entry = source.index_entry(at)?;
        let (offset, bytes) = (
            u64::try_from(entry.pos).ok()?,
            u32::try_from(entry.size()).ok()?,
        );
        // Edit lists leave packets out, and never change their order here.
        let place = places.find(|place| (place.offset, place.bytes) == (offset, bytes))?;
        if bytes == 0 || offset + u64::from(bytes) > length {
            return None;
        }
        let decoded_at = entry.timestamp;
        if at == 0 {
            let is_it = first.position() == entry.pos as isize
                && first.size() == bytes as usize
                && first.dts() == Some(decoded_at);
            lead = first.pts().filter(|_| is_it)? - decoded_at - i64::from(place.shift);
            usual = first.duration();
        }
        let shown_at = decoded_at
            .checked_add(lead)?
            .checked_add(place.shift.into())?;
        // ffmpeg takes the length from the rate where presentation is shifted, else from one time to the next.
        let duration = match table.has_shifts {
            true => usual,
            false => {
                source
                    .index_entry(at + 1)
                    .map_or(end, |next| next.timestamp)
                    - decoded_at
            }
        };
        if duration <= 0 || (at == 0 && duration != usual) {
            return None;
        }
        let flags = entry.flags();
        samples.push(Sample {
            stamp: Stamp {
                time: Some(shown_at),
                duration,
            },
            decoded_at: Some(decoded_at),
            offset: Some(offset),
            bytes: bytes as usize,
            hidden: flags & ffi::AVINDEX_DISCARD_FRAME != 0,
            key: flags & ffi::AVINDEX_KEYFRAME != 0,
            picture: None,
        });
    }
    Some(samples)
}

/// The stamps of the frames that the packets promise, in order of presentation. Nothing is decoded. Packets that an edit
/// list cuts away are left out. Also an index of all packets, if the inspector has no doubt about any of them.
fn scan(
    source: &mut Source,
    mut inspector: Option<&mut Inspector>,
    interrupt: &Interrupt,
) -> Result<Found, MediaError> {
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
            let data = packet.data().filter(|_| plain);
            match data.and_then(|data| inspect.read(data)) {
                Some(picture) => samples.push(Sample {
                    stamp,
                    decoded_at: packet.dts(),
                    offset: None,
                    bytes: packet.size(),
                    hidden,
                    key: picture.entry,
                    picture: Some(picture),
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
