//! Videos that stay in their store and are read by ranges: the same rows, a fraction of the bytes, nothing on the disk.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::common::{clipsieve_with, repository, rows};
use super::pipeline::padded_to;
use super::servers::{proxy, s3};

fn pipeline(frames: usize, timeout: &str) -> String {
    format!(
        "name: streamed
params:
  server: {{ type: text }}
  stream: {{ type: bool }}
stores:
  far: {{ type: s3, endpoint: \"${{server}}\", bucket: far, timeout: {timeout}, access_key_id: \"${{env:ID}}\", secret_access_key: \"${{env:KEY}}\" }}
stages:
  videos: {{ op: read_table, with: {{ uri: in.jsonl }} }}
  fetched: {{ op: fetch, from: videos, with: {{ tiers: [far], stream: \"${{stream}}\" }}, retry: {{ attempts: 4, backoff: 100ms }} }}
  decoded: {{ op: decode, from: fetched, retry: {{ attempts: 4, backoff: 100ms }} }}
  clip: {{ op: sample, from: decoded, with: {{ frames: {frames}, size: 64 }} }}
  measured: {{ op: measure, from: clip, with: {{ signals: [brightness, contrast, motion] }} }}
  result: {{ op: aggregate, from: measured }}
  table: {{ op: write_table, from: result, with: {{ uri: out.jsonl }} }}
"
    )
}

/// Runs the pipeline over the one video of the bucket; what is measured, and most bytes of temporary files.
fn measure(work: &Path, server: &str, stream: bool) -> Json {
    let scratch = work.join("tmp");
    fs::create_dir_all(&scratch).expect("a folder");
    let arguments = [
        "run".to_owned(),
        "streamed.yaml".to_owned(),
        "--progress=none".to_owned(),
        "--set".to_owned(),
        format!("server={server}"),
        "--set".to_owned(),
        format!("stream={stream}"),
    ];
    let environment = [
        ("TMPDIR", scratch.to_str().expect("text")),
        ("ID", s3::KEY_ID),
        ("KEY", s3::SECRET),
    ];
    let done = clipsieve_with(work, &arguments, &environment);
    let told = String::from_utf8_lossy(&[&done.stdout[..], &done.stderr[..]].concat()).into_owned();
    assert!(done.status.success(), "{told}");
    let found = rows(&work.join("out.jsonl"));
    let [row] = found.as_slice() else {
        panic!("{} rows", found.len());
    };
    assert_eq!(row["result_info"]["succeed"], "true", "{row}");
    row["info"]["measure"].clone()
}

/// A bucket `far` with a video in it, and the table that names it.
fn bucket(work: &Path, video: impl FnOnce(PathBuf), frames: usize, timeout: &str) {
    fs::create_dir_all(work.join("s3/far")).expect("a bucket");
    video(work.join("s3/far/long.mp4"));
    let row = json!({"video_id": "long", "video_path": "long.mp4"});
    fs::write(work.join("in.jsonl"), format!("{row}\n")).expect("a table");
    fs::write(work.join("streamed.yaml"), pipeline(frames, timeout)).expect("a file");
}

#[test]
fn a_streamed_video_gives_the_same_row_from_a_fraction_of_its_bytes() {
    let work = tempfile::tempdir().expect("a folder");
    let video = |path| {
        let clip = repository("examples/clips/sintel-trailer.mp4");
        fs::write(path, padded_to(&clip, 40 << 20)).expect("a file");
    };
    bucket(work.path(), video, 6, "1s");
    let server = s3::start(&work.path().join("s3"));
    let counting = proxy::start(server.address, proxy::ALL, 0, "");
    let fetched = measure(work.path(), &counting.running.url(), false);
    let whole = counting.sent.get();
    assert!(whole >= 40 << 20, "{whole} bytes were sent of all");
    let streamed = measure(work.path(), &counting.running.url(), true);
    let part = counting.sent.get() - whole;
    assert_eq!(streamed, fetched);
    assert!(part < whole / 8, "{part} bytes were sent of {whole}");

    let breaking = proxy::start(server.address, proxy::ALL, 25, "GET ");
    assert_eq!(measure(work.path(), &breaking.running.url(), true), fetched);
    let left = fs::read_dir(work.path().join("tmp"))
        .expect("a folder")
        .count();
    assert_eq!(left, 0, "nothing is left on the disk");
}

/// `CLIPSIEVE_TEST_LONG_VIDEO` names a long video; tells how much of it moves for 48 frames.
#[test]
fn an_hour_moves_a_tenth_of_its_bytes() {
    let Some(long) = std::env::var_os("CLIPSIEVE_TEST_LONG_VIDEO") else {
        println!("skipped: CLIPSIEVE_TEST_LONG_VIDEO names no video");
        return;
    };
    let work = tempfile::tempdir().expect("a folder");
    let video = |path| std::os::unix::fs::symlink(&long, path).expect("a link");
    bucket(work.path(), video, 48, "60s");
    let whole = fs::metadata(&long).expect("the video").len();
    let root = work.path().join("s3");
    s3::remember_etag(&root, "far", "long.mp4");
    let server = s3::start(&root);
    let counting = proxy::start(server.address, proxy::ALL, 0, "");
    measure(work.path(), &counting.running.url(), true);
    let (part, requests) = (counting.sent.get(), counting.requests.get());
    println!(
        "48 frames of {whole} bytes: {part} bytes in {requests} requests, {:.2} %",
        100.0 * part as f64 / whole as f64
    );
    assert!(part < whole / 10, "{part} bytes were sent of {whole}");
}
