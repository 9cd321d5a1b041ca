//! The command line: exit codes, what goes where, and how mistakes are told.

mod common;

use common::{clips, clipsieve, expect, repository, rows};

const FIVE_MISTAKES: &str = "\
name: five
params:
  input: { type: uri, default: clips }
stages:
  videos:  { op: read_tabel, with: { uri: \"${input}\" } }
  fetched: { op: fetch, from: vidoes }
  decoded: { op: decode, from: fetched }
  clip:    { op: sample, from: decoded, with: { frames: many } }
  measured: { op: measure, from: clip, with: { colour: red } }
  result:  { op: aggregate, from: [measured, \"${nowhere}\"] }
  table:   { op: write_table, from: result, with: { uri: out.jsonl } }
";

#[test]
fn check_reports_every_mistake_at_its_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("five.yaml"), FIVE_MISTAKES).expect("a file");
    let text = expect(
        2,
        folder.path(),
        &["check", "five.yaml", "--format", "json"],
    );
    let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let lines: std::collections::BTreeSet<u64> = found["diagnostics"]
        .as_array()
        .expect("diagnostics")
        .iter()
        .filter(|diagnostic| diagnostic["severity"] == "error")
        .filter_map(|diagnostic| diagnostic["location"]["line"].as_u64())
        .collect();
    assert_eq!(lines, [5, 6, 8, 9, 10].into(), "{text}");

    let text = expect(2, folder.path(), &["check", "five.yaml"]);
    for hint in ["read_table", "videos", "five.yaml:8"] {
        assert!(text.contains(hint), "`{hint}` is missing in:\n{text}");
    }
}

#[test]
fn every_stock_pipeline_is_sound() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = repository("tests/fixtures/vjepa2-tiny")
        .display()
        .to_string();
    for name in ["stage2", "video-quality", "regions"] {
        let pipeline = repository(&format!("pipelines/{name}.yaml"))
            .display()
            .to_string();
        let mut arguments = vec![
            "check".to_string(),
            pipeline.clone(),
            "--set".to_string(),
            "input=clips".to_string(),
        ];
        if name == "stage2" {
            for key in [
                "vfx_model",
                "simcam_model",
                "rotation_model",
                "low_quality_model",
            ] {
                arguments.extend(["--set".to_string(), format!("{key}={model}")]);
            }
        }
        if name == "video-quality" {
            let weights = repository("models/weights");
            arguments.extend([
                "--set".to_string(),
                format!("weights={}", weights.display()),
            ]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        expect(0, folder.path(), &arguments);
        for view in ["logical", "physical"] {
            for format in ["text", "dot", "mermaid"] {
                let mut graph = arguments.clone();
                graph[0] = "graph";
                graph.extend(["--view", view, "--format", format]);
                let text = expect(0, folder.path(), &graph);
                assert!(text.contains("decoded") || name == "regions", "{text}");
            }
        }
    }
    assert_eq!(
        std::fs::read_dir(folder.path())
            .expect("the folder")
            .count(),
        0,
        "a dry run leaves nothing behind"
    );
}

#[test]
fn a_graph_with_errors_is_still_drawn() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("five.yaml"), FIVE_MISTAKES).expect("a file");
    let output = clipsieve(folder.path(), ["graph", "five.yaml", "--view", "logical"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("decoded") && text.contains("measured"),
        "{text}"
    );
}

#[test]
fn wrong_use_ends_with_2() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for arguments in [
        &["run", "nowhere.yaml"][..],
        &["runn"],
        &["run"],
        &["operators", "decoed"],
        &["show", "nowhere.jsonl"],
    ] {
        let output = clipsieve(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            output.stdout.is_empty() || arguments[0] == "check",
            "errors go to stderr: {arguments:?}"
        );
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_missing_input_ends_with_3_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipeline = repository("pipelines/regions.yaml").display().to_string();
    let output = clipsieve(
        folder.path(),
        ["run", &pipeline, "--set", "input=no-such-folder"],
    );
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no-such-folder"), "{text}");
    assert!(!folder.path().join("results.jsonl").exists());
}

#[test]
fn too_many_failures_end_with_4_and_the_rows_are_there() {
    let input = clips(&["city-low-bitrate.mp4"]);
    std::fs::write(input.path().join("broken.mp4"), vec![0u8; 4096]).expect("a file");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipeline = repository("pipelines/regions.yaml").display().to_string();
    let set = format!("input={}", input.path().display());
    expect(
        4,
        folder.path(),
        &[
            "run",
            &pipeline,
            "--set",
            &set,
            "--max-failures",
            "0.4",
            "--progress",
            "none",
        ],
    );
    assert_eq!(rows(&folder.path().join("results.jsonl")).len(), 2);
    expect(
        0,
        folder.path(),
        &[
            "run",
            &pipeline,
            "--set",
            &set,
            "--max-failures",
            "0.5",
            "--progress",
            "none",
        ],
    );
}

#[test]
fn results_go_to_stdout_and_all_else_to_stderr() {
    let input = clips(&["city-low-bitrate.mp4"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipeline = repository("pipelines/regions.yaml").display().to_string();
    let set = format!("input={}", input.path().display());
    let text = expect(
        0,
        folder.path(),
        &[
            "run",
            &pipeline,
            "--set",
            &set,
            "--format",
            "json",
            "--processes",
            "2",
        ],
    );
    let summary: serde_json::Value =
        serde_json::from_str(&text).expect("stdout holds one JSON document and nothing else");
    assert_eq!(summary["rows"], 1);
    let shown = expect(0, folder.path(), &["show", "results.jsonl"]);
    assert!(shown.contains("city-low-bitrate"), "{shown}");
}

#[test]
fn operators_explain_themselves() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let list = expect(0, folder.path(), &["operators"]);
    for name in [
        "read_table",
        "detect_regions",
        "crop_upload",
        "windows",
        "classify",
        "write_table",
    ] {
        assert!(list.contains(name), "{list}");
        let text = expect(0, folder.path(), &["operators", name]);
        assert!(text.contains("Example"), "{text}");
        for line in text.lines().filter(|line| !line.contains("op: ")) {
            assert!(
                line.chars().count() <= 100,
                "{name}: a line is too wide for a terminal: {line}"
            );
        }
    }
}

/// A pipeline over a clip, with these bounds.
fn bounded(limits: &str) -> String {
    format!(
        "name: bounded\nparams:\n  input: {{ type: uri, default: clips }}\nlimits: {{ {limits} }}\nstages:\n  \
         videos: {{ op: read_table, with: {{ uri: \"${{input}}\" }} }}\n  \
         fetched: {{ op: fetch, from: videos }}\n  \
         decoded: {{ op: decode, from: fetched }}\n  \
         clip: {{ op: sample, from: decoded, with: {{ frames: 48, size: 256 }} }}\n  \
         windows: {{ op: windows, from: decoded, with: {{ frames: 16, size: 256 }} }}\n  \
         small: {{ op: sample, from: decoded, with: {{ frames: 8, size: 64 }} }}\n  \
         measured: {{ op: measure, from: clip }}\n  \
         in_windows: {{ op: measure, from: windows, with: {{ key: in_windows }} }}\n  \
         in_small: {{ op: measure, from: small, with: {{ key: in_small }} }}\n  \
         result: {{ op: aggregate, from: [measured, in_windows, in_small] }}\n  \
         table: {{ op: write_table, from: result, with: {{ uri: out.jsonl }} }}\n"
    )
}

#[test]
fn memory_in_which_no_item_has_room_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("b.yaml"), bounded("memory: 9MB")).expect("a file");
    let text = expect(2, folder.path(), &["check", "b.yaml"]);
    // 48 frames of 256 pixels, of which the windows want no others, and 8 of 64.
    let bytes = 48 * 256 * 256 * 3 + 8 * 64 * 64 * 3;
    let frames = format!("{} KiB", bytes / 1024);
    for part in [
        "C091",
        "b.yaml:4:19",
        &format!("9 MB is less than one item takes: {frames} of frames in `decoded`"),
        &format!("allow {frames} or more"),
    ] {
        assert!(text.contains(part), "`{part}` is missing in\n{text}");
    }
    std::fs::write(folder.path().join("b.yaml"), bounded("memory: 10MB")).expect("a file");
    expect(0, folder.path(), &["check", "b.yaml"]);
}

#[test]
fn few_open_files_mean_few_items_and_too_few_are_refused() {
    let folder = clips(&["city-low-bitrate.mp4"]);
    std::fs::write(folder.path().join("b.yaml"), bounded("items: 8")).expect("a file");
    let with = |files: u32| {
        let output = std::process::Command::new("sh")
            .args(["-c", "ulimit -n \"$0\"; exec \"$@\""])
            .arg(files.to_string())
            .arg(env!("CARGO_BIN_EXE_clipsieve"))
            .args(["run", "b.yaml", "--set", "input=city-low-bitrate.mp4"])
            .current_dir(folder.path())
            .output()
            .expect("a shell");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), stderr)
    };
    let (code, stderr) = with(90);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains("90 files open here, which is enough for 3 items in flight instead of 8"),
        "{stderr}"
    );
    assert_eq!(rows(&folder.path().join("out.jsonl")).len(), 1);
    let (code, stderr) = with(70);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("needs 72 for one item"), "{stderr}");
}
