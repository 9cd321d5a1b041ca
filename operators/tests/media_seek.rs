//! A decode that leaves out packets gives the frames of one that does not, bit for bit.
#![allow(clippy::unwrap_used)]

mod media_support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clipsieve_operators::media::{
    DecodeOptions, Decoded, Fit, Interrupt, MediaError, Medium, ReadSeek, Request, Stream,
    decode_with,
};
use media_support::{fixture, numbers, whole, windows};

fn decode(
    medium: impl Into<Medium>,
    requests: &[Request],
    seek: bool,
    threads: usize,
) -> Result<Decoded, MediaError> {
    let options = DecodeOptions { threads, seek };
    decode_with(medium, None, requests, &options, &Interrupt::never())
}

/// The file, of which nothing is read that its index knows.
fn by_index(path: &Path) -> Medium {
    Medium::file(path).read_whole_up_to(0)
}

const SMALL: Fit = Fit::ResizeShort {
    short: 40,
    crop: 32,
};

/// Decodes both ways, and asserts that nothing tells the answers apart. Returns the one with seeking.
fn same(
    medium: impl Into<Medium>,
    requests: &[Request],
    threads: usize,
) -> Result<Decoded, MediaError> {
    let medium = medium.into();
    let name = medium.name().display();
    let full = decode(medium.name(), requests, false, threads);
    let found = decode(&medium, requests, true, threads);
    let (full, found) = match (full, found) {
        (Ok(full), Ok(found)) => (full, found),
        (Err(full), Err(found)) => {
            assert_eq!(full.to_string(), found.to_string());
            return Err(found);
        }
        (full, found) => panic!("{name}: {:?}, but {:?}", full.err(), found.err()),
    };
    assert_eq!(full.statistics.packets_skipped, 0);
    if threads > 1 && full.statistics.faults > 0 {
        // Threads may conceal damage differently each time: then there is nothing to compare with.
        let settled = (0..4).all(|_| {
            let again = decode(medium.name(), requests, false, threads).unwrap();
            let mut pairs = full
                .clips
                .iter()
                .flatten()
                .zip(again.clips.iter().flatten());
            full.frames_decoded == again.frames_decoded
                && pairs.all(|(full, again)| full.frames == again.frames)
        });
        println!("{name}: with {threads} threads settled: {settled}");
        if !settled {
            return Ok(found);
        }
    }
    assert_eq!(
        (full.frames_decoded, full.duration_seconds),
        (found.frames_decoded, found.duration_seconds),
        "{name} {:?}",
        found.statistics
    );
    assert_eq!(full.clips.len(), found.clips.len());
    for (full, found) in full.clips.iter().zip(&found.clips) {
        assert_eq!(full.len(), found.len(), "{name}");
        for (full, found) in full.iter().zip(found) {
            assert_eq!(
                (full.start_seconds, full.end_seconds),
                (found.start_seconds, found.end_seconds)
            );
            for (at, (full, found)) in full.frames.iter().zip(&found.frames).enumerate() {
                assert!(full == found, "{name}: another frame at {at}");
            }
        }
    }
    Ok(found)
}

fn many_requests() -> Vec<Vec<Request>> {
    vec![
        vec![whole(1, SMALL)],
        vec![whole(2, SMALL)],
        vec![whole(5, Fit::Within { max_side: 200 })],
        vec![whole(48, SMALL)],
        vec![windows(1.0, 3.0, 1, SMALL), whole(7, SMALL)],
    ]
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn all_fixtures_give_the_same_with_and_without() {
    for path in files_of(&fixture("")) {
        for requests in many_requests() {
            for threads in [1, 3] {
                let _ = same(&path, &requests, threads);
                let _ = same(by_index(&path), &requests, threads);
            }
        }
    }
}

/// Walks the folders named by `CLIPSIEVE_EXTRA_CLIPS` (separated by colons); passes at once when there are none.
#[test]
fn extra_clips_give_the_same_with_and_without() {
    let Some(folders) = std::env::var_os("CLIPSIEVE_EXTRA_CLIPS") else {
        return;
    };
    for path in std::env::split_paths(&folders).flat_map(|folder| files_of(&folder)) {
        for (requests, threads) in many_requests().into_iter().zip([1, 2, 1, 3, 1]) {
            for medium in [Medium::file(&path), by_index(&path)] {
                match same(&medium, &requests, threads) {
                    Ok(found) => println!("{}: {:?}", path.display(), found.statistics),
                    Err(error) => println!("{error}"),
                }
            }
        }
    }
}

#[test]
fn groups_without_a_wanted_frame_are_left_out() {
    let found = same(&fixture("groups.mp4"), &[whole(4, Fit::Native)], 1).unwrap();
    assert_eq!(numbers(&found.clips[0][0]), [0, 79, 159, 239]);
    assert_eq!(found.statistics.passes, 1);
    assert!(
        found.statistics.packets_skipped > 120,
        "{:?}",
        found.statistics
    );
}

/// A file in memory, as a store would hand it on.
struct Stored(Vec<u8>);

impl Stream for Stored {
    fn reader(&self, _: &Interrupt) -> std::io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(std::io::Cursor::new(self.0.clone())))
    }
}

#[test]
fn a_stream_is_read_only_where_its_index_says_that_it_matters() {
    let path = fixture("groups.mp4");
    let bytes = std::fs::read(&path).unwrap();
    let length = bytes.len() as u64;
    let requests = [whole(2, SMALL)];
    let stored = Medium::stream("memory://groups.mp4", Arc::new(Stored(bytes)));
    let found = decode(stored.read_whole_up_to(0), &requests, true, 1).unwrap();
    let full = decode(&path, &requests, false, 1).unwrap();
    assert_eq!(full.clips[0][0].frames, found.clips[0][0].frames);
    assert!(full.statistics.bytes_read >= length);
    println!("{:?} of {length}", found.statistics);
    assert!(found.statistics.packets_skipped > 190);
}

#[test]
fn an_index_that_points_at_something_else_is_not_followed() {
    // The sizes of two packets of the second group, exchanged: the bytes there are no packets any more.
    let mut bytes = std::fs::read(fixture("groups.mp4")).unwrap();
    let at = bytes.windows(4).position(|kind| kind == b"stsz").unwrap() + 16;
    let size = |bytes: &[u8], sample: usize| {
        u32::from_be_bytes(bytes[at + 4 * sample..][..4].try_into().unwrap())
    };
    let first = (30..50)
        .find(|&sample| size(&bytes, sample) != size(&bytes, sample + 1))
        .unwrap();
    for byte in 0..4 {
        bytes.swap(at + 4 * first + byte, at + 4 * first + 4 + byte);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.mp4");
    std::fs::write(&path, bytes).unwrap();
    let _ = same(by_index(&path), &[whole(48, SMALL)], 1);
    let _ = same(&path, &[whole(48, SMALL)], 1);
}

#[test]
fn pictures_shown_before_the_first_of_their_group_are_not_taken_from_a_broken_one() {
    // H.265 with open groups of 24: the pictures shown before a group's first refer to the group before.
    let path = fixture("open.mp4");
    let full = decode(&path, &[whole(240, Fit::Native)], false, 1).unwrap();
    let mut skipped = 0;
    for wanted in [2, 3, 4, 5, 7, 9, 11, 13, 16] {
        for threads in [1, 4] {
            let found = same(&path, &[whole(wanted, Fit::Native)], threads).unwrap();
            assert_eq!(found.statistics.passes, 1);
            skipped += found.statistics.packets_skipped;
            for frame in &found.clips[0][0].frames {
                assert!(full.clips[0][0].frames.contains(frame));
            }
        }
    }
    assert!(skipped > 500, "{skipped}");
}

/// `groups.mp4` with the byte at `at` changed, in a folder that goes with the file.
fn damaged(at: usize, change: impl Fn(u8) -> u8) -> (tempfile::TempDir, PathBuf) {
    let mut bytes = std::fs::read(fixture("groups.mp4")).unwrap();
    bytes[at] = change(bytes[at]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.mp4");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Where the 27th packet of `groups.mp4` lies: a B picture of the second group that others refer to, which is left out when two frames are wanted.
const PICTURE: usize = 5175;

#[test]
fn a_fault_that_a_packet_shows_ends_the_trust_in_all_of_them() {
    // The length before the unit, its kind, and the first macroblock of its slice.
    for (at, change) in [
        (PICTURE + 3, 0x10),
        (PICTURE + 4, 0x02),
        (PICTURE + 5, 0x80),
    ] {
        let (_folder, path) = damaged(at, |byte| byte ^ change);
        let found = same(&path, &[whole(2, SMALL)], 1).unwrap();
        assert_eq!(found.statistics.packets_skipped, 0);
    }
}

#[test]
fn a_fault_in_the_picture_is_hidden_by_the_decoder_and_the_frames_are_the_same() {
    let (_folder, path) = damaged(PICTURE + 12, |byte| !byte);
    let found = same(&path, &[whole(2, SMALL)], 1).unwrap();
    assert!(found.statistics.packets_skipped > 100);
}

/// What is given up: a fault that only shows when a packet is decoded, in a packet that is left out, is not seen, and a frame
/// that would not have decoded counts.
#[test]
fn a_fault_that_only_decoding_shows_is_not_seen_where_nothing_is_decoded() {
    // The slice names a parameter set that there is not.
    let (_folder, path) = damaged(PICTURE + 5, |byte| byte ^ 0x02);
    let full = decode(&path, &[whole(2, SMALL)], false, 1).unwrap();
    let found = decode(&path, &[whole(2, SMALL)], true, 1).unwrap();
    assert_eq!((full.frames_decoded, found.frames_decoded), (239, 240));
    assert_eq!(full.clips[0][0].frames, found.clips[0][0].frames);
    // Where the group is decoded it is seen.
    let found = same(&path, &[whole(20, SMALL)], 1).unwrap();
    assert_eq!((found.frames_decoded, found.statistics.passes), (239, 3));
}

/// A packet is some twenty bytes here, of which the slice header that is not read is a good part: in real files, damage that
/// is given up on is far rarer.
#[test]
fn damage_anywhere_seldom_makes_a_difference() {
    let mut state = 5u32;
    let mut roll = move |sides: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % sides
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.mp4");
    let (mut skipped, mut others) = (0, 0);
    for name in ["groups.mp4", "open.mp4"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for _ in 0..60 {
            let mut bytes = bytes.clone();
            for _ in 0..1 + roll(3) {
                let at = roll(bytes.len());
                bytes[at] ^= 1 << roll(8);
            }
            std::fs::write(&path, &bytes).unwrap();
            let full = decode(&path, &[whole(4, SMALL)], false, 1);
            let found = decode(&path, &[whole(4, SMALL)], true, 1);
            let (Ok(full), Ok(found)) = (full, found) else {
                continue;
            };
            skipped += usize::from(found.statistics.packets_skipped > 0);
            let same = full.frames_decoded == found.frames_decoded
                && full.clips[0][0].frames == found.clips[0][0].frames;
            if !same {
                println!("{name}: {:?} {:?}", full.statistics, found.statistics);
            }
            others += usize::from(!same);
        }
    }
    println!("{skipped} sought, {others} others");
    assert!(
        skipped > 20 && others * 4 <= skipped,
        "{skipped} sought, {others} others"
    );
}
