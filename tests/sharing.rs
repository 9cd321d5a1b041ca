//! Models over one backbone: it runs once a clip, and every stage says what it says alone.

mod common;

use std::collections::HashMap;
use std::path::Path;

use common::{assert_same, clips, expect, repository, row_of, rows};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

/// Writes those tensors of the fixture whose new name `rename` gives; `change` may turn the bytes of one.
fn write(
    folder: &Path,
    rename: impl Fn(&str) -> Option<String>,
    change: impl Fn(&str, &mut Vec<u8>),
) {
    let file = repository("tests/fixtures/vjepa2-tiny/model.safetensors");
    let bytes = std::fs::read(file).expect("the fixture");
    let tensors = SafeTensors::deserialize(&bytes).expect("the fixture is sound");
    let kept: Vec<(String, Vec<u8>, TensorView<'_>)> = tensors
        .tensors()
        .into_iter()
        .filter_map(|(name, view)| {
            let mut data = view.data().to_vec();
            change(&name, &mut data);
            Some((rename(&name)?, data, view))
        })
        .collect();
    let views: HashMap<&str, TensorView<'_>> = kept
        .iter()
        .map(|(name, data, view)| {
            let view = TensorView::new(view.dtype(), view.shape().to_vec(), data);
            (name.as_str(), view.expect("the same size"))
        })
        .collect();
    std::fs::create_dir_all(folder).expect("a folder");
    let bytes = safetensors::serialize(views, None).expect("tensors");
    std::fs::write(folder.join("model.safetensors"), bytes).expect("a file");
}

/// Three folders with a head each over one file, and a whole checkpoint whose encoder is the same. The heads differ.
fn models(root: &Path) {
    let config = std::fs::read_to_string(repository("tests/fixtures/vjepa2-tiny/config.json"))
        .expect("the fixture");
    let plain = |name: &str| name.trim_start_matches("vjepa2.").to_string();
    let encoder = |name: &str| name.starts_with("vjepa2.encoder.").then(|| plain(name));
    write(&root.join("backbone"), encoder, |_, _| {});
    // Turns the signs of a head's last layer, or shifts its values: another head.
    let flip = |sign: u8| {
        move |name: &str, data: &mut Vec<u8>| {
            if name.starts_with("classifier.") {
                data.chunks_exact_mut(4).for_each(|float| float[3] ^= sign);
            }
        }
    };
    for (folder, head, sign) in [
        ("vfx", "attentive", 0),
        ("simcam", "linear", 0),
        ("rotation", "linear", 0x80),
    ] {
        let own = |name: &str| {
            let is_head = name.starts_with("classifier.") || head == "attentive";
            (is_head && !name.starts_with("vjepa2.")).then(|| plain(name))
        };
        write(&root.join(folder), own, flip(sign));
        let fields = format!(r#"{{"head": "{head}", "backbone": "../backbone/model.safetensors","#);
        let config = config.replacen('{', &fields, 1);
        std::fs::write(root.join(folder).join("config.json"), config).expect("a file");
    }
    let whole = root.join("low_quality");
    write(&whole, |name| Some(name.to_string()), flip(0x80));
    std::fs::write(whole.join("config.json"), config).expect("a file");
}

#[test]
fn one_backbone_pass_serves_all_heads_and_the_rows_are_those_of_each_alone() {
    let root = tempfile::tempdir().expect("a temporary folder");
    models(root.path());
    let input = clips(&["bigbuckbunny.mp4", "bunny-still-zoom.mp4"]);
    std::fs::write(input.path().join("no-video.mp4"), "not a video").expect("a file");
    let stock = std::fs::read_to_string(repository("pipelines/stage2.yaml")).expect("stage2");
    std::fs::write(root.path().join("on.yaml"), &stock).expect("a file");
    std::fs::write(
        root.path().join("off.yaml"),
        format!("share: false\n{stock}"),
    )
    .expect("a file");

    let arguments = |command: &str, pipeline: &str| {
        let set = |key: &str, value: String| ["--set".to_string(), format!("{key}={value}")];
        let model = |name: &str| root.path().join(name).display().to_string();
        let mut all = vec![command.to_string(), format!("{pipeline}.yaml")];
        all.extend(set("input", input.path().display().to_string()));
        all.extend(set("output", format!("{pipeline}.jsonl")));
        for name in ["vfx", "simcam", "rotation", "low_quality"] {
            all.extend(set(&format!("{name}_model"), model(name)));
        }
        all
    };
    let call = |command: &str, pipeline: &str, more: &[&str]| {
        let all = arguments(command, pipeline);
        let all: Vec<&str> = all
            .iter()
            .map(String::as_str)
            .chain(more.iter().copied())
            .collect();
        expect(0, root.path(), &all)
    };

    let graph = call("graph", "on", &["--view", "physical"]);
    assert!(
        graph.contains("6 heads, 3 backbone passes, saves "),
        "{graph}"
    );
    assert!(
        graph.contains("does the work of vfx, simcam, rotation: 3 heads, 1 backbone pass"),
        "{graph}"
    );
    assert!(
        graph.lines().all(|line| line.chars().count() <= 80),
        "{graph}"
    );
    let graph = call("graph", "off", &["--view", "physical"]);
    assert!(
        graph.contains("6 heads, 6 backbone passes, saves 0 %"),
        "{graph}"
    );

    call("run", "on", &["--progress=none"]);
    call("run", "off", &["--progress=none"]);
    let (on, off) = (
        rows(&root.path().join("on.jsonl")),
        rows(&root.path().join("off.jsonl")),
    );
    assert_eq!((on.len(), off.len()), (3, 3));
    for row in &off {
        let id = row["video_id"].as_str().expect("an id");
        let other = row_of(&on, id);
        assert_same(&row["info"], &other["info"], 1e-5, id);
        for key in ["succeed", "stage", "kind"] {
            assert_eq!(
                row["result_info"][key], other["result_info"][key],
                "{id} {key}"
            );
        }
    }
    let good = row_of(&on, "bigbuckbunny");
    let probs = ["vfx_filter", "simcam_filter", "rotate_vertical_filter"].map(|key| {
        good["info"][key]["result"]["LABEL_0"]
            .as_f64()
            .expect("a probability")
    });
    assert!(
        (probs[0] - probs[1]).abs() > 1e-3,
        "heads differ: {probs:?}"
    );
    // The other head is the negative of this one.
    assert!((probs[1] + probs[2] - 1.0).abs() < 1e-4, "{probs:?}");
}
