//! Decoding real files: which frames are picked, when they are shown, and how they look.
#![allow(clippy::unwrap_used)]

mod media_support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clipsieve_operators::media::timeline::uniform_indices;
use clipsieve_operators::media::{
    CropRect, DecodeOptions, EncodeOptions, Fit, Interrupt, MediaError, Medium, crop_to_file,
    decode, decode_with, footprint_bytes, probe,
};
use media_support::{assert_red_and_blue, decoded, fixture, number, numbers, whole, windows};

fn expected(first: u32, frames: usize, wanted: usize) -> Vec<u32> {
    uniform_indices(frames, wanted)
        .into_iter()
        .map(|index| first + index as u32)
        .collect()
}

#[test]
fn every_frame_comes_in_order_of_presentation() {
    let found = decoded(&fixture("plain.mp4"), &[whole(95, Fit::Native)]);
    assert_eq!(numbers(&found.clips[0][0]), (0..95).collect::<Vec<_>>());
    assert_eq!((found.frames_decoded, found.duration_seconds), (95, 9.5));
    assert_eq!(
        (found.statistics.passes, found.statistics.frames_converted),
        (1, 95)
    );
}

#[test]
fn windows_and_samples_share_one_pass() {
    let requests = [
        whole(8, Fit::Native),
        windows(4.0, 3.0, 6, Fit::Native),
        windows(
            4.0,
            3.0,
            3,
            Fit::ResizeShort {
                short: 64,
                crop: 64,
            },
        ),
    ];
    let found = decoded(&fixture("plain.mp4"), &requests);
    assert_eq!(numbers(&found.clips[0][0]), expected(0, 95, 8));
    let spans: Vec<_> = found.clips[1]
        .iter()
        .map(|clip| (clip.start_seconds, clip.end_seconds, numbers(clip)))
        .collect();
    assert_eq!(
        spans,
        [
            (0.0, 4.0, expected(0, 40, 6)),
            (3.0, 7.0, expected(30, 40, 6)),
            (6.0, 9.5, expected(60, 35, 6)),
        ]
    );
    assert_eq!(found.clips[2].len(), 3);
    assert_eq!(found.clips[2][1].frames[0].dim(), (64, 64, 3));
    assert_eq!(found.statistics.passes, 1);
    // Frame 94 is the last of the video and of its last window, and frame 0 the first of both.
    assert!(Arc::ptr_eq(
        &found.clips[0][0].frames[7],
        &found.clips[1][2].frames[5]
    ));
    assert!(Arc::ptr_eq(
        &found.clips[0][0].frames[0],
        &found.clips[1][0].frames[0]
    ));
}

#[test]
fn a_short_span_repeats_frames_without_copying_them() {
    let found = decoded(&fixture("plain.mp4"), &[windows(0.3, 5.0, 8, Fit::Native)]);
    let clip = &found.clips[0][0];
    assert_eq!(numbers(clip), [0, 0, 0, 0, 1, 1, 1, 2]);
    assert_eq!(clip.bytes(), 3 * (128 * 96 * 3));
    assert_eq!(numbers(&clip.reversed()), [2, 1, 1, 1, 0, 0, 0, 0]);
}

#[test]
fn all_kinds_of_streams_give_their_frames() {
    // file, frames, display width and height, colour tolerance
    let files = [
        ("sar.mp4", 20, 128, 96, 6),
        ("odd.webm", 20, 101, 67, 6),
        ("deep.mp4", 20, 128, 96, 6),
        ("jpeg.mov", 20, 128, 96, 6),
        ("palette.gif", 10, 128, 96, 6),
        ("sound.mp4", 20, 128, 96, 6),
        ("sound.avi", 20, 128, 96, 10),
        ("stream.ts", 30, 128, 96, 6),
    ];
    for (name, frames, width, height, tolerance) in files {
        let found = decoded(&fixture(name), &[whole(frames, Fit::Native)]);
        let clip = &found.clips[0][0];
        assert_eq!(
            numbers(clip),
            (0..frames as u32).collect::<Vec<_>>(),
            "{name}"
        );
        assert_eq!(clip.frames[0].dim(), (height, width, 3), "{name}");
        assert_eq!(
            (found.info.height, found.info.width),
            (height as u32, width as u32),
            "{name}"
        );
        assert!(
            (found.duration_seconds - frames as f64 / 10.0).abs() < 2e-3,
            "{name} {}",
            found.duration_seconds
        );
        assert_eq!(found.statistics.passes, 1, "{name}");
        assert_red_and_blue(&clip.frames[3], tolerance, name);
    }
}

#[test]
fn the_last_column_and_row_of_an_odd_size_are_pictures_too() {
    let found = decoded(&fixture("odd.webm"), &[whole(2, Fit::Native)]);
    for frame in &found.clips[0][0].frames {
        for y in 40..67 {
            let pixel = [0, 1, 2].map(|channel| frame[[y, 100, channel]]);
            assert!(
                pixel[0] < 30 && pixel[1] < 30 && pixel[2] > 225,
                "row {y}: {pixel:?}"
            );
        }
        for x in 0..45 {
            assert!(
                frame[[66, x, 0]] > 225 && frame[[66, x, 2]] < 30,
                "column {x}"
            );
        }
    }
}

#[test]
fn a_turned_video_stands_upright() {
    let found = decoded(
        &fixture("rotated.mp4"),
        &[
            whole(95, Fit::Native),
            whole(1, Fit::Within { max_side: 64 }),
        ],
    );
    let info = &found.info;
    assert_eq!(
        (info.width, info.height, info.rotation_degrees),
        (96, 128, 90)
    );
    assert_eq!((info.coded_width, info.coded_height), (128, 96));
    assert_eq!(found.clips[1][0].frames[0].dim(), (64, 48, 3));
    for (index, frame) in found.clips[0][0].frames.iter().enumerate() {
        assert_eq!(frame.dim(), (128, 96, 3));
        // Turned clockwise the coded top, with its bits, is on the right, and its left is at the top.
        let bits: u32 = (0..8)
            .map(|bit| u32::from(frame[[bit * 16 + 8, 72, 0]] > 128) << bit)
            .sum();
        assert_eq!(bits, index as u32);
        assert!(frame[[30, 20, 0]] > 225 && frame[[100, 20, 2]] > 225);
    }
}

#[test]
fn an_old_tag_turns_a_video_too() {
    let found = decoded(&fixture("tagged.mkv"), &[whole(1, Fit::Native)]);
    assert_eq!((found.info.rotation_degrees, found.info.width), (90, 96));
    let frame = &found.clips[0][0].frames[0];
    assert!(frame[[30, 20, 0]] > 225 && frame[[100, 20, 2]] > 225);
}

#[test]
fn an_edit_list_hides_the_frames_before_its_start() {
    let found = decoded(
        &fixture("edit.mp4"),
        &[whole(82, Fit::Native), windows(2.0, 2.0, 1, Fit::Native)],
    );
    assert_eq!(numbers(&found.clips[0][0]), (13..95).collect::<Vec<_>>());
    assert_eq!(
        (found.statistics.frames_predicted, found.statistics.passes),
        (82, 1)
    );
    assert!(
        (found.duration_seconds - 8.2).abs() < 1e-6,
        "{}",
        found.duration_seconds
    );
    let firsts: Vec<u32> = found.clips[1]
        .iter()
        .map(|clip| number(&clip.frames[0]))
        .collect();
    assert_eq!(firsts, [13, 33, 53, 73, 93]);
}

#[test]
fn uneven_times_decide_about_windows_and_a_gap_shows_the_frame_before_it() {
    // Frames 0..10 at 0.0 … 0.9, then nothing until frame 10 at 9.02.
    let found = decoded(&fixture("vfr.mp4"), &[windows(2.0, 2.0, 3, Fit::Native)]);
    let picked: Vec<_> = found.clips[0].iter().map(numbers).collect();
    let still = vec![9; 3];
    assert_eq!(
        picked,
        [
            expected(0, 10, 3),
            still.clone(),
            still.clone(),
            still,
            expected(10, 10, 3),
            expected(20, 10, 3),
        ]
    );
    assert!(
        (found.duration_seconds - 11.0).abs() < 0.2,
        "{}",
        found.duration_seconds
    );
}

#[test]
fn frames_that_do_not_decode_do_not_count() {
    let found = decoded(&fixture("over_reported.mov"), &[whole(6, Fit::Native)]);
    assert_eq!(
        (found.statistics.frames_predicted, found.frames_decoded),
        (20, 18)
    );
    let real: Vec<u32> = (0..19).filter(|&n| n != 7).collect();
    let picked: Vec<u32> = uniform_indices(18, 6)
        .into_iter()
        .map(|index| real[index])
        .collect();
    assert_eq!(numbers(&found.clips[0][0]), picked);
    assert_eq!((found.statistics.passes, found.statistics.faults), (2, 2));
    assert!(found.statistics.first_fault.is_some());
}

#[test]
fn a_file_that_breaks_off_counts_for_what_it_has() {
    let bytes = std::fs::read(fixture("sound.mp4")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.mp4");
    std::fs::write(&path, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let found = decoded(&path, &[whole(4, Fit::Native)]);
    assert!(
        (2..20).contains(&found.frames_decoded),
        "{}",
        found.frames_decoded
    );
    let picked = numbers(&found.clips[0][0]);
    assert_eq!(picked[0], 0);
    assert_eq!(picked[3] as usize, found.frames_decoded - 1);
}

#[test]
fn a_stream_that_changes_its_size_keeps_that_of_its_frames() {
    let found = decoded(&fixture("resized.ts"), &[whole(20, Fit::Native)]);
    assert_eq!(found.frames_decoded, 20);
    for (index, frame) in found.clips[0][0].frames.iter().enumerate() {
        assert_eq!(frame.dim(), (96, 128, 3));
        assert_eq!(number(frame), index as u32);
        assert_red_and_blue(frame, 8, "resized.ts");
    }
}

#[test]
fn a_view_is_cut_out_of_every_frame() {
    let view = CropRect {
        x: 64,
        y: 48,
        width: 64,
        height: 48,
    };
    for name in ["plain.mp4", "sar.mp4"] {
        let found = decode(
            &fixture(name),
            Some(view),
            &[whole(3, Fit::Native)],
            &Interrupt::never(),
        )
        .unwrap();
        for frame in &found.clips[0][0].frames {
            assert_eq!(frame.dim(), (48, 64, 3));
            assert!(
                frame
                    .outer_iter()
                    .skip(4)
                    .all(|row| row[[10, 2]] > 225 && row[[10, 0]] < 30),
                "{name}"
            );
        }
    }
    let outside = CropRect { x: 100, ..view };
    let error = decode(
        &fixture("plain.mp4"),
        Some(outside),
        &[],
        &Interrupt::never(),
    )
    .unwrap_err();
    assert!(matches!(error, MediaError::Crop { .. }), "{error}");
    assert!(error.to_string().contains("64x48+100+48"), "{error}");
}

#[test]
fn threads_change_nothing() {
    for name in ["plain.mp4", "edit.mp4", "odd.webm", "sound.avi"] {
        let requests = [
            whole(
                12,
                Fit::ResizeShort {
                    short: 64,
                    crop: 64,
                },
            ),
            windows(4.0, 3.0, 3, Fit::Native),
        ];
        let one = decoded(&fixture(name), &requests);
        let options = DecodeOptions {
            threads: 3,
            ..DecodeOptions::default()
        };
        let three = decode_with(
            &fixture(name),
            None,
            &requests,
            &options,
            &Interrupt::never(),
        )
        .unwrap();
        assert_eq!(one.frames_decoded, three.frames_decoded);
        for (a, b) in one.clips.iter().flatten().zip(three.clips.iter().flatten()) {
            assert_eq!(a.frames, b.frames, "{name}");
        }
    }
}

#[test]
fn a_header_is_read_without_decoding() {
    let never = Interrupt::never();
    let info = probe(&fixture("sar.mp4"), &never).unwrap();
    assert_eq!(
        (
            info.coded_width,
            info.width,
            info.height,
            info.sample_aspect
        ),
        (64, 128, 96, (2, 1))
    );
    assert_eq!(
        (info.codec.as_str(), info.pixel_format.as_str()),
        ("h264", "yuv420p")
    );
    assert_eq!(
        (
            info.average_fps,
            info.duration_seconds,
            info.frames_estimate
        ),
        (Some(10.0), Some(2.0), Some(20))
    );
    assert!(!info.has_audio && info.audio_codec.is_none());
    let info = probe(&fixture("sound.mp4"), &never).unwrap();
    assert!(info.has_audio && info.container.contains("mp4"));
    assert_eq!(info.audio_codec.as_deref(), Some("aac"));
    assert_eq!(
        probe(&fixture("deep.mp4"), &never).unwrap().pixel_format,
        "yuv444p10le"
    );
}

#[test]
fn the_footprint_bounds_what_is_held() {
    let requests = [
        whole(
            48,
            Fit::ResizeShort {
                short: 70,
                crop: 64,
            },
        ),
        windows(
            4.0,
            3.0,
            48,
            Fit::ResizeShort {
                short: 70,
                crop: 64,
            },
        ),
        whole(5, Fit::Within { max_side: 100 }),
    ];
    let found = decoded(&fixture("plain.mp4"), &requests);
    let held: usize = found.statistics.frames_converted * 64 * 64 * 3;
    let medium = Medium::file(fixture("plain.mp4"));
    let estimate = footprint_bytes(&medium, &requests, 1, &Interrupt::never()).unwrap();
    let of_three = footprint_bytes(&medium, &requests, 3, &Interrupt::never()).unwrap();
    let decoder = u64::from(probe(&medium, &Interrupt::never()).unwrap().coded_width);
    assert!(
        of_three - estimate > 2 * decoder,
        "each thread is a decoder: {estimate} {of_three}"
    );
    assert!(
        held as u64 <= estimate && estimate < 4_000_000,
        "{held} {estimate}"
    );
}

#[test]
fn a_recording_without_a_length_is_planned_for_by_its_packets() {
    let folder = tempfile::tempdir().unwrap();
    let (told, live) = (
        folder.path().join("told.mkv"),
        folder.path().join("live.mkv"),
    );
    let rect = CropRect::whole(128, 96);
    let never = Interrupt::never();
    crop_to_file(
        &fixture("plain.mp4"),
        rect,
        &told,
        &EncodeOptions::default(),
        &never,
    )
    .unwrap();
    // The element of the length (4489, eight bytes) becomes one that is void (EC, nine bytes).
    let mut bytes = std::fs::read(&told).unwrap();
    let at = bytes
        .windows(3)
        .position(|id| id == [0x44, 0x89, 0x88])
        .unwrap();
    bytes[at..at + 2].copy_from_slice(&[0xec, 0x89]);
    std::fs::write(&live, bytes).unwrap();
    assert_eq!(probe(&live, &never).unwrap().duration_seconds, None);

    let fit = Fit::ResizeShort {
        short: 70,
        crop: 64,
    };
    let requests = [windows(2.0, 0.5, 8, fit), whole(12, fit)];
    let planned = |path: &Path| footprint_bytes(&Medium::file(path), &requests, 1, &never).unwrap();
    assert_eq!(planned(&live), planned(&told));
    let found = decoded(&live, &requests);
    let held = (found.statistics.frames_converted * 64 * 64 * 3) as u64;
    assert!(held < planned(&live) && planned(&live) < held + 4_000_000);
}

#[test]
fn what_is_no_video_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        decode(&path, None, &[whole(1, Fit::Native)], &Interrupt::never()).unwrap_err()
    };
    let secret = fixture("plain.mp4");
    let secret = secret.display();
    let hls = format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:9.5,\n{secret}\n#EXT-X-ENDLIST\n"
    );
    let concat = format!("ffconcat version 1.0\nfile {secret}\n");
    for (name, text, kind) in [
        ("list.mp4", hls.as_str(), "hls"),
        ("list.mkv", concat.as_str(), "concat"),
    ] {
        let error = refused(name, text.as_bytes());
        assert!(
            matches!(error, MediaError::Unsupported { .. }) && error.to_string().contains(kind),
            "{error}"
        );
        assert!(error.is_permanent());
    }
    let error = refused("noise.mp4", &[0x5a; 4096]);
    assert!(matches!(error, MediaError::Open { .. }), "{error}");
    assert!(matches!(refused("empty.mp4", &[]), MediaError::Open { .. }));

    let never = Interrupt::never();
    let error = probe(&fixture("song.m4a"), &never).unwrap_err();
    assert!(matches!(error, MediaError::NoVideo { .. }), "{error}");
    let error = probe(Path::new("/nowhere/a.mp4"), &never).unwrap_err();
    assert!(matches!(error, MediaError::Io { .. }) && error.is_permanent());
    assert!(
        error
            .to_string()
            .starts_with("cannot read /nowhere/a.mp4: "),
        "{error}"
    );
    let error = probe(folder.path(), &never).unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

#[test]
fn an_interrupt_ends_a_decode_at_any_point() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = {
        let polls = Arc::clone(&polls);
        Interrupt::new(move || {
            polls.fetch_add(1, Ordering::Relaxed);
            false
        })
    };
    let requests = [whole(4, Fit::Native)];
    decode(&fixture("plain.mp4"), None, &requests, &counted).unwrap();
    let all = polls.load(Ordering::Relaxed);
    assert!(all > 95, "{all}");
    for stop_at in (0..all).step_by(7) {
        let left = AtomicUsize::new(stop_at);
        let interrupt = Interrupt::new(move || {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_err()
        });
        let error = decode(&fixture("plain.mp4"), None, &requests, &interrupt).unwrap_err();
        assert!(
            matches!(error, MediaError::Interrupted { .. }),
            "poll {stop_at}: {error}"
        );
        assert!(!error.is_permanent());
    }
}

/// The places of this box in a file.
fn boxes(bytes: &[u8], kind: &[u8]) -> Vec<usize> {
    let found = bytes.windows(4).enumerate();
    let found = found.filter(|(_, window)| *window == kind);
    found.map(|(at, _)| at).collect()
}

#[test]
fn an_mp4_that_leads_to_other_files_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leads.mp4");
    let never = Interrupt::never();
    for fixture_name in ["plain.mp4", "jpeg.mov"] {
        let clip = std::fs::read(fixture(fixture_name)).unwrap();
        // Right behind `url ` stand version and flags; the last bit says "in this file".
        let urls = boxes(&clip, b"url ");
        let urls = urls.into_iter().chain(boxes(&clip, b"alis"));
        let mut changed = 0;
        for at in urls {
            let mut bytes = clip.clone();
            // QuickTime's handler of data is called `url ` too.
            if bytes[at + 4..at + 8] != [0, 0, 0, 1] {
                continue;
            }
            bytes[at + 7] = 0;
            std::fs::write(&path, &bytes).unwrap();
            let error = decode(&path, None, &[whole(1, Fit::Native)], &never).unwrap_err();
            assert!(
                matches!(error, MediaError::Unsupported { .. })
                    && error.to_string().contains("`dref`"),
                "{error}"
            );
            assert!(error.is_permanent());
            changed += 1;
        }
        assert!(changed > 0, "{fixture_name} says where its data are");
    }
}
