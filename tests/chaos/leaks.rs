//! Runs over many rows: what is used at the thousandth is used at the last.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::job::{Job, Running};

/// How many rows are looked at together.
const ROWS: u64 = 1000;
/// How far the mean of each thousand rows may be from that of the second.
const FLAT: f64 = 0.05;

/// Memory is flat from the first thousand rows on, and descriptors and the disk are what they were.
pub fn many_rows_leave_nothing_behind() {
    let rows: u64 = crate::number("CLIPSIEVE_CHAOS_ROWS").unwrap_or(10 * ROWS);
    for judged in [false, true] {
        let job = job(rows, judged);
        let mut running = job.start();
        let mut seen: BTreeMap<u64, Vec<Sample>> = BTreeMap::new();
        let (mut read, mut done) = (0, 0);
        while !running.is_over() {
            let partial = std::fs::read(job.path("out.jsonl.partial")).unwrap_or_default();
            let more = partial.get(read..).unwrap_or_default();
            done += more.iter().filter(|byte| **byte == b'\n').count() as u64;
            read = partial.len().max(read);
            if let Some(sample) = Sample::of(&running, &job) {
                seen.entry(done / ROWS).or_default().push(sample);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let stderr = running.expect(0);
        assert_eq!(job.rows().len() as u64, rows, "{stderr}");
        job.is_clean();
        let mean = |samples: &Vec<Sample>, of: fn(&Sample) -> u64| {
            samples.iter().map(of).sum::<u64>() as f64 / samples.len() as f64
        };
        let told = seen.iter().map(|(thousand, samples)| {
            let megabytes = mean(samples, |sample| sample.memory_kib) / 1024.0;
            let descriptors = samples.iter().map(|sample| sample.descriptors).max();
            let disk = samples.iter().map(|sample| sample.disk_bytes).max();
            format!(
                "  {} {thousand},000: {megabytes:.1} MiB, {} descriptors, {} bytes of disk",
                if judged { "judged" } else { "measured" },
                descriptors.unwrap_or(0),
                disk.unwrap_or(0)
            )
        });
        println!("{}", told.collect::<Vec<_>>().join("\n"));
        let memory: Vec<f64> = seen
            .range(1..rows / ROWS)
            .map(|(_, samples)| mean(samples, |sample| sample.memory_kib))
            .collect();
        assert!(memory.len() > 1, "the rows went by unseen");
        for thousand in &memory {
            let off = (thousand - memory[0]).abs() / memory[0];
            assert!(off <= FLAT, "memory is not flat: {memory:?} KiB");
        }
        let descriptors = |thousand: u64| seen[&thousand].iter().map(|sample| sample.descriptors);
        assert!(
            descriptors(rows / ROWS - 1).max() <= descriptors(1).max().map(|most| most + 2),
            "descriptors are left open"
        );
    }
}

/// What the process that works has at a moment, and the run on its disk.
struct Sample {
    memory_kib: u64,
    descriptors: u64,
    disk_bytes: u64,
}

impl Sample {
    fn of(running: &Running, job: &Job) -> Option<Self> {
        let member = *running.members().first()?;
        let status = std::fs::read_to_string(format!("/proc/{member}/status")).ok()?;
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(Self {
            memory_kib: memory.split_whitespace().next()?.parse().ok()?,
            descriptors: std::fs::read_dir(format!("/proc/{member}/fd"))
                .ok()?
                .count() as u64,
            disk_bytes: size(&job.path("tmp")),
        })
    }
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => size(&entry.path()),
            Ok(about) => about.len(),
            // It went away meanwhile.
            Err(_) => 0,
        })
        .sum()
}

/// Rows over the fixtures; with `judged`, by a model too, and with crops that are encoded.
fn job(rows: u64, judged: bool) -> Job {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let media = root.join("tests/fixtures/media");
    let mut videos: Vec<_> = std::fs::read_dir(media)
        .expect("the fixtures")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let extension = path.extension().unwrap_or_default();
            // Not of videos.
            extension != "md" && extension != "m4a"
        })
        .collect();
    videos.sort();
    let row = |number: u64| {
        let video = &videos[number as usize % videos.len()];
        json!({ "video_id": number, "video_path": video, "video_tag": "", "info": {} })
    };
    let job = Job::new((0..rows).map(row), "1ms");
    let model = root.join("tests/fixtures/vjepa2-tiny");
    let (models, stages, last) = match judged {
        false => (
            String::new(),
            "measured: { op: measure, from: clip }\n",
            "[measured]",
        ),
        true => (
            format!("models:\n  tiny: {}\n", model.display()),
            "regions: { op: detect_regions, from: fetched }\n  \
             cropped: { op: crop_upload, from: [fetched, regions] }\n  \
             judged: { op: classify, from: clip, with: { model: tiny } }\n",
            "[regions, cropped, judged]",
        ),
    };
    let from = if judged { "cropped" } else { "fetched" };
    let pipeline = format!(
        "name: leaks\n\
         params:\n  output: {{ type: uri, default: out.jsonl }}\n\
         {models}\
         stages:\n  \
           videos: {{ op: read_table, with: {{ uri: rows.jsonl }} }}\n  \
           fetched: {{ op: fetch, from: videos }}\n  \
           decoded: {{ op: decode, from: {from} }}\n  \
           clip: {{ op: sample, from: decoded, with: {{ frames: 8, size: 64 }} }}\n  \
           {stages}  \
           result: {{ op: aggregate, from: {last} }}\n  \
           table: {{ op: write_table, from: result, with: {{ uri: \"${{output}}\" }} }}\n"
    );
    std::fs::write(job.path("chaos.yaml"), pipeline).expect("a pipeline");
    job
}
