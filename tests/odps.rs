//! From a table of ODPS to a table of ODPS, through the program, against the strict double.

mod common;
#[path = "stores/servers/odps.rs"]
mod tables;

use std::path::Path;

use clipsieve_odps_double::{Account, Double, Fault, Step, Value};
use common::{clips, clipsieve_with, repository};
use serde_json::{Value as Json, json};
use tables::{INPUT, RESULT, environment, input_row};

fn row(id: &str, path: &str, info: &str) -> Vec<Value> {
    let mut row = input_row([id, "", path, "tag", info]);
    row.push(Value::Int(7));
    row
}

/// A service with an input table and an empty result table.
fn service(rows: Vec<Vec<Value>>) -> Double {
    let double = Double::start(Account::default()).expect("a port");
    let columns = [&INPUT[..], &["shard bigint"]].concat();
    double.create("p", "videos", &columns, &["ds", "hh"]);
    double.insert("p", "videos", "ds=20250115,hh=08", rows);
    double.create("p", "results", &RESULT, &["ds"]);
    double
}

const FROM: &str = "input=odps://p/videos/ds=20250115/hh=08";
const TO: &str = "output=odps://p/results/ds=20250115";

fn run(double: &Double, folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let account = double.account();
    let environment = environment(double);
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let output = clipsieve_with(folder, arguments, &environment);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for said in [&stdout, &stderr] {
        assert!(!said.contains(&account.access_key), "{said}");
    }
    (output.status.code().expect("an exit code"), stdout, stderr)
}

/// The committed result rows, nested columns decoded.
fn results(double: &Double) -> Option<Vec<Json>> {
    let rows = double.rows("p", "results", "ds=20250115")?;
    let cell = |name: &str, value: &Value| match value {
        Value::Text(text) if name.ends_with("info") => {
            serde_json::from_str(text).expect("JSON in an info column")
        }
        Value::Text(text) => json!(text),
        _ => Json::Null,
    };
    let name = |column: &'static str| column.split(' ').next().unwrap_or(column);
    let row = |row: Vec<Value>| -> Json {
        let cells = RESULT.iter().zip(&row);
        cells
            .map(|(column, value)| (name(column).to_owned(), cell(name(column), value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    Some(rows.into_iter().map(row).collect())
}

#[test]
fn a_stock_pipeline_reads_and_writes_tables_of_odps() {
    let folder = clips(&["bunny-pillarbox-logo.mp4"]);
    let clip = folder.path().join("bunny-pillarbox-logo.mp4");
    let double = service(vec![
        row("good", &clip.display().to_string(), "{\"k\": 1}"),
        row("gone", "nowhere.mp4", ""),
        row("broken", "x.mp4", "{oops"),
    ]);
    // What may pass costs nothing but time.
    double.misbehave(Step::Rows, [Fault::CutAnswer(40)]);
    double.misbehave(Step::Commit, [Fault::NoAnswer]);
    let pipeline = repository("pipelines/regions.yaml").display().to_string();
    let sets = ["--set", FROM, "--set", TO, "--set", "crops=crops"];
    let arguments = [&["run", pipeline.as_str()][..], &sets].concat();
    let (code, stdout, stderr) = run(&double, folder.path(), &arguments);
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(
        stdout.contains("rows are in odps://p/results/ds=20250115"),
        "{stdout}"
    );
    assert!(stdout.contains("3 rows"), "{stdout}");
    let rows = results(&double).expect("the partition was made");
    assert_eq!(rows.len(), 3);
    let of = |id: &str| common::row_of(&rows, id);
    assert_eq!(of("good")["result_info"]["succeed"], "true");
    assert_eq!(of("good")["info"]["k"], 1);
    assert!(of("good")["info"]["abnormal_region_info"]["regions"].is_array());
    assert_eq!(of("gone")["result_info"]["succeed"], "false");
    assert_eq!(of("gone")["video_tag"], "tag");
    assert_eq!(of("broken")["info"]["unparsed"], "{oops");
    // The same rows again for people, out of the table.
    let (code, shown, stderr) = run(
        &double,
        folder.path(),
        &["show", "odps://p/results/ds=20250115"],
    );
    assert_eq!(code, 0, "{stderr}");
    assert!(
        shown.contains("good") && shown.contains("FAILED in fetched"),
        "{shown}"
    );
}

const TWO_TABLES: &str = "
name: two-tables
params:
  input: { type: uri }
  output: { type: uri }
  overwrite: { type: bool, default: false }
stages:
  videos: { op: read_table, with: { uri: \"${input}\", also: [more.jsonl] } }
  fetched: { op: fetch, from: videos }
  result: { op: aggregate, from: [fetched] }
  table: { op: write_table, from: result, with: { uri: \"${output}\", overwrite: \"${overwrite}\" } }
  copy: { op: write_table, from: result, with: { uri: copy.parquet } }
";

#[test]
fn two_tables_become_two_tables_and_other_columns_pass_through() {
    let folder = clips(&["city.mpg"]);
    let clip = folder.path().join("city.mpg").display().to_string();
    let double = service((0..5).map(|n| row(&format!("v{n}"), &clip, "{}")).collect());
    std::fs::write(folder.path().join("two.yaml"), TWO_TABLES).expect("a file");
    let more = json!({"video_id": "more", "video_path": clip, "shard": 9}).to_string();
    std::fs::write(folder.path().join("more.jsonl"), more).expect("a file");
    for (overwrite, expected) in [
        ("overwrite=false", 6),
        ("overwrite=false", 12),
        ("overwrite=true", 6),
    ] {
        let sets = [
            "run", "--fresh", "two.yaml", "--set", FROM, "--set", TO, "--set", overwrite,
        ];
        let (code, stdout, stderr) = run(&double, folder.path(), &sets);
        assert_eq!(code, 0, "{stdout}{stderr}");
        assert_eq!(results(&double).expect("a partition").len(), expected);
    }
    let (code, shown, _) = run(&double, folder.path(), &["show", "copy.parquet"]);
    assert_eq!(code, 0);
    assert!(shown.contains("v4") && shown.contains("more"), "{shown}");
    // Columns that mean nothing to us, and the levels of the partition, went through to the Parquet.
    let copied = read(&folder.path().join("copy.parquet"));
    let of = |id: &str| common::row_of(&copied, id);
    assert_eq!(of("v0")["shard"], 7);
    assert_eq!(of("v0")["hh"], "08");
    assert_eq!(of("more")["shard"], 9);
    assert_eq!(of("more")["hh"], Json::Null);
    // Nothing else is left in the folder.
    let limited = [
        "run",
        "--fresh",
        "two.yaml",
        "--set",
        FROM,
        "--set",
        TO,
        "--limit",
        "2",
        "--set",
        "overwrite=true",
    ];
    let (code, stdout, _) = run(&double, folder.path(), &limited);
    assert_eq!((code, stdout.contains("2 rows")), (0, true), "{stdout}");
    assert_eq!(results(&double).expect("a partition").len(), 2);
}

/// The rows of any table.
fn read(path: &Path) -> Vec<Json> {
    let reading = clipsieve_operators::tables::Reading {
        stores: &Default::default(),
        endpoint: None,
        limit: None,
        scratch: &std::env::temp_dir(),
    };
    let uri = path.to_str().expect("a path in UTF-8");
    let mut source = clipsieve_operators::tables::open(uri, &reading).expect("a table");
    let mut rows = Vec::new();
    while let Some(row) = source.next_row().expect("a row") {
        rows.push(Json::Object(row.row.0));
    }
    rows
}

#[test]
fn what_cannot_work_stops_the_job_before_it_starts() {
    let folder = clips(&[]);
    std::fs::write(folder.path().join("two.yaml"), TWO_TABLES).expect("a file");
    std::fs::write(
        folder.path().join("more.jsonl"),
        "{\"video_path\": \"v.mp4\"}\n",
    )
    .expect("a file");
    let double = service(Vec::new());
    double.create("p", "short", &["video_id string", "info bigint"], &[]);
    for (input, output, expected) in [
        (
            "input=odps://p/videos",
            TO,
            "name a partition of the table, all of its levels: ds=…,hh=…",
        ),
        (
            "input=odps://p/videos/ds=20250115,hh=09",
            TO,
            "NoSuchPartition",
        ),
        ("input=odps://p/nothing", TO, "NoSuchTable"),
        (
            FROM,
            "output=odps://p/short",
            "needs the column `oss_bucket string`; the table has: video_id string, info bigint",
        ),
        (
            FROM,
            "output=odps://p/results/ds=1,hh=2",
            "all of its levels: ds=…",
        ),
    ] {
        let sets = [
            "run", "--fresh", "two.yaml", "--set", input, "--set", output,
        ];
        let (code, _, stderr) = run(&double, folder.path(), &sets);
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains(expected), "{stderr} has no {expected:?}");
    }
    let (code, _, stderr) = run(
        &double,
        folder.path(),
        &[
            "run",
            "--fresh",
            "two.yaml",
            "--set",
            "input=odps://p",
            "--set",
            TO,
        ],
    );
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("it is odps://PROJECT/TABLE/NAME=VALUE"),
        "{stderr}"
    );
    assert!(
        double.rows("p", "results", "ds=20250115").is_none(),
        "no partition was made"
    );
}

#[test]
fn without_a_key_or_an_endpoint_it_says_what_to_set() {
    let folder = clips(&[]);
    std::fs::write(folder.path().join("two.yaml"), TWO_TABLES).expect("a file");
    std::fs::write(folder.path().join("more.jsonl"), "").expect("a file");
    let sets = [
        "run",
        "--fresh",
        "two.yaml",
        "--set",
        FROM,
        "--set",
        "output=rows.jsonl",
    ];
    let clean = [
        ("ODPS_ENDPOINT", ""),
        ("ODPS_ACCESS_ID", ""),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", ""),
    ];
    let told = |environment: &[(&str, &str)]| {
        let output = clipsieve_with(folder.path(), &sets, environment);
        assert_eq!(output.status.code(), Some(3));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(told(&clean).contains("set ODPS_ENDPOINT"));
    let endpoint = [
        clean[1],
        clean[2],
        ("ODPS_ENDPOINT", "http://127.0.0.1:9/api"),
    ];
    assert!(told(&endpoint).contains("set ODPS_ACCESS_ID and ODPS_ACCESS_KEY"));
}

#[test]
fn a_commit_that_fails_leaves_nothing_visible() {
    let folder = clips(&["city.mpg"]);
    let clip = folder.path().join("city.mpg").display().to_string();
    let double = service(vec![row("v", &clip, "{}")]);
    double.insert("p", "results", "ds=20250115", Vec::new());
    std::fs::write(folder.path().join("two.yaml"), TWO_TABLES).expect("a file");
    std::fs::write(folder.path().join("more.jsonl"), "").expect("a file");
    double.misbehave(Step::Commit, [Fault::Status(403)]);
    // What is refused would be refused again: no supervisor starts it once more.
    let sets = ["--set", FROM, "--set", TO];
    let arguments = [&["run", "--fresh", "two.yaml"][..], &sets].concat();
    let (code, _, stderr) = run(&double, folder.path(), &arguments);
    assert_eq!(code, 3, "{stderr}");
    assert!(
        stderr.contains("403") && stderr.contains("odps://p/results/ds=20250115"),
        "{stderr}"
    );
    assert_eq!(results(&double).expect("a partition").len(), 0);
}

#[test]
fn a_refused_commit_is_made_good_by_the_next_run_unless_the_input_has_changed() {
    let folder = clips(&["city.mpg"]);
    let clip = folder.path().join("city.mpg").display().to_string();
    let double = service((0..5).map(|n| row(&format!("v{n}"), &clip, "{}")).collect());
    double.insert("p", "results", "ds=20250115", Vec::new());
    std::fs::write(folder.path().join("two.yaml"), TWO_TABLES).expect("a file");
    std::fs::write(folder.path().join("more.jsonl"), "").expect("a file");
    let command = ["run", "two.yaml", "--set", FROM, "--set", TO];
    let refused = || {
        double.misbehave(Step::Commit, [Fault::Status(403)]);
        let (code, _, stderr) = run(&double, folder.path(), &command);
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains("403"), "{stderr}");
        assert_eq!(results(&double).expect("a partition").len() % 5, 0);
    };
    refused();
    let (code, _, stderr) = run(&double, folder.path(), &command);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(results(&double).expect("a partition").len(), 5);

    refused();
    // As many rows as before, and not the same: the service says when they were changed.
    double.create(
        "p",
        "videos",
        &[&INPUT[..], &["shard bigint"]].concat(),
        &["ds", "hh"],
    );
    for n in 0..5 {
        let rows = vec![row(&format!("w{n}"), &clip, "{}")];
        double.insert("p", "videos", "ds=20250115,hh=08", rows);
    }
    let (code, _, stderr) = run(&double, folder.path(), &command);
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("its input has changed"), "{stderr}");
    assert_eq!(results(&double).expect("a partition").len(), 5);
}
