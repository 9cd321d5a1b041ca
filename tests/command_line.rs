//! The command line: exit codes, what goes where, and how mistakes are told.

mod common;

use common::{clips, clipsieve, clipsieve_with, expect, repository, rows};

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
    for name in ["stage2", "video-quality", "regions", "three-tiers"] {
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
        if name == "three-tiers" {
            arguments.extend(["--set", "cpfs=mount", "--set", "crops=crops"].map(str::to_string));
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
            for format in ["text", "dot", "mermaid", "json"] {
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
                line.chars().count() <= 80,
                "{name}: a line is too wide for a terminal: {line}"
            );
        }
        assert!(text.contains("\nRuns on\n"), "{text}");
        let page = expect(
            0,
            folder.path(),
            &["operators", name, "--format", "markdown"],
        );
        assert!(page.starts_with(&format!("## {name}\n")), "{page}");
        let json = expect(0, folder.path(), &["operators", name, "--format", "json"]);
        let about: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(about["name"], name);
    }
    for line in list.lines() {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
    let hanging = list
        .lines()
        .any(|line| line.starts_with("                "));
    assert!(hanging, "long lines go on below themselves: {list}");
    let measure = expect(0, folder.path(), &["operators", "measure"]);
    assert!(measure.contains("\n  misfit, misfit_high"), "{measure}");
}

#[test]
fn a_misspelt_operator_is_told_the_nearest() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = clipsieve(folder.path(), ["operators", "sampel"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("did you mean `sample`?"), "{stderr}");
}

#[test]
fn programs_read_the_operators() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = expect(0, folder.path(), &["operators", "--format", "json"]);
    let operators: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let operator = |name: &str| {
        let all = operators.as_array().expect("a list").iter();
        let mut of_name = all.filter(|operator| operator["name"] == name);
        of_name.next().unwrap_or_else(|| panic!("no {name}"))
    };
    let known: Vec<_> = clipsieve_operators::registry()
        .iter()
        .map(|spec| spec.name)
        .collect();
    assert_eq!(operators.as_array().expect("a list").len(), known.len());
    let windows = operator("windows");
    assert_eq!(
        windows["ports"],
        serde_json::json!([{"inputs": ["frames"], "output": "clips"}])
    );
    let params = windows["params"].as_array().expect("params");
    let length = params
        .iter()
        .find(|param| param["name"] == "length")
        .expect("length");
    assert_eq!(length["type"]["name"], "duration");
    assert_eq!(length["required"], false);
    assert!(
        length["default"].is_string() && length["doc"].is_string(),
        "{length}"
    );
    assert_eq!(operator("aggregate")["ports"][0]["output"], "document");
    assert_eq!(
        operator("read_table")["ports"][0]["inputs"],
        serde_json::json!([])
    );
}

#[test]
fn programs_read_the_graph() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipeline = repository("pipelines/three-tiers.yaml")
        .display()
        .to_string();
    let sets = [
        "input=rows.jsonl",
        "cpfs=/mnt/cpfs",
        "crops=c",
        "oss=https://oss.example.com",
    ];
    let mut arguments = vec!["graph", &pipeline, "--format", "json"];
    arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
    let text = expect(0, folder.path(), &arguments);
    let plan: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let nodes = plan["nodes"].as_array().expect("nodes");
    let node = |id: &str| {
        let mut of_id = nodes.iter().filter(|node| node["id"] == id);
        of_id.next().unwrap_or_else(|| panic!("no {id}"))
    };
    assert_eq!(node("fetched")["operator"], "fetch");
    assert_eq!(
        node("fetched")["parameters"]["tiers"],
        serde_json::json!(["cpfs", "alluxio", "oss"])
    );
    assert_eq!(node("fetched")["timeout_seconds"], 300.0);
    assert_eq!(node("regions")["device"], "cpu");
    assert_eq!(node("segments")["parameters"]["length"], "4s");
    // Its other settings may hold credentials.
    assert_eq!(plan["stores"]["oss"], serde_json::json!({"type": "oss"}));
    let edges = plan["edges"].as_array().expect("edges");
    let into: Vec<_> = edges
        .iter()
        .filter(|edge| edge["to"] == "cropped")
        .collect();
    assert_eq!(into.len(), 2, "{text}");
    assert_eq!(
        (&into[1]["from"], &into[1]["port"], &into[1]["kind"]),
        (&"regions".into(), &1.into(), &"regions".into())
    );

    // Models have costs, and stages that are done together say so.
    let pipeline = repository("pipelines/video-quality.yaml")
        .display()
        .to_string();
    let weights = format!("weights={}", repository("models/weights").display());
    let arguments = [
        "graph",
        &pipeline,
        "--set",
        "input=clips",
        "--set",
        &weights,
        "--format",
        "json",
    ];
    let plan: serde_json::Value =
        serde_json::from_str(&expect(0, folder.path(), &arguments)).expect("JSON");
    let nodes = plan["nodes"].as_array().expect("nodes");
    let classify: Vec<_> = nodes
        .iter()
        .filter(|node| node["operator"] == "classify")
        .collect();
    assert!(
        classify
            .iter()
            .all(|node| node["cost"]["flop"].as_u64() > Some(0)),
        "{classify:?}"
    );

    std::fs::write(folder.path().join("five.yaml"), FIVE_MISTAKES).expect("a file");
    let text = expect(
        2,
        folder.path(),
        &["graph", "five.yaml", "--format", "json"],
    );
    let graph: serde_json::Value = serde_json::from_str(&text).expect("a broken file is data, too");
    assert_eq!(graph["view"], "logical");
    assert_eq!(
        graph["nodes"][0]["diagnostics"][0]["severity"], "error",
        "{text}"
    );
}

/// A table of so many results, every third of which failed.
fn results(count: usize) -> String {
    let row = |index: usize| {
        let succeed = index % 3 != 2;
        serde_json::json!({"video_id": format!("clip-{index}"), "info": {}, "result_info":
            {"succeed": succeed.to_string(), "stage": "decoded", "error": "no picture"}})
    };
    (0..count)
        .map(|index| format!("{}\n", row(index)))
        .collect()
}

#[test]
fn show_shows_a_part_and_what_is_still_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let whole = results(6);
    std::fs::write(folder.path().join("r.jsonl"), &whole).expect("rows");
    let cut = &whole[..whole.len() - 20];
    std::fs::write(folder.path().join("r.jsonl.partial"), cut).expect("rows");
    let shown = |arguments: &[&str]| -> Vec<usize> {
        let text = expect(0, folder.path(), &[&["show"], arguments].concat());
        (0..6)
            .filter(|index| text.contains(&format!("clip-{index} ")))
            .collect()
    };
    assert_eq!(shown(&["r.jsonl", "--limit", "2"]), [0, 1]);
    assert_eq!(shown(&["r.jsonl", "--failed"]), [2, 5]);
    assert_eq!(shown(&["r.jsonl", "--failed", "--limit", "1"]), [2]);
    assert_eq!(
        shown(&["r.jsonl.partial"]),
        [0, 1, 2, 3, 4],
        "the last line is not whole yet"
    );
    // A broken line amid others is no line that is being written.
    std::fs::write(
        folder.path().join("bad.jsonl.partial"),
        format!("{cut}\n{whole}"),
    )
    .expect("rows");
    expect(2, folder.path(), &["show", "bad.jsonl.partial"]);
}

#[test]
fn show_is_as_wide_as_it_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let row = serde_json::json!({"video_id": "a", "info": {}, "result_info":
        {"succeed": "false", "stage": "decoded", "error": "word ".repeat(100)}});
    std::fs::write(folder.path().join("r.jsonl"), row.to_string()).expect("rows");
    let widest = |environment: &[(&str, &str)]| {
        let output = clipsieve_with(folder.path(), &["show", "r.jsonl"], environment);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(|line| line.chars().count()).max()
    };
    for (columns, at_most) in [("", 80), ("60", 60), ("120", 120)] {
        let widest = widest(&[("COLUMNS", columns)]).expect("lines");
        // Words do not fill the last column to its edge.
        assert!(
            (at_most - 9..=at_most).contains(&widest),
            "{columns}: {widest}"
        );
    }
}

#[test]
fn libraries_are_quiet_unless_they_are_asked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipeline = repository("pipelines/three-tiers.yaml")
        .display()
        .to_string();
    let mut arguments = vec!["check", "--connect", &pipeline];
    // Port 9 of the loopback takes nothing; the key is missing.
    let sets = [
        "input=rows.jsonl",
        "cpfs=/mnt/cpfs",
        "crops=c",
        "oss=http://127.0.0.1:9",
    ];
    arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
    let nowhere = ("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true");
    let output = clipsieve_with(folder.path(), &arguments, &[nowhere]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("WARN"), "{stderr}");
    let output = clipsieve_with(
        folder.path(),
        &arguments,
        &[nowhere, ("CLIPSIEVE_LOG", "debug")],
    );
    assert!(!output.stderr.is_empty(), "CLIPSIEVE_LOG wins");
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
        let told = [output.stdout, output.stderr];
        let [stdout, stderr] = told.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        (output.status.code(), stdout, stderr)
    };
    let (code, stdout, stderr) = with(90);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("1 row in "), "{stdout}");
    assert!(
        stderr.contains("90 files open here, which is enough for 3 items in flight instead of 8"),
        "{stderr}"
    );
    assert_eq!(rows(&folder.path().join("out.jsonl")).len(), 1);
    let (code, _, stderr) = with(70);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("needs 72 for one item"), "{stderr}");
}
