//! Files that were damaged, and whatever files there are: no panic, an end in time, and sound answers.
#![allow(clippy::unwrap_used)]

mod media_support;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clipsieve_operators::media::{
    CropRect, Decoded, EncodeOptions, Fit, Interrupt, MediaError, crop_to_file, decode, probe,
};
use media_support::{fixture, whole, windows};

const LIMIT: Duration = Duration::from_secs(60);

/// Decodes, and checks what must hold of any answer.
fn checked(path: &Path) -> Result<Decoded, MediaError> {
    let requests = [
        whole(7, Fit::Within { max_side: 64 }),
        windows(
            4.0,
            3.0,
            3,
            Fit::ResizeShort {
                short: 40,
                crop: 32,
            },
        ),
    ];
    let began = Instant::now();
    let found = decode(path, None, &requests, &Interrupt::at(began + LIMIT));
    let took = began.elapsed();
    assert!(
        took < LIMIT + Duration::from_secs(5),
        "{} took {took:?}",
        path.display()
    );
    match &found {
        Ok(decoded) => {
            assert!(decoded.frames_decoded > 0 && decoded.duration_seconds > 0.0);
            assert_eq!(decoded.clips[0].len(), 1);
            assert!(decoded.clips[0].iter().all(|clip| clip.frames.len() == 7));
            assert!(decoded.clips[1].iter().all(|clip| clip.frames.len() == 3));
            let ends = decoded.clips[1].last().map(|clip| clip.end_seconds);
            assert_eq!(ends, Some(decoded.duration_seconds));
            for frame in decoded.clips[1].iter().flat_map(|clip| &clip.frames) {
                assert_eq!(frame.dim(), (32, 32, 3));
            }
        }
        Err(MediaError::Interrupted { .. }) => panic!("{} did not end in time", path.display()),
        Err(error) => assert!(error.to_string().len() > 10),
    }
    found
}

/// A generator that is the same on every machine (Numerical Recipes' constants).
struct Dice(u32);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % sides
    }
}

fn damaged(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match dice.roll(4) {
        0 => bytes.truncate(1 + dice.roll(bytes.len() - 1)),
        1 => {
            let (from, length) = (dice.roll(bytes.len()), 1 + dice.roll(400));
            let to = (from + length).min(bytes.len());
            bytes[from..to].fill(dice.roll(256) as u8);
        }
        _ => {
            for _ in 0..1 + dice.roll(24) {
                let at = dice.roll(bytes.len());
                bytes[at] ^= 1 << dice.roll(8);
            }
        }
    }
    bytes
}

#[test]
fn damaged_files_end_with_frames_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dice, mut decoded, mut refused) = (Dice(7), 0, 0);
    for name in [
        "sound.mp4",
        "vfr.mp4",
        "edit.mp4",
        "odd.webm",
        "stream.ts",
        "sound.avi",
        "palette.gif",
        "jpeg.mov",
        "resized.ts",
    ] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for round in 0..14 {
            let path = folder.path().join(format!("{round}-{name}"));
            std::fs::write(&path, damaged(&bytes, &mut dice)).unwrap();
            match checked(&path) {
                Ok(_) => decoded += 1,
                Err(_) => refused += 1,
            }
        }
    }
    // Damage that never or always kills would show that it is no damage, or no decoding.
    assert!(
        decoded > 30 && refused > 5,
        "{decoded} decoded, {refused} refused"
    );
}

#[test]
fn a_small_file_that_promises_millions_of_samples_takes_no_memory() {
    let boxed = |kind: &[u8; 4], body: &[u8]| -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes(), &kind[..], body].concat()
    };
    let samples = 20_000_000u32;
    let numbers = [0, 1, samples].map(u32::to_be_bytes).concat();
    let mut moov = boxed(b"stsz", &numbers);
    for kind in [b"stbl", b"minf", b"mdia", b"trak", b"moov"] {
        moov = boxed(kind, &moov);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bomb.mp4");
    std::fs::write(&path, [boxed(b"ftyp", b"isom0000isom"), moov].concat()).unwrap();
    let error = checked(&path).unwrap_err();
    assert!(error.is_permanent());
    assert!(
        error
            .to_string()
            .contains("its tables promise 20000000 samples"),
        "{error}"
    );
}

#[test]
fn a_movie_whose_media_lie_in_other_files_is_told_so_however_long_it_is() {
    let boxed = |kind: &[u8; 4], body: &[u8]| -> Vec<u8> {
        [&(body.len() as u32 + 8).to_be_bytes(), &kind[..], body].concat()
    };
    let numbers = |numbers: &[u32]| -> Vec<u8> {
        numbers
            .iter()
            .flat_map(|number| number.to_be_bytes())
            .collect()
    };
    let elsewhere = boxed(b"alis", &numbers(&[0]));
    let references = boxed(b"dref", &[numbers(&[0, 1]), elsewhere].concat());
    let sizes = boxed(b"stsz", &numbers(&[0, 1, 20_000_000]));
    let information = [boxed(b"dinf", &references), boxed(b"stbl", &sizes)].concat();
    let mut moov = boxed(b"minf", &information);
    for kind in [b"mdia", b"trak", b"moov"] {
        moov = boxed(kind, &moov);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reference.mov");
    std::fs::write(&path, [boxed(b"ftyp", b"qt  0000qt  "), moov].concat()).unwrap();
    let told = checked(&path).unwrap_err().to_string();
    assert!(told.contains("media data in other files"), "{told}");
}

#[test]
fn damaged_files_can_be_cropped_or_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut dice, mut written) = (Dice(11), 0);
    let rect = CropRect {
        x: 0,
        y: 0,
        width: 64,
        height: 48,
    };
    for name in ["sound.mp4", "sound.avi", "stream.ts"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for round in 0..8 {
            let path = folder.path().join(format!("{round}-{name}"));
            let out = folder.path().join(format!("{round}-{name}-out.mp4"));
            std::fs::write(&path, damaged(&bytes, &mut dice)).unwrap();
            let interrupt = Interrupt::at(Instant::now() + LIMIT);
            let result = crop_to_file(&path, rect, &out, &EncodeOptions::default(), &interrupt);
            assert_eq!(result.is_ok(), out.exists(), "{result:?}");
            if let Ok(info) = result {
                written += 1;
                assert_eq!(
                    checked(&out).unwrap().frames_decoded as u64,
                    info.frames,
                    "{}",
                    path.display()
                );
            }
        }
    }
    assert!(written > 5, "{written}");
}

/// Walks the folders named by `CLIPSIEVE_EXTRA_CLIPS` (separated by colons); passes at once when there are none.
#[test]
fn extra_clips_decode_or_say_why_not() {
    let Some(folders) = std::env::var_os("CLIPSIEVE_EXTRA_CLIPS") else {
        return;
    };
    let mut paths: Vec<PathBuf> = std::env::split_paths(&folders)
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    let folder = tempfile::tempdir().unwrap();
    for path in paths {
        let found = match checked(&path) {
            Ok(found) => found,
            Err(error) => {
                println!("{error}");
                continue;
            }
        };
        println!(
            "{}: {} frames, {} s, {:?}",
            path.display(),
            found.frames_decoded,
            found.duration_seconds,
            found.statistics
        );
        let info = probe(&path, &Interrupt::never()).unwrap();
        assert_eq!(info, found.info);
        let rect = CropRect {
            x: 0,
            y: 0,
            width: info.width / 4 * 2,
            height: info.height / 4 * 2,
        };
        let out = folder.path().join("out.mp4");
        let began = Instant::now();
        let written = crop_to_file(
            &path,
            rect,
            &out,
            &EncodeOptions::default(),
            &Interrupt::at(began + LIMIT),
        )
        .unwrap();
        assert_eq!(written.frames, found.frames_decoded as u64);
        let again = checked(&out).unwrap();
        println!(
            "  crop: {written:?} in {:?}, {} s",
            began.elapsed(),
            again.duration_seconds
        );
        assert_eq!(again.frames_decoded, found.frames_decoded);
    }
}
