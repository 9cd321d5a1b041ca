//! What the end-to-end tests share: running the program, and reading its rows.

#![allow(dead_code)] // each test file is a crate of its own and uses its part

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;

/// A path of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs `clipsieve` with these arguments in a folder of its own.
pub fn clipsieve<S: AsRef<std::ffi::OsStr>>(
    folder: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> Output {
    Command::new(env!("CARGO_BIN_EXE_clipsieve"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("CLIPSIEVE_LOG")
        .output()
        .expect("the program starts")
}

/// Runs `clipsieve` with these environment variables beside those of the test.
pub fn clipsieve_with<S: AsRef<std::ffi::OsStr>>(
    folder: &Path,
    arguments: &[S],
    environment: &[(&str, &str)],
) -> Output {
    Command::new(env!("CARGO_BIN_EXE_clipsieve"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("CLIPSIEVE_LOG")
        .envs(environment.iter().copied())
        .output()
        .expect("the program starts")
}

/// Runs `clipsieve` and asserts its exit code; returns stdout.
pub fn expect(code: i32, folder: &Path, arguments: &[&str]) -> String {
    let output = clipsieve(folder, arguments);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(code),
        "clipsieve {}\n--- stdout\n{stdout}\n--- stderr\n{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}

/// The rows of a JSONL file, in order.
pub fn rows(path: &Path) -> Vec<Json> {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a row is JSON"))
        .collect()
}

/// The row of this video.
pub fn row_of<'a>(rows: &'a [Json], video_id: &str) -> &'a Json {
    rows.iter()
        .find(|row| row["video_id"] == video_id)
        .unwrap_or_else(|| panic!("no row of {video_id}"))
}

/// A folder with these demo clips in it.
pub fn clips(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in names {
        std::fs::copy(
            repository("examples/clips").join(name),
            folder.path().join(name),
        )
        .expect("a demo clip");
    }
    folder
}

/// Asserts that two values are equal, numbers within `tolerance`. Times and costs differ from run to run and are left out.
pub fn assert_same(left: &Json, right: &Json, tolerance: f64, path: &str) {
    match (left, right) {
        (Json::Number(a), Json::Number(b)) => {
            let (a, b) = (a.as_f64().expect("a number"), b.as_f64().expect("a number"));
            assert!((a - b).abs() <= tolerance, "{path}: {a} and {b}");
        }
        (Json::Object(a), Json::Object(b)) => {
            let keys = |map: &serde_json::Map<String, Json>| {
                map.keys()
                    .cloned()
                    .collect::<std::collections::BTreeSet<_>>()
            };
            assert_eq!(keys(a), keys(b), "{path}");
            for (key, value) in a {
                if !["start_time", "end_time", "avg_cost", "url", "video_oss_url"]
                    .contains(&key.as_str())
                {
                    assert_same(value, &b[key], tolerance, &format!("{path}.{key}"));
                }
            }
        }
        (Json::Array(a), Json::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{path}");
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                assert_same(a, b, tolerance, &format!("{path}[{index}]"));
            }
        }
        _ => assert_eq!(left, right, "{path}"),
    }
}
