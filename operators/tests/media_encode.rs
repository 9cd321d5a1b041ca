//! Crops written to files, and read again.
#![allow(clippy::unwrap_used)]

mod media_support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use clipsieve_operators::media::{
    CropJob, CropRect, DecodeOptions, EncodeOptions, Fit, Interrupt, MediaError, crop_to_file,
    decode, decode_and_crop, probe,
};
use media_support::{decoded, fixture, number, numbers, whole, windows};

const TOP: CropRect = CropRect {
    x: 0,
    y: 0,
    width: 128,
    height: 48,
};

fn crop(name: &str, rect: CropRect, out: &Path) -> clipsieve_operators::media::EncodedInfo {
    crop_to_file(
        &fixture(name),
        rect,
        out,
        &EncodeOptions::default(),
        &Interrupt::never(),
    )
    .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_crop_has_the_frames_of_the_video_at_their_times() {
    let folder = tempfile::tempdir().unwrap();
    for (name, first, frames) in [
        ("plain.mp4", 0, 95),
        ("edit.mp4", 13, 82),
        ("stream.ts", 0, 30),
        ("sar.mp4", 0, 20),
    ] {
        for extension in ["mp4", "mkv", "mov"] {
            let out = folder.path().join(format!("{name}.{extension}"));
            let info = crop(name, TOP, &out);
            assert_eq!(
                (info.width, info.height, info.frames, info.audio),
                (128, 48, frames as u64, None),
                "{name}"
            );
            assert_eq!(info.bytes, std::fs::metadata(&out).unwrap().len());
            let source = decoded(&fixture(name), &[]);
            let found = decoded(&out, &[whole(frames, Fit::Native)]);
            assert_eq!(
                numbers(&found.clips[0][0]),
                (first..first + frames as u32).collect::<Vec<_>>(),
                "{name}"
            );
            assert_eq!(
                (found.info.sample_aspect, found.info.rotation_degrees),
                ((1, 1), 0)
            );
            let drift = (found.duration_seconds - source.duration_seconds).abs();
            assert!(drift < 2e-3, "{name} {extension}: {drift}");
            assert_eq!(found.statistics.passes, 1, "{name} {extension}");
        }
    }
}

#[test]
fn a_crop_shows_what_a_view_shows() {
    let folder = tempfile::tempdir().unwrap();
    let rect = CropRect {
        x: 14,
        y: 20,
        width: 70,
        height: 60,
    };
    for name in [
        "plain.mp4",
        "rotated.mp4",
        "deep.mp4",
        "jpeg.mov",
        "palette.gif",
        "sound.avi",
        "resized.ts",
        "over_reported.mov",
    ] {
        let out = folder.path().join(format!("{name}.mkv"));
        crop(name, rect, &out);
        let requests = [whole(5, Fit::Native)];
        let seen = decode(&fixture(name), Some(rect), &requests, &Interrupt::never()).unwrap();
        let written = decoded(&out, &requests);
        assert_eq!(seen.frames_decoded, written.frames_decoded, "{name}");
        for (seen, written) in seen.clips[0][0]
            .frames
            .iter()
            .zip(&written.clips[0][0].frames)
        {
            assert_eq!(seen.dim(), written.dim());
            let sum: u64 = seen
                .iter()
                .zip(written.iter())
                .map(|(a, b)| u64::from(a.abs_diff(*b)))
                .sum();
            let mean = sum as f64 / seen.len() as f64;
            assert!(mean < 4.0, "{name}: mean difference {mean}");
        }
    }
}

#[test]
fn uneven_times_stay_uneven() {
    let folder = tempfile::tempdir().unwrap();
    let requests = [windows(0.25, 0.25, 2, Fit::Native)];
    let source = decoded(&fixture("vfr.mp4"), &requests);
    for extension in ["mp4", "mkv"] {
        let out = folder.path().join(format!("vfr.{extension}"));
        crop("vfr.mp4", TOP, &out);
        let found = decoded(&out, &requests);
        let picks = |decoded: &clipsieve_operators::media::Decoded| -> Vec<Vec<u32>> {
            decoded.clips[0].iter().map(numbers).collect()
        };
        assert_eq!(picks(&found), picks(&source), "{extension}");
    }
}

#[test]
fn sound_is_copied_where_the_container_can_hold_it() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("sound.mp4", "a.mp4", "aac", true),
        ("sound.mp4", "a.mkv", "aac", true),
        ("sound.avi", "b.mkv", "pcm_u8", true),
        ("sound.avi", "b.mp4", "aac", false),
    ];
    for (name, out, codec, copied) in cases {
        let out = folder.path().join(out);
        let info = crop(name, TOP, &out);
        let audio = info.audio.unwrap();
        assert_eq!((audio.codec.as_str(), audio.copied), (codec, copied));
        let found = probe(&out, &Interrupt::never()).unwrap();
        assert_eq!(found.audio_codec.as_deref(), Some(codec));
        assert_eq!(decoded(&out, &[]).frames_decoded, 20);
    }
}

#[test]
fn a_webm_takes_another_encoder_and_other_sound() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a.webm");
    let options = EncodeOptions {
        encoder: "libvpx".to_owned(),
        quality: 10,
        ..EncodeOptions::default()
    };
    let info = crop_to_file(
        &fixture("sound.mp4"),
        TOP,
        &out,
        &options,
        &Interrupt::never(),
    )
    .unwrap();
    assert_eq!(info.audio.unwrap().codec, "opus");
    let found = decoded(&out, &[whole(20, Fit::Native)]);
    assert_eq!(numbers(&found.clips[0][0]), (0..20).collect::<Vec<_>>());
    assert_eq!(found.info.codec, "vp8");
}

#[test]
fn what_cannot_be_written_is_refused_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |rect, out: &str, encoder: &str| {
        let options = EncodeOptions {
            encoder: encoder.to_owned(),
            ..EncodeOptions::default()
        };
        let out = folder.path().join(out);
        crop_to_file(
            &fixture("plain.mp4"),
            rect,
            &out,
            &options,
            &Interrupt::never(),
        )
        .unwrap_err()
        .to_string()
    };
    let cases = [
        (
            CropRect { width: 63, ..TOP },
            "a.mp4",
            "libx264",
            "must be even",
        ),
        (CropRect { x: 2, ..TOP }, "a.mp4", "libx264", "lie inside"),
        (
            CropRect { height: 0, ..TOP },
            "a.mp4",
            "libx264",
            "have an area",
        ),
        (TOP, "a.mp4", "libx26x", "libx264"),
        (TOP, "a.txt", "libx264", "allowed are mp4"),
        (TOP, "a.webm", "libx264", "webm cannot hold"),
        (TOP, "none/a.mp4", "libx264", "cannot write"),
    ];
    for (rect, out, encoder, expected) in cases {
        let message = refused(rect, out, encoder);
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_pass_that_encodes_gives_the_frames_and_the_file_of_two_passes() {
    let folder = tempfile::tempdir().unwrap();
    let requests = [whole(7, Fit::Native), windows(2.0, 1.0, 3, Fit::Native)];
    for name in ["plain.mp4", "sound.mp4", "over_reported.mov", "odd.webm"] {
        let (alone, along) = (
            folder.path().join("alone.mp4"),
            folder.path().join("along.mp4"),
        );
        let rect = CropRect { height: 32, ..TOP };
        let rect = match probe(&fixture(name), &Interrupt::never()).unwrap().width {
            width if width < rect.width => CropRect {
                width: width & !1,
                ..rect
            },
            _ => rect,
        };
        let written = crop(name, rect, &alone);
        let job = CropJob {
            rect,
            out: along.clone(),
            options: EncodeOptions::default(),
        };
        let never = Interrupt::never();
        let options = DecodeOptions::default();
        let (found, encoded) = decode_and_crop(
            &fixture(name),
            Some(rect),
            &requests,
            &options,
            &job,
            &never,
        )
        .unwrap();
        let expected = decode(&fixture(name), Some(rect), &requests, &never).unwrap();
        assert_eq!(written, encoded, "{name}");
        assert_eq!(
            std::fs::read(&alone).unwrap(),
            std::fs::read(&along).unwrap(),
            "{name}"
        );
        assert_eq!(found.frames_decoded, expected.frames_decoded, "{name}");
        for (found, expected) in found
            .clips
            .iter()
            .flatten()
            .zip(expected.clips.iter().flatten())
        {
            assert!(found.frames == expected.frames, "{name}");
        }
    }
}

#[test]
fn an_interrupted_crop_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("a.mp4");
    for polls in [1, 40, 150, 250] {
        let left = AtomicUsize::new(polls);
        let interrupt = Interrupt::new(move || {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_err()
        });
        let error = crop_to_file(
            &fixture("plain.mp4"),
            TOP,
            &out,
            &EncodeOptions::default(),
            &interrupt,
        )
        .unwrap_err();
        assert!(matches!(error, MediaError::Interrupted { .. }), "{error}");
        assert!(!out.exists());
    }
}

#[test]
fn a_turned_video_is_written_upright() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("upright.mp4");
    // The right half of the display, where the bits are.
    let info = crop(
        "rotated.mp4",
        CropRect {
            x: 48,
            y: 0,
            width: 48,
            height: 128,
        },
        &out,
    );
    assert_eq!((info.width, info.height), (48, 128));
    let found = decoded(&out, &[whole(95, Fit::Native)]);
    for (index, frame) in found.clips[0][0].frames.iter().enumerate() {
        let turned_back = frame.view().permuted_axes([1, 0, 2]);
        let turned_back = turned_back.slice(ndarray::s![..;-1, .., ..]);
        assert_eq!(number(&turned_back.to_owned()), index as u32);
    }
}
