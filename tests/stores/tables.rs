//! Tables in a bucket, and runs whose input or output is not as it was.

use std::borrow::Cow;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Output;

use clipsieve_engine::operator::{Row, Store, Stores};
use clipsieve_operators::tables::{self, Reading, Writing};
use serde_json::{Value as Json, json};

use super::common::{clipsieve_with, repository, rows};
use super::servers::proxy::{self, Fault};
use super::servers::{Running, s3};
use super::services::s3_settings;

const PIPELINE: &str = "name: tables
params:
  input: { type: uri }
  output: { type: uri }
  server: { type: text }
stores:
  lake:
    type: s3
    endpoint: \"${server}\"
    bucket: lake
    timeout: 1s
    access_key_id: \"${env:ID}\"
    secret_access_key: \"${env:KEY}\"
stages:
  videos: { op: read_table, with: { uri: \"${input}\" } }
  fetched: { op: fetch, from: videos }
  result: { op: aggregate, from: fetched }
  table: { op: write_table, from: result, with: { uri: \"${output}\" } }
  local: { op: write_table, from: result, with: { uri: local.jsonl } }
";

/// A folder with the pipeline in it, and a bucket that is served.
fn lake() -> (tempfile::TempDir, Running) {
    let work = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(work.path().join("s3/lake")).expect("a bucket");
    fs::write(work.path().join("tables.yaml"), PIPELINE).expect("a file");
    let server = s3::start(&work.path().join("s3"));
    (work, server)
}

fn clipsieve(work: &Path, server: &str, first: &[&str], input: &str, output: &str) -> Output {
    let mut arguments: Vec<String> = first.iter().map(|&word| word.to_owned()).collect();
    arguments.push("tables.yaml".to_owned());
    for (name, value) in [("input", input), ("output", output), ("server", server)] {
        arguments.extend(["--set".to_owned(), format!("{name}={value}")]);
    }
    clipsieve_with(work, &arguments, &[("ID", s3::KEY_ID), ("KEY", s3::SECRET)])
}

const RUN: &[&str] = &["run", "--progress=none"];

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn expect(code: i32, output: &Output) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
    text(output)
}

/// The bucket, for this process.
fn stores(server: &str) -> Stores {
    let settings = s3_settings(server, "lake");
    Stores::from([("lake".to_owned(), Store { settings })])
}

/// Makes a table of input rows with these ids, all of one clip.
fn make(work: &Path, server: &str, name: &str, ids: Range<usize>) {
    let clip = repository("tests/fixtures/media/plain.mp4");
    let row = |id: usize| {
        let row = json!({"video_id": format!("v{id:04}"), "video_path": clip, "shard": id % 7, "info": {"n": id}});
        Cow::Owned(Row(row.as_object().expect("an object").clone()))
    };
    let writing = Writing {
        stores: &stores(server),
        endpoint: None,
        upload: Default::default(),
        waiting: &work.join("waiting"),
    };
    let place = match name.contains("://") {
        true => name.to_owned(),
        false => work.join(name).display().to_string(),
    };
    let mut writer = tables::create(&place, &writing).expect("a table can be made");
    let rows: Vec<_> = ids.map(row).collect();
    let receipt = writer.publish(0, &rows).expect("rows");
    writer.finish(&[receipt]).expect("a table");
}

/// The rows of any table.
fn read(work: &Path, server: &str, uri: &str) -> Vec<Json> {
    let reading = Reading {
        stores: &stores(server),
        endpoint: None,
        limit: None,
        scratch: work,
    };
    let mut source = tables::open(uri, &reading).expect("a table");
    let mut rows = Vec::new();
    while let Some(row) = source.next_row().expect("a row") {
        let mut row = Json::Object(row.row.0);
        // Formats without nested values hold JSON text there.
        for column in ["info", "result_info"] {
            if let Json::String(text) = &row[column] {
                row[column] = serde_json::from_str(text).expect("JSON");
            }
        }
        rows.push(row);
    }
    rows
}

/// The ids of the rows, sorted, and that each is right.
fn ids(rows: &[Json]) -> Vec<String> {
    let id = |row: &Json| {
        assert_eq!(row["result_info"]["succeed"], "true", "{row}");
        row["video_id"].as_str().expect("an id").to_owned()
    };
    let mut ids: Vec<String> = rows.iter().map(id).collect();
    ids.sort();
    ids
}

fn wanted(ids: Range<usize>) -> Vec<String> {
    ids.map(|id| format!("v{id:04}")).collect()
}

#[test]
fn tables_of_a_bucket_are_read_and_written() {
    let (work, server) = lake();
    let (work, direct) = (work.path(), server.url());
    make(work, &direct, "store://lake/in/a.parquet", 0..300);
    make(work, &direct, "store://lake/in/b.csv", 300..500);
    make(work, &direct, "store://lake/in/deep/c.jsonl", 500..600);
    let magic = fs::read(work.join("s3/lake/in/a.parquet")).expect("it lies there");
    assert_eq!(&magic[..4], b"PAR1");
    // Over a network that breaks, from each format and from all of them, to each format.
    let breaking = proxy::start(server.address, proxy::ALL, 20, "");
    for (input, output, expected) in [
        (
            "store://lake/in/a.parquet",
            "store://lake/out/a.csv",
            0..300,
        ),
        (
            "store://lake/in/b.csv",
            "store://lake/out/b.jsonl",
            300..500,
        ),
        ("store://lake/in", "store://lake/out/all.parquet", 0..600),
        ("store://lake/in/**/*.[cj]*", "again.parquet", 300..600),
    ] {
        let done = clipsieve(work, &breaking.running.url(), RUN, input, output);
        let told = expect(0, &done);
        let count = expected.len();
        assert!(told.contains(&format!("{count} rows")), "{told}");
        let written = match output.contains("://") {
            true => output.to_owned(),
            false => work.join(output).display().to_string(),
        };
        let found = read(work, &direct, &written);
        assert_eq!(ids(&found), wanted(expected.clone()), "{output}");
        for row in &found {
            let id = row["video_id"].as_str().expect("an id")[1..].parse::<usize>();
            let n = id.expect("a number");
            assert_eq!(row["info"]["n"], n, "{row}");
            assert_eq!(
                row["shard"].to_string().replace('"', ""),
                (n % 7).to_string()
            );
        }
    }
    assert!(breaking.faults.get() > 0);
    let none = clipsieve(work, &direct, RUN, "store://lake/no.parquet", "x.jsonl");
    assert!(expect(3, &none).contains("store://lake/no.parquet"));
}

#[test]
fn a_bucket_that_takes_nothing_stops_the_job_before_it_starts() {
    let (work, server) = lake();
    let work = work.path();
    make(work, &server.url(), "in.jsonl", 0..3);
    let closed = proxy::start(server.address, &[Fault::Forbidden], 100, "PUT ");
    let url = closed.running.url();
    let done = clipsieve(work, &url, RUN, "in.jsonl", "store://lake/out.parquet");
    let told = expect(3, &done);
    assert!(
        told.contains("store `lake`") && told.contains("AccessDenied"),
        "{told}"
    );
    let checked = clipsieve(
        work,
        &url,
        &["check", "--connect"],
        "in.jsonl",
        "store://lake/out.parquet",
    );
    assert!(expect(3, &checked).contains("store `lake`"));
    let checked = clipsieve(
        work,
        &server.url(),
        &["check", "--connect"],
        "in.jsonl",
        "store://lake/out.parquet",
    );
    assert!(expect(0, &checked).contains("store `lake`: takes files"));
}

/// A run whose output is refused when all rows are done: it ends at once, with the reason, and keeps what is done.
fn refused(work: &Path, server: &Running, input: &str) {
    let closed = proxy::start(server.address, &[Fault::Forbidden], 100, "PUT /lake/out");
    let url = closed.running.url();
    let started = std::time::Instant::now();
    let done = clipsieve(work, &url, RUN, input, "store://lake/out.parquet");
    let told = expect(3, &done);
    assert!(
        told.contains("store://lake/out.parquet") && told.contains("AccessDenied"),
        "{told}"
    );
    assert!(!told.contains("going on in"), "it was begun again: {told}");
    assert!(started.elapsed().as_secs() < 60, "{told}");
    assert!(!work.join("s3/lake/out.parquet").exists());
}

#[test]
fn a_refused_output_ends_the_job_and_the_next_run_only_writes_it() {
    let (work, server) = lake();
    let work = work.path();
    make(work, &server.url(), "in.jsonl", 0..40);
    refused(work, &server, "in.jsonl");
    let done = clipsieve(
        work,
        &server.url(),
        RUN,
        "in.jsonl",
        "store://lake/out.parquet",
    );
    let told = expect(0, &done);
    assert!(told.contains("s3://lake/out.parquet"), "{told}");
    assert_eq!(ids(&rows(&work.join("local.jsonl"))), wanted(0..40));
}

#[test]
fn a_run_is_not_continued_over_another_input() {
    for name in [
        "in.jsonl",
        "in.csv",
        "in.parquet",
        "store://lake/in.parquet",
    ] {
        let (work, server) = lake();
        let work = work.path();
        make(work, &server.url(), name, 0..20);
        refused(work, &server, name);
        make(work, &server.url(), name, 0..21);
        let done = clipsieve(work, &server.url(), RUN, name, "store://lake/out.parquet");
        let told = expect(3, &done);
        assert!(told.contains("its input has changed"), "{name}: {told}");
        assert!(told.contains("--fresh"), "{name}: {told}");
    }
}
