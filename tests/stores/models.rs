//! Models in a store: fetched once a machine, checked, and used from the cache afterwards.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::common::repository;
use super::servers::{Running, proxy, s3};

const PIPELINE: &str = "name: remote
params: { input: { type: uri }, server: { type: text } }
stores:
  models:
    type: s3
    endpoint: \"${server}\"
    bucket: models
    timeout: 1s
    access_key_id: \"${env:ID}\"
    secret_access_key: \"${env:KEY}\"
models: { vfx: \"store://models/vfx/v1\" }
stages:
  videos: { op: read_table, with: { uri: \"${input}\" } }
  fetched: { op: fetch, from: videos }
  decoded: { op: decode, from: fetched }
  clip: { op: sample, from: decoded }
  vfx: { op: classify, from: clip, with: { model: vfx } }
  result: { op: aggregate, from: vfx }
  table: { op: write_table, from: result, with: { uri: \"-\" } }
";

/// A bucket with the tiny model in it, and this for its sums.
fn bucket(work: &Path, sums: Option<&str>) -> Running {
    let model = work.join("s3/models/vfx/v1");
    fs::create_dir_all(&model).expect("a folder");
    for name in ["config.json", "model.safetensors"] {
        fs::copy(
            repository("tests/fixtures/vjepa2-tiny").join(name),
            model.join(name),
        )
        .expect("a file");
    }
    if let Some(sums) = sums {
        fs::write(model.join("SHA256SUMS"), sums).expect("a file");
    }
    fs::write(work.join("remote.yaml"), PIPELINE).expect("a file");
    s3::start(&work.join("s3"))
}

fn command(work: &Path, server: &str, what: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clipsieve"));
    let input = repository("tests/fixtures/media/plain.mp4");
    command
        .args([what, "remote.yaml", "--set", &format!("server={server}")])
        .args(["--set", &format!("input={}", input.display())])
        .current_dir(work)
        .env("XDG_CACHE_HOME", work.join("cache"))
        .envs([("ID", s3::KEY_ID), ("KEY", s3::SECRET)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_model_in_a_store_is_fetched_once_and_used_from_the_cache() {
    let work = tempfile::tempdir().expect("a folder");
    let server = bucket(work.path(), None);
    let counting = proxy::start(server.address, proxy::ALL, 0, "");
    let url = counting.running.url();
    let weights = fs::metadata(repository("tests/fixtures/vjepa2-tiny/model.safetensors"));
    let weights = weights.expect("the weights").len();

    let checks: Vec<_> = (0..4)
        .map(|_| {
            command(work.path(), &url, "check")
                .spawn()
                .expect("the program starts")
        })
        .collect();
    for check in checks {
        let done = check.wait_with_output().expect("it ends");
        assert!(done.status.success(), "{}", text(&done));
        assert!(
            !text(&done).contains("C040"),
            "the store is used: {}",
            text(&done)
        );
    }
    let sent = counting.sent.get();
    assert!(
        sent >= weights && sent < weights * 2,
        "{sent} bytes were sent of {weights}"
    );

    let done = command(work.path(), &url, "run")
        .output()
        .expect("the program starts");
    assert!(done.status.success(), "{}", text(&done));
    assert!(text(&done).contains("\"vfx_filter\""), "{}", text(&done));
    assert!(counting.sent.get() - sent < weights, "it was fetched again");

    // The store goes away: what is in the cache is good enough, and said to be.
    drop(server);
    let done = command(work.path(), &url, "check")
        .output()
        .expect("the program starts");
    assert!(done.status.success(), "{}", text(&done));
    assert!(
        text(&done).contains("taken from the cache"),
        "{}",
        text(&done)
    );
}

#[test]
fn weights_with_another_sum_are_not_used() {
    let work = tempfile::tempdir().expect("a folder");
    let wrong = format!("{}  model.safetensors\n", "0".repeat(64));
    let server = bucket(work.path(), Some(&wrong));
    let done = command(work.path(), &server.url(), "check")
        .output()
        .expect("the program starts");
    assert_eq!(done.status.code(), Some(2), "{}", text(&done));
    assert!(text(&done).contains("sha256"), "{}", text(&done));
    let found = walk(&work.path().join("cache"));
    assert!(
        found
            .iter()
            .all(|name| !name.ends_with("model.safetensors")),
        "{found:?}"
    );
}

fn walk(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => walk(&path),
            path => vec![path.display().to_string()],
        })
        .collect()
}
