//! The sample tables of an mp4 or QuickTime file (ISO 14496-12, 8.6 and 8.7): where each packet of a track lies, how long it
//! is, and by how much it is shown later than it is decoded.
//!
//! ffmpeg reads the same tables and keeps an index of them, but has no way to ask it for the times of presentation. So they
//! are read once more here, for one track, and only as far as plain files go: what is fragmented, encrypted, refers to other
//! files or does not add up has no table here, and its packets are read one by one instead.

use std::io::{Read, Seek, SeekFrom};

/// No `moov` is larger: ten hours of video at 60 frames a second, with sound, have some 60 MB.
const MAX_MOOV_BYTES: u64 = 96 << 20;
/// Boxes looked through on the top level for the `moov`.
const MAX_BOXES: usize = 4096;
/// A track of so few samples does no harm, whatever its tables say.
const HARMLESS_SAMPLES: usize = 1 << 20;
/// A track of more samples (77 hours of video at 30 frames a second) has no table here.
const MAX_SAMPLES: usize = 8 << 20;
/// ffmpeg takes shifts from here on for a damaged table, and forgets all of them.
const MAX_SHIFT: i32 = 1 << 28;

/// One packet of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where it lies in the file.
    pub offset: u64,
    pub bytes: u32,
    /// Ticks by which it is shown later than it is decoded, give or take a constant of the track.
    pub shift: i32,
}

/// All packets of a track, in order of decoding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SampleTable {
    pub places: Vec<Place>,
    /// Whether the file has a table of shifts.
    pub has_shifts: bool,
}

/// What a file of that kind says of its tracks: the body of its `moov`.
pub(crate) struct Tracks {
    moov: Vec<u8>,
    /// Bytes of the whole file.
    length: u64,
}

impl Tracks {
    /// Reads it. `None` if there is none, it is too large, or comes after data.
    pub fn read(file: &mut (impl Read + Seek)) -> Option<Self> {
        let moov = moov(file)?;
        let length = file.seek(SeekFrom::End(0)).ok()?;
        Some(Self { moov, length })
    }

    /// A number of samples that some track promises and that the file has not even bytes for, if it is a large one. ffmpeg
    /// would take memory for all of them as it opens the file.
    pub fn impossible_samples(&self) -> Option<usize> {
        children(&self.moov)
            .filter(|(kind, _)| kind == b"trak")
            .filter_map(|(_, trak)| {
                let media = child(trak, b"mdia")?;
                let tables = child(child(media, b"minf")?, b"stbl")?;
                let count = be32(child(tables, b"stsz")?, 8)? as usize;
                (!counts_moments(media, tables).unwrap_or(false)).then_some(count)
            })
            .find(|count| *count > HARMLESS_SAMPLES && *count as u64 > self.length)
    }

    /// Whether media data of some track lie in another file, or at a URL. ffmpeg does not go there, but takes the
    /// places that are meant for there for places in this file.
    pub fn lead_elsewhere(&self) -> bool {
        children(&self.moov)
            .filter(|(kind, _)| kind == b"trak")
            .filter_map(|(_, trak)| child(child(trak, b"mdia")?, b"minf"))
            .any(|information| is_self_contained(information) == Some(false))
    }

    /// The table of the track with this id. `None` for whatever is not plain.
    pub fn table(&self, track: u32) -> Option<SampleTable> {
        let moov = &self.moov;
        if child(moov, b"mvex").is_some() {
            return None;
        }
        let id = |trak: &&[u8]| {
            let header = child(trak, b"tkhd")?;
            // Version, flags, two times; in version 1 the times are longer.
            let at = if *header.first()? == 1 { 20 } else { 12 };
            be32(header, at)
        };
        let trak = children(moov)
            .filter(|(kind, _)| kind == b"trak")
            .map(|(_, body)| body)
            .find(|trak| id(trak) == Some(track))?;
        let information = child(child(trak, b"mdia")?, b"minf")?;
        if !is_self_contained(information)? {
            return None;
        }
        let tables = child(information, b"stbl")?;
        if !is_plain(child(tables, b"stsd")?)? {
            return None;
        }
        let sizes = sizes(tables, self.length)?;
        let offsets = offsets(tables, &sizes)?;
        let shifts = match child(tables, b"ctts") {
            Some(table) => Some(shifts(table, sizes.len())?),
            None => None,
        };
        let places = offsets.iter().zip(&sizes).enumerate();
        Some(SampleTable {
            has_shifts: shifts.is_some(),
            places: places
                .map(|(at, (&offset, &bytes))| Place {
                    offset,
                    bytes,
                    shift: shifts.as_ref().map_or(0, |shifts| shifts[at]),
                })
                .collect(),
        })
    }
}

/// The body of the file's `moov`. Nothing else is read but the heads of the boxes before it.
fn moov(file: &mut (impl Read + Seek)) -> Option<Vec<u8>> {
    let end = file.seek(SeekFrom::End(0)).ok()?;
    let mut at = 0u64;
    for _ in 0..MAX_BOXES {
        let mut head = [0; 16];
        let length = usize::try_from(end.checked_sub(at)?.min(16)).ok()?;
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut head[..length]).ok()?;
        let (body, size) = match be32(&head[..length], 0)? {
            0 => (8, end - at),
            1 => (
                16,
                u64::from(be32(&head, 8)?) << 32 | u64::from(be32(&head, 12)?),
            ),
            size => (8, size.into()),
        };
        if size < body || size > end - at || &head[4..8] == b"moof" {
            return None;
        }
        if &head[4..8] == b"moov" {
            let bytes = size - body;
            if bytes > MAX_MOOV_BYTES {
                return None;
            }
            let mut moov = vec![0; bytes as usize];
            file.seek(SeekFrom::Start(at + body)).ok()?;
            file.read_exact(&mut moov).ok()?;
            return Some(moov);
        }
        at += size;
    }
    None
}

/// The boxes in a box: their kinds and bodies. Ends at the first that does not fit.
fn children(body: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let size = be32(rest, 0)? as usize;
        let kind: [u8; 4] = rest.get(4..8)?.try_into().ok()?;
        let body = rest.get(8..size)?;
        rest = &rest[size..];
        Some((kind, body))
    })
}

/// The only box of this kind in a box.
fn child<'a>(body: &'a [u8], kind: &[u8; 4]) -> Option<&'a [u8]> {
    let mut found = children(body).filter(|(other, _)| other == kind);
    let (_, body) = found.next()?;
    found.next().is_none().then_some(body)
}

/// Whether all media data lie in this file.
fn is_self_contained(information: &[u8]) -> Option<bool> {
    let references = child(child(information, b"dinf")?, b"dref")?;
    let mut all = children(references.get(8..)?);
    Some(all.all(|(_, body)| be32(body, 0).is_some_and(|flags| flags & 1 == 1)))
}

/// Whether there is one description of all samples, and it is not that of an encrypted track.
fn is_plain(descriptions: &[u8]) -> Option<bool> {
    let (kind, _) = children(descriptions.get(8..)?).next()?;
    Some(be32(descriptions, 4)? == 1 && &kind != b"encv")
}

/// Whether the samples of a track are moments of sound, as in old QuickTime files: each as long as a tick and all of one size,
/// which says nothing of the bytes they take when they are compressed (QDM2, IMA4, MACE). ffmpeg goes by the chunks of such a
/// track, and takes no memory for samples.
fn counts_moments(media: &[u8], tables: &[u8]) -> Option<bool> {
    let handler = child(media, b"hdlr")?.get(8..12)?;
    let same = be32(child(tables, b"stsz")?, 4)?;
    let times = child(tables, b"stts")?;
    Some(handler == b"soun" && same != 0 && be32(times, 4)? == 1 && be32(times, 12)? == 1)
}

/// The size of each sample, of a file of `length` bytes.
fn sizes(tables: &[u8], length: u64) -> Option<Vec<u32>> {
    // `stz2` packs small sizes; nobody writes it for video.
    let table = child(tables, b"stsz")?;
    let (same, count) = (be32(table, 4)?, be32(table, 8)? as usize);
    // Bytes have to stand behind each sample.
    if count > MAX_SAMPLES || count as u64 * u64::from(same.max(1)) > length {
        return None;
    }
    if same != 0 {
        return Some(vec![same; count]);
    }
    let bytes = table.get(12..)?.get(..count.checked_mul(4)?)?;
    Some(words(bytes).collect())
}

/// Where each sample lies: chunks have places, and samples follow each other in a chunk.
fn offsets(tables: &[u8], sizes: &[u32]) -> Option<Vec<u64>> {
    let chunks: Vec<u64> = match child(tables, b"stco") {
        Some(table) => {
            let bytes = (be32(table, 4)? as usize).checked_mul(4)?;
            words(table.get(8..)?.get(..bytes)?)
                .map(u64::from)
                .collect()
        }
        None => {
            let table = child(tables, b"co64")?;
            let bytes = (be32(table, 4)? as usize).checked_mul(8)?;
            let halves: Vec<u32> = words(table.get(8..)?.get(..bytes)?).collect();
            halves
                .chunks_exact(2)
                .map(|half| u64::from(half[0]) << 32 | u64::from(half[1]))
                .collect()
        }
    };
    let table = child(tables, b"stsc")?;
    let bytes = (be32(table, 4)? as usize).checked_mul(12)?;
    let runs: Vec<u32> = words(table.get(8..)?.get(..bytes)?).collect();
    let mut offsets = Vec::with_capacity(sizes.len());
    let mut run = 0;
    for (chunk, &start) in (1u32..).zip(&chunks) {
        while runs.get((run + 1) * 3).is_some_and(|&first| first <= chunk) {
            run += 1;
        }
        let mut at = start;
        for _ in 0..*runs.get(run * 3 + 1)? {
            let Some(&size) = sizes.get(offsets.len()) else {
                return Some(offsets);
            };
            offsets.push(at);
            at = at.checked_add(size.into())?;
        }
    }
    (offsets.len() == sizes.len()).then_some(offsets)
}

fn shifts(table: &[u8], samples: usize) -> Option<Vec<i32>> {
    let bytes = (be32(table, 4)? as usize).checked_mul(8)?;
    let runs: Vec<u32> = words(table.get(8..)?.get(..bytes)?).collect();
    let mut shifts = Vec::with_capacity(samples);
    for run in runs.chunks_exact(2) {
        // Signed in version 1, and in version 0 as ffmpeg reads it.
        let shift = run[1].cast_signed();
        if shift.checked_abs()? >= MAX_SHIFT {
            return None;
        }
        let count = (run[0] as usize).min(samples - shifts.len());
        shifts.extend(std::iter::repeat_n(shift, count));
    }
    (shifts.len() == samples).then_some(shifts)
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(word.try_into().ok()?))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> + '_ {
    bytes
        .chunks_exact(4)
        .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes(), &kind[..], body].concat()
    }

    /// A box that holds a table: version and flags, then numbers.
    fn table(kind: &[u8; 4], numbers: &[u32]) -> Vec<u8> {
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect();
        boxed(kind, &[&[0; 4][..], &bytes].concat())
    }

    /// A file of one track with the id 7 and these tables.
    fn file(tables: &[Vec<u8>]) -> Vec<u8> {
        let mut reference = table(b"url ", &[]);
        reference[11] = 1;
        let references = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &reference].concat();
        let description = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &boxed(b"avc1", &[])].concat();
        let stbl = boxed(
            b"stbl",
            &[boxed(b"stsd", &description), tables.concat()].concat(),
        );
        let dinf = boxed(b"dinf", &boxed(b"dref", &references));
        let minf = boxed(b"minf", &[dinf, stbl].concat());
        let trak = [table(b"tkhd", &[0, 0, 7]), boxed(b"mdia", &minf)].concat();
        let moov = boxed(b"moov", &boxed(b"trak", &trak));
        [boxed(b"ftyp", b"isom"), boxed(b"mdat", &[1; 40]), moov].concat()
    }

    fn read(bytes: &[u8]) -> Option<SampleTable> {
        Tracks::read(&mut Cursor::new(bytes))?.table(7)
    }

    fn plain() -> Vec<Vec<u8>> {
        vec![
            table(b"stsz", &[0, 5, 10, 1, 2, 3, 4]),
            table(b"stco", &[3, 100, 200, 300]),
            table(b"stsc", &[2, 1, 2, 1, 3, 1, 1]),
            table(b"ctts", &[2, 1, 20, 4, 0]),
        ]
    }

    #[test]
    fn samples_follow_each_other_in_their_chunks() {
        let found = read(&file(&plain())).unwrap();
        let places: Vec<_> = found
            .places
            .iter()
            .map(|place| (place.offset, place.bytes, place.shift))
            .collect();
        assert!(found.has_shifts);
        assert_eq!(
            places,
            [
                (100, 10, 20),
                (110, 1, 0),
                (200, 2, 0),
                (202, 3, 0),
                (300, 4, 0)
            ]
        );
    }

    #[test]
    fn what_does_not_add_up_has_no_table() {
        let tracks = Tracks::read(&mut Cursor::new(file(&plain()))).unwrap();
        assert!(tracks.table(8).is_none() && !tracks.lead_elsewhere());
        for (at, other) in [
            // More sizes than chunks hold; shifts for too few; a shift that ffmpeg does not believe.
            (0, table(b"stsz", &[0, 6, 10, 1, 2, 3, 4, 5])),
            (3, table(b"ctts", &[1, 2, 20])),
            (3, table(b"ctts", &[1, 5, 0x4000_0000])),
            (1, table(b"stco", &[900, 1])),
        ] {
            let mut tables = plain();
            tables[at] = other;
            assert!(read(&file(&tables)).is_none(), "{at}");
        }
        let mut twice = plain();
        twice.push(table(b"stsz", &[1, 5]));
        assert!(read(&file(&twice)).is_none());
        let mut cut = file(&plain());
        cut.pop();
        assert!(read(&cut).is_none());
    }

    #[test]
    fn samples_without_bytes_are_not_believed() {
        let told = |count: u32| {
            let mut tables = plain();
            tables[0] = table(b"stsz", &[1, count]);
            tables[2] = table(b"stsc", &[1, 1, count, 1]);
            tables.pop();
            let bytes = file(&tables);
            let tracks = Tracks::read(&mut Cursor::new(&bytes)).unwrap();
            (
                tracks.impossible_samples(),
                tracks.table(7).map(|table| table.places.len()),
            )
        };
        assert_eq!(told(30), (None, Some(30)));
        assert_eq!(told(4000), (None, None));
        assert_eq!(told(20_000_000), (Some(20_000_000), None));
    }

    #[test]
    fn moments_of_sound_need_no_byte_each() {
        // Ten minutes of IMA4 have 26 million moments, and a quarter as many bytes a channel.
        let told = |handler: &[u8; 4], size: u32, length: u32| {
            let tables = [
                table(b"stsz", &[size, 26_000_000]),
                table(b"stts", &[1, 26_000_000, length]),
            ];
            let information = boxed(b"minf", &boxed(b"stbl", &tables.concat()));
            let handler = boxed(b"hdlr", &[&[0; 8][..], handler, &[0; 12]].concat());
            let media = boxed(b"mdia", &[handler, information].concat());
            let bytes = boxed(b"moov", &boxed(b"trak", &media));
            let tracks = Tracks::read(&mut Cursor::new(&bytes)).unwrap();
            tracks.impossible_samples()
        };
        assert_eq!(told(b"soun", 1, 1), None);
        // ffmpeg would take memory for each of these.
        for (handler, size, length) in [(b"soun", 0, 1), (b"soun", 1, 2), (b"vide", 1, 1)] {
            assert_eq!(told(handler, size, length), Some(26_000_000));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_can_break_it(changes in prop::collection::vec((0usize..400, any::<u8>()), 1..8)) {
            let mut bytes = file(&plain());
            for (at, value) in changes {
                let at = at % bytes.len();
                bytes[at] = value;
            }
            let _ = read(&bytes);
        }
    }
}
