//! Videos with bytes changed, cut out, doubled and cut off.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use crate::job::{Job, Seeded};

/// Larger files are left out: most of their bytes are of frames, and it is the containers that are to be broken.
const LARGEST_BYTES: u64 = 2 << 20;

/// Every mutant has a row, and if one kills a process that costs its own row only.
pub fn every_mutated_video_has_a_row() {
    let count = match crate::is_long() {
        false => 40,
        true => crate::number("CLIPSIEVE_CHAOS_MUTANTS").unwrap_or(2000),
    };
    let seeds = seeds();
    assert!(!seeds.is_empty());
    let mut random = Seeded(crate::seed());
    let job = Job::new([], "1ms").with(&["--processes", "2"]);
    let folder = job.path("mutants");
    std::fs::create_dir(&folder).expect("a folder");
    let rows: Vec<String> = (0..count)
        .map(|number| {
            let seed = &seeds[random.below(seeds.len() as u64) as usize];
            let mut bytes = std::fs::read(seed).expect("a seed");
            mutate(&mut bytes, &mut random);
            let extension = seed.extension().unwrap_or_default().to_string_lossy();
            let path = folder.join(format!("{number}.{extension}"));
            std::fs::write(&path, bytes).expect("a mutant");
            let seed = seed.file_name().unwrap_or_default().to_string_lossy();
            json!({ "video_id": number, "video_path": path, "video_tag": seed, "info": {} })
                .to_string()
        })
        .collect();
    std::fs::write(job.path("rows.jsonl"), rows.join("\n")).expect("rows");
    let pipeline = "name: mutants\n\
        params:\n  output: { type: uri, default: out.jsonl }\n\
        limits: { item_timeout: 60s }\n\
        stages:\n  \
          videos: { op: read_table, with: { uri: rows.jsonl } }\n  \
          fetched: { op: fetch, from: videos }\n  \
          regions: { op: detect_regions, from: fetched, timeout: 30s }\n  \
          cropped: { op: crop_upload, from: [fetched, regions], timeout: 30s }\n  \
          decoded: { op: decode, from: cropped, timeout: 30s }\n  \
          clip: { op: sample, from: decoded, with: { frames: 8, size: 64 } }\n  \
          measured: { op: measure, from: clip }\n  \
          result: { op: aggregate, from: [regions, cropped, measured] }\n  \
          table: { op: write_table, from: result, with: { uri: \"${output}\" } }\n";
    std::fs::write(job.path("chaos.yaml"), pipeline).expect("a pipeline");
    let started = Instant::now();
    let stderr = job.expect(0);
    let took = started.elapsed();
    let rows = job.rows();
    let of_kind = |kind: &str| {
        let rows = rows.values();
        rows.filter(|row| row["result_info"]["kind"] == kind)
            .count()
    };
    let failed = rows
        .values()
        .filter(|row| row["result_info"]["succeed"] != "true");
    let (crashed, late) = (of_kind("crash"), of_kind("timeout"));
    println!(
        "  {count} mutants of {} videos in {took:.1?}: {} failed, {} of them killed a process, {} ran out of time",
        seeds.len(),
        failed.count(),
        crashed,
        late
    );
    assert_eq!(rows.len() as u64, count, "{stderr}");
    // A row that kills does so twice among others, and once alone; any other death would be without a cause.
    let deaths = stderr.matches("rows are done, going on").count();
    assert!(deaths <= 2 * crashed, "{deaths} deaths\n{stderr}");
}

/// The fixtures, and what lies in the folders of `CLIPSIEVE_EXTRA_CLIPS`.
fn seeds() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/media");
    let extra = std::env::var("CLIPSIEVE_EXTRA_CLIPS").unwrap_or_default();
    let folders = std::iter::once(fixtures).chain(std::env::split_paths(&extra));
    let mut seeds: Vec<PathBuf> = folders
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let about = std::fs::metadata(path);
            about.is_ok_and(|about| about.is_file() && about.len() <= LARGEST_BYTES)
                && path.extension().is_some_and(|extension| extension != "md")
        })
        .collect();
    seeds.sort();
    seeds
}

/// Changes, cuts out, doubles or cuts off.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Seeded) {
    for _ in 0..=random.below(6) {
        let length = bytes.len() as u64;
        if length < 16 {
            return;
        }
        // Half of the time near the beginning or the end, where containers keep what they know.
        let at = match random.below(4) {
            0 => random.below(length.min(4096)),
            1 => length - 1 - random.below(length.min(4096)),
            _ => random.below(length),
        } as usize;
        let some = 1 + random.below((length - at as u64).min(512)) as usize;
        match random.below(6) {
            0 => bytes[at] = random.number() as u8,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => {
                let end = (at + 4).min(bytes.len());
                let value = [[0_u8; 4], [0xff; 4], [0x7f, 0xff, 0xff, 0xff], [0, 0, 0, 1]];
                let value = value[random.below(4) as usize];
                bytes[at..end].copy_from_slice(&value[..end - at]);
            }
            3 => drop(bytes.drain(at..(at + some).min(length as usize))),
            4 => {
                let piece = bytes[at..(at + some).min(length as usize)].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes.truncate(at.max(16)),
        }
    }
}
