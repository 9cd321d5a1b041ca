//! What a packet says of itself, without decoding it: whether decoding can begin there, and whether others refer to it.
//!
//! Only what an exact seek has to know is read: the frame of a packet, the first fields of its pictures. Whatever is not
//! plainly one whole picture of a stream whose parameters stay as they were is answered with `None`, which is no verdict on the
//! stream: only that it has to be decoded from its beginning.

use ffmpeg_next::codec::Id;

/// One packet that holds one picture to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Nothing shown after it refers to anything before it.
    pub entry: bool,
    /// Others may refer to it.
    pub reference: bool,
}

/// Reads packets of one stream in order of decoding, the first one first.
#[derive(Clone)]
pub(crate) struct Inspector {
    syntax: Syntax,
    /// H.265: the highest temporal sub-layer that the stream may have, if its header says so.
    highest_sub_layer: Option<u8>,
    header: Vec<u8>,
    /// AV1: what the sequence header says, if it was plain.
    sequence: Option<Sequence>,
    /// The parameter sets that came with the first packet.
    parameters: Vec<Vec<u8>>,
    packets: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syntax {
    /// H.264 with NAL units behind a length of this many bytes, or behind start codes.
    Avc(Option<usize>),
    Hevc(Option<usize>),
    Mpeg2,
    Vp8,
    Vp9,
    Av1,
}

impl Inspector {
    /// For a codec whose packets can be told apart, with the header its container has for it.
    pub fn new(codec: Id, header: &[u8]) -> Option<Self> {
        let prefix = |at: usize| match header {
            [] | [0, 0, 1, ..] | [0, 0, 0, 1, ..] => Some(None),
            [1, ..] => Some(Some(usize::from(header.get(at)? & 3) + 1)),
            _ => None,
        };
        let syntax = match codec {
            Id::H264 => Syntax::Avc(prefix(4)?),
            Id::HEVC => Syntax::Hevc(prefix(21)?),
            Id::MPEG2VIDEO => Syntax::Mpeg2,
            Id::VP8 => Syntax::Vp8,
            Id::VP9 => Syntax::Vp9,
            Id::AV1 => Syntax::Av1,
            _ => return None,
        };
        Some(Self {
            syntax,
            highest_sub_layer: match syntax {
                Syntax::Hevc(_) => highest_sub_layer(header),
                _ => None,
            },
            header: header.to_vec(),
            sequence: None,
            parameters: Vec::new(),
            packets: 0,
        })
    }

    /// Forgets all packets.
    pub fn restart(&mut self) {
        self.parameters.clear();
        self.sequence = None;
        self.packets = 0;
    }

    /// Reads the next packet.
    pub fn read(&mut self, packet: &[u8]) -> Option<Picture> {
        self.packets += 1;
        match self.syntax {
            Syntax::Avc(prefix) => self.avc(units(packet, prefix)?),
            Syntax::Hevc(prefix) => self.hevc(units(packet, prefix)?),
            Syntax::Mpeg2 => self.mpeg2(packet),
            Syntax::Vp8 => vp8(packet),
            Syntax::Vp9 => vp9(packet),
            Syntax::Av1 => self.av1(packet),
        }
    }

    /// Whether a parameter set is one that the stream began with.
    fn knows(&mut self, set: &[u8]) -> bool {
        if set.is_empty() {
            return false;
        }
        if self.packets == 1 {
            self.parameters.push(set.to_vec());
            return true;
        }
        self.parameters.iter().any(|known| known == set)
            || self.header.windows(set.len()).any(|part| part == set)
    }

    fn avc(&mut self, units: Vec<&[u8]>) -> Option<Picture> {
        let mut picture: Option<(u8, bool)> = None;
        for unit in units {
            let head = *unit.first()?;
            let (kind, reference) = (head & 31, head & 0x60 != 0);
            match kind {
                _ if head & 0x80 != 0 => return None,
                1 | 5 => {
                    let mut bits = Bits::new(unit.get(1..)?);
                    let (first_block, slice) = (bits.golomb()?, bits.golomb()?);
                    // Exactly one slice begins a picture, and it is the first; two of them are two fields.
                    if slice > 9 || (first_block == 0) != picture.is_none() {
                        return None;
                    }
                    if kind == 5 && slice % 5 != 2 {
                        return None;
                    }
                    if picture.is_some_and(|first| first != (kind, reference)) {
                        return None;
                    }
                    picture = Some((kind, reference));
                }
                7 | 8 if self.knows(unit) => {}
                6 | 9 | 12 => {}
                _ => return None,
            }
        }
        let (kind, reference) = picture?;
        Some(Picture {
            entry: kind == 5,
            reference,
        })
    }

    fn hevc(&mut self, units: Vec<&[u8]>) -> Option<Picture> {
        let mut picture = None;
        let mut sub_layer = 0;
        for unit in units {
            let (head, second) = (*unit.first()?, *unit.get(1)?);
            let (kind, layer) = (head >> 1 & 63, (head & 1) << 5 | second >> 3);
            if head & 0x80 != 0 || layer != 0 || second & 7 == 0 {
                return None;
            }
            match kind {
                0..=9 | 19..=21 => {
                    let first = unit.get(2)? & 0x80 != 0;
                    if first != picture.is_none() || picture.is_some_and(|known| known != kind) {
                        return None;
                    }
                    picture = Some(kind);
                    sub_layer = (second & 7) - 1;
                }
                32..=34 if self.knows(unit) => {}
                35 | 38..=40 => {}
                _ => return None,
            }
        }
        let kind = picture?;
        // Even kinds below 16 are not referred to by their own sub-layer (table 7-1): by nobody, if there is none above it.
        let is_top = self.highest_sub_layer == Some(sub_layer);
        Some(Picture {
            entry: kind >= 19,
            reference: kind > 15 || kind % 2 == 1 || !is_top,
        })
    }

    fn mpeg2(&mut self, packet: &[u8]) -> Option<Picture> {
        let (mut kind, mut slices, mut sequence) = (None, 0, false);
        for unit in start_codes(packet) {
            match *unit.first()? {
                0 if kind.is_none() => kind = Some(unit.get(2)? >> 3 & 7),
                1..=0xaf if kind.is_some() => slices += 1,
                0xb3 if self.knows(unit) => sequence = true,
                0xb2 | 0xb5 | 0xb8 => {}
                // The end of the sequence.
                0xb7 if slices > 0 => {}
                _ => return None,
            }
        }
        let kind = kind.filter(|kind| (1..=3).contains(kind) && slices > 0)?;
        Some(Picture {
            entry: kind == 1 && sequence,
            reference: kind != 3,
        })
    }

    fn av1(&mut self, packet: &[u8]) -> Option<Picture> {
        let (mut rest, mut shown, mut first, mut sequence) = (packet, 0, None, false);
        let (mut frames, mut kept) = (0, false);
        while let [head, after @ ..] = rest {
            // Without a length, or in layers.
            if head & 0b1000_0110 != 0b10 {
                return None;
            }
            let (length, after) = leb128(after)?;
            let (unit, after) = after.split_at_checked(length)?;
            rest = after;
            match head >> 3 & 15 {
                1 if self.knows(unit) => {
                    sequence = true;
                    self.sequence = Sequence::read(unit);
                }
                3 | 6 => {
                    frames += 1;
                    let slots = self.sequence.and_then(|sequence| sequence.slots(unit));
                    kept |= slots != Some(0);
                    let head = *unit.first()?;
                    let (existing, is_shown) = (head & 0x80 != 0, head & 0x10 != 0);
                    first.get_or_insert(!existing && head & 0x60 == 0 && is_shown);
                    shown += usize::from(existing || is_shown);
                }
                2 | 4 | 5 | 7 | 15 => {}
                _ => return None,
            }
        }
        // A frame that goes into no slot leaves nothing behind: not its pixels, its vectors or its probabilities.
        (shown == 1).then_some(Picture {
            entry: sequence && first?,
            reference: kept || frames != 1,
        })
    }
}

/// What of an AV1 sequence header the frame headers depend on (AV1 bitstream specification, 5.5.1).
#[derive(Clone, Copy)]
struct Sequence {
    /// Bits of a frame's id, where frames have one.
    id_bits: Option<u32>,
    order_bits: u32,
    /// Whether each frame says for itself if it is made of screen content, or all do the same.
    screen_content: Option<bool>,
    integer_vectors: Option<bool>,
}

impl Sequence {
    /// `None` for streams with still pictures, a model of the decoder's buffers, or several operating points.
    fn read(unit: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(unit);
        bits.take(3)?;
        let (still, reduced, timing) = (bits.bit()?, bits.bit()?, bits.bit()?);
        let (delays, points) = (bits.bit()?, bits.take(5)?);
        if still + reduced + timing + delays + points != 0 {
            return None;
        }
        bits.take(12)?;
        // Levels above 7 come with a tier.
        if bits.take(5)? > 7 {
            bits.bit()?;
        }
        let (width_bits, height_bits) = (bits.take(4)? + 1, bits.take(4)? + 1);
        bits.take(width_bits)?;
        bits.take(height_bits)?;
        let id_bits = match bits.bit()? {
            0 => None,
            _ => {
                let difference = bits.take(4)? + 2;
                Some(bits.take(3)? + difference + 1)
            }
        };
        // Superblocks of 128, filter intra, edge filter; interintra, masked, warped, dual filter.
        bits.take(7)?;
        let has_order = bits.bit()? == 1;
        if has_order {
            bits.take(2)?;
        }
        let chosen = |bits: &mut Bits<'_>| {
            Some(match bits.bit()? {
                1 => None,
                _ => Some(bits.bit()? == 1),
            })
        };
        let screen_content = chosen(&mut bits)?;
        let integer_vectors = match screen_content {
            Some(false) => None,
            _ => chosen(&mut bits)?,
        };
        let order_bits = if has_order { bits.take(3)? + 1 } else { 0 };
        Some(Self {
            id_bits,
            order_bits,
            screen_content,
            integer_vectors,
        })
    }

    /// The slots that a frame refreshes, one bit each (5.9.2); `None` for frames that only show an older one, or are no plain
    /// inter frames.
    fn slots(self, unit: &[u8]) -> Option<u32> {
        let mut bits = Bits::new(unit);
        let (existing, kind, shown) = (bits.bit()?, bits.take(2)?, bits.bit()?);
        if existing == 1 || kind != 1 || shown == 0 {
            return None;
        }
        let resilient = bits.bit()? == 1;
        bits.bit()?;
        let screen_content = match self.screen_content {
            Some(all) => all,
            None => bits.bit()? == 1,
        };
        if screen_content && self.integer_vectors.is_none() {
            bits.bit()?;
        }
        if let Some(id_bits) = self.id_bits {
            bits.take(id_bits)?;
        }
        bits.bit()?;
        bits.take(self.order_bits)?;
        if !resilient {
            bits.take(3)?;
        }
        bits.take(8)
    }
}

/// What the sequence parameter sets of an `hvcC` header say of their sub-layers (7.3.2.2).
fn highest_sub_layer(header: &[u8]) -> Option<u8> {
    if header.first() != Some(&1) {
        return None;
    }
    let mut rest = header.get(23..)?;
    let mut highest = None;
    for _ in 0..*header.get(22)? {
        let (kind, count) = (
            rest.first()? & 63,
            u16::from_be_bytes([*rest.get(1)?, *rest.get(2)?]),
        );
        rest = rest.get(3..)?;
        for _ in 0..count {
            let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
            let (unit, after) = rest.get(2..)?.split_at_checked(length)?;
            if kind == 33 {
                highest = highest.max(Some(unit.get(2)? >> 1 & 7));
            }
            rest = after;
        }
    }
    highest
}

fn vp8(packet: &[u8]) -> Option<Picture> {
    let &[a, b, c, ..] = packet else { return None };
    let (key, shown) = (a & 1 == 0, a & 0x10 != 0);
    let first_part = (u32::from(a) | u32::from(b) << 8 | u32::from(c) << 16) >> 5;
    let begins = !key || packet.get(3..6)? == [0x9d, 0x01, 0x2a];
    (shown && begins && (first_part as usize) < packet.len()).then_some(Picture {
        entry: key,
        reference: true,
    })
}

fn vp9(packet: &[u8]) -> Option<Picture> {
    let frames = superframe(packet)?;
    let (mut shown, mut keys) = (0, 0);
    for frame in &frames {
        let head = *frame.first()?;
        // The marker, and no profile 3, whose header is a bit longer.
        if head & 0xc0 != 0x80 || head & 0x30 == 0x30 {
            return None;
        }
        let (existing, key, is_shown) = (head & 8 != 0, head & 4 == 0, head & 2 != 0);
        shown += usize::from(existing || is_shown);
        if !existing && key {
            if frame.get(1..4)? != [0x49, 0x83, 0x42] {
                return None;
            }
            keys += 1;
        }
    }
    (shown == 1).then_some(Picture {
        entry: keys == 1 && frames.len() == 1,
        reference: true,
    })
}

/// The frames of a VP9 packet: several share one, with their lengths at its end.
fn superframe(packet: &[u8]) -> Option<Vec<&[u8]>> {
    let marker = *packet.last()?;
    if marker & 0xe0 != 0xc0 {
        return Some(vec![packet]);
    }
    let (count, bytes) = (
        usize::from(marker & 7) + 1,
        usize::from(marker >> 3 & 3) + 1,
    );
    let index = packet.len().checked_sub(2 + bytes * count)?;
    if packet[index] != marker {
        return Some(vec![packet]);
    }
    let mut rest = &packet[..index];
    let mut frames = Vec::with_capacity(count);
    for length in packet[index + 1..packet.len() - 1].chunks(bytes) {
        let length = length
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let (frame, after) = rest.split_at_checked(length)?;
        frames.push(frame);
        rest = after;
    }
    rest.is_empty().then_some(frames)
}

/// The NAL units of a packet, which they have to fill.
fn units(packet: &[u8], prefix: Option<usize>) -> Option<Vec<&[u8]>> {
    let Some(prefix) = prefix else {
        let trimmed = start_codes(packet).map(|unit| {
            let zeros = unit.iter().rev().take_while(|&&byte| byte == 0).count();
            &unit[..unit.len() - zeros]
        });
        return Some(trimmed.collect());
    };
    let (mut rest, mut units) = (packet, Vec::new());
    while !rest.is_empty() {
        let (length, after) = rest.split_at_checked(prefix)?;
        let length = length
            .iter()
            .fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let (unit, after) = after.split_at_checked(length)?;
        units.push(unit);
        rest = after;
    }
    Some(units)
}

/// What stands behind each `00 00 01`.
fn start_codes(packet: &[u8]) -> impl Iterator<Item = &[u8]> {
    let next = |from: usize| {
        let mut at = from + 2;
        // A byte above 1 cannot be part of the code, nor can one of the two before it begin one.
        while let Some(&byte) = packet.get(at) {
            match byte {
                0 => at += 1,
                1 if packet[at - 2..at] == [0, 0] => return Some(at + 1),
                _ => at += 3,
            }
        }
        None
    };
    let mut begin = next(0);
    std::iter::from_fn(move || {
        let from = begin?;
        begin = next(from);
        Some(&packet[from..begin.map_or(packet.len(), |end| end - 3)])
    })
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate().take(4) {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// Bits, the highest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn bit(&mut self) -> Option<u32> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit.into())
    }

    /// A number of up to 32 bits.
    fn take(&mut self, bits: u32) -> Option<u32> {
        (0..bits).try_fold(0, |value, _| Some(value << 1 | self.bit()?))
    }

    /// An exponential Golomb code.
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 24 {
                return None;
            }
        }
        let mut value = 1;
        for _ in 0..zeros {
            value = value << 1 | self.bit()?;
        }
        Some(value - 1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "bitstream_tests.rs"]
mod tests;
