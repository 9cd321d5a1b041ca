//! Judged by the official client: what we write it reads, what it writes we read, by records and by Arrow.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clipsieve_odps_double::{Account, Double, Value};
use serde_json::{Value as Json, json};
use support::*;

/// The official client on a table; `None` (said on stderr) where it is not installed.
fn peer(double: &Double, command: &str, partition: &str, rows: &[Json]) -> Option<Vec<Json>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let packages = root.join("../third_party/test-python");
    if !packages.join("odps").is_dir() {
        eprintln!(
            "skipped: no {}; scripts/test_tools.sh installs pyodps",
            packages.join("odps").display()
        );
        return None;
    }
    let account = double.account();
    let mut child = Command::new("python3");
    child
        .env("PYTHONPATH", &packages)
        .arg(root.join("tests/pyodps_peer.py"))
        .args([&double.endpoint(), &account.access_id, &account.access_key])
        .args([command, "t", partition])
        .args(account.region.as_deref());
    let mut child = child
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: Vec<String> = rows.iter().map(Json::to_string).collect();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all((lines.join("\n") + "\n").as_bytes())
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {said}");
    let text = String::from_utf8(output.stdout).unwrap();
    Some(
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

#[test]
fn what_we_write_it_reads_both_ways() {
    let double = Double::start(Account::default()).unwrap();
    double.create("p", "t", &SEED, &["ds"]);
    let rows = seed_rows(2500);
    write(&double, "odps://p/t/ds=20250115", &rows, 3);
    assert_eq!(double.rows("p", "t", "ds=20250115").unwrap().len(), 2500);
    for command in ["read-records", "read-arrow"] {
        let Some(read) = peer(&double, command, "ds=20250115", &[]) else {
            return;
        };
        assert!(read == rows, "{command}: {:?} …", read.first());
    }
}

#[test]
fn what_it_writes_we_read() {
    let double = Double::start(Account::default()).unwrap();
    let rows = seed_rows(1500);
    for command in ["write-records", "write-arrow"] {
        double.create("p", "t", &SEED, &["ds", "hh"]);
        if peer(&double, command, "ds=1,hh=08", &rows).is_none() {
            return;
        }
        assert!(read(&double, "odps://p/t/ds=1/hh=08") == rows, "{command}");
    }
}

#[test]
fn every_type_means_the_same_to_both() {
    let double = Double::start(Account::default()).unwrap();
    let columns = ["s string", "n bigint", "x double", "b boolean"];
    let rows = vec![
        json!({"s": "é \u{0} \"quoted\"", "n": i64::MIN, "x": -0.5, "b": true}),
        json!({"s": "", "n": i64::MAX, "x": 1e300, "b": false}),
        json!({"s": null, "n": null, "x": null, "b": null}),
    ];
    double.create("p", "t", &columns, &[]);
    double.insert(
        "p",
        "t",
        "",
        vec![
            vec![
                Value::Text("é \u{0} \"quoted\"".to_owned()),
                Value::Int(i64::MIN),
                Value::Double(-0.5),
                Value::Bool(true),
            ],
            vec![
                Value::Text(String::new()),
                Value::Int(i64::MAX),
                Value::Double(1e300),
                Value::Bool(false),
            ],
            vec![Value::Null, Value::Null, Value::Null, Value::Null],
        ],
    );
    assert!(read(&double, "odps://p/t") == rows);
    for command in ["read-records", "read-arrow"] {
        let Some(read) = peer(&double, command, "-", &[]) else {
            return;
        };
        assert!(read == rows, "{command}: {read:?}");
    }
}

#[test]
fn both_sign_alike_in_version_4() {
    let account = Account {
        region: Some("cn-hangzhou".to_owned()),
        ..Account::default()
    };
    let double = Double::start(account).unwrap();
    double.create("p", "t", &["s string"], &[]);
    write(&double, "odps://p/t", &[json!({"s": "x"})], 1);
    assert!(double.signatures().contains(&4), "ours");
    let before = double.signatures().len();
    let Some(read) = peer(&double, "read-records", "-", &[]) else {
        return;
    };
    assert_eq!(read, [json!({"s": "x"})]);
    assert!(double.signatures()[before..].contains(&4), "its");
}
