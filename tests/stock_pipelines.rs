//! The stock pipelines over the repository's own clips: what a user sees on the first day.

mod common;

use clipsieve_operators::media::{Fit, Frame, Interrupt, Request, Span, decode};
use common::{assert_same, clips, expect, repository, row_of, rows};
use serde_json::Value as Json;

const TINY: &str = "tests/fixtures/vjepa2-tiny";
const STAGE2_KEYS: [&str; 8] = [
    "abnormal_region_info",
    "abnormal_region_crop",
    "vfx_filter",
    "simcam_filter",
    "rotate_vertical_filter",
    "seg_simcam_filter",
    "seg_low_quality_filter",
    "inverse_seg_simcam_filter",
];

/// Runs `stage2.yaml` over a folder with the tiny golden model in every place, and returns its rows.
fn stage2(input: &std::path::Path, shape: &[&str]) -> Vec<Json> {
    let out = tempfile::tempdir().expect("a temporary folder");
    let (pipeline, model) = (repository("pipelines/stage2.yaml"), repository(TINY));
    let mut arguments = vec![
        "run".to_string(),
        pipeline.display().to_string(),
        "--progress=none".to_string(),
    ];
    let results = out.path().join("results.jsonl");
    let mut set = |key: &str, value: &std::path::Path| {
        arguments.extend(["--set".to_string(), format!("{key}={}", value.display())])
    };
    set("input", input);
    set("output", &results);
    set("crops", &out.path().join("crops"));
    for name in [
        "vfx_model",
        "simcam_model",
        "rotation_model",
        "low_quality_model",
    ] {
        set(name, &model);
    }
    arguments.extend(shape.iter().map(ToString::to_string));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    expect(0, out.path(), &arguments);
    rows(&results)
}

#[test]
fn stage2_gives_the_same_rows_from_any_shape_of_run() {
    let input = clips(&[
        "bigbuckbunny.mp4",
        "city-low-bitrate.mp4",
        "bunny-still-zoom.mp4",
    ]);
    std::fs::write(input.path().join("not-a-video.mp4"), "not a video at all").expect("a file");
    let one = stage2(input.path(), &[]);
    assert_eq!(one.len(), 4, "one row for each file");

    let good = row_of(&one, "bigbuckbunny");
    assert_eq!(good["result_info"]["succeed"], "true", "{good}");
    for key in STAGE2_KEYS {
        assert!(
            good["info"].get(key).is_some_and(Json::is_object),
            "{key} is missing in {good}"
        );
    }
    let vfx = &good["info"]["vfx_filter"];
    let sum: f64 = vfx["result"]
        .as_object()
        .expect("probabilities")
        .values()
        .filter_map(Json::as_f64)
        .sum();
    assert!((sum - 1.0).abs() < 1e-4, "{vfx}");
    assert_eq!(
        vfx["result"][vfx["label"].as_str().expect("a label")],
        vfx["prob"]
    );
    let windows = good["info"]["seg_simcam_filter"]
        .as_object()
        .expect("windows");
    assert_eq!(
        windows.len(),
        2,
        "5.3 s have windows from 0 and 3 s: {windows:?}"
    );
    assert_eq!(windows["0"]["duration"], serde_json::json!([0, 4]));
    assert_eq!(windows["1"]["duration"][0], 3);
    assert_ne!(
        good["info"]["inverse_seg_simcam_filter"], good["info"]["seg_simcam_filter"],
        "order of frames must matter"
    );

    let bad = row_of(&one, "not-a-video");
    assert_eq!(bad["result_info"]["succeed"], "false");
    assert_eq!(bad["result_info"]["stage"], "regions", "{bad}");
    assert!(
        bad["result_info"]["error"]
            .as_str()
            .expect("an error")
            .contains("not-a-video.mp4"),
        "{bad}"
    );

    for shape in [&["--processes", "2"][..], &["--workers", "2"]] {
        let other = stage2(input.path(), shape);
        assert_eq!(other.len(), one.len(), "{shape:?}");
        for row in &one {
            let id = row["video_id"].as_str().expect("an id");
            assert_same(
                &row["info"],
                &row_of(&other, id)["info"],
                1e-4,
                &format!("{shape:?} {id}"),
            );
        }
    }
}

/// A dozen frames of a video, spread over it, as they are.
fn frames(video: &std::path::Path) -> Vec<Frame> {
    let request = Request {
        span: Span::Video,
        frames: 12,
        fit: Fit::Native,
    };
    let decoded = decode(video, None, &[request], &Interrupt::never()).expect("a sound video");
    decoded.clips[0][0].frames.clone()
}

#[test]
fn regions_finds_the_bars_and_the_crop_is_a_clean_video() {
    let input = clips(&["bunny-pillarbox-logo.mp4", "bigbuckbunny.mp4"]);
    let out = tempfile::tempdir().expect("a temporary folder");
    let run = |pipeline: &std::path::Path, input: &std::path::Path, name: &str| {
        let (results, crops) = (
            out.path().join(format!("{name}.jsonl")),
            out.path().join(name),
        );
        let mut arguments = vec![
            "run".to_string(),
            pipeline.display().to_string(),
            "--progress=none".to_string(),
        ];
        for (key, value) in [("input", input), ("output", &results), ("crops", &crops)] {
            arguments.extend(["--set".to_string(), format!("{key}={}", value.display())]);
        }
        if pipeline.ends_with("video-quality.yaml") {
            let weights = repository("models/weights");
            arguments.extend([
                "--set".to_string(),
                format!("weights={}", weights.display()),
            ]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        expect(0, out.path(), &arguments);
        (rows(&results), crops)
    };
    let alone = repository("pipelines/regions.yaml");
    let (found, crops) = run(&alone, input.path(), "alone");

    let boxed = row_of(&found, "bunny-pillarbox-logo");
    let crop = &boxed["info"]["abnormal_region_crop"];
    let edges: Vec<i64> = crop["box"]
        .as_array()
        .expect("a crop")
        .iter()
        .filter_map(Json::as_i64)
        .collect();
    assert!(
        edges[0] >= 82 && edges[2] <= 930,
        "the bars are 82 px wide on either side of 1012: {crop}"
    );
    assert!(
        edges[0] <= 90 && edges[2] >= 922,
        "no more than a few pixels of picture are lost: {crop}"
    );
    let url = boxed["video_oss_url"].as_str().expect("the crop's URL");
    assert_eq!(crop["url"], url);
    let name = url.rsplit('/').next().unwrap_or_default();
    assert!(name.starts_with("bunny-pillarbox-logo-"), "{url}");
    let file = crops.join(name);
    assert!(file.metadata().expect("the uploaded crop").len() > 10_000);

    let clean = row_of(&found, "bigbuckbunny");
    assert_eq!(
        clean["info"]["abnormal_region_crop"]["cropped"], false,
        "{clean}"
    );
    assert_eq!(std::fs::read_dir(&crops).expect("the crops").count(), 1);

    // The crop is itself a video without borders, of the size that the row tells.
    let (again, _) = run(&alone, &file, "again");
    let info = &again[0]["info"]["abnormal_region_info"];
    assert_eq!(info["width"], edges[2] - edges[0]);
    assert_eq!(info["height"], edges[3] - edges[1]);
    let borders = info["regions"]
        .as_array()
        .expect("regions")
        .iter()
        .filter(|region| region["class"] == "border")
        .count();
    assert_eq!(borders, 0, "{info}");

    // Where samplers follow, their pass encodes the crop: the row and the file are the same, if the same backend looks.
    let stock = std::fs::read_to_string(repository("pipelines/video-quality.yaml")).expect("text");
    let detector = ", with: { backends: [signals, yolo], model: regions }";
    assert!(
        stock.contains(detector),
        "the stock pipeline has a detector"
    );
    let pixels_only = out.path().join("video-quality.yaml");
    std::fs::write(&pixels_only, stock.replace(detector, "")).expect("a file");
    let (along, along_crops) = run(&pixels_only, input.path(), "along");
    let told = &row_of(&along, "bunny-pillarbox-logo");
    assert_eq!(told["info"]["abnormal_region_crop"]["box"], crop["box"]);
    assert_eq!(
        told["info"]["abnormal_region_crop"]["url"],
        told["video_oss_url"]
    );
    // Not to the byte: x264 decides now and then otherwise over the same pictures, and each of its streams is some two levels
    // off the source on average.
    let (alone, along) = (frames(&file), frames(&along_crops.join(name)));
    assert_eq!(alone.len(), along.len());
    for (a, b) in alone.iter().zip(&along) {
        assert_eq!(a.dim(), b.dim());
        let off: u64 = a
            .iter()
            .zip(b.iter())
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        assert!(
            off < 3 * a.len() as u64,
            "the crops differ by {off} over {} values",
            a.len()
        );
    }
    let uploaded = std::fs::read_dir(&along_crops).expect("the crops").count();
    assert_eq!(uploaded, 1);
}

#[test]
fn a_detector_and_a_letterboxed_reversed_clip_go_through_the_graph() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = format!(
        "\
name: own
models:
  detector: {}
  tiny: {}
stages:
  videos: {{ op: read_table, with: {{ uri: {} }} }}
  fetched: {{ op: fetch, from: videos }}
  regions: {{ op: detect_regions, from: fetched, with: {{ backends: [yolo], model: detector, frames: 6 }} }}
  decoded: {{ op: decode, from: fetched }}
  boxed: {{ op: sample, from: decoded, with: {{ fit: letterbox }} }}
  back: {{ op: reverse, from: boxed }}
  forwards: {{ op: classify, from: boxed, with: {{ model: tiny }} }}
  backwards: {{ op: classify, from: back, with: {{ model: tiny, key: backwards_filter }} }}
  result: {{ op: aggregate, from: [regions, forwards, backwards] }}
  table: {{ op: write_table, from: result, with: {{ uri: \"-\" }} }}
",
        repository("tests/fixtures/yolov8n").display(),
        repository(TINY).display(),
        repository("examples/clips/city-low-bitrate.mp4").display()
    );
    std::fs::write(folder.path().join("own.yaml"), text).expect("a file");
    let rows = expect(0, folder.path(), &["run", "own.yaml", "--progress=none"]);
    let row: Json = serde_json::from_str(&rows).expect("one row and nothing else on stdout");
    let info = &row["info"];
    // The detector's weights are random; what counts is that its boxes come back in pixels of the video.
    let regions = info["abnormal_region_info"]["regions"]
        .as_array()
        .expect("regions");
    let (width, height) = (
        info["abnormal_region_info"]["width"].as_f64(),
        info["abnormal_region_info"]["height"].as_f64(),
    );
    assert!(
        regions.iter().any(|region| region["found_by"] == "yolo"),
        "{info}"
    );
    for region in regions {
        let edges: Vec<f64> = region["box"]
            .as_array()
            .expect("a box")
            .iter()
            .filter_map(Json::as_f64)
            .collect();
        assert!(
            edges[0] >= 0.0 && edges[0] < edges[2] && Some(edges[2]) <= width,
            "{region}"
        );
        assert!(
            edges[1] >= 0.0 && edges[1] < edges[3] && Some(edges[3]) <= height,
            "{region}"
        );
    }
    assert_ne!(
        info["tiny_filter"]["result"], info["backwards_filter"]["result"],
        "the order of frames must matter"
    );
}
