//! How fast tables are read and written, and in how much memory.
//!
//! ```text
//! cargo run --release --example table_rates -- 1000000
//! ```
//!
//! Makes result-like rows, writes them as JSON lines, and from there goes round all formats: each is read and written as the
//! next one. The peak of the process's memory so far stands behind every step.

use std::borrow::Cow;
use std::path::Path;
use std::time::Instant;

use clipsieve_engine::operator::{Row, Stores};
use clipsieve_operators::tables::{self, Reading, RowWriter, Writing};
use serde_json::json;

const PART_ROWS: usize = 4096;

fn main() {
    let rows: u64 = std::env::args()
        .nth(1)
        .map_or(1_000_000, |rows| rows.parse().expect("a number of rows"));
    let folder = tempfile::tempdir_in(".").expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    println!("{rows} rows");

    let first = path("rows.jsonl");
    let started = Instant::now();
    let mut writer = begin(&first);
    write(writer.as_mut(), (0..rows).map(row));
    told("make, write .jsonl", &first, started, rows);

    for (from, to) in [
        ("rows.jsonl", "rows.parquet"),
        ("rows.parquet", "again.jsonl"),
        ("again.jsonl", "rows.csv"),
        ("rows.csv", "last.jsonl"),
    ] {
        let reading = Reading {
            stores: &Stores::new(),
            endpoint: None,
            limit: None,
            scratch: folder.path(),
        };
        let open = || tables::open(&path(from), &reading).expect("a table");
        let started = Instant::now();
        let mut source = open();
        let mut read = 0;
        while source.next_row().expect("a row").is_some() {
            read += 1;
        }
        assert_eq!(read, rows);
        told(&format!("read {from}"), &path(from), started, rows);

        let mut source = open();
        let started = Instant::now();
        let mut writer = begin(&path(to));
        let found = || source.next_row().expect("a row").map(|found| found.row);
        write(writer.as_mut(), std::iter::from_fn(found));
        told(&format!("{from} → {to}"), &path(to), started, rows);
    }
}

fn begin(uri: &str) -> Box<dyn RowWriter> {
    let writing = Writing {
        stores: &Stores::new(),
        endpoint: None,
        upload: Default::default(),
        waiting: Path::new(tables::WAITING),
    };
    tables::create(uri, &writing).expect("a table can be made here")
}

/// Writes rows by parts, as a run does that keeps a ledger: each is on disk before the next one comes.
fn write(writer: &mut dyn RowWriter, mut rows: impl Iterator<Item = Row>) {
    writer.resume(&[]).expect("a new table");
    let mut receipts = Vec::new();
    loop {
        let part: Vec<_> = rows.by_ref().take(PART_ROWS).map(Cow::Owned).collect();
        if part.is_empty() {
            break;
        }
        let number = receipts.len() as u64;
        receipts.push(writer.publish(number, &part).expect("a part is written"));
    }
    writer.finish(&receipts).expect("a table");
}

/// A row as `aggregate` makes them, with two verdicts.
fn row(number: u64) -> Row {
    let share = (number % 1000) as f64 / 1000.0;
    let verdict =
        json!({"result": {"pass": share, "reject": 1.0 - share}, "label": "pass", "prob": share});
    let row = json!({
        "video_id": format!("video-{number:08}"), "oss_bucket": "videos", "video_oss_url": format!("oss://videos/{}/{number}.mp4", number % 97),
        "video_tag": "demo", "info": {"use_alluxio": true, "vfx_filter": verdict, "simcam_filter": verdict},
        "result_info": {
            "succeed": "true", "start_time": "2026-11-24T08:00:00.000Z", "end_time": "2026-11-24T08:00:01.250Z", "avg_cost": 1.25,
            "device_name": "worker-0", "device_info": "linux x86_64, 2 cores",
        },
        "shard": number % 16,
    });
    Row(row.as_object().expect("an object").clone())
}

fn told(step: &str, table: &str, started: Instant, rows: u64) {
    let seconds = started.elapsed().as_secs_f64();
    let megabytes = std::fs::metadata(table).map_or(0.0, |about| about.len() as f64 / 1e6);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    println!(
        "{step:28} {seconds:6.1} s  {:8.0} rows/s  {megabytes:7.1} MB  peak memory {}",
        rows as f64 / seconds,
        peak.unwrap_or("unknown").trim()
    );
}
