//! The walls of the house: who may name what, and which way the arrows point.

use std::fs;
use std::path::{Path, PathBuf};

/// Crate names as they stand in code, and the only folder whose files may name them.
const WALLS: [(&str, &str); 3] = [
    ("timely", "engine/src/run"),
    ("tch", "models"),
    ("ffmpeg_next", "operators/src/media"),
];

/// Crates of the workspace that another one must not name.
const ARROWS: [(&str, &[&str]); 5] = [
    (
        "engine",
        &[
            "clipsieve_models",
            "clipsieve_operators",
            "clipsieve-models",
            "clipsieve-operators",
        ],
    ),
    (
        "models",
        &[
            "clipsieve_engine",
            "clipsieve_operators",
            "clipsieve-engine",
            "clipsieve-operators",
        ],
    ),
    ("operators", &["clipsieve::"]),
    // It knows nothing of the rest; the double knows nothing of the client that it judges.
    (
        "odps/src",
        &[
            "clipsieve_engine",
            "clipsieve_models",
            "clipsieve_operators",
            "clipsieve_odps_double",
        ],
    ),
    ("odps/double/src", &["clipsieve_"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("a folder of the workspace")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                sources(&path, into);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// All lines of code (comments left out) of the workspace, with where they stand.
fn code() -> Vec<(String, usize, String)> {
    let mut files = Vec::new();
    for folder in ["src", "engine", "odps", "operators", "models", "examples"] {
        sources(&root().join(folder), &mut files);
    }
    assert!(
        files.len() > 30,
        "the walk found only {} files",
        files.len()
    );
    let mut lines = Vec::new();
    for file in files {
        let name = file
            .strip_prefix(root())
            .expect("a file of the workspace")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&file).expect("a source file");
        for (index, line) in text.lines().enumerate() {
            if !line.trim_start().starts_with("//") {
                lines.push((name.clone(), index + 1, line.to_string()));
            }
        }
    }
    lines
}

fn names(line: &str, word: &str) -> bool {
    let mut rest = line;
    while let Some(at) = rest.find(word) {
        let before = rest[..at].chars().next_back();
        let after = &rest[at + word.len()..];
        if !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
            && (after.starts_with("::") || after.starts_with(" as "))
        {
            return true;
        }
        rest = after;
    }
    false
}

#[test]
fn each_library_is_named_behind_its_wall_alone() {
    let breaches: Vec<_> = code()
        .iter()
        .filter(|(file, _, line)| {
            WALLS
                .iter()
                .any(|(library, folder)| names(line, library) && !file.starts_with(folder))
        })
        .map(|(file, number, line)| format!("{file}:{number}: {}", line.trim()))
        .collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn arrows_point_one_way() {
    let mut breaches: Vec<String> = code()
        .iter()
        .filter(|(file, _, line)| {
            ARROWS.iter().any(|(folder, forbidden)| {
                file.starts_with(&format!("{folder}/"))
                    && forbidden.iter().any(|name| line.contains(name))
            })
        })
        .map(|(file, number, line)| format!("{file}:{number}: {}", line.trim()))
        .collect();
    for (folder, forbidden) in ARROWS {
        let folder = folder.trim_end_matches("/src");
        let manifest =
            fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        breaches.extend(
            manifest
                .lines()
                .filter(|line| {
                    !line.starts_with("name") && forbidden.iter().any(|name| line.starts_with(name))
                })
                .map(|line| format!("{folder}/Cargo.toml: {line}")),
        );
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn every_wall_stands_where_something_lives() {
    for (library, folder) in WALLS {
        assert!(
            code()
                .iter()
                .any(|(file, _, line)| file.starts_with(folder) && names(line, library)),
            "nothing in {folder} names {library}: the wall has moved, or the test cannot see it"
        );
    }
}
