//! `clipsieve evaluate`: rows held against labels, from files to the report.

mod common;

use std::path::Path;

use clipsieve_operators::tables::{Format, Spool};
use common::expect;
use serde_json::{Value as Json, json};

/// Writes rows of a made-up run whose numbers can be checked by hand, and labels for them.
fn write_run(folder: &Path) {
    let vfx = |share: f64| json!({"result": {"normal": 1.0 - share, "vfx": share}, "label": "?", "prob": 0.5});
    let window = |share: f64| {
        json!({"duration": [0, 4], "low_quality_filter":
               {"result": {"good": 1.0 - share, "low": share}, "label": "?", "prob": 0.5}})
    };
    let row = |id: &str, share: f64, windows: [f64; 2], boxes: Json, crop: Json| {
        json!({
            "video_id": id, "oss_bucket": "", "video_oss_url": format!("file:///v/{id}.mp4"), "video_tag": "",
            "info": {
                "abnormal_region_info": {"width": 200, "height": 100, "frames": 16, "regions": boxes},
                "abnormal_region_crop": crop,
                "vfx_filter": vfx(share),
                "seg_low_quality_filter": {"0": window(windows[0]), "1": window(windows[1])},
            },
            "result_info": {"succeed": "true"},
        })
    };
    let bar = json!([{"class": "border", "box": [0, 0, 200, 10], "score": 0.9, "persistence": 1.0, "found_by": "signals"}]);
    let uncut =
        json!({"cropped": false, "box": null, "reason": "nothing to cut away", "url": null});
    let cut = json!({"cropped": true, "box": [0, 10, 200, 100], "reason": null, "url": null});
    let mut rows = vec![
        row("a", 0.9, [0.1, 0.8], bar, cut),
        row("b", 0.8, [0.2, 0.1], json!([]), uncut.clone()),
        row("c", 0.3, [0.3, 0.2], json!([]), uncut.clone()),
        row("d", 0.3, [0.3, 0.2], json!([]), uncut.clone()),
        row("e", 0.3, [0.3, 0.2], json!([]), uncut),
    ];
    rows.push(json!({
        "video_id": "broken", "video_oss_url": "file:///v/broken.mp4", "info": {},
        "result_info": {"succeed": "false", "stage": "decoded", "error": "no picture", "attempts": 1},
    }));
    let lines =
        |values: &[Json]| -> String { values.iter().map(|value| format!("{value}\n")).collect() };
    std::fs::write(folder.join("results.jsonl"), lines(&rows)).expect("rows");
    let labels = [
        json!({"file": "a.mp4", "task": "vfx", "label": 1, "kind": "glitch"}),
        json!({"file": "b.mp4", "task": "vfx", "label": 0}),
        json!({"file": "v/c.mp4", "task": "vfx", "label": 0}),
        json!({"file": "c", "task": "vfx", "label": 1}),
        json!({"file": "broken.mp4", "task": "vfx", "label": 1}),
        json!({"file": "gone.mp4", "task": "vfx", "label": 1}),
        json!({"file": "a.mp4", "task": "low_quality", "label": 1}),
        json!({"file": "b.mp4", "task": "low_quality", "label": 0}),
        json!({"file": "c.mp4", "task": "low_quality", "label": 0}),
        json!({"file": "a.mp4", "task": "beauty", "label": 1}),
        json!({"file": "a.mp4", "task": "regions",
               "boxes": [{"class": "border", "box": [0, 0, 1, 0.1]}, {"class": "logo", "box": [0.8, 0.8, 0.9, 0.9]}],
               "safe_crop": [0, 0.1, 0.8, 1]}),
        json!({"file": "b.mp4", "task": "regions", "boxes": []}),
        json!({"file": "c.mp4", "task": "regions", "boxes": [{"class": "watermark", "box": [0, 0, 1, 1]}]}),
        json!({"file": "d.mp4", "task": "regions", "boxes": [{"class": "border", "box": [0, 0, 0.2, 1]}]}),
    ];
    std::fs::write(folder.join("labels.jsonl"), lines(&labels)).expect("labels");
}

#[test]
fn the_report_says_what_can_be_counted_by_hand() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_run(folder.path());
    let arguments = [
        "evaluate",
        "results.jsonl",
        "labels.jsonl",
        "--precision",
        "0.9",
    ];
    let more = ["--score", "vfx=-vfx_filter.normal", "--format", "json"];
    let text = expect(0, folder.path(), &[arguments.as_slice(), &more].concat());
    let report: Json = serde_json::from_str(&text).expect("JSON");

    let of = |key: &str, label: &str| {
        let filters = report["filters"].as_array().expect("filters");
        filters
            .iter()
            .find(|filter| filter["key"] == key && filter["positive_label"] == label)
            .unwrap_or_else(|| panic!("no {key}"))
    };
    let vfx = of("vfx_filter", "vfx");
    assert_eq!(vfx["scored"], 3, "{vfx}");
    assert_eq!(vfx["positives"], 1);
    assert_eq!(vfx["auc"], 1.0);
    assert_eq!(vfx["at_0.5"]["precision"], 0.5);
    assert_eq!(vfx["best_accuracy"]["at"], 0.9);
    assert_eq!(vfx["for_precision"]["threshold"]["recall"], 1.0);
    assert_eq!(vfx["for_recall"], Json::Null);
    assert_eq!(vfx["kinds"]["glitch"]["auc"], 1.0);
    assert_eq!(vfx["unscored"][0]["why"], "failed in decoded: no picture");
    assert_eq!(of("vfx_filter", "-normal")["auc"], 1.0);
    let low = of("seg_low_quality_filter", "low");
    assert_eq!(low["auc"], 1.0, "the worst window counts: {low}");
    assert_eq!(low["best_accuracy"]["at"], 0.8);
    assert_eq!(report["unanswered"], json!(["beauty"]));

    let regions = &report["regions"];
    assert_eq!(regions["classes"]["border"]["recall"], 0.5);
    assert_eq!(regions["classes"]["logo"]["recall"], 0.0);
    assert_eq!(regions["all"]["recall"], 0.25);
    assert_eq!(regions["all"]["precision"], 1.0);
    // 0.9 of the frame was kept, 0.72 is clean, all of it within; of the clean video, and of the one that has no clean
    // part, everything; of the last everything where 0.8 is clean.
    let iou = regions["crop"]["mean_iou"].as_f64().expect("a number");
    assert!((iou - (0.8 + 1.0 + 1.0 + 0.8) / 4.0).abs() < 1e-9, "{iou}");
    assert_eq!(regions["crop"]["still_holding_a_region"], json!(["a"]));
    assert_eq!(regions["crop"]["share_still_holding"], 1.0);
    assert_eq!(regions["crop"]["not_cropped_but_could_be"], json!(["d"]));
    assert_eq!(regions["crop"]["share_not_cropped"], 0.5);
    assert_eq!(regions["crop"]["no_clean_rectangle"], 1);
    assert_eq!(regions["crop"]["clean_but_cropped"], json!([]));

    let out = &report["left_out"];
    assert_eq!(out["labels_without_row"], json!(["gone.mp4 (line 6)"]));
    assert_eq!(
        out["repeated_labels"],
        json!(["c (line 4): `vfx` as on line 3"])
    );
    assert_eq!(out["rows_without_label"], json!(["e"]));
    assert_eq!(out["failed_rows"][0]["file"], "broken");
}

#[test]
fn the_text_fits_eighty_columns_and_leaves_nothing_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_run(folder.path());
    let text = expect(
        0,
        folder.path(),
        &[
            "evaluate",
            "results.jsonl",
            "labels.jsonl",
            "--recall",
            "0.9",
        ],
    );
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
    for told in [
        "vfx_filter",
        "seg_low_quality_filter",
        "recall of 0.9: from 0.9000 on",
        "glitch (1): AUC 1.000",
        "gone.mp4 (line 6)",
        "broken: failed in decoded: no picture",
        "beauty",
        "rows without a label: 1",
        "still hold a region    1 of 1 (100.0 %)",
        "missed                 1 of 2 (50.0 %)",
        "no room for a crop     1",
    ] {
        assert!(text.contains(told), "`{told}` is missing in:\n{text}");
    }
}

/// Rows of one filter with these scores, and a label for each.
fn write_scores(folder: &Path, scores: &[(f64, u8)]) {
    let mut rows = String::new();
    let mut labels = String::new();
    for (index, (score, label)) in scores.iter().enumerate() {
        let vfx =
            json!({"result": {"normal": 1.0 - score, "vfx": score}, "label": "?", "prob": 0.5});
        let row = json!({"video_id": format!("v{index}"), "video_oss_url": format!("/v{index}.mp4"), "video_tag": "",
            "oss_bucket": "", "info": {"vfx_filter": vfx}, "result_info": {"succeed": "true"}});
        rows.push_str(&format!("{row}\n"));
        let label = json!({"file": format!("v{index}"), "task": "vfx", "label": label});
        labels.push_str(&format!("{label}\n"));
    }
    std::fs::write(folder.join("results.jsonl"), rows).expect("rows");
    std::fs::write(folder.join("labels.jsonl"), labels).expect("labels");
}

/// The cells of the line of `vfx_filter` in the report.
fn cells(text: &str) -> Vec<&str> {
    let line = text.lines().find(|line| line.contains("vfx_filter"));
    line.unwrap_or_else(|| panic!("no line in {text}"))
        .split_whitespace()
        .collect()
}

#[test]
fn the_best_is_never_worse_than_one_half() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_scores(folder.path(), &[(0.4, 0), (0.1, 1), (0.3, 0), (0.2, 0)]);
    let arguments = ["evaluate", "results.jsonl", "labels.jsonl"];
    let text = expect(0, folder.path(), &arguments);
    assert_eq!(cells(&text)[5..], ["0.750", "0.750", "never"], "{text}");
    let text = expect(
        0,
        folder.path(),
        &[&arguments[..], &["--format", "json"]].concat(),
    );
    let report: Json = serde_json::from_str(&text).expect("JSON");
    let best = &report["filters"][0]["best_accuracy"];
    assert_eq!(
        (&best["at"], &best["accuracy"]),
        (&Json::Null, &json!(0.75))
    );
}

#[test]
fn one_kind_of_label_alone_is_told_and_nothing_is_made_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (label, missing) in [(0, "no positive label"), (1, "no negative label")] {
        write_scores(folder.path(), &[(0.9, label), (0.2, label), (0.1, label)]);
        let text = expect(
            0,
            folder.path(),
            &[
                "evaluate",
                "results.jsonl",
                "labels.jsonl",
                "--recall",
                "0.9",
            ],
        );
        let accuracy = if label == 0 { "0.667" } else { "0.333" };
        assert_eq!(cells(&text)[3..], ["-", "-", accuracy, "-", "-"], "{text}");
        assert!(text.contains(missing), "{text}");
        assert!(text.contains("recall of 0.9: -"), "{text}");
    }
}

#[test]
fn one_is_told_in_the_singular() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_scores(folder.path(), &[(0.9, 1)]);
    let text = expect(
        0,
        folder.path(),
        &["evaluate", "results.jsonl", "labels.jsonl"],
    );
    assert!(text.contains("\n1 label, 1 row\n"), "{text}");
}

#[test]
fn rows_are_read_from_any_table_that_a_run_writes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_scores(folder.path(), &[(0.9, 1), (0.2, 0)]);
    let lines = std::fs::read_to_string(folder.path().join("results.jsonl")).expect("rows");
    let wanted = expect(
        0,
        folder.path(),
        &["evaluate", "results.jsonl", "labels.jsonl"],
    );
    let table = |name: &str| {
        let mut spool = Spool::open(&folder.path().join("results.jsonl")).expect("a spool");
        let mut bytes = Vec::new();
        let format = Format::of(Path::new(name)).expect("a format");
        (format.write)(&mut spool, &mut bytes).expect("a table");
        std::fs::write(folder.path().join(name), bytes).expect("a table");
    };
    for name in ["results.csv", "results.parquet"] {
        table(name);
        let text = expect(0, folder.path(), &["evaluate", name, "labels.jsonl"]);
        assert_eq!(text, wanted, "{name}");
    }
    // What a run has written so far, its last line being cut off.
    for name in ["more.jsonl.partial", "more.parquet.partial"] {
        let growing = format!("{lines}{}", &lines[..40]);
        std::fs::write(folder.path().join(name), growing).expect("rows");
        let text = expect(0, folder.path(), &["evaluate", name, "labels.jsonl"]);
        assert_eq!(text, wanted, "{name}");
    }
    // What no extension tells to be something else: a pipe from another program, too.
    for name in ["results.json", "results.txt", "results"] {
        std::fs::write(folder.path().join(name), &lines).expect("rows");
        let text = expect(0, folder.path(), &["evaluate", name, "labels.jsonl"]);
        assert_eq!(text, wanted, "{name}");
    }
    let piped = std::process::Command::new("sh")
        .args([
            "-c",
            "cat results.jsonl | \"$0\" evaluate /dev/stdin labels.jsonl",
        ])
        .arg(env!("CARGO_BIN_EXE_clipsieve"))
        .current_dir(folder.path())
        .output()
        .expect("a shell");
    assert_eq!(String::from_utf8_lossy(&piped.stdout), wanted, "{piped:?}");
    let output = common::clipsieve(folder.path(), ["evaluate", "results.csv", "results.csv"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("labels are JSON lines") && stderr.contains("results.csv is CSV"),
        "{stderr}"
    );
}

#[test]
fn long_names_leave_the_report_in_eighty_columns() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_run(folder.path());
    let long = "low_quality=-a_filter_with_a_name_that_is_long_all_by_itself.sharpness";
    let reversed = "reversed=seg_low_quality_filter.low";
    let labels = folder.path().join("labels.jsonl");
    let mut text = std::fs::read_to_string(&labels).expect("labels");
    text.push_str("{\"file\": \"a.mp4\", \"task\": \"reversed\", \"label\": 1}\n");
    std::fs::write(labels, text).expect("labels");
    let arguments = ["evaluate", "results.jsonl", "labels.jsonl", "--score"];
    let text = expect(
        0,
        folder.path(),
        &[&arguments[..], &[long, "--score", reversed]].concat(),
    );
    let told = text
        .lines()
        .take_while(|line| !line.contains("positive is"));
    for line in told {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
    assert!(text.contains(" (reversed) "), "{text}");
}

#[test]
fn the_help_keeps_its_examples_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output =
        common::clipsieve_with(folder.path(), &["evaluate", "--help"], &[("COLUMNS", "80")]);
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let examples: Vec<&str> = help
        .lines()
        .filter(|line| line.starts_with("  {"))
        .collect();
    assert_eq!(examples.len(), 2, "{help}");
    for example in examples {
        serde_json::from_str::<Json>(example).unwrap_or_else(|error| panic!("{error}: {example}"));
    }
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "too wide: {line}");
    }
    // Nothing is broken by hand and again by clap: but for the last of a paragraph, no line is short.
    let lines: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with('`'))
        .collect();
    for pair in lines
        .windows(2)
        .filter(|pair| !pair.iter().any(|line| line.is_empty()))
    {
        assert!(pair[0].len() > 60, "broken early: {}", pair[0]);
    }
}

#[test]
fn files_that_are_no_rows_or_labels_are_refused_with_their_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_run(folder.path());
    let refused = |arguments: &[&str], told: &str| {
        let output = common::clipsieve(folder.path(), arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    };
    refused(
        &["evaluate", "labels.jsonl", "labels.jsonl"],
        "row 1 of labels.jsonl is no result row: it has no `result_info.succeed`",
    );
    refused(
        &["evaluate", "results.jsonl", "results.jsonl"],
        "results.jsonl:1: `task` is missing",
    );
    refused(&["evaluate", "results.jsonl", "none.jsonl"], "cannot read");
    let arguments = [
        "evaluate",
        "results.jsonl",
        "labels.jsonl",
        "--score",
        "vfx",
    ];
    refused(&arguments, "TASK=KEY.LABEL");
}
